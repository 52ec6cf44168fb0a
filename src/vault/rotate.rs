//! Replacing the key that seals the rows, and the master key, under running instances.
//!
//! What is left to do is read from the store and the disk at every step and remembered nowhere, so
//! a command that was killed is resumed by running it again. The fingerprint key is not replaced: a
//! card's token is found through it, so another one would give every card another token.

mod master;

use std::num::NonZeroU32;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep, sleep_until};

use super::cipher::Unsealed;
use super::envelope::{self, KeysRefused};
use super::keeper::{Keeper, count};
use super::store::{
    KeyChange, KeyId, KeyPurpose, KeyRow, KeysChanged, Obstacle, Resealed, SealedRow, StoreError,
};
use super::unlock::KEYS_EVERY;
use super::{Outage, worker::GROUP_MAX};
use crate::card::Token;
use crate::keys::{KeyError, WrapError};

pub use master::MasterStep;

/// How often the rows are gone through for what instances sealed under the old key meanwhile; they
/// learn of the new one within `KEYS_EVERY`.
const PASSES_MAX: u32 = 100;

/// How many damaged rows are named.
const NAMED_MAX: usize = 20;

/// Why a key was not replaced. Whatever was done is sound and stays; running it again goes on.
#[derive(Debug, Error)]
pub enum RotateError {
    /// Rows do not open, so their key cannot be dropped.
    #[error(
        "{count} rows do not open and stay under their old key, which is kept for them: {}{}",
        list(tokens), if *count > tokens.len() { ", …" } else { "" }
    )]
    Damaged {
        /// How many.
        count: usize,
        /// Their tokens, at most twenty.
        tokens: Vec<Token>,
    },
    /// The master key in force is not in force for every key of the vault.
    #[error("some key of the vault is not wrapped by the new master key; nothing was dropped")]
    Incomplete,
    /// The master key cannot be had or replaced.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A master key that is being replaced is not at hand.
    #[error(
        "the master key is being replaced; finish that first, with rotate --master, \
         or name the other key as previous_master_key"
    )]
    MasterReplacing,
    /// We cannot make a new master key where this one is.
    #[error(
        "the master key is {place}, where tillgate makes none: configure the new key as master_key \
         and this one as previous_master_key, then run this again"
    )]
    NoNewKey {
        /// Where it is.
        place: String,
    },
    /// Both configured keys are one.
    #[error("master_key and previous_master_key are the same key")]
    SameKey,
    /// Some instance keeps sealing under the old key.
    #[error("an instance still seals under the old key; restart it and run this again")]
    StillInUse,
    /// The store fails.
    #[error("the vault's database does not answer: {cause}")]
    Store {
        /// Why.
        cause: Outage,
    },
    /// The master key does not answer.
    #[error("the master key does not wrap or open the vault's keys")]
    Wrap(#[source] WrapError),
    /// The keys do not open.
    #[error("no master key at hand opens the keys of the vault")]
    WrongMasterKey,
}

/// How far a rotation has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RotateProgress {
    /// Rows looked at in this pass.
    pub seen: u64,
    /// Rows there are, about.
    pub total: u64,
}

/// What was done to the sealing key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rotated {
    /// An earlier command was gone on with, and no key made.
    pub resumed: bool,
    /// Rows sealed anew.
    pub rows: u64,
    /// Old keys dropped.
    pub dropped: u64,
}

impl Keeper {
    /// Makes a new sealing key, seals every row under it, and drops the old ones; goes on where an
    /// earlier command stopped. `rate` is the most rows per second.
    ///
    /// # Errors
    /// When it cannot be finished.
    pub async fn rotate(
        &mut self,
        rate: Option<NonZeroU32>,
        tell: &mut dyn FnMut(RotateProgress),
    ) -> Result<Rotated, RotateError> {
        self.renew().await?;
        let resumed = self.add_seal_key().await?;
        let mut rotated = Rotated { resumed, rows: 0, dropped: 0 };
        let total = self.store.census().await?.rows;
        for _ in 0..PASSES_MAX {
            let pass = self.reseal_all(rate, total, tell).await?;
            rotated.rows += pass.resealed;
            let (dropped, left) = self.drop_seal_keys().await?;
            rotated.dropped += dropped;
            if left == 0 {
                return Ok(rotated);
            }
            if !pass.damaged.is_empty() && pass.resealed == 0 {
                let count = pass.damaged.len();
                let tokens = pass.damaged.into_iter().take(NAMED_MAX).collect();
                return Err(RotateError::Damaged { count, tokens });
            }
            // Another instance has not heard of the new key yet.
            sleep(KEYS_EVERY).await;
        }
        Err(RotateError::StillInUse)
    }

    async fn renew(&mut self) -> Result<(), RotateError> {
        self.keys.renew(self.store.as_ref()).await?;
        self.usable()
    }

    fn take(&mut self, rows: Vec<KeyRow>) -> Result<(), RotateError> {
        self.keys.take(rows);
        self.usable()
    }

    /// Nothing is decided by keys that are no longer those of the store.
    fn usable(&self) -> Result<(), RotateError> {
        if self.keys.is_current() { Ok(()) } else { Err(RotateError::WrongMasterKey) }
    }

