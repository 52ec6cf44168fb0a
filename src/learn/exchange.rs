//! One recorded exchange. It holds a password: it has no `Debug`, is wiped when dropped and goes
//! nowhere but into a comparison.

use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, REFERER};
use http::{Method, Uri, request, response};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::policy::Site;
use crate::proxy::login::rehearse::{self, Field, Recorded};

/// A request and the shop's own answer to it.
pub(super) struct Exchange {
    pub(super) request: request::Parts,
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) answer: response::Parts,
    pub(super) page: Vec<u8>,
}

/// Where logins go: two attempts are compared only with the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Address {
    pub(super) method: Method,
    pub(super) host: Option<String>,
    pub(super) path: String,
}

impl Exchange {
    pub(super) fn recorded(&self) -> Recorded<'_> {
        let Self { request, body, answer, page } = self;
        Recorded { request, body, answer, page }
    }

    pub(super) fn outcome(&self, site: &Site) -> Option<crate::counters::Outcome> {
        self.recorded().outcome(site)
    }

    pub(super) fn fields(&self) -> Vec<Field> {
        self.recorded().fields()
    }

    /// Whether somebody typed a password; not so where one is chosen, which is typed twice. `built_in`
    /// knows those that stand in no field of their own.
    pub(super) fn is_login(&self, built_in: &Site) -> bool {
        if self.shows_basic() || self.outcome(built_in).is_some() {
            return true;
        }
        let fields = self.fields();
        let passwords: Vec<_> = fields.iter().filter(|field| field.is_password()).collect();
        let twice = passwords.iter().any(|one| {
            passwords.iter().any(|other| one.path != other.path && one.value == other.value)
        });
        !passwords.is_empty() && !twice
    }

    /// Whether a name and a password stand in its head (RFC 7617).
    pub(super) fn shows_basic(&self) -> bool {
        let shown = self.request.headers.get(AUTHORIZATION).map(|value| value.as_bytes());
        let scheme = shown.and_then(|value| value.get(..6));
        scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"Basic "))
    }

    /// Whether it calls a method by XML-RPC.
    pub(super) fn is_xml_rpc(&self) -> bool {
        memchr::memmem::find(&self.body, b"<methodCall").is_some()
    }

    /// The request as JSON, if it is.
    pub(super) fn asked(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(super) fn address(&self) -> Address {
        Address {
            method: self.request.method.clone(),
            host: self.request.uri.host().map(str::to_owned),
            path: rehearse::address(&self.request.uri).into_owned(),
        }
    }

    pub(super) fn status(&self) -> u16 {
        self.answer.status.as_u16()
    }

    pub(super) fn cookies(&self) -> Vec<&str> {
        rehearse::cookies_set(&self.answer.headers).collect()
    }

    /// The path that a redirect leads to; what stands behind it may name the customer.
    pub(super) fn location(&self) -> Option<String> {
        let text = self.answer.headers.get(LOCATION)?.to_str().ok()?;
        let bare = text.split(['?', '#']).next().unwrap_or_default();
        match bare.parse::<Uri>() {
            Ok(uri) if uri.host().is_some() => Some(uri.path().to_owned()),
            Ok(_) | Err(_) => Some(bare.to_owned()),
        }
    }

    /// The answer as JSON, if it is.
    pub(super) fn json(&self) -> Option<Value> {
        let kind = self.answer.headers.get(CONTENT_TYPE)?.to_str().ok()?;
        kind.contains("json").then(|| serde_json::from_slice(&self.page).ok())?
    }

    /// The request as a script would send it, with none of what a browser had been given before.
    pub(super) fn as_a_script(&self) -> (request::Parts, Zeroizing<Vec<u8>>) {
        let mut head = self.request.clone();
        for name in [COOKIE, ORIGIN, REFERER] {
            head.headers.remove(name);
        }
        (head, self.body.clone())
    }
}
