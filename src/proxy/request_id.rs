//! Names for requests: in every log, header and error page.

use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::digits;

/// The request id, on every answer and towards the upstream.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken from a client.
const REQUEST_ID_LENGTH_MAX: usize = 64;

/// Names one request in every log, header and error page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// Takes a client's id where it is harmless to print, else makes one.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).filter(|value| harmless(value.as_bytes()));
        given.map_or_else(Self::fresh, |value| Self(value.clone()))
    }

    /// A new one: 32 hex digits, unique across processes.
    #[must_use]
    pub fn fresh() -> Self {
        let (high, low) = unique();
        let text = format!("{high:016x}{low:016x}");
        Self(HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("-")))
    }

    /// As a field value.
    #[must_use]
    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or("-")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn harmless(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let fits = !id.is_empty() && id.len() <= REQUEST_ID_LENGTH_MAX;
    // This text goes into every log, and nobody masks it there.
    fits && id.iter().all(plain) && !digits::may_be_card(id)
}

/// Two words that no other request has: random per process, then a count scattered by an odd
/// multiplier. Ids need to be unique, not secret.
pub(super) fn unique() -> (u64, u64) {
    static PROCESS: LazyLock<(u64, u64)> = LazyLock::new(|| {
        let mut seed = [0; 16];
        let _kept_zero = aws_lc_rs::rand::fill(&mut seed);
        let (high, low) = seed.split_at(8);
        let word = |bytes: &[u8]| bytes.iter().fold(0, |sum, &b| sum << 8 | u64::from(b));
        (word(high), word(low))
    });
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    (PROCESS.0, PROCESS.1 ^ count.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        pairs.collect()
    }

    #[test]
    fn a_request_id_that_could_be_a_card_number_is_replaced() {
        let id = |value| RequestId::of(&headers(&[("x-request-id", value)])).to_string();
        assert_eq!(id("abc-123"), "abc-123");
        for card in ["4111111111111111", "a-4111111111111111", "4111-1111.1111_1111-x"] {
            assert_ne!(id(card), card);
        }
        assert_ne!(id("a b"), "a b");
    }
}
