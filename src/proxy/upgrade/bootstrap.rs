//! WebSocket over HTTP/2 (RFC 8441): CONNECT asks there for what HTTP/1.1 asks by `Upgrade`.
//!
//! The shop is asked as HTTP/1.1 does, with a key of ours, for HTTP/2 has none; every rule of the route
//! sees the GET that a WebSocket is on HTTP/1.1.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{HeaderMap, HeaderValue, Method, Request, Version};
use hyper::ext::Protocol;

use crate::proxy::Hold;
use crate::proxy::reject::Rejection;
use crate::proxy::request_id::unique;

/// RFC 6455 §1.3.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A WebSocket that begins on a stream of HTTP/2.
pub(in crate::proxy) struct Bootstrap {
    /// What the shop must prove to have read.
    key: HeaderValue,
    /// Keeps the client's connection.
    hold: Option<Hold>,
}

impl Bootstrap {
    /// What such a stream becomes.
    pub(in crate::proxy) const PROTOCOL: HeaderValue = HeaderValue::from_static("websocket");

    /// Makes a GET of a CONNECT that asks for a WebSocket; any other request stays what it is.
    ///
    /// # Errors
    /// When it asks for another protocol.
    pub(in crate::proxy) fn of<B>(request: &mut Request<B>) -> Result<Option<Self>, Rejection> {
        let hold = request.extensions_mut().remove::<Hold>();
        let protocol = request.extensions_mut().remove::<Protocol>();
        let extended = *request.method() == Method::CONNECT && request.version() == Version::HTTP_2;
        let Some(protocol) = protocol.filter(|_| extended) else { return Ok(None) };
        if !protocol.as_str().eq_ignore_ascii_case("websocket") {
            return Err(Rejection::UpgradeUnknown);
        }
        // RFC 6455 §10.3 wants it unlike any other, not secret.
        let (high, low) = unique();
        let nonce = [high.to_be_bytes(), low.to_be_bytes()].concat();
        let key = HeaderValue::try_from(STANDARD.encode(nonce));
        let key = key.map_err(|_| Rejection::UpgradeUnknown)?;
        *request.method_mut() = Method::GET;
        request.headers_mut().insert(SEC_WEBSOCKET_KEY, key.clone());
        Ok(Some(Self { key, hold }))
    }

    /// Whether the shop has read our handshake (RFC 6455 §4.1): an answer out of a cache has not.
    pub(super) fn is_accepted(&self, answer: &HeaderMap) -> bool {
        let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
        context.update(self.key.as_bytes());
        context.update(GUID);
        let expected = STANDARD.encode(context.finish());
        answer
            .get(SEC_WEBSOCKET_ACCEPT)
            .is_some_and(|given| given.as_bytes() == expected.as_bytes())
    }

    /// What keeps the client's connection open.
    pub(super) fn into_hold(self) -> Option<Hold> {
        self.hold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_key_is_taken() {
        // RFC 6455 section 1.3.
        let key = HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ==");
        let bootstrap = Bootstrap { key, hold: None };
        let mut answer = HeaderMap::new();
        assert!(!bootstrap.is_accepted(&answer));
        let accept = HeaderValue::from_static("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        answer.insert(SEC_WEBSOCKET_ACCEPT, accept);
        assert!(bootstrap.is_accepted(&answer));
    }
}
