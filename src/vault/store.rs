//! The rows of the vault and the trait of those who keep them.
//!
//! A store sees neither a card number nor a key: cards and tokens are looked up by keyed
//! fingerprints, so a card number cannot end up in a statement, its log or a network dump.

#[cfg(test)]
mod contract;
mod files;
pub(super) mod sqlite;

use std::error::Error as StdError;
use std::pin::Pin;

use thiserror::Error;

use super::Outage;
use crate::card::{Brand, Token, TokenFormat};

/// What a store's call returns.
pub(super) type StoreFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Rows of sealed bytes.
///
/// Every call is one transaction, durable when it returns, and returns within a bounded time.
pub(super) trait TokenStore: Send + Sync {
    /// Returns the wrapped keys, oldest first. In a store that has neither keys nor tokens, the
    /// offered ones are kept first; of two that offer at once, both get the same answer.
    fn keys<'a>(&'a self, offered: &'a [KeyRow]) -> StoreFuture<'a, Vec<KeyRow>>;

    /// Returns every row whose token or whose card has one of these fingerprints, in any order.
    /// Only what is durable is seen.
    fn find<'a>(&'a self, prints: &'a [Fingerprint]) -> StoreFuture<'a, Vec<SealedRow>>;

    /// Keeps all rows that can be kept, in order, and says of each what happened.
    fn insert<'a>(&'a self, rows: &'a [NewRow]) -> StoreFuture<'a, Vec<Inserted>>;

    /// Writes something harmless, to learn whether writing works.
    fn check(&self) -> StoreFuture<'_, ()>;
}

/// The keyed fingerprint of a card's digits or of a token's text.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct Fingerprint(pub(super) [u8; 32]);

/// The name of a data key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct KeyId(pub(super) [u8; 16]);

/// What a data key is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeyPurpose {
    /// HMAC over digits.
    Fingerprint,
    /// AEAD over card numbers.
    Seal,
}

/// A data key as it is kept: wrapped.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct KeyRow {
    pub(super) id: KeyId,
    pub(super) purpose: KeyPurpose,
    pub(super) version: u8,
    pub(super) wrapped: Vec<u8>,
}

/// A card number as it is kept: sealed.
#[derive(Clone)]
pub(super) struct SealedRow {
    pub(super) token: Token,
    pub(super) token_print: Fingerprint,
    pub(super) card_print: Fingerprint,
    pub(super) format: TokenFormat,
    pub(super) version: u8,
    pub(super) data_key: KeyId,
    pub(super) sealed: Vec<u8>,
}

/// A row to keep, with what people may see of the card.
pub(super) struct NewRow {
    pub(super) row: SealedRow,
    pub(super) brand: Brand,
    pub(super) last_four: String,
}

/// What became of a new row.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub(super) enum Inserted {
    /// The row is kept.
    Created(Token),
    /// The number that was taken for a card is an issued token.
    IsToken,
    /// The card has this token already.
    Known(Token),
    /// The drawn token is an issued token or a known card: draw another.
    TokenTaken,
}

/// Why a store failed.
#[derive(Debug, Error)]
pub(super) enum StoreError {
    /// A row holds what no row can hold.
    #[error("a row of the vault has an unreadable {column}")]
    Damaged { column: &'static str },
    /// It cannot work now.
    #[error("{outage}")]
    Down { outage: Outage, source: Box<dyn StdError + Send + Sync> },
}

impl KeyPurpose {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Fingerprint => "fingerprint",
            Self::Seal => "seal",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Fingerprint, Self::Seal].into_iter().find(|purpose| purpose.as_str() == name)
    }
}

/// The format of that name, as rows hold it.
fn format_named(name: &str) -> Option<TokenFormat> {
    TokenFormat::named(name)
}
