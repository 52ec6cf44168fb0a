//! What operators' commands ask of a store, and no request does.

use std::collections::BTreeSet;
use std::time::SystemTime;

use super::{Fingerprint, KeyId, KeyPurpose, KeyRow, SealedRow, StoreFuture, TokenStore};
use crate::card::{Brand, Token, TokenFormat};
use crate::keys::MasterId;

/// The care of a store that serves at the same time, from this process or from others.
///
/// Every call is one transaction, durable when it returns.
pub(in crate::vault) trait Upkeep: Send + Sync {
    /// Returns at most `limit` rows, erased ones left out, in the order of their tokens'
    /// fingerprints, from the first one after `after`.
    fn page(&self, after: Option<Fingerprint>, limit: u32) -> StoreFuture<'_, Vec<StoredRow>>;

    /// Seals rows anew: each one that still lies under the data key it was read with. Returns how
    /// many did.
    fn reseal<'a>(&'a self, rows: &'a [Resealed]) -> StoreFuture<'a, u64>;

    /// Changes the keys, wholly or not at all.
    fn change_keys<'a>(&'a self, change: &'a KeyChange) -> StoreFuture<'a, KeysChanged>;

    /// Erases the cards behind these tokens: the tokens stay, never to be given again. Returns how
    /// many there were.
    fn erase<'a>(&'a self, tokens: &'a [Fingerprint]) -> StoreFuture<'a, u64>;

    /// Returns at most `limit` erased rows in the order of their tokens' fingerprints, from the first
    /// one after `after`.
    fn erased_page(
        &self,
        after: Option<Fingerprint>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ErasedRow>>;

    /// Keeps tokens of cards that were erased elsewhere: never to be given here. Says of each, in
    /// order, what happened.
    fn keep_erased<'a>(&'a self, rows: &'a [ErasedRow]) -> StoreFuture<'a, Vec<KeptErased>>;

    /// Counts. Reads every row's place in an index: not for a request.
    fn census(&self) -> StoreFuture<'_, Census>;
}

/// A store with both faces.
pub(in crate::vault) trait StoreKeeper: TokenStore + Upkeep {}

impl<S: TokenStore + Upkeep> StoreKeeper for S {}

/// A row, with what people may see of the card.
#[derive(Clone)]
pub(in crate::vault) struct StoredRow {
    pub(in crate::vault) row: SealedRow,
    pub(in crate::vault) brand: Brand,
    pub(in crate::vault) last_four: String,
    pub(in crate::vault) created_at: SystemTime,
}

/// What is left of a row whose card was erased.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::vault) struct ErasedRow {
    pub(in crate::vault) token: Token,
    pub(in crate::vault) token_print: Fingerprint,
    pub(in crate::vault) format: TokenFormat,
}

/// What became of one that was to be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::vault) enum KeptErased {
    /// The token stands for a card, or is a card's number: nothing was changed.
    InUse,
    /// It was there.
    Known,
    /// It is kept.
    New,
}

/// A row sealed anew.
pub(in crate::vault) struct Resealed {
    pub(in crate::vault) token_print: Fingerprint,
    /// The data key it was read with.
    pub(in crate::vault) before: KeyId,
    pub(in crate::vault) data_key: KeyId,
    pub(in crate::vault) version: u8,
    pub(in crate::vault) sealed: Vec<u8>,
}

/// A change to the keys.
pub(in crate::vault) enum KeyChange {
    /// A further sealing key, wrapped by every master key in use; the newest from now on. Refused
    /// if `newest` is no longer the newest.
    Add { newest: KeyId, wraps: Vec<KeyRow> },
    /// Every data key, wrapped by a further master key. Wraps that are there already stay.
    Wrap { wraps: Vec<KeyRow> },
    /// No wrap under this master key any more. Refused if it alone opens some data key.
    DropMaster { master: MasterId },
    /// This sealing key is no longer needed. Refused if it is the newest or a row lies under it.
    DropKey { key: KeyId },
}

