//! A text that nobody may see: what proves who we are, or who may call.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use zeroize::Zeroizing;

/// A secret from a file or the environment; wiped when dropped, and impossible to print or copy.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes over.
    #[must_use]
    pub fn new(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The bytes, for what is sent or signed with them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Whether `shown` is the secret, in a time that depends on neither: digests are compared, so that
    /// not even the length tells.
    #[must_use]
    pub fn is(&self, shown: &[u8]) -> bool {
        let (own, shown) =
            (digest::digest(&digest::SHA256, &self.0), digest::digest(&digest::SHA256, shown));
        verify_slices_are_equal(own.as_ref(), shown.as_ref()).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        let secret = Secret::new(Zeroizing::new(b"open sesame".to_vec()));
        assert!(secret.is(b"open sesame"));
        for other in ["", "open", "open sesame ", "Open sesame"] {
            assert!(!secret.is(other.as_bytes()), "{other}");
        }
    }
}
