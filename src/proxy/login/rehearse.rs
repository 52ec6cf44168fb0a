//! The guard's eyes over recorded exchanges: what it would have said, with nothing counted.
//!
//! `learn` must not know better than the guard what a login is: it asks here.

use std::borrow::Cow;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Uri, request, response};
use zeroize::Zeroizing;

use super::account::{NAMES, is_password};
use super::claim::{Claim, Extent};
use super::outcome::{Judge, Judgement};
use super::recognise::Expected;
use super::{fields, path, signs};
use crate::counters::Outcome;
use crate::policy::{Site, squeeze};

/// A request and its answer, both in full.
pub struct Recorded<'a> {
    /// The request's head.
    pub request: &'a request::Parts,
    /// Its body, decoded.
    pub body: &'a [u8],
    /// The answer's head.
    pub answer: &'a response::Parts,
    /// The answer's body, decoded.
    pub page: &'a [u8],
}

/// A field of a request. Has no `Debug`: its value may be a password.
pub struct Field {
    /// Its name, taken apart: `user[email]` is `user`, `email`.
    pub path: Vec<String>,
    /// What the client wrote into it.
    pub value: Zeroizing<String>,
}

impl Recorded<'_> {
    /// What a site's rules make of it; `None` where it is no login by them.
    #[must_use]
    pub fn outcome(&self, site: &Site) -> Option<Outcome> {
        let expected = Expected::recognise(site, self.request)?;
        let claims = self.claims(&expected);
        let mut judge = Judge::new(&expected, claims.first()?);
        Some(match judge.head(self.answer) {
            Judgement::Failure => Outcome::Failure,
            Judgement::Neutral => Outcome::Neutral,
            Judgement::Success => Outcome::Success,
            Judgement::NeedsBody => judge.body(self.page),
        })
    }

    /// Whether the rules of a site find one account in it.
    #[must_use]
    pub fn names_an_account(&self, site: &Site) -> bool {
        let Some(expected) = Expected::recognise(site, self.request) else { return false };
        let claims = self.claims(&expected);
        matches!(&claims[..], [claim] if claim.account.names().len() == 1)
    }

    /// The logins among what it tries.
    fn claims<'p>(&self, expected: &Expected<'p>) -> Vec<Claim<'p>> {
        let claims = expected.claims(content_types(self.request), self.body, Extent::Whole);
        let mut claims = claims.unwrap_or_default();
        claims.retain(|claim| claim.guard().is_none());
        claims
    }

    /// Every field of the request: its query's, then its body's.
    #[must_use]
    pub fn fields(&self) -> Vec<Field> {
        let mut found = Vec::new();
        let mut see = |path: &[String], value: &str| {
            let path: Vec<_> = path.iter().filter(|part| !part.is_empty()).cloned().collect();
            // Bodies are read as forms whatever their type says: JSON is then one strange name.
            let strange = path.iter().any(|part| part.contains(['{', '"']));
            if !path.is_empty() && !strange && !value.is_empty() {
                found.push(Field { path, value: Zeroizing::new(value.to_owned()) });
            }
        };
        if let Some(query) = self.request.uri.query() {
            fields::form(query.as_bytes(), &mut see);
        }
        let kinds: Vec<_> = content_types(self.request).collect();
        let _as_far_as_it_goes = fields::each(&kinds, self.body, &mut see);
        found
    }
}

impl Field {
    /// Whether it holds a password, by its name.
    #[must_use]
    pub fn is_password(&self) -> bool {
        self.path.last().is_some_and(|last| is_password(&squeeze(last)))
    }

    /// Whether its name is a usual one of an account.
    #[must_use]
    pub fn is_usual_account(&self) -> bool {
        let last = self.path.last().map(|last| squeeze(last)).unwrap_or_default();
        let whole = squeeze(&self.path.concat());
        NAMES.iter().any(|name| *name == last || *name == whole)
    }

    /// The name as `account_field` writes it.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.join(".")
    }
}

/// The path as rules are matched against it.
#[must_use]
pub fn address(uri: &Uri) -> Cow<'_, str> {
    path::normalise(uri.path())
}

/// The names of the cookies that an answer sets to something.
pub fn cookies_set(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    signs::cookies(headers, &[])
}

fn content_types(head: &request::Parts) -> impl Iterator<Item = &[u8]> {
    head.headers.get_all(CONTENT_TYPE).iter().map(HeaderValue::as_bytes)
}