/// What became of a change.
#[derive(Debug, Eq, PartialEq)]
#[must_use]
pub(in crate::vault) enum KeysChanged {
    /// These are the keys now.
    Done(Vec<KeyRow>),
    /// Nothing was changed.
    Refused(Obstacle),
}

/// Why a change to the keys was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::vault) enum Obstacle {
    /// Some data key would be left that not every needed master key opens.
    Incomplete,
    /// Rows lie under the key, or will.
    InUse,
    /// The keys are no longer those the change was made for.
    Overtaken,
}

/// What a store holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Census {
    /// Rows that are not erased.
    pub rows: u64,
    /// Tokens whose cards were erased.
    pub erased: u64,
    /// When the oldest row that is not erased was made.
    pub oldest: Option<SystemTime>,
    /// When the newest one was made.
    pub newest: Option<SystemTime>,
    /// How many bytes the rows and their indexes take on the disk.
    pub bytes: u64,
    /// The rows that are not erased, by format and brand.
    pub kinds: Vec<Kind>,
    /// The data keys, oldest first.
    pub keys: Vec<KeyFacts>,
}

/// How many tokens of one format stand for cards of one brand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kind {
    /// The format of the tokens.
    pub format: TokenFormat,
    /// The brand of the cards.
    pub brand: Brand,
    /// How many there are.
    pub rows: u64,
}

/// A data key, as far as anyone may know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyFacts {
    /// Its name.
    pub id: KeyId,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// When it was made.
    pub created_at: SystemTime,
    /// How many rows it seals.
    pub rows: u64,
    /// The master keys that open it.
    pub masters: Vec<MasterId>,
}

impl KeyChange {
    /// What stands against the change, by the keys alone; a store asks this within the transaction
    /// that makes the change.
    pub(super) fn obstacle(&self, kept: &[KeyRow]) -> Option<Obstacle> {
        let newest = newest_seal(kept);
        let masters: BTreeSet<_> = kept.iter().map(|row| row.master).collect();
        match self {
            Self::Add { newest: expected, wraps } => {
                if newest != Some(*expected) {
                    return Some(Obstacle::Overtaken);
                }
                let new: BTreeSet<_> = wraps.iter().map(|row| row.master).collect();
                let known = |row: &KeyRow| kept.iter().any(|kept| kept.id == row.id);
                let sealing = |row: &KeyRow| row.purpose == KeyPurpose::Seal && !known(row);
                let sound = new == masters && wraps.iter().all(sealing);
                (!sound).then_some(Obstacle::Incomplete)
            }
            Self::Wrap { wraps } => {
                let new: BTreeSet<_> = wraps.iter().map(|row| row.master).collect();
                let whole = new.iter().all(|master| opens_all(*master, kept, wraps));
                let known = |row: &KeyRow| kept.iter().any(|kept| kept.id == row.id);
                (!whole || !wraps.iter().all(known)).then_some(Obstacle::Overtaken)
            }
            Self::DropMaster { master } => {
                let mut others = masters.iter().filter(|other| *other != master);
                let left = others.any(|other| opens_all(*other, kept, &[]));
                (!left).then_some(Obstacle::Incomplete)
            }
            Self::DropKey { key } => {
                let kept = kept.iter().find(|row| row.id == *key)?;
                let needed = kept.purpose != KeyPurpose::Seal || newest == Some(*key);
                needed.then_some(Obstacle::InUse)
            }
        }
    }
}

/// The key that new rows are sealed under.
fn newest_seal(keys: &[KeyRow]) -> Option<KeyId> {
    keys.iter().rev().find(|row| row.purpose == KeyPurpose::Seal).map(|row| row.id)
}

/// Whether this master key opens every data key, by what is kept and what is to be added.
fn opens_all(master: MasterId, kept: &[KeyRow], added: &[KeyRow]) -> bool {
    kept.iter().all(|key| {
        let mut wraps = kept.iter().chain(added);
        wraps.any(|wrap| wrap.id == key.id && wrap.master == master)
    })
}
