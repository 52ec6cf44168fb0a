//! What counts as a login, or as another attempt that strangers repeat, and how its answer is read.

use std::sync::Arc;

use http::{HeaderName, Method, StatusCode};
use regex::bytes::Regex as BytesRegex;

use super::{Counted, LoginLimits, PathPattern};

/// What a login rule is called where guards are named.
pub const LOGIN: &str = "login";

/// A configured attempt of a site: a login, or what a guard of another name counts.
#[derive(Clone, Debug)]
pub struct GuardRule {
    /// For metrics, logs and refusals: [`LOGIN`], or the guard's name as configured.
    pub name: Arc<str>,
    /// What is guarded.
    pub kind: GuardKind,
    /// The method of an attempt; HEAD goes with GET, which shops answer by the same code.
    pub method: Method,
    /// The path of an attempt.
    pub path: PathPattern,
    /// What else tells an attempt from other requests on the path.
    pub when: Option<Condition>,
    /// Where the account and the password stand.
    pub carrier: Carrier,
    /// The field that names the account, or whatever the guard counts by; `None` means the usual
    /// names for a login, and nothing for other guards.
    pub subject_field: Option<FieldPath>,
    /// Any of these makes the attempt a success, unless a failure shows.
    pub success: Vec<Sign>,
    /// Any of these makes the attempt a failure, of a payment a decline. With neither list, the
    /// built-in signs decide; with one list only, everything else is the other outcome; with both, a
    /// failure, or nothing at all for a payment: a form that lacks a street is no declined card.
    pub failure: Vec<Sign>,
    /// The limits of this rule, where it has its own; they also say which outcomes count.
    pub limits: Option<Arc<LoginLimits>>,
}

/// What is guarded.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum GuardKind {
    /// Codes that are worth money.
    Coupon,
    /// Names and passwords.
    Login,
    /// Something else.
    Other,
    /// Cards, which testers try by the hundred.
    Payment,
    /// New accounts.
    Registration,
    /// Mails that set a new password.
    Reset,
}

/// Where the account and the password of an attempt stand.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Carrier {
    /// In `Authorization: Basic` (RFC 7617), whatever the body.
    Basic,
    /// In the fields of a form, JSON, XML or the query.
    Fields,
    /// In a GraphQL mutation, by its own name or its operation's; `None` means the usual ones.
    Graphql(Option<String>),
    /// In the parameters of an XML-RPC call that takes a password.
    XmlRpc,
}

/// What a request must hold to be an attempt.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Condition {
    /// Where it is looked for.
    pub place: Place,
    /// The field.
    pub field: FieldPath,
    /// What it must hold; `None` means that it is there.
    pub value: Option<ValuePattern>,
}

/// Where a condition looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Place {
    /// In the body and the query.
    Anywhere,
    /// In the query only, so that a body need not be read to know.
    Query,
}

/// `user.email` or `user[email]`: a field by the names of all that encloses it; `*.email` at any
/// depth.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FieldPath {
    squeezed: String,
    at_any_depth: bool,
}

/// A value, where `*` is any run of characters. Case and punctuation do not count: shops strip what
/// they do not expect (OpenCart takes `route=account/log-in` for `account/login`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ValuePattern {
    pieces: Vec<String>,
}

/// Something in the shop's answer that tells how an attempt went.
#[derive(Clone, Debug)]
pub enum Sign {
    /// The first 64 KiB of the decoded body match.
    Body(BytesRegex),
    /// A cookie of this name is set to something.
    Cookie(String),
    /// A field of this name is there, and matches.
    Header(HeaderName, Option<BytesRegex>),
    /// The JSON body has a value other than null at this pointer (RFC 6901), and its text matches.
    Json(String, Option<BytesRegex>),
    /// The `Location` matches.
    Location(BytesRegex),
    /// The status is this.
    Status(StatusCode),
}

