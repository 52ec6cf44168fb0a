//! The page that has a browser do some work, and then sends what it had sent once more.

use aws_lc_rs::rand;
use http::HeaderValue;

use super::page::{Rendered, STYLE};
use super::wait;
use crate::coding::base64;
use crate::proxy::proof::Challenge;
use crate::proxy::request_id::RequestId;

/// The page, with places for what differs from one to the next.
const PAGE: &str = include_str!("challenge.html");

/// What the page does is in one script: searched for, hashed and sent by nobody else's.
const SCRIPT: &str = include_str!("challenge.js");

/// The page for a challenge. Nothing of the request is in it: the browser still has the form, and
/// sends it again by itself when it loads the page anew.
pub(super) fn page(challenge: &Challenge, id: &RequestId) -> Rendered {
    let mut bytes = [0; 18];
    // Without random bytes the script is not run, and the page says what to do without one.
    let nonce = match rand::fill(&mut bytes) {
        Ok(()) => base64::encode(&bytes),
        Err(_) => String::new(),
    };
    let text = PAGE
        .replace("{{style}}", STYLE)
        .replace("{{wait}}", &wait::in_words(wait::whole_seconds(challenge.lifetime)))
        .replace("{{script}}", SCRIPT)
        .replace("{{challenge}}", challenge.text())
        .replace("{{bits}}", &challenge.bits.to_string())
        .replace("{{seconds}}", &challenge.lifetime.as_secs().to_string())
        .replace("{{request_id}}", id.as_str())
        .replace("{{nonce}}", &nonce);
    // Nothing about forms: the one that was sent is to be sent again, to wherever the shop leads.
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         base-uri 'none'; frame-ancestors 'self'"
    );
    let policy = HeaderValue::try_from(policy).ok();
    Rendered { content_type: "text/html; charset=utf-8", text, policy }
}
