//! How an attempt went, by what the shop answered.
//!
//! A configured rule decides by its signs: failure first, because clients can bring about much of what
//! looks like success, then success; with one list the rest is the other outcome, with both it is a
//! failure. Without signs this table decides, from the top:
//!
//! | answer | outcome |
//! |---|---|
//! | 500 with a fault in XML, as SOAP answers | failure |
//! | 5xx; 405, 408, 413, 415, 431; 304 and 1xx | neutral: the password was not looked at |
//! | any other 4xx (401, 403, 400, 422, 429, 404, 419 …) | failure |
//! | redirect, a cookie named like a signed-in mark (`…logged_in…`) is set | success |
//! | redirect to a login page, to where it was posted, or with an error in its address | failure |
//! | redirect to the page it came from, no cookie set | failure |
//! | redirect elsewhere, a cookie set | success |
//! | redirect elsewhere, no cookie set | neutral: so is answered who has been in all along |
//! | 204, 205 | success |
//! | 206 | failure |
//! | 2xx JSON that says so (`success: false`, `error: …`, `status: "fail"`, `false` …) | failure |
//! | 2xx JSON otherwise, unless it is empty | success |
//! | 2xx GraphQL, JSON with an error, or without a token, a name or the like under the login's field | failure |
//! | 2xx XML with a fault | failure |
//! | 2xx XML otherwise | success |
//! | 2xx page with a password input | failure |
//! | 2xx other, a cookie set | success |
//! | 2xx other, no cookie set | failure |
//!
//! Everywhere a cookie that is emptied or expired, or that the client has already, is not set. To `Authorization: Basic` 401 is a
//! failure, 5xx neutral and everything else a success.

use std::sync::{Arc, LazyLock};

use http::header::{CONTENT_TYPE, LOCATION};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use regex::bytes::Regex;

use super::claim::{Answered, Claim, Manner};
use super::recognise::{Expected, is_login_path, is_login_query, local_path};
use super::signs::{self, cookies};
use super::{fields, graphql};
use crate::counters::Outcome;
use crate::policy::{Counted, GuardKind, GuardRule};

/// How much of a body is looked at.
pub const BODY_LOOK_BYTES: usize = 64 << 10;

/// What the head of an answer tells.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Judgement {
    /// The shop said no.
    Failure,
    /// The shop decided nothing.
    Neutral,
    /// The beginning of the decoded body decides.
    NeedsBody,
    /// The shop let the client in.
    Success,
}

/// What is remembered of an attempt to judge its answer.
pub(super) struct Judge {
    /// Where it has signs.
    rule: Option<Arc<GuardRule>>,
    /// Whether nothing is known of how it is answered.
    unknown: bool,
    /// What an end is taken for that cannot be told: one that counts.
    doubtful: Outcome,
    answered: Answered,
    path: String,
    referrer: Option<String>,
    /// The cookies that the client had before.
    had: Vec<String>,
    seen: Seen,
}

/// What the head told, for the body's turn.
#[derive(Default)]
struct Seen {
    broken: bool,
    cookie: bool,
    json: bool,
    success: bool,
    xml: bool,
}

impl Judge {
    pub(super) fn new(expected: &Expected<'_>, claim: &Claim<'_>) -> Self {
        let limits = claim.rule.and_then(|rule| rule.limits.as_ref());
        let counted = limits.map_or(Counted::Failures, |limits| limits.counted);
        Self {
            doubtful: Outcome::abandoned(counted),
            rule: claim.rule.filter(|rule| rule.has_signs()).map(Arc::clone),
            unknown: claim
                .guard()
                .is_some_and(|guard| !guard.has_signs() && !guard.kind.has_built_in_signs()),
            answered: claim.answered.clone(),
            path: expected.path.clone(),
            referrer: expected.referrer.clone(),
            had: expected.cookies.clone(),
            seen: Seen::default(),
        }
    }

