//! Seals and opens card numbers, and makes the fingerprints they are found by.
//!
//! Only this file knows how a sealed card is laid out: nonce, ciphertext, tag.

use std::collections::HashMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::VaultError;
use super::envelope::{self, DataKey, KeysRefused};
use super::store::{Fingerprint, KeyId, KeyPurpose, KeyRow, SealedRow};
use crate::card::Pan;
use crate::keys::{KeyRing, SecretKey};

/// How a row is sealed.
pub(super) const ROW_VERSION: u8 = 1;

const TAG_BYTES: usize = 16;

/// The opened keys of one vault.
///
/// A nonce is 96 random bits, which NIST SP 800-38D section 8.3 allows for 2^32 seals per key: more
/// rows than a vault holds, as a card is sealed once under each.
pub(super) struct Cipher {
    accounts: SecretKey,
    audit: SecretKey,
    fingerprint: hmac::Key,
    newest: KeyId,
    sealing: HashMap<KeyId, RandomizedNonceKey>,
}

/// What a row turns out to be when it is opened.
#[must_use]
pub(super) enum Unsealed {
    /// The card.
    Card(Pan),
    /// Not as it was sealed.
    Damaged,
    /// Sealed in a way this program does not know.
    Newer { version: u8 },
    /// Sealed under a data key that was made, or dropped, since the keys were read.
    UnknownKey,
}

impl Unsealed {
    /// The card, for those who can do without the rest.
    pub(super) fn card(self) -> Result<Pan, VaultError> {
        match self {
            Self::Card(card) => Ok(card),
            Self::Damaged => Err(VaultError::Damaged),
            Self::Newer { version } => Err(VaultError::Newer { version }),
            Self::UnknownKey => Err(VaultError::UnknownKey),
        }
    }
}

impl Cipher {
    /// Opens the keys of a vault.
    pub(super) fn open_keys(rows: &[KeyRow], ring: &KeyRing) -> Result<Self, KeysRefused> {
        let (mut accounts, mut audit, mut fingerprint, mut newest) = (None, None, None, None);
        let mut sealing = HashMap::new();
        for DataKey { id, purpose, key } in envelope::open_all(rows, ring)? {
            match purpose {
                KeyPurpose::Accounts => accounts = Some(key),
                KeyPurpose::Audit => audit = Some(key),
                KeyPurpose::Fingerprint => {
                    fingerprint = Some(hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
                }
                KeyPurpose::Seal => {
                    let key = RandomizedNonceKey::new(&AES_256_GCM, key.expose());
                    sealing.insert(id, key.map_err(|_| KeysRefused::Wrong)?);
                    newest = Some(id);
                }
            }
        }
        let missing = |purpose| KeysRefused::Missing { purpose };
        Ok(Self {
            accounts: accounts.ok_or(missing(KeyPurpose::Accounts))?,
            audit: audit.ok_or(missing(KeyPurpose::Audit))?,
            fingerprint: fingerprint.ok_or(missing(KeyPurpose::Fingerprint))?,
            newest: newest.ok_or(missing(KeyPurpose::Seal))?,
            sealing,
        })
    }

    /// The key of the names of accounts.
    pub(super) fn accounts_key(&self) -> &SecretKey {
        &self.accounts
    }

    /// The key of the audit log's chain.
    pub(super) fn audit_key(&self) -> &SecretKey {
        &self.audit
    }

    /// The key that new rows are sealed under.
    pub(super) fn newest(&self) -> KeyId {
        self.newest
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

    /// The card of a row.
    pub(super) fn open(&self, row: &SealedRow) -> Unsealed {
        if row.version > ROW_VERSION {
            return Unsealed::Newer { version: row.version };
        }
        let Some(key) = self.sealing.get(&row.data_key) else { return Unsealed::UnknownKey };
        let card = open(key, &about_row(row), &row.sealed);
        card.and_then(|card| Pan::from_digits(&card)).map_or(Unsealed::Damaged, Unsealed::Card)
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

/// Fixed-size parts first and a byte that no name or token has between the others, so that two
/// different rows never give the same bytes.
fn about_row(row: &SealedRow) -> Vec<u8> {
    let (format, token) = (row.format.as_str().as_bytes(), row.token.as_bytes());
    [b"row", [row.version].as_slice(), &row.data_key.0, &row.card_print.0, format, b"\0", token]
        .concat()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::card::{Token, TokenFormat};
    use crate::keys::{KEY_BYTES, MemoryKey};

    fn sealed() -> (Cipher, SealedRow) {
        let master = SecretKey::from_bytes(&[1; KEY_BYTES]).map(MemoryKey::new).unwrap();
        let ring = KeyRing { current: Arc::new(master), previous: None, made: false };
        let keys = envelope::make_all(ring.current.as_ref()).unwrap();
        let cipher = Cipher::open_keys(&keys, &ring).ok().unwrap();
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
        let Unsealed::Card(card) = cipher.open(&row) else { panic!("not opened") };
        assert_eq!(card.expose(), b"4111111111111111");
        assert!(!row.sealed.windows(4).any(|part| part == b"4111" || part == b"1111"));
        assert_eq!(row.sealed.len(), NONCE_LEN + 16 + TAG_BYTES);
    }

    #[test]
    fn a_row_with_any_bound_column_changed_does_not_open() {
        let (cipher, row) = sealed();
        let changes: [fn(&mut SealedRow); 5] = [
            |row| row.token = Token::parse(b"4000000000001112").unwrap(),
            |row| row.card_print.0[0] ^= 1,
            |row| row.format = TokenFormat::SixFour,
            |row| row.version -= 1,
            |row| row.sealed[NONCE_LEN] ^= 1,
        ];
        for change in changes {
            let mut changed = row.clone();
            change(&mut changed);
            assert!(matches!(cipher.open(&changed), Unsealed::Damaged));
        }
        for length in 0..row.sealed.len() {
            let mut cut = row.clone();
            cut.sealed.truncate(length);
            assert!(matches!(cipher.open(&cut), Unsealed::Damaged));
        }
    }

    #[test]
    fn a_newer_row_and_one_under_an_unknown_key_are_told_from_damaged_ones() {
        let (cipher, mut row) = sealed();
        row.data_key.0[0] ^= 1;
        assert!(matches!(cipher.open(&row), Unsealed::UnknownKey));
        row.version += 1;
        assert!(matches!(cipher.open(&row), Unsealed::Newer { version: 2 }));
    }
}
