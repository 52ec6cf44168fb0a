//! The vault as operators' commands see it: opened for one command, beside running instances.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::sleep;

use super::store::{
    Census, KeyId, KeyPurpose, Sought, StoreError, StoreFuture, StoreKeeper, StoredRow,
};
use super::unlock::{KeyListener, Unlocked};
use super::{OpenError, StorePlace, VaultError};
use crate::card::{Brand, Pan, Token, TokenFormat};
use crate::keys::{IfMissing, MasterKeys, SecretKey};

/// How often a store that does not answer is asked again for the same rows.
const TRIES_MAX: u32 = 30;

/// How long to wait in between.
const TRY_EVERY: Duration = Duration::from_secs(1);

/// An open vault without queues, threads or deadlines: one caller at a time, as long as it takes.
pub struct Keeper {
    pub(super) store: Box<dyn StoreKeeper>,
    pub(super) keys: Unlocked,
}

/// A token and what people may see of its card.
pub struct Record(StoredRow);

impl Keeper {
    /// Opens a vault that exists. A master key is made only where `missing` allows it, which is for
    /// the replacement of another one.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened with these keys.
    pub async fn open(
        place: &StorePlace,
        masters: Arc<MasterKeys>,
        missing: IfMissing,
    ) -> Result<Self, OpenError> {
        place.demand_vault().await?;
        let ring = Unlocked::check(place, &masters, masters.obtain(missing)?).await?;
        let store = place.open().await?;
        match Unlocked::existing(store.as_ref(), masters, ring).await {
            Ok(keys) => Ok(Self { store, keys }),
            Err(refused) => {
                let _closed = store.close().await;
                Err(refused)
            }
        }
    }

    /// Tells `listener` of every key that comes or goes from now on.
    pub fn listen_to_keys(&self, listener: KeyListener) {
        let _first_stays = self.keys.listener.set(listener);
    }

    /// The key of the audit log's chain.
    #[must_use]
    pub fn audit_key(&self) -> SecretKey {
        self.keys.cipher.peek().audit_key().duplicate()
    }

    /// What the vault holds. Takes seconds in a vault of millions.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn census(&self) -> Result<Census, VaultError> {
        Ok(self.store.census().await?)
    }

    /// At most `limit` records that are not erased, from the one after `after`. In no order that
    /// means anything, but the same at every call.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn records(
        &self,
        after: Option<&Record>,
        limit: u32,
    ) -> Result<Vec<Record>, VaultError> {
        let after = after.map(|record| record.0.row.token_print);
        Ok(self.store.page(after, limit).await?.into_iter().map(Record).collect())
    }

    /// The card of a record.
    ///
    /// # Errors
    /// When it does not open.
    pub fn card(&self, record: &Record) -> Result<Pan, VaultError> {
        self.keys.cipher.peek().open(&record.0.row).card()
    }

    /// The card behind a token; `None` if the vault has issued no such token, or erased it.
    ///
    /// # Errors
    /// When the store fails or the row does not open.
    pub async fn reveal(&self, token: &Token) -> Result<Option<Pan>, VaultError> {
        let cipher = self.keys.cipher.load();
        let print = cipher.fingerprint(token.as_bytes());
        let found = self.store.find(&Sought::tokens(vec![print])).await?;
        // The text is compared too: fingerprints are not bound to the sealed card.
        match found.iter().find(|row| row.token_print == print) {
            Some(row) if row.token == *token => cipher.open(row).card().map(Some),
            Some(_) => Err(VaultError::Damaged),
            None => Ok(None),
        }
    }

    /// The tokens of a card, one per format it was seen under.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tokens_of(&self, card: &Pan) -> Result<Vec<Token>, VaultError> {
        let print = self.keys.cipher.peek().fingerprint(card.expose());
        let found = self.store.find(&Sought::cards(vec![print])).await?;
        Ok(found.iter().map(|row| row.token).collect())
    }

    /// Erases the cards behind these tokens: the tokens stay, never to be given again. Returns how
    /// many there were.
    ///
    /// # Errors
    /// When the store fails; then none is erased.
    pub async fn erase(&self, tokens: &[Token]) -> Result<u64, VaultError> {
        let cipher = self.keys.cipher.load();
        let prints: Vec<_> =
            tokens.iter().map(|token| cipher.fingerprint(token.as_bytes())).collect();
        Ok(self.store.erase(&prints).await?)
    }

    /// Writes something harmless.
    ///
    /// # Errors
    /// When writing does not work.
    pub async fn check(&self) -> Result<(), VaultError> {
        Ok(self.store.check().await?)
    }

    /// The public name of this vault: the one of the key that never changes.
    pub(super) fn name(&self) -> Option<KeyId> {
        let mut keys = self.keys.rows.iter();
        keys.find(|key| key.purpose == KeyPurpose::Fingerprint).map(|key| key.id)
    }

    /// Asks again for as long as a lock, a failover or a restart may take.
    pub(super) async fn patiently<'a, T>(
        &'a self,
        ask: impl Fn(&'a dyn StoreKeeper) -> StoreFuture<'a, T>,
    ) -> Result<T, StoreError> {
        for _ in 1..TRIES_MAX {
            match ask(self.store.as_ref()).await {
                Err(StoreError::Down { .. }) => sleep(TRY_EVERY).await,
                done => return done,
            }
        }
        ask(self.store.as_ref()).await
    }
}

impl Record {
    pub(super) fn of(row: StoredRow) -> Self {
        Self(row)
    }

    /// The token.
    #[must_use]
    pub fn token(&self) -> Token {
        self.0.row.token
    }

    /// The token's format.
    #[must_use]
    pub fn format(&self) -> TokenFormat {
        self.0.row.format
    }

    /// The card's brand.
    #[must_use]
    pub fn brand(&self) -> Brand {
        self.0.brand
    }

    /// The card's last four digits.
    #[must_use]
    pub fn last_four(&self) -> &str {
        &self.0.last_four
    }

    /// When the card was first seen.
    #[must_use]
    pub fn created_at(&self) -> SystemTime {
        self.0.created_at
    }
}

/// So many rows, as progress and answers tell it.
pub(super) fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
