//! Signatures over bodies (HMAC, RFC 2104), as payment providers make and expect them.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use http::HeaderName;

use super::Secret;
use crate::coding::base64;

/// How a signature is made, and the fields that carry it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mac {
    /// The field that holds it.
    pub header: HeaderName,
    /// The hash beneath it.
    pub algorithm: MacAlgorithm,
    /// How it is written.
    pub encoding: MacEncoding,
    /// The field that holds the time, in seconds since 1970; what is signed is then that time, a dot
    /// and the body, so that nobody can move one signature to another time.
    pub timestamp: Option<HeaderName>,
}

/// The hash beneath a signature.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MacAlgorithm {
    /// HMAC-SHA-256.
    #[default]
    Sha256,
    /// HMAC-SHA-512.
    Sha512,
}

/// How a signature is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MacEncoding {
    /// As base64 (RFC 4648 §4).
    Base64,
    /// As hexadecimal digits.
    #[default]
    Hex,
}

impl MacAlgorithm {
    /// The signature of a body, at a time where there is one.
    #[must_use]
    pub fn sign(self, key: &Secret, timestamp: Option<&str>, body: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key.expose()));
        if let Some(timestamp) = timestamp {
            context.update(timestamp.as_bytes());
            context.update(b".");
        }
        context.update(body);
        context.sign().as_ref().to_vec()
    }
}

impl MacEncoding {
    /// The text of a signature.
    #[must_use]
    pub fn write(self, signature: &[u8]) -> String {
        match self {
            Self::Base64 => base64::encode(signature),
            Self::Hex => signature.iter().fold(String::new(), |mut text, byte| {
                let _infallible = write!(text, "{byte:02x}");
                text
            }),
        }
    }

    /// A signature as it is compared: case says nothing in hexadecimal.
    #[must_use]
    pub fn normalise(self, text: &str) -> String {
        match self {
            Self::Base64 => text.trim().to_owned(),
            Self::Hex => text.trim().to_ascii_lowercase(),
        }
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn signatures_are_those_of_rfc_4231() {
        let key = Secret::new(Zeroizing::new(b"Jefe".to_vec()));
        let body = b"what do ya want for nothing?";
        let short = MacAlgorithm::Sha256.sign(&key, None, body);
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(MacEncoding::Hex.write(&short), expected);
        let long = MacAlgorithm::Sha512.sign(&key, None, body);
        assert!(MacEncoding::Hex.write(&long).starts_with("164b7a7bfcf819e2e395fbe73b56e0a3"));
        let dated = MacAlgorithm::Sha256.sign(&key, Some("7"), b"x");
        assert_eq!(dated, MacAlgorithm::Sha256.sign(&key, None, b"7.x"));
    }
}
