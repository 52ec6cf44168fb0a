//! Seals and opens card numbers, and makes the fingerprints they are found by.
//!
//! Envelope encryption: random data keys seal the rows, a key derived from the master key wraps the
//! data keys. Only this file knows how a sealed value is laid out: nonce, ciphertext, tag.

use std::collections::HashMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

use super::store::{Fingerprint, KeyId, KeyPurpose, KeyRow, SealedRow};
use crate::card::Pan;
use crate::keys::{DerivedKey, KEY_BYTES};

/// The label of the key that wraps data keys, for `MasterKey::derive`.
pub(super) const WRAPPING_LABEL: &str = "vault data keys v1";

/// How a wrapped key is laid out.
const KEY_VERSION: u8 = 1;

/// How a row is sealed.
pub(super) const ROW_VERSION: u8 = 1;

const TAG_BYTES: usize = 16;

/// The opened keys of one vault.
///
/// A nonce is 96 random bits, which NIST SP 800-38D section 8.3 allows for 2^32 seals per key: more
/// rows than a vault holds, as a card is sealed once.
pub(super) struct Cipher {
    fingerprint: hmac::Key,
    newest: KeyId,
    sealing: HashMap<KeyId, RandomizedNonceKey>,
}

/// Why the keys of a vault do not open.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeysRefused {
    /// A key is sealed in a way this program does not know.
    Newer { version: u8 },
    /// A key that must be there is not.
    Missing { purpose: KeyPurpose },
    /// Not wrapped by this master key, or damaged.
    Wrong,
}

impl Cipher {
    /// Makes the keys of a new vault, wrapped.
    pub(super) fn new_keys(wrapping: &DerivedKey) -> Result<Vec<KeyRow>, Unspecified> {
        let wrapper = RandomizedNonceKey::new(&AES_256_GCM, wrapping.expose())?;
        [KeyPurpose::Fingerprint, KeyPurpose::Seal]
            .into_iter()
            .map(|purpose| {
                let mut id = KeyId([0; 16]);
                rand::fill(&mut id.0)?;
                let mut key = Zeroizing::new([0; KEY_BYTES]);
                rand::fill(key.as_mut_slice())?;
                let about = about_key(id, purpose, KEY_VERSION);
                let wrapped = seal(&wrapper, &about, key.as_slice())?;
                Ok(KeyRow { id, purpose, version: KEY_VERSION, wrapped })
            })
            .collect()
    }

    /// Opens the keys of a vault. They are authenticated, so a wrong master key never gives a key.
    pub(super) fn open_keys(rows: &[KeyRow], wrapping: &DerivedKey) -> Result<Self, KeysRefused> {
        let wrapper = RandomizedNonceKey::new(&AES_256_GCM, wrapping.expose())
            .map_err(|_| KeysRefused::Wrong)?;
        let mut fingerprint = None;
        let mut newest = None;
        let mut sealing = HashMap::new();
        for row in rows {
            if row.version != KEY_VERSION {
                return Err(KeysRefused::Newer { version: row.version });
            }
            let about = about_key(row.id, row.purpose, row.version);
            let key = open(&wrapper, &about, &row.wrapped).ok_or(KeysRefused::Wrong)?;
            match row.purpose {
                KeyPurpose::Fingerprint => {
                    fingerprint = Some(hmac::Key::new(hmac::HMAC_SHA256, &key));
                }
                KeyPurpose::Seal => {
                    let key = RandomizedNonceKey::new(&AES_256_GCM, &key)
                        .map_err(|_| KeysRefused::Wrong)?;
                    sealing.insert(row.id, key);
                    newest = Some(row.id);
                }
            }
        }
        let missing = |purpose| KeysRefused::Missing { purpose };
        Ok(Self {
            fingerprint: fingerprint.ok_or(missing(KeyPurpose::Fingerprint))?,
            newest: newest.ok_or(missing(KeyPurpose::Seal))?,
            sealing,
        })
    }

    /// The fingerprint of a card's digits or of a token's text: the same for the same bytes.
    pub(super) fn fingerprint(&self, text: &[u8]) -> Fingerprint {
        let tag = hmac::sign(&self.fingerprint, text);
        let mut print = Fingerprint([0; 32]);
        for (to, from) in print.0.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        print
    }

    /// Seals the card into `row`, with the newest key, bound to the row's other columns.
    pub(super) fn seal(&self, row: &mut SealedRow, card: &Pan) -> Result<(), Unspecified> {
        row.version = ROW_VERSION;
        row.data_key = self.newest;
        let key = self.sealing.get(&self.newest).ok_or(Unspecified)?;
        row.sealed = seal(key, &about_row(row), card.expose())?;
        Ok(())
    }

