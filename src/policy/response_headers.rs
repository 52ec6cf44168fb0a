//! Fields of answers that make browsers careful.
//!
//! What the shop says itself stays, unless the operator wants ours in its place: a shop that embeds
//! itself, or talks to a device, knows why.

use http::header::{CONTENT_SECURITY_POLICY, STRICT_TRANSPORT_SECURITY, X_FRAME_OPTIONS};
use http::{HeaderMap, HeaderName, HeaderValue};

/// What is added to the answers of a route, and taken out of them.
#[derive(Clone, Debug, Default)]
pub struct ResponseHeaders {
    /// Whether ours stand in place of the shop's own.
    pub replace: bool,
    /// Fields of every answer.
    pub always: Vec<(HeaderName, HeaderValue)>,
    /// `Strict-Transport-Security`.
    pub transport: Option<HeaderValue>,
    /// Who may show a page in a frame.
    pub framing: Option<Framing>,
    /// Fields that are nobody's business.
    pub remove: Vec<HeaderName>,
}

/// Who may show a page in a frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Framing {
    /// `Content-Security-Policy: frame-ancestors …`.
    pub policy: HeaderValue,
    /// The same as `X-Frame-Options` for old browsers, where that can say it (RFC 7034 §2.1).
    pub options: Option<HeaderValue>,
}

impl ResponseHeaders {
    /// Adds and takes out.
    pub fn apply(&self, headers: &mut HeaderMap, over_tls: bool) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.always {
            self.put(headers, name, value);
        }
        // RFC 6797 §7.2: not over an insecure transport, where anybody could have written it.
        if let Some(value) = self.transport.as_ref().filter(|_| over_tls) {
            self.put(headers, &STRICT_TRANSPORT_SECURITY, value);
        }
        if let Some(framing) = &self.framing {
            self.frame(headers, framing);
        }
    }

    fn put(&self, headers: &mut HeaderMap, name: &HeaderName, value: &HeaderValue) {
        if self.replace || !headers.contains_key(name) {
            headers.insert(name, value.clone());
        }
    }

    fn frame(&self, headers: &mut HeaderMap, framing: &Framing) {
        if !self.replace && speaks_of_frames(headers) {
            return;
        }
        // A policy beside the shop's: browsers enforce both (CSP Level 3 §8.1), and the rest of the
        // shop's stays as it is.
        headers.append(CONTENT_SECURITY_POLICY, framing.policy.clone());
        match &framing.options {
            Some(options) => headers.insert(X_FRAME_OPTIONS, options.clone()),
            None => headers.remove(X_FRAME_OPTIONS),
        };
    }
}

fn speaks_of_frames(headers: &HeaderMap) -> bool {
    let mut policies = headers.get_all(CONTENT_SECURITY_POLICY).iter();
    headers.contains_key(X_FRAME_OPTIONS)
        || policies.any(|policy| {
            let policy = policy.as_bytes().to_ascii_lowercase();
            memchr::memmem::find(&policy, b"frame-ancestors").is_some()
        })
}

#[cfg(test)]
mod tests {
    use http::header::{SERVER, X_CONTENT_TYPE_OPTIONS};

    use super::*;

    fn ours() -> ResponseHeaders {
        let value = HeaderValue::from_static;
        ResponseHeaders {
            replace: false,
            always: vec![(X_CONTENT_TYPE_OPTIONS, value("nosniff"))],
            transport: Some(value("max-age=60")),
            framing: Some(Framing {
                policy: value("frame-ancestors 'self'"),
                options: Some(value("SAMEORIGIN")),
            }),
            remove: vec![SERVER],
        }
    }

    fn applied(ours: &ResponseHeaders, said: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in said {
            headers.append(*name, HeaderValue::from_static(value));
        }
        ours.apply(&mut headers, true);
        headers
    }

    #[test]
    fn what_the_shop_does_not_say_is_added_and_what_is_unwanted_goes() {
        let headers = applied(&ours(), &[("server", "Apache/2.4.1 (PHP 5.3)")]);
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["strict-transport-security"], "max-age=60");
        assert_eq!(headers["content-security-policy"], "frame-ancestors 'self'");
        assert_eq!(headers["x-frame-options"], "SAMEORIGIN");
        assert!(!headers.contains_key("server"));
    }

    #[test]
    fn what_the_shop_says_stays_unless_ours_is_to_replace_it() {
        let said = [
            ("strict-transport-security", "max-age=1; preload"),
            ("content-security-policy", "default-src *; Frame-Ancestors https://partner.example"),
        ];
        let headers = applied(&ours(), &said);
        assert_eq!(headers["strict-transport-security"], "max-age=1; preload");
        assert_eq!(headers.get_all("content-security-policy").iter().count(), 1);
        assert!(!headers.contains_key("x-frame-options"));
        let headers = applied(&ResponseHeaders { replace: true, ..ours() }, &said);
        assert_eq!(headers["strict-transport-security"], "max-age=60");
        assert_eq!(headers.get_all("content-security-policy").iter().count(), 2);
        assert_eq!(headers["x-frame-options"], "SAMEORIGIN");
    }

    #[test]
    fn nothing_is_said_of_tls_without_tls() {
        let mut headers = HeaderMap::new();
        ours().apply(&mut headers, false);
        assert!(!headers.contains_key("strict-transport-security"));
    }
}