    pub(super) fn head(&mut self, answer: &Parts) -> Judgement {
        if self.unknown {
            return Judgement::Neutral;
        }
        self.seen.broken = answer.status.is_server_error();
        self.seen.cookie = cookies(&answer.headers, &self.had).next().is_some();
        let kind =
            answer.headers.get(CONTENT_TYPE).map(|kind| kind.as_bytes().to_ascii_lowercase());
        let kind = kind.unwrap_or_default();
        self.seen.json = memchr::memmem::find(&kind, b"json").is_some();
        self.seen.xml = memchr::memmem::find(&kind, b"xml").is_some();
        let judgement = match self.rule.as_ref().map(Arc::clone) {
            Some(rule) => self.by_signs(&rule, answer),
            None => self.built_in(answer),
        };
        match judgement {
            Judgement::Failure => self.believe(Outcome::Failure).into(),
            Judgement::Success => self.believe(Outcome::Success).into(),
            Judgement::NeedsBody | Judgement::Neutral => judgement,
        }
    }

    pub(super) fn body(&self, body: &[u8]) -> Outcome {
        let body = body.get(..BODY_LOOK_BYTES).unwrap_or(body);
        self.believe(match &self.rule {
            None => self.built_in_body(body),
            Some(rule) if signs::show_in_body(&rule.failure, body) => Outcome::Failure,
            Some(rule) if self.seen.success || signs::show_in_body(&rule.success, body) => {
                Outcome::Success
            }
            Some(rule) => rest(rule, self.seen.broken),
        })
    }

    /// Of several attempts that share an answer each may be the one that went otherwise, and a client
    /// that chooses names in the answer chooses what it seems to say.
    fn believe(&self, outcome: Outcome) -> Outcome {
        let renamed = matches!(self.answered.manner, Manner::Graphql { renamed: true, .. });
        let doubted = renamed || self.answered.shared;
        if doubted && outcome != Outcome::Neutral { self.doubtful } else { outcome }
    }

    fn by_signs(&mut self, rule: &GuardRule, answer: &Parts) -> Judgement {
        if signs::show_in_head(&rule.failure, answer, &self.had) {
            return Judgement::Failure;
        }
        self.seen.success = signs::show_in_head(&rule.success, answer, &self.had);
        let more = !self.seen.success && signs::need_body(&rule.success);
        if more || signs::need_body(&rule.failure) {
            return Judgement::NeedsBody;
        }
        if self.seen.success {
            return Judgement::Success;
        }
        rest(rule, self.seen.broken).into()
    }

    fn built_in(&self, answer: &Parts) -> Judgement {
        if let Manner::Basic = self.answered.manner {
            return basic(answer.status);
        }
        match answer.status {
            StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Judgement::Neutral,
            // A part that the client chose shows what the client wants shown.
            StatusCode::PARTIAL_CONTENT => Judgement::Failure,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => Judgement::Success,
            StatusCode::INTERNAL_SERVER_ERROR if self.seen.xml => Judgement::NeedsBody,
            status if status.is_client_error() => Judgement::Failure,
            status if status.is_success() => Judgement::NeedsBody,
            status if status.is_redirection() => self.redirect(&answer.headers),
            _ => Judgement::Neutral,
        }
    }

    fn redirect(&self, headers: &HeaderMap) -> Judgement {
        let location = headers.get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let Some(location) = location else { return Judgement::Neutral };
        let signed_in = |name: &str| {
            let name = name.to_ascii_lowercase();
            ["logged_in", "loggedin", "signed_in"].iter().any(|mark| name.contains(mark))
        };
        if cookies(headers, &self.had).any(signed_in) {
            return Judgement::Success;
        }
        let (address, query) = split(&location);
        let target = resolve(&self.path, address);
        if is_login_path(&target) || is_login_query(query) || says_error(query) {
            return Judgement::Failure;
        }
        if same(&target, &self.path) {
            return Judgement::Failure;
        }
        let back = self.referrer.as_ref().is_some_and(|referrer| same(referrer, &target));
        match (self.seen.cookie, back) {
            (true, _) => Judgement::Success,
            (false, true) => Judgement::Failure,
            // As a shop answers who has been in all along: that takes no password.
            (false, false) => Judgement::Neutral,
        }
    }

    fn built_in_body(&self, body: &[u8]) -> Outcome {
        let text = body.trim_ascii();
        if let Manner::Graphql { fields, .. } = &self.answered.manner {
            return graphql::outcome(&String::from_utf8_lossy(text), fields);
        }
        if self.seen.broken {
            return if FAULT.is_match(text) { Outcome::Failure } else { Outcome::Neutral };
        }
        let decided = if text.is_empty() {
            None
        } else if self.seen.json || text.starts_with(b"{") {
            Some(!json_says_no(&String::from_utf8_lossy(text)))
        } else if text.starts_with(b"<?xml") {
            Some(!FAULT.is_match(text))
        } else {
            PASSWORD_INPUT.is_match(text).then_some(false)
        };
        if decided.unwrap_or(self.seen.cookie) { Outcome::Success } else { Outcome::Failure }
    }
}

