//! How an attempt went, by what the shop answered.
//!
//! A configured rule decides by its signs: success first, then failure; with one list the rest is the
//! other outcome, with both it is a failure. Without signs this table decides, from the top:
//!
//! | answer | outcome |
//! |---|---|
//! | 5xx; 405, 408, 413, 415, 431; 304 and 1xx | neutral: the password was not looked at |
//! | any other 4xx (401, 403, 400, 422, 429, 404, 419 …) | failure |
//! | redirect, a cookie named like a signed-in mark (`…logged_in…`) is set | success |
//! | redirect to a login page, to where it was posted, or with an error in its address | failure |
//! | redirect to the page it came from, no cookie set | failure |
//! | redirect elsewhere | success |
//! | 204, 205 | success |
//! | 206 | failure |
//! | 2xx JSON that says so (`success: false`, `error: …`, `status: "fail"`, `false` …) | failure |
//! | 2xx JSON otherwise, unless it is empty | success |
//! | 2xx page with a password input | failure |
//! | 2xx other, a cookie set | success |
//! | 2xx other, no cookie set | failure |
//!
//! Everywhere a cookie that is emptied or expired is not set.

use std::sync::LazyLock;

use http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use regex::bytes::Regex;

use super::fields;
use super::recognise::{Expected, is_login_path, is_login_query, local_path};
use crate::counters::Outcome;
use crate::policy::{LoginRule, Sign};

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
    rule: Option<LoginRule>,
    path: String,
    referrer: Option<String>,
    seen: Seen,
}

/// What the head told, for the body's turn.
#[derive(Default)]
struct Seen {
    cookie: bool,
    failure: bool,
    json: bool,
}

impl Judge {
    pub(super) fn new(expected: &Expected<'_>) -> Self {
        let signs = |rule: &&LoginRule| !rule.success.is_empty() || !rule.failure.is_empty();
        Self {
            rule: expected.rule.filter(signs).cloned(),
            path: expected.path.clone(),
            referrer: expected.referrer.clone(),
            seen: Seen::default(),
        }
    }

    pub(super) fn head(&mut self, answer: &Parts) -> Judgement {
        self.seen.cookie = cookies(&answer.headers).next().is_some();
        self.seen.json = answer.headers.get(CONTENT_TYPE).is_some_and(|kind| {
            memchr::memmem::find(&kind.as_bytes().to_ascii_lowercase(), b"json").is_some()
        });
        let Some(rule) = &self.rule else { return self.built_in(answer) };
        if rule.success.iter().any(|sign| shows(sign, answer)) {
            return Judgement::Success;
        }
        self.seen.failure = rule.failure.iter().any(|sign| shows(sign, answer));
        if answer.status.is_server_error() && !self.seen.failure {
            return Judgement::Neutral;
        }
        let needs = |signs: &[Sign]| signs.iter().any(|sign| matches!(sign, Sign::Body(_)));
        if needs(&rule.success) || (!self.seen.failure && needs(&rule.failure)) {
            return Judgement::NeedsBody;
        }
        rest(rule, self.seen.failure).into()
    }

    pub(super) fn body(&self, body: &[u8]) -> Outcome {
        let body = body.get(..BODY_LOOK_BYTES).unwrap_or(body);
        let Some(rule) = &self.rule else { return self.built_in_body(body) };
        let shows = |signs: &[Sign]| {
            signs.iter().any(|sign| matches!(sign, Sign::Body(text) if text.is_match(body)))
        };
        if shows(&rule.success) {
            return Outcome::Success;
        }
        rest(rule, self.seen.failure || shows(&rule.failure))
    }

    fn built_in(&self, answer: &Parts) -> Judgement {
        match answer.status {
            StatusCode::METHOD_NOT_ALLOWED
            | StatusCode::REQUEST_TIMEOUT
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Judgement::Neutral,
            // A part that the client chose shows what the client wants shown.
            StatusCode::PARTIAL_CONTENT => Judgement::Failure,
            StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT => Judgement::Success,
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
        if cookies(headers).any(signed_in) {
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
        if back && !self.seen.cookie { Judgement::Failure } else { Judgement::Success }
    }

    fn built_in_body(&self, body: &[u8]) -> Outcome {
        let text = body.trim_ascii();
        let decided = if text.is_empty() {
            None
        } else if self.seen.json || text.starts_with(b"{") {
            Some(!json_says_no(&String::from_utf8_lossy(text)))
        } else {
            PASSWORD_INPUT.is_match(text).then_some(false)
        };
        if decided.unwrap_or(self.seen.cookie) { Outcome::Success } else { Outcome::Failure }
    }
}

impl From<Outcome> for Judgement {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Failure => Self::Failure,
            Outcome::Neutral => Self::Neutral,
            Outcome::Success => Self::Success,
        }
    }
}

#[expect(clippy::expect_used, reason = "the pattern is a constant and every test here compiles it")]
static PASSWORD_INPUT: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)<input\b[^>]*\btype\s*=\s*["']?password\b"#).expect("the pattern is sound")
});

/// Neither list of body signs decided, or a failure sign showed.
fn rest(rule: &LoginRule, failure: bool) -> Outcome {
    if failure || !rule.success.is_empty() { Outcome::Failure } else { Outcome::Success }
}

fn shows(sign: &Sign, answer: &Parts) -> bool {
    match sign {
        Sign::Body(_) => false,
        Sign::Cookie(wanted) => cookies(&answer.headers).any(|name| name == wanted),
        Sign::Location(text) => {
            answer.headers.get(LOCATION).is_some_and(|value| text.is_match(value.as_bytes()))
        }
        Sign::Status(status) => answer.status == *status,
    }
}

/// The names of the cookies that are set to something and not expired at once (RFC 6265 §5.2).
pub(super) fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers.get_all(SET_COOKIE).iter().filter_map(|value| {
        let text = value.to_str().ok()?;
        let (name, rest) = text.split_once('=')?;
        let (value, attributes) = rest.split_once(';').unwrap_or((rest, ""));
        let value = value.trim().trim_matches('"');
        let attributes = attributes.to_ascii_lowercase().replace(' ', "");
        let expired = attributes.split(';').any(|attribute| {
            matches!(attribute.strip_prefix("max-age="), Some(age) if age == "0" || age.starts_with('-'))
                || (attribute.starts_with("expires=") && attribute.contains("1970"))
        });
        (!value.is_empty() && !value.eq_ignore_ascii_case("deleted") && !expired).then_some(name.trim())
    })
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
