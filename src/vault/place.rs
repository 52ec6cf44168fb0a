//! Where a vault's rows are kept, and how its store is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use super::OpenError;
use super::store::postgres::PostgresStore;
use super::store::sqlite::SqliteStore;
use super::store::{KeyRow, StoreKeeper};
use crate::keys::IfMissing;
use crate::link::Link;
use crate::policy::PostgresAddress;

/// Where rows are kept.
#[derive(Clone, Debug)]
pub enum StorePlace {
    /// In a database that instances share; its tables are made where there are none.
    Postgres(Arc<PostgresAddress>),
    /// In this file; made, with its folder, where there is none.
    Sqlite(PathBuf),
}

/// Where verification codes wait for their payment.
#[derive(Clone, Debug)]
pub enum CodesPlace {
    /// In this process.
    Memory,
    /// In a server that instances share, sealed.
    Redis(Arc<Link>),
}

impl fmt::Display for StorePlace {
    /// Without a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(address) => address.fmt(f),
            Self::Sqlite(path) => path.display().fmt(f),
        }
    }
}

impl StorePlace {
    /// Whether a master key may be made: only if it is certain that there is no vault yet.
    pub(super) async fn if_missing(&self) -> Result<IfMissing, OpenError> {
        match self {
            Self::Postgres(_) if self.peek().await?.is_empty() => Ok(IfMissing::Create),
            Self::Postgres(_) => Ok(IfMissing::Refuse),
            Self::Sqlite(path) => Ok(IfMissing::for_vault(path)),
        }
    }

    /// Fails where there is no vault.
    pub(super) async fn demand_vault(&self) -> Result<(), OpenError> {
        if self.if_missing().await? == IfMissing::Refuse {
            return Ok(());
        }
        Err(OpenError::NoVault { place: self.to_string() })
    }

    /// The keys of the vault, none where there is no vault. Nothing is changed.
    pub(super) async fn peek(&self) -> Result<Vec<KeyRow>, OpenError> {
        Ok(match self {
            Self::Postgres(address) => PostgresStore::peek(address).await?,
            Self::Sqlite(path) => SqliteStore::peek(path).await?,
        })
    }

    /// Opens the store, makes it where there is none, and brings it up to date.
    pub(super) async fn open(&self) -> Result<Box<dyn StoreKeeper>, OpenError> {
        Ok(match self {
            Self::Postgres(address) => Box::new(PostgresStore::open(address).await?),
            Self::Sqlite(path) => Box::new(SqliteStore::open(path).await?),
        })
    }
}
