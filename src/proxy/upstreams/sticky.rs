//! The cookie that leads a client to the server that it had before.
//!
//! It names no address: its value is a keyed hash that only we can make, and it is taken out of what
//! the shop sees. A server that is out, or gone, costs the client its place there and no more.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{COOKIE, HeaderValue};

use super::targets::{Entry, Targets};
use crate::policy::Scheme;
use crate::proxy::cookies;

/// What a client has shown of the server it had.
pub(in crate::proxy) struct Sticky<'t> {
    name: Option<&'t str>,
    wished: Option<Arc<Entry>>,
}

impl<'t> Sticky<'t> {
    /// Takes the cookie out of a request, where the site has one.
    pub(in crate::proxy) fn take(targets: &'t Targets, headers: &mut HeaderMap) -> Self {
        let Some(name) = targets.sticky() else { return Self { name: None, wished: None } };
        let Some(value) = headers.get(COOKIE) else {
            return Self { name: Some(name), wished: None };
        };
        let (left, shown) = split(value.as_bytes(), name);
        let wished = shown.and_then(|tag| targets.tagged(tag));
        match HeaderValue::from_bytes(&left) {
            Ok(left) if !left.is_empty() => headers.insert(COOKIE, left),
            Ok(_) | Err(_) => headers.remove(COOKIE),
        };
        Self { name: Some(name), wished }
    }

    /// The server that the client had.
    pub(in crate::proxy) fn wished(&self) -> Option<&Arc<Entry>> {
        self.wished.as_ref()
    }

    /// The `Set-Cookie` for a client that another server has answered.
    pub(in crate::proxy) fn cookie(&self, entry: &Entry, scheme: Scheme) -> Option<HeaderValue> {
        let name = self.name?;
        if self.wished.as_ref().is_some_and(|wished| wished.server.id == entry.server.id) {
            return None;
        }
        let secure = match scheme {
            Scheme::Http => "",
            Scheme::Https => "; Secure",
        };
        let tag = &entry.server.tag;
        HeaderValue::try_from(format!("{name}={tag}; Path=/; HttpOnly; SameSite=Lax{secure}")).ok()
    }
}

/// A `Cookie` field without ours, byte for byte, and what ours holds.
fn split<'v>(field: &'v [u8], name: &str) -> (Vec<u8>, Option<&'v str>) {
    let (mut left, mut shown) = (Vec::new(), None);
    for pair in field.split(|byte| *byte == b';') {
        match cookies::halves(pair) {
            (its, value) if its == name.as_bytes() => shown = std::str::from_utf8(value).ok(),
            _ => left.push(pair),
        }
    }
    (left.join(&b";"[..]).trim_ascii_start().to_vec(), shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_cookie_is_taken_out_and_the_others_stay_byte_for_byte() {
        let cases = [
            ("a=1; shop=tag; b=\"2\"", "a=1; b=\"2\"", Some("tag")),
            ("shop=tag", "", Some("tag")),
            ("shops=tag;  x", "shops=tag;  x", None),
            ("a=shop=tag", "a=shop=tag", None),
            ("a=1; shop = tag ;b", "a=1;b", Some("tag")),
        ];
        for (field, left, shown) in cases {
            assert_eq!(split(field.as_bytes(), "shop"), (left.as_bytes().to_vec(), shown));
        }
    }
}
