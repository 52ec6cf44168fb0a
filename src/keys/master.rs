//! The master key and the keys derived from it.

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The size of the master key and of every key derived from it.
pub const KEY_BYTES: usize = 32;

/// Sets this program's derived keys apart from those another program makes of the same bytes.
const SALT: &[u8] = b"tillgate master key v1";

/// The key that opens everything. Wiped when dropped; cannot be printed or cloned.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct MasterKey {
    // Boxed: a move copies the pointer and leaves no second copy of the key behind.
    bytes: Box<[u8; KEY_BYTES]>,
}

/// A key for one purpose, derived from the master key. Wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct DerivedKey {
    bytes: Box<[u8; KEY_BYTES]>,
}

impl MasterKey {
    /// Takes exactly [`KEY_BYTES`] bytes; the caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != KEY_BYTES {
            return None;
        }
        let mut key = Self { bytes: Box::new([0; KEY_BYTES]) };
        key.bytes.copy_from_slice(bytes);
        Some(key)
    }

    /// Makes a new key.
    pub(super) fn random() -> Result<Self, Unspecified> {
        let mut key = Self { bytes: Box::new([0; KEY_BYTES]) };
        rand::fill(key.bytes.as_mut_slice())?;
        Ok(key)
    }

    /// The key for one purpose (HKDF-SHA-256, RFC 5869): equal labels give equal keys, and no
    /// derived key tells anything about another or about the master key.
    #[must_use]
    pub fn derive(&self, label: &str) -> DerivedKey {
        let mut derived = DerivedKey { bytes: Box::new([0; KEY_BYTES]) };
        Salt::new(HKDF_SHA256, SALT)
            .extract(self.bytes.as_slice())
            .expand(&[label.as_bytes()], OneKey)
            .and_then(|material| material.fill(derived.bytes.as_mut_slice()))
            .expect("HKDF-SHA-256 gives up to 255 * 32 bytes, and KEY_BYTES is 32");
        derived
    }

    /// The bytes, for the key file only.
    pub(super) fn expose(&self) -> &[u8] {
        self.bytes.as_slice()
    }
}

impl DerivedKey {
    /// The bytes, for the one cipher or MAC this key was derived for.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }
}

struct OneKey;

impl KeyType for OneKey {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_always_gives_the_same_key_and_another_label_another() {
        let key = MasterKey::from_bytes(&[7; KEY_BYTES]).unwrap();
        let again = MasterKey::from_bytes(&[7; KEY_BYTES]).unwrap();
        let other = MasterKey::from_bytes(&[8; KEY_BYTES]).unwrap();
        assert_eq!(key.derive("audit").expose(), again.derive("audit").expose());
        assert_ne!(key.derive("audit").expose(), key.derive("accounts").expose());
        assert_ne!(key.derive("audit").expose(), other.derive("audit").expose());
    }

    #[test]
    fn only_thirty_two_bytes_are_a_key() {
        assert!(MasterKey::from_bytes(&[7; 31]).is_none());
        assert!(MasterKey::from_bytes(&[7; 33]).is_none());
    }
}
