//! The vault as operators' commands see it: opened for one command, beside running instances.

use std::path::Path;
use std::sync::Arc;

use super::OpenError;
use super::store::StoreKeeper;
use super::store::sqlite::SqliteStore;
use super::unlock::Unlocked;
use crate::keys::{IfMissing, MasterKeys, SecretKey};

/// An open vault without queues, threads or deadlines: one caller at a time, as long as it takes.
pub struct Keeper {
    pub(super) store: Box<dyn StoreKeeper>,
    pub(super) keys: Unlocked,
}

impl Keeper {
    /// Opens a vault that exists; makes nothing.
    ///
    /// # Errors
    /// When there is none, or it cannot be opened with these keys.
    pub async fn open(path: &Path, masters: Arc<MasterKeys>) -> Result<Self, OpenError> {
        if let Ok(false) = path.try_exists() {
            return Err(OpenError::NoVault { path: path.to_owned() });
        }
        let ring = masters.obtain(IfMissing::Refuse)?;
        let store: Box<dyn StoreKeeper> = Box::new(SqliteStore::open(path).await?);
        let keys = Unlocked::existing(store.as_ref(), masters, ring).await?;
        Ok(Self { store, keys })
    }

    /// The key of the audit log's chain.
    #[must_use]
    pub fn audit_key(&self) -> SecretKey {
        self.keys.cipher.peek().audit_key().duplicate()
    }
}