/// RFC 7617: 401 asks for another name and password; whatever else is answered, these were good.
fn basic(status: StatusCode) -> Judgement {
    match status {
        StatusCode::UNAUTHORIZED => Judgement::Failure,
        status if status.is_server_error() => Judgement::Neutral,
        _ => Judgement::Success,
    }
}

impl From<Outcome> for Judgement {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failure => Self::Failure,
            Outcome::Neutral | Outcome::Withdrawn => Self::Neutral,
            Outcome::Success => Self::Success,
        }
    }
}

#[expect(clippy::expect_used, reason = "the pattern is a constant and every test here compiles it")]
static PASSWORD_INPUT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)<input\b[^>]*\btype\s*=\s*["']?password\b"#).expect("the pattern is sound")
});

/// A fault of XML-RPC, alone or among the answers to several calls, or of SOAP.
#[expect(clippy::expect_used, reason = "the pattern is a constant and every test here compiles it")]
static FAULT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)<([\w-]+:)?fault\b|faultCode").expect("the pattern is sound")
});

/// No sign showed; what the rule says of the rest.
fn rest(rule: &GuardRule, broken: bool) -> Outcome {
    match (rule.success.is_empty(), rule.failure.is_empty()) {
        _ if broken => Outcome::Neutral,
        (true, _) => Outcome::Success,
        (false, false) if rule.kind == GuardKind::Payment => Outcome::Neutral,
        (false, _) => Outcome::Failure,
    }
}

fn split(location: &str) -> (&str, &str) {
    let address = location.split('#').next().unwrap_or_default();
    address.split_once('?').unwrap_or((address, ""))
}

/// The path a `Location` leads to (RFC 9110 §10.2.2); a relative one starts from where it was posted.
fn resolve(posted: &str, address: &str) -> String {
    if address.is_empty() {
        return posted.to_owned();
    }
    if address.starts_with("//") {
        return local_path(&format!("http:{address}")).unwrap_or_default();
    }
    let absolute = address.starts_with('/') || address.contains("://");
    if absolute && let Some(path) = local_path(address) {
        return path;
    }
    let folder = posted.rsplit_once('/').map_or("", |(folder, _)| folder);
    super::path::normalise(&format!("{folder}/{address}")).into_owned()
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

fn says_error(query: &str) -> bool {
    query.split('&').any(|pair| {
        let pair = pair.to_ascii_lowercase();
        let (name, value) = pair.split_once('=').unwrap_or((&pair, "1"));
        let bad = |text: &str| {
            ["error", "fail", "invalid", "denied"].iter().any(|word| text.contains(word))
        };
        (bad(name) && is_truthy(value))
            || (!name.contains("url") && bad(value) && !value.contains('/'))
    })
}

fn json_says_no(text: &str) -> bool {
    let mut no = false;
    fields::json(text, &mut |path, value| no |= leaf_says_no(path, value));
    no
}

/// One leaf of an answer: `{"success":false}`, `{"data":{"errors":{"email":["…"]}}}`, or a bare `false`.
fn leaf_says_no(path: &[String], value: &str) -> bool {
    let value = value.to_ascii_lowercase();
    if path.len() > 5 {
        return false;
    }
    let within = |part: &String| {
        ["error", "errors", "errormessage", "error_message"]
            .iter()
            .any(|name| part.eq_ignore_ascii_case(name))
    };
    if path.iter().any(within) {
        return is_truthy(&value);
    }
    match path.last().map(|last| last.to_ascii_lowercase()).as_deref() {
        None => value == "false",
        Some("success" | "ok" | "authenticated" | "loggedin" | "logged_in" | "valid") => {
            !is_truthy(&value)
        }
        Some("status" | "result" | "state") => {
            ["error", "fail", "invalid", "denied", "false", "unauthor", "ko"]
                .iter()
                .any(|word| value.starts_with(word))
                || value.parse().is_ok_and(|status: u16| (400..600).contains(&status))
        }
        Some(_) => false,
    }
}

fn is_truthy(value: &str) -> bool {
    !matches!(value, "" | "0" | "false" | "null" | "no" | "none")
}

#[cfg(test)]
mod tests;