    /// Makes the key that all rows are to be sealed under, unless an earlier command has. Says
    /// whether it has.
    async fn add_seal_key(&mut self) -> Result<bool, RotateError> {
        let keys = seal_keys(&self.keys.rows);
        let [only] = keys.as_slice() else { return Ok(true) };
        let ring = &self.keys.ring;
        let names = envelope::masters(&self.keys.rows);
        let masters = names.into_iter().map(|name| ring.named(name)).collect::<Option<Vec<_>>>();
        let masters = masters.ok_or(RotateError::MasterReplacing)?;
        let wraps = envelope::make(KeyPurpose::Seal, &masters).map_err(RotateError::Wrap)?;
        match self.store.change_keys(&KeyChange::Add { newest: *only, wraps }).await? {
            KeysChanged::Done(rows) => {
                self.take(rows)?;
                Ok(false)
            }
            // Another command was faster: what it began is gone on with.
            KeysChanged::Refused(Obstacle::Overtaken) => {
                self.renew().await?;
                Ok(true)
            }
            KeysChanged::Refused(Obstacle::InUse | Obstacle::Incomplete) => {
                Err(RotateError::MasterReplacing)
            }
        }
    }

    /// Goes through all rows once.
    async fn reseal_all(
        &self,
        rate: Option<NonZeroU32>,
        total: u64,
        tell: &mut dyn FnMut(RotateProgress),
    ) -> Result<Pass, RotateError> {
        let limit = rate.map_or(GROUP_MAX, |rate| {
            usize::try_from(rate.get()).unwrap_or(GROUP_MAX).min(GROUP_MAX)
        });
        let limit = u32::try_from(limit).unwrap_or(1);
        let (mut pass, mut after, mut pace) = (Pass::default(), None, Pace::new(rate));
        loop {
            let page = self.patiently(|store| store.page(after, limit)).await?;
            let Some(last) = page.last() else { return Ok(pass) };
            after = Some(last.row.token_print);
            pass.seen += count(page.len());
            let old: Vec<_> = page
                .into_iter()
                .map(|stored| stored.row)
                .filter(|row| row.data_key != self.keys.cipher.peek().newest())
                .collect();
            let began = Instant::now();
            let done = self.reseal_page(&old, &mut pass).await?;
            tell(RotateProgress { seen: pass.seen, total });
            pace.wait_for(done, began.elapsed()).await;
        }
    }

    async fn reseal_page(&self, old: &[SealedRow], pass: &mut Pass) -> Result<u64, RotateError> {
        if old.is_empty() {
            return Ok(0);
        }
        let mut rows = Vec::with_capacity(old.len());
        let cipher = self.keys.cipher.load();
        for row in old {
            let card = match cipher.open(row) {
                Unsealed::Card(card) => card,
                // Sealed under a key that was made since: left for the next pass.
                Unsealed::UnknownKey => continue,
                Unsealed::Damaged | Unsealed::Newer { .. } => {
                    pass.damaged.push(row.token);
                    continue;
                }
            };
            let mut anew = row.clone();
            let sealed = cipher.seal(&mut anew, &card);
            sealed.map_err(|_| RotateError::Wrap(WrapError::Random))?;
            rows.push(Resealed {
                token_print: row.token_print,
                before: row.data_key,
                data_key: anew.data_key,
                version: anew.version,
                sealed: anew.sealed,
            });
        }
        let done = self.patiently(|store| store.reseal(&rows)).await?;
        pass.resealed += done;
        Ok(done)
    }

    /// Drops every sealing key but the newest that no row lies under. Gives how many were dropped
    /// and how many are left.
    async fn drop_seal_keys(&mut self) -> Result<(u64, u64), RotateError> {
        self.renew().await?;
        let mut keys = seal_keys(&self.keys.rows);
        keys.pop();
        let (mut dropped, mut left) = (0, 0);
        for key in keys {
            match self.store.change_keys(&KeyChange::DropKey { key }).await? {
                KeysChanged::Done(rows) => {
                    self.take(rows)?;
                    dropped += 1;
                }
                KeysChanged::Refused(_) => left += 1,
            }
        }
        Ok((dropped, left))
    }
}

/// What one pass over the rows did.
#[derive(Default)]
struct Pass {
    seen: u64,
    resealed: u64,
    damaged: Vec<Token>,
}

/// Keeps the rows per second below what was asked for, and leaves running instances the store for
/// at least as long as it was held.
struct Pace {
    per_row: Duration,
    due: Instant,
}

impl Pace {
    fn new(rate: Option<NonZeroU32>) -> Self {
        let per_row = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.get());
        Self { per_row, due: Instant::now() }
    }

    async fn wait_for(&mut self, rows: u64, held: Duration) {
        let rows = u32::try_from(rows).unwrap_or(u32::MAX);
        self.due = (self.due + self.per_row * rows).max(Instant::now() + held);
        sleep_until(self.due).await;
    }
}

/// The sealing keys, oldest first.
fn seal_keys(rows: &[KeyRow]) -> Vec<KeyId> {
    let seals = rows.iter().filter(|row| row.purpose == KeyPurpose::Seal);
    let mut keys: Vec<_> = seals.map(|row| row.id).collect();
    keys.dedup();
    keys
}

fn list(tokens: &[Token]) -> String {
    tokens.iter().map(|token| token.as_str()).collect::<Vec<_>>().join(", ")
}

impl From<StoreError> for RotateError {
    fn from(failure: StoreError) -> Self {
        Self::Store { cause: failure.outage() }
    }
}

impl From<KeysRefused> for RotateError {
    fn from(refused: KeysRefused) -> Self {
        match refused {
            KeysRefused::Unavailable(error) => Self::Wrap(error),
            KeysRefused::Missing { .. } | KeysRefused::Newer { .. } | KeysRefused::Wrong => {
                Self::WrongMasterKey
            }
        }
    }
}

#[cfg(test)]
mod tests;
