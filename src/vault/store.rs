//! The rows of the vault and the trait of those who keep them.
//!
//! A store sees neither a card number nor a key: cards and tokens are looked up by keyed
//! fingerprints, so a card number cannot end up in a statement, its log or a network dump.

#[cfg(test)]
mod contract;
mod files;
mod ledger;
pub(super) mod postgres;
pub(super) mod sqlite;
mod upkeep;

use std::error::Error as StdError;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use super::Outage;
use crate::card::{Brand, Token, TokenFormat};
use crate::keys::MasterId;

pub(super) use ledger::Ledger;
pub use upkeep::{Census, KeyFacts, Kind};
pub(super) use upkeep::{
    ErasedRow, KeptErased, KeyChange, KeysChanged, Obstacle, Resealed, StoreKeeper, StoredRow,
    Upkeep,
};

/// What a store's call returns.
pub(super) type StoreFuture<'a, T> =
    Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Rows of sealed bytes.
///
/// Every call is one transaction, durable when it returns, and returns within a bounded time.
pub(super) trait TokenStore: Send + Sync {
    /// Returns the wrapped keys, oldest first. In a store that has neither keys nor tokens, the
    /// offered ones are kept first; of two that offer at once, both get the same answer. With
    /// nothing offered it only reads.
    fn keys<'a>(&'a self, offered: &'a [KeyRow]) -> StoreFuture<'a, Vec<KeyRow>>;

    /// Returns every row that is sought, in any order and perhaps twice; erased ones are left out.
    /// Only what is durable is seen.
    fn find<'a>(&'a self, sought: &'a Sought) -> StoreFuture<'a, Vec<SealedRow>>;

    /// Keeps all rows that can be kept, in order, and says of each what happened.
    fn insert<'a>(&'a self, rows: &'a [NewRow]) -> StoreFuture<'a, Vec<Inserted>>;

    /// How many groups it can keep at once. One where the rows are in a file, which takes one writer.
    fn writers(&self) -> usize {
        1
    }

    /// Writes something harmless, to learn whether writing works.
    fn check(&self) -> StoreFuture<'_, ()>;

    /// Counts what other instances erase until stopped. None where a ledger tells of it.
    fn hear_erasures<'a>(
        &'a self,
        _erasures: &'a Erasures,
        _stop: &'a CancellationToken,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    /// Closes the connections, and returns when their files are closed.
    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async { Ok(()) })
    }

    /// The issued tokens, for a filter in memory. None where instances on other machines may issue
    /// tokens that nobody here hears of at once: there the store is asked.
    fn issued(&self) -> Option<&dyn IssuedTokens> {
        None
    }
}

/// Whose fingerprints.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Whose {
    Cards,
    Tokens,
}

/// The tokens ever issued, erased ones among them, and their cards, as the filter's keys.
pub(super) trait IssuedTokens: Send + Sync {
    /// Where every process says at once that it issues or erases.
    fn ledger(&self) -> &Arc<Ledger>;

    /// The number of the latest row; it and all before it are committed.
    fn last(&self) -> StoreFuture<'_, i64>;

    /// Returns the next page in the order of fingerprints.
    fn prints(&self, whose: Whose, after: Option<Fingerprint>) -> StoreFuture<'_, PrintPage>;

    /// Returns the next rows after a number, as they are while nobody writes.
    fn tail(&self, after: i64) -> StoreFuture<'_, Tail>;
}

/// How often an erasure by another instance was heard of, or may have been missed.
#[derive(Default)]
pub(super) struct Erasures(AtomicU64);

/// A page of tokens or cards in the order of their fingerprints.
pub(super) struct PrintPage {
    pub(super) keys: Vec<u64>,
    /// Where the next one begins; `None` after the last.
    pub(super) last: Option<Fingerprint>,
}

/// A page of tokens, with their cards, in the order in which they were issued.
pub(super) struct Tail {
    pub(super) keys: Vec<u64>,
    pub(super) last: i64,
    /// The count of issues that these rows complete; `None` if more follow.
    pub(super) issues: Option<u64>,
}

/// The keyed fingerprint of a card's digits or of a token's text.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Fingerprint(pub(super) [u8; 32]);

/// Which rows are looked for. Each list is an index of its own that has to be read.
#[derive(Clone, Default)]
pub(super) struct Sought {
    /// Those whose card has one of these fingerprints.
    pub(super) cards: Vec<Fingerprint>,
    /// Those whose token has one of these.
    pub(super) tokens: Vec<Fingerprint>,
}

/// The name of a data key.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct KeyId(pub(super) [u8; 16]);

/// What a data key is for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyPurpose {
    /// HMAC over the names of accounts.
    Accounts,
    /// HMAC over the records of the audit log.
    Audit,
    /// HMAC over digits.
    Fingerprint,
    /// AEAD over card numbers.
    Seal,
}

/// A data key as it is kept: wrapped by one of the master keys that open it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct KeyRow {
    pub(super) id: KeyId,
    pub(super) purpose: KeyPurpose,
    pub(super) master: MasterId,
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
    /// The number that was taken for a card is an issued token, or was one until it was erased.
    IsToken,
    /// The data key it is sealed under is no longer kept: seal it under the newest.
    KeyGone,
    /// The card has this token already.
    Known(Token),
    /// The drawn token is an issued or erased token or a known card: draw another.
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

impl StoreError {
    /// What ails the store, in one word.
    pub(super) fn outage(&self) -> Outage {
        match self {
            Self::Damaged { .. } => Outage::Corrupt,
            Self::Down { outage, .. } => *outage,
        }
    }
}

impl Erasures {
    pub(super) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn heard(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Sought {
    /// Rows by their cards.
    pub(super) fn cards(cards: Vec<Fingerprint>) -> Self {
        Self { cards, tokens: Vec::new() }
    }

    /// Rows by their tokens.
    pub(super) fn tokens(tokens: Vec<Fingerprint>) -> Self {
        Self { cards: Vec::new(), tokens }
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.cards.extend_from_slice(&other.cards);
        self.tokens.extend_from_slice(&other.tokens);
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl KeyPurpose {
    /// Every one: a vault has a key for each.
    pub(super) const ALL: [Self; 4] = [Self::Accounts, Self::Audit, Self::Fingerprint, Self::Seal];

    /// The name used in rows and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Audit => "audit",
            Self::Fingerprint => "fingerprint",
            Self::Seal => "seal",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }
}
