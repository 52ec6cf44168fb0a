//! What the provider knows the shop by, put in when the body is final. The shop's own copy, if it has
//! one, is taken out in every spelling: it is worth nothing.

use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use crate::policy::{Credentials, Mac, Secret};
use crate::proxy::body::Body;
use crate::proxy::headers::drop_spellings;

/// Puts the credentials into the head of a request.
pub(super) fn put(
    credentials: &Credentials,
    headers: &mut HeaderMap,
    (body, now): (&Body, SystemTime),
) {
    match credentials {
        Credentials::Header { name, value } => {
            drop_spellings(headers, name);
            // That it is a value was made sure of when the file was read.
            if let Ok(mut value) = HeaderValue::from_bytes(value.expose()) {
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        Credentials::Signature { mac, key } => sign(mac, key, headers, (whole(body), now)),
    }
}

fn sign(mac: &Mac, key: &Secret, headers: &mut HeaderMap, (body, now): (&[u8], SystemTime)) {
    let seconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().to_string();
    let timestamp = mac.timestamp.as_ref().map(|_| seconds.as_str());
    let signature = Zeroizing::new(mac.algorithm.sign(key, timestamp, body));
    drop_spellings(headers, &mac.header);
    if let Ok(value) = HeaderValue::try_from(mac.encoding.write(&signature)) {
        headers.insert(&mac.header, value);
    }
    let Some(name) = &mac.timestamp else { return };
    drop_spellings(headers, name);
    if let Ok(value) = HeaderValue::try_from(seconds) {
        headers.insert(name, value);
    }
}

/// A request to a provider is edited whole before any of it leaves. Anything else would get a
/// signature that the provider refuses, never one that fits another body.
fn whole(body: &Body) -> &[u8] {
    match body {
        Body::Whole(bytes) => bytes,
        Body::Copied(_)
        | Body::Empty
        | Body::Observed(_)
        | Body::Passed(_)
        | Body::Rewritten(_) => b"",
    }
}
