//! A master key whose bytes this process holds, and the keys that a master key wraps.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use aws_lc_rs::rand;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{MasterId, MasterKey, WrapError};

/// The size of a master key and of every key wrapped by one or derived from one.
pub const KEY_BYTES: usize = 32;

/// Sets this program's derived keys apart from those another program makes of the same bytes.
const SALT: &[u8] = b"tillgate master key v1";

/// The label of the name a key gives itself.
const ID_LABEL: &[u8] = b"master key id";

/// The label of the key that wraps.
const WRAP_LABEL: &[u8] = b"vault data keys v1";

/// Thirty-two secret bytes. Wiped when dropped; cannot be printed or cloned.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SecretKey {
    // Boxed: a move copies the pointer and leaves no second copy of the key behind.
    bytes: Box<[u8; KEY_BYTES]>,
}

/// A master key in memory.
///
/// Nothing is ever sealed with its own bytes: the key that wraps and the key's public name are
/// derived from them (HKDF-SHA-256, RFC 5869), and neither tells anything about the other.
pub struct MemoryKey {
    bytes: SecretKey,
    id: MasterId,
}

impl SecretKey {
    /// Takes exactly [`KEY_BYTES`] bytes; the caller wipes its own copy.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::empty();
        if bytes.len() != KEY_BYTES {
            return None;
        }
        key.bytes.copy_from_slice(bytes);
        Some(key)
    }

    /// Makes a new one.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn random() -> Result<Self, Unspecified> {
        let mut key = Self::empty();
        rand::fill(key.bytes.as_mut_slice())?;
        Ok(key)
    }

    /// The bytes, for the one cipher or MAC this key is for.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// A second copy, for a part that keeps its own.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let mut copy = Self::empty();
        copy.bytes.copy_from_slice(self.expose());
        copy
    }

    fn empty() -> Self {
        Self { bytes: Box::new([0; KEY_BYTES]) }
    }
}

impl MemoryKey {
    /// A master key of these bytes.
    #[must_use]
    pub fn new(bytes: SecretKey) -> Self {
        let mut id = MasterId([0; 16]);
        let name = derive(&bytes, ID_LABEL);
        id.0.iter_mut().zip(name.expose()).for_each(|(to, from)| *to = *from);
        Self { bytes, id }
    }

    /// The bytes, for the key file only.
    pub(super) fn bytes(&self) -> &SecretKey {
        &self.bytes
    }

    /// Made for each use: a master key is used a few times in a process's life, and a second copy
    /// of what it derives would lie in memory all that time.
    fn wrapper(&self) -> Result<RandomizedNonceKey, WrapError> {
        let key = derive(&self.bytes, WRAP_LABEL);
        RandomizedNonceKey::new(&AES_256_GCM, key.expose()).map_err(|_| WrapError::Wrong)
    }
}

impl MasterKey for MemoryKey {
    fn id(&self) -> MasterId {
        self.id
    }

    /// Gives nonce, ciphertext and tag.
    fn wrap(&self, key: &SecretKey, about: &[u8]) -> Result<Vec<u8>, WrapError> {
        // Room for the tag from the start: a buffer that grows leaves the key in the old one.
        let mut text = Zeroizing::new(Vec::with_capacity(KEY_BYTES + AES_256_GCM.tag_len()));
        text.extend_from_slice(key.expose());
        let sealed = self.wrapper()?.seal_in_place_append_tag(Aad::from(about), &mut *text);
        let nonce = sealed.map_err(|_| WrapError::Random)?;
        Ok([nonce.as_ref().as_slice(), text.as_slice()].concat())
    }

    fn unwrap_key(&self, wrapped: &[u8], about: &[u8]) -> Result<SecretKey, WrapError> {
        let (nonce, text) = wrapped.split_at_checked(NONCE_LEN).ok_or(WrapError::Wrong)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| WrapError::Wrong)?;
        let mut text = Zeroizing::new(text.to_vec());
        let opened = self.wrapper()?.open_in_place(nonce, Aad::from(about), &mut text);
        opened.ok().and_then(|key| SecretKey::from_bytes(key)).ok_or(WrapError::Wrong)
    }
}

/// Equal labels give equal keys.
fn derive(key: &SecretKey, label: &[u8]) -> SecretKey {
    let mut derived = SecretKey::empty();
    Salt::new(HKDF_SHA256, SALT)
        .extract(key.expose())
        .expand(&[label], OneKey)
        .and_then(|material| material.fill(derived.bytes.as_mut_slice()))
        .expect("HKDF-SHA-256 gives up to 255 * 32 bytes, and KEY_BYTES is 32");
    derived
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

    fn key(seed: u8) -> MemoryKey {
        MemoryKey::new(SecretKey::from_bytes(&[seed; KEY_BYTES]).unwrap())
    }

    #[test]
    fn a_key_has_one_name_and_another_key_another() {
        assert_eq!(key(7).id(), key(7).id());
        assert_ne!(key(7).id(), key(8).id());
    }

    #[test]
    fn a_wrapped_key_opens_with_its_own_master_key_and_purpose_only() {
        let secret = SecretKey::random().unwrap();
        let wrapped = key(7).wrap(&secret, b"about").unwrap();
        assert_eq!(key(7).unwrap_key(&wrapped, b"about").ok().unwrap().expose(), secret.expose());
        let mut damaged = wrapped.clone();
        damaged[NONCE_LEN] ^= 1;
        assert!(matches!(key(8).unwrap_key(&wrapped, b"about"), Err(WrapError::Wrong)));
        assert!(matches!(key(7).unwrap_key(&wrapped, b"other"), Err(WrapError::Wrong)));
        assert!(matches!(key(7).unwrap_key(&damaged, b"about"), Err(WrapError::Wrong)));
        assert!(matches!(key(7).unwrap_key(&wrapped[..7], b"about"), Err(WrapError::Wrong)));
    }

    #[test]
    fn only_thirty_two_bytes_are_a_key() {
        assert!(SecretKey::from_bytes(&[7; 31]).is_none());
        assert!(SecretKey::from_bytes(&[7; 33]).is_none());
    }
}