impl GuardRule {
    /// A login by form or JSON at this path, judged by the built-in signs.
    #[must_use]
    pub fn login(path: PathPattern) -> Self {
        Self {
            name: LOGIN.into(),
            kind: GuardKind::Login,
            method: Method::POST,
            path,
            when: None,
            carrier: Carrier::Fields,
            subject_field: None,
            success: Vec::new(),
            failure: Vec::new(),
            limits: None,
        }
    }

    /// Whether signs were given.
    #[must_use]
    pub fn has_signs(&self) -> bool {
        !self.success.is_empty() || !self.failure.is_empty()
    }
}

impl GuardKind {
    /// The name used in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coupon => "coupon",
            Self::Login => "login",
            Self::Other => "other",
            Self::Payment => "payment",
            Self::Registration => "registration",
            Self::Reset => "reset",
        }
    }

    /// Whether the built-in signs tell how an attempt went. A registration is answered as a login is;
    /// of others nothing is known.
    #[must_use]
    pub fn has_built_in_signs(self) -> bool {
        matches!(self, Self::Login | Self::Registration)
    }

    /// What is counted where nothing else is said.
    #[must_use]
    pub fn counts(self) -> Counted {
        match self {
            Self::Coupon | Self::Login | Self::Payment => Counted::Failures,
            Self::Other | Self::Reset => Counted::Attempts,
            Self::Registration => Counted::Successes,
        }
    }
}

impl Condition {
    /// Whether this field is the one, and holds what it must.
    #[must_use]
    pub fn holds(&self, path: &[String], value: &str) -> bool {
        self.field.matches(path) && self.value.as_ref().is_none_or(|wanted| wanted.matches(value))
    }
}

impl FieldPath {
    /// Reads a path; `None` where it names nothing.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (at_any_depth, name) = match text.trim().strip_prefix("*.") {
            Some(name) => (true, name),
            None => (false, text),
        };
        let squeezed = squeeze(name);
        (!squeezed.is_empty()).then_some(Self { squeezed, at_any_depth })
    }

    /// Whether this is the field at `path`, from the outside in.
    #[must_use]
    pub fn matches(&self, path: &[String]) -> bool {
        let starts = if self.at_any_depth { path.len().max(1) } else { 1 };
        // Nothing is copied: rules ask this of every field of a request.
        let from = |start: usize| {
            let parts = path.get(start..).unwrap_or_default().iter();
            parts.flat_map(|part| squeezed(part)).eq(self.squeezed.chars())
        };
        (0..starts).any(from)
    }
}

impl ValuePattern {
    /// Reads a pattern.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { pieces: text.split('*').map(squeeze).collect() }
    }

    /// Whether a value is meant.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        super::pattern::glob(&self.pieces, &squeeze(value))
    }
}

/// A name without case and punctuation: `user[email]`, `user.email` and `User_Email` are one, as they
/// are for PHP, which turns dots and spaces into underscores, and for servers that ignore case.
#[must_use]
pub fn squeeze(name: &str) -> String {
    squeezed(name).collect()
}

fn squeezed(name: &str) -> impl Iterator<Item = char> {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn spellings_of_one_field_are_one() {
        for name in ["user[email]", "user.email", "User_Email", "user email"] {
            assert!(FieldPath::parse(name).unwrap().matches(&path(&["user", "email"])), "{name}");
        }
        assert!(FieldPath::parse(" ").is_none() && FieldPath::parse("*.").is_none());
    }

    #[test]
    fn a_field_is_meant_by_its_whole_path_unless_a_star_begins_it() {
        let (whole, any) = (FieldPath::parse("user.email"), FieldPath::parse("*.email"));
        let (whole, any) = (whole.unwrap(), any.unwrap());
        let deep = path(&["Envelope", "Body", "login", "email"]);
        assert!(any.matches(&deep) && any.matches(&path(&["email"])));
        assert!(!whole.matches(&deep) && !any.matches(&path(&["newemail"])));
    }

    #[test]
    fn a_value_is_compared_as_shops_compare_it() {
        let pattern = ValuePattern::parse("account/login*");
        assert!(pattern.matches("account/login.login") && pattern.matches("Account/Log-in"));
        assert!(!pattern.matches("account/logout") && !pattern.matches("x/account/login"));
    }
}
