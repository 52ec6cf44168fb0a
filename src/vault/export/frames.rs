//! How an export is laid out and sealed.
//!
//! A head in clear (magic, version, the vault's name, rows) and the file's own key, wrapped by
//! the export key and bound to the head; then frames of rows, frames of tokens whose cards were
//! erased, and a last frame that says how many there were of both. After the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015) each
//! frame is bound to the head, to its number and to whether it is the last, so that frames cannot be
//! changed, moved, left out or cut off unseen. Nonces are random, not counted: an export that is
//! resumed seals a frame of the same number again.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use zeroize::Zeroizing;

use crate::card::{Pan, Token, TokenFormat};
use crate::keys::SecretKey;
use crate::vault::store::KeyId;

/// How every export begins.
pub(super) const MAGIC: &[u8; 16] = b"tillgate export\n";

/// How this program lays one out.
pub(super) const VERSION: u8 = 2;

/// Magic, version, the vault's name and rows.
pub(super) const HEAD_BYTES: usize = 16 + 1 + 16 + 8;

/// Nonce, key and tag.
pub(super) const WRAPPED_BYTES: usize = 12 + 32 + 16;

/// Length and kind.
pub(super) const PREFIX_BYTES: usize = 4 + 1;

/// How many rows a frame has at most.
pub(super) const FRAME_ROWS: u32 = 1_000;

/// The longest frame; a longer one is none of ours, and no memory is taken for it.
pub(super) const FRAME_BYTES_MAX: usize = 1_000 * (3 + 64 + 16 + 19) + NONCE_LEN + TAG_BYTES;

const TAG_BYTES: usize = 16;

/// What stands before the frames.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Head {
    /// The vault's public name.
    pub(super) vault: KeyId,
    /// How many rows there were when it was begun.
    pub(super) rows: u64,
}

/// A card and its token.
pub(super) struct CardRow {
    pub(super) token: Token,
    pub(super) format: TokenFormat,
    pub(super) card: Pan,
}

/// A token that stands for no card any more, and must never stand for another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::vault) struct ErasedToken {
    pub(in crate::vault) token: Token,
    pub(in crate::vault) format: TokenFormat,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Rows,
    Erased,
    End,
}

/// Seals and opens the frames of one file.
pub(super) struct FrameCipher {
    key: RandomizedNonceKey,
    head: [u8; HEAD_BYTES],
}

impl Head {
    pub(super) fn to_bytes(self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        let parts = MAGIC.iter().chain([&VERSION]).chain(&self.vault.0).copied();
        let parts = parts.chain(self.rows.to_be_bytes());
        bytes.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        bytes
    }

    /// Reads a head of this version, whose magic and version have been looked at.
    pub(super) fn from_bytes(bytes: &[u8; HEAD_BYTES]) -> Option<Self> {
        let (_, rest) = bytes.split_at_checked(MAGIC.len() + 1)?;
        let (vault, rest) = rest.split_first_chunk()?;
        let (rows, _) = rest.split_first_chunk()?;
        Some(Self { vault: KeyId(*vault), rows: u64::from_be_bytes(*rows) })
    }
}

impl Kind {
    pub(super) fn to_byte(self) -> u8 {
        match self {
            Self::Rows => 0,
            Self::End => 1,
            Self::Erased => 2,
        }
    }

    pub(super) fn of_byte(byte: u8) -> Option<Self> {
        [Self::Rows, Self::Erased, Self::End].into_iter().find(|kind| kind.to_byte() == byte)
    }
}

impl FrameCipher {
    pub(super) fn new(key: &SecretKey, head: [u8; HEAD_BYTES]) -> Result<Self, Unspecified> {
        Ok(Self { key: RandomizedNonceKey::new(&AES_256_GCM, key.expose())?, head })
    }

    /// The whole frame, as it is written. The text is overwritten with what it is sealed to.
    pub(super) fn seal(
        &self,
        index: u64,
        kind: Kind,
        mut text: Zeroizing<Vec<u8>>,
    ) -> Result<Vec<u8>, Unspecified> {
        let about = Aad::from(self.about(index, kind));
        let (nonce, tag) = self.key.seal_in_place_separate_tag(about, &mut text)?;
        let length = NONCE_LEN + text.len() + tag.as_ref().len();
        let length = u32::try_from(length).map_err(|_| Unspecified)?.to_be_bytes();
        Ok([&length, [kind.to_byte()].as_slice(), nonce.as_ref(), &text, tag.as_ref()].concat())
    }

    /// What a frame holds; nothing if it is not that frame of this file.
    pub(super) fn open(
        &self,
        index: u64,
        kind: Kind,
        sealed: Vec<u8>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut sealed = Zeroizing::new(sealed);
        let (nonce, text) = sealed.split_at_mut_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let opened = self.key.open_in_place(nonce, Aad::from(self.about(index, kind)), text);
        let length = opened.ok()?.len();
        sealed.truncate(NONCE_LEN + length);
        sealed.drain(..NONCE_LEN);
        Some(sealed)
    }

    fn about(&self, index: u64, kind: Kind) -> Vec<u8> {
        [self.head.as_slice(), &index.to_be_bytes(), &[kind.to_byte()]].concat()
    }
}

/// The last frame's text.
pub(super) fn write_counts(rows: u64, erased: u64) -> Zeroizing<Vec<u8>> {
    Zeroizing::new([rows.to_be_bytes(), erased.to_be_bytes()].concat())
}

/// Rows one after another, each field behind its length.
pub(super) fn write_rows(rows: &[CardRow]) -> Zeroizing<Vec<u8>> {
    // Room for all of them: a buffer that grows leaves card numbers in the old one.
    let mut text = Zeroizing::new(Vec::with_capacity(FRAME_BYTES_MAX));
    for row in rows {
        let fields = [row.token.as_bytes(), row.format.as_str().as_bytes(), row.card.expose()];
        fields.into_iter().for_each(|field| write_field(&mut text, field));
    }
    text
}

/// The same of tokens without cards.
pub(super) fn write_erased(tokens: &[ErasedToken]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::new());
    for ErasedToken { token, format } in tokens {
        let fields = [token.as_bytes(), format.as_str().as_bytes()];
        fields.into_iter().for_each(|field| write_field(&mut text, field));
    }
    text
}

fn write_field(text: &mut Vec<u8>, field: &[u8]) {
    text.push(u8::try_from(field.len()).unwrap_or(u8::MAX));
    text.extend_from_slice(field);
}

/// The rows of a frame; nothing if they are not laid out so.
pub(super) fn read_rows(mut text: &[u8]) -> Option<Vec<CardRow>> {
    let mut rows = Vec::new();
    while !text.is_empty() {
        let (token, format) = token(&mut text)?;
        let card = Pan::from_digits(field(&mut text)?)?;
        rows.push(CardRow { token, format, card });
    }
    Some(rows)
}

/// The same of tokens without cards.
pub(super) fn read_erased(mut text: &[u8]) -> Option<Vec<ErasedToken>> {
    let mut tokens = Vec::new();
    while !text.is_empty() {
        let (token, format) = token(&mut text)?;
        tokens.push(ErasedToken { token, format });
    }
    Some(tokens)
}

fn token(text: &mut &[u8]) -> Option<(Token, TokenFormat)> {
    let token = Token::parse(field(text)?).ok()?;
    Some((token, TokenFormat::named(std::str::from_utf8(field(text)?).ok()?)?))
}

fn field<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = text.split_first()?;
    let (field, rest) = rest.split_at_checked(usize::from(*length))?;
    *text = rest;
    Some(field)
}