    /// The card of a row; `None` if the row is not as it was sealed.
    pub(super) fn open(&self, row: &SealedRow) -> Option<Pan> {
        if row.version != ROW_VERSION {
            return None;
        }
        let key = self.sealing.get(&row.data_key)?;
        Pan::from_digits(&open(key, &about_row(row), &row.sealed)?)
    }
}

fn seal(key: &RandomizedNonceKey, about: &[u8], secret: &[u8]) -> Result<Vec<u8>, Unspecified> {
    // Room for the tag from the start: a buffer that grows leaves the secret in the old one.
    let mut text = Zeroizing::new(Vec::with_capacity(secret.len() + TAG_BYTES));
    text.extend_from_slice(secret);
    let nonce = key.seal_in_place_append_tag(Aad::from(about), &mut *text)?;
    let mut sealed = Vec::with_capacity(NONCE_LEN + text.len());
    sealed.extend_from_slice(nonce.as_ref());
    sealed.extend_from_slice(&text);
    Ok(sealed)
}

fn open(key: &RandomizedNonceKey, about: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = key.open_in_place(nonce, Aad::from(about), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

fn about_key(id: KeyId, purpose: KeyPurpose, version: u8) -> Vec<u8> {
    [b"key", [version].as_slice(), &id.0, purpose.as_str().as_bytes()].concat()
}

/// Fixed-size parts first and a byte that no name or token has between the others, so that two
/// different rows never give the same bytes.
fn about_row(row: &SealedRow) -> Vec<u8> {
    let (format, token) = (row.format.as_str().as_bytes(), row.token.as_bytes());
    [b"row", [row.version].as_slice(), &row.data_key.0, &row.card_print.0, format, b"\0", token]
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::{Token, TokenFormat};
    use crate::keys::MasterKey;

    fn wrapping(seed: u8) -> DerivedKey {
        MasterKey::from_bytes(&[seed; KEY_BYTES]).unwrap().derive(WRAPPING_LABEL)
    }

    fn sealed() -> (Cipher, SealedRow) {
        let keys = Cipher::new_keys(&wrapping(1)).unwrap();
        let cipher = Cipher::open_keys(&keys, &wrapping(1)).ok().unwrap();
        let card = Pan::from_digits(b"4111111111111111").unwrap();
        let mut row = SealedRow {
            token: Token::parse(b"4000000000001111").unwrap(),
            token_print: cipher.fingerprint(b"4000000000001111"),
            card_print: cipher.fingerprint(card.expose()),
            format: TokenFormat::BrandFour,
            version: 0,
            data_key: KeyId([0; 16]),
            sealed: Vec::new(),
        };
        cipher.seal(&mut row, &card).unwrap();
        (cipher, row)
    }

    #[test]
    fn a_sealed_card_opens_and_does_not_stand_in_the_row() {
        let (cipher, row) = sealed();
        assert_eq!(cipher.open(&row).unwrap().expose(), b"4111111111111111");
        assert!(!row.sealed.windows(4).any(|part| part == b"4111" || part == b"1111"));
        assert_eq!(row.sealed.len(), NONCE_LEN + 16 + TAG_BYTES);
    }

    #[test]
    fn a_row_with_any_bound_column_changed_does_not_open() {
        let (cipher, row) = sealed();
        let changes: [fn(&mut SealedRow); 6] = [
            |row| row.token = Token::parse(b"4000000000001112").unwrap(),
            |row| row.card_print.0[0] ^= 1,
            |row| row.format = TokenFormat::SixFour,
            |row| row.version += 1,
            |row| row.data_key.0[0] ^= 1,
            |row| row.sealed[NONCE_LEN] ^= 1,
        ];
        for change in changes {
            let mut changed = row.clone();
            change(&mut changed);
            assert!(cipher.open(&changed).is_none());
        }
        for length in 0..row.sealed.len() {
            let mut cut = row.clone();
            cut.sealed.truncate(length);
            assert!(cipher.open(&cut).is_none());
        }
    }

    #[test]
    fn keys_open_with_their_own_master_key_only() {
        let mut keys = Cipher::new_keys(&wrapping(1)).unwrap();
        let refusal = |keys: &[KeyRow], seed| Cipher::open_keys(keys, &wrapping(seed)).err();
        assert_eq!(refusal(&keys, 2), Some(KeysRefused::Wrong));
        assert_eq!(
            refusal(&keys[..1], 1),
            Some(KeysRefused::Missing { purpose: KeyPurpose::Seal })
        );
        // A key does not serve another purpose than its own.
        keys[0].purpose = KeyPurpose::Seal;
        assert_eq!(refusal(&keys, 1), Some(KeysRefused::Wrong));
    }
}
