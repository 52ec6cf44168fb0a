//! Why the vault does not open, and why a call of an open one fails.

use std::io;

use thiserror::Error;

use super::envelope::KeysRefused;
use super::store::StoreError;
use super::{Outage, PostgresOpenError, SqliteOpenError};
use crate::card::TokenFormat;
use crate::keys::{KeyError, WrapError};

/// Why a call failed. Holds nothing that came from a request.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum VaultError {
    /// A row is not as it was sealed.
    #[error("a row of the vault is damaged")]
    Damaged,
    /// The data key that cards are sealed under here is no longer the vault's, and the one that took its
    /// place does not open.
    #[error(
        "the vault's sealing key was replaced and the new one does not open here; \
         restart with the master key that is in force"
    )]
    KeyReplaced,
    /// A row was sealed by a newer version of this program.
    #[error("a row of the vault has format {version}, which this version does not know")]
    Newer {
        /// The format's number.
        version: u8,
    },
    /// No known range covers the number.
    #[error("the number belongs to no known card issuer")]
    NoIssuer,
    /// So short a number leaves too few digits to chance.
    #[error("a card of {length} digits has no room for a token of format {}", format.as_str())]
    NoRoom {
        /// The format.
        format: TokenFormat,
        /// How many digits the card has.
        length: usize,
    },
    /// All draws gave numbers that are in use.
    #[error("no free token of format {} was found", format.as_str())]
    NoTokenFree {
        /// The format.
        format: TokenFormat,
    },
    /// The store does not answer.
    #[error("the vault is unavailable: {cause}")]
    Unavailable {
        /// Why.
        cause: Outage,
    },
    /// A row is sealed under a data key that is not in the vault, or that no master key of this
    /// process opens: it may have to be restarted with a new one.
    #[error("a row of the vault is sealed under a data key that does not open")]
    UnknownKey,
}

/// Why the vault does not open.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The master key cannot be had.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The vault's keys are gone, though tokens or other keys are there.
    #[error("the vault holds tokens but not all of its keys; restore it from its backup")]
    KeysMissing,
    /// The keys are sealed in a way this program does not know.
    #[error("the vault's keys have format {version}, which this version does not know")]
    KeysNewer {
        /// The format's number.
        version: u8,
    },
    /// The database of a server does not open.
    #[error(transparent)]
    Postgres(#[from] PostgresOpenError),
    /// The database file does not open.
    #[error(transparent)]
    Sqlite(#[from] SqliteOpenError),
    /// The database does not answer.
    #[error("the vault's database does not answer: {cause}")]
    Store {
        /// Why.
        cause: Outage,
    },
    /// The thread for the store could not be started.
    #[error("cannot start the vault's thread")]
    Thread(#[source] io::Error),
    /// The master key does not answer.
    #[error("the master key does not wrap or open the vault's keys")]
    Wrap(#[source] WrapError),
    /// There is no vault yet.
    #[error("there is no vault at {place}; the first start makes it")]
    NoVault {
        /// Where it would be.
        place: String,
    },
    /// The key is not the one this vault was made with.
    #[error(
        "the master key is not the one this vault was made with; nothing was changed: \
         configure the right key, or restore the vault that belongs to this one"
    )]
    WrongMasterKey,
}

impl From<Outage> for VaultError {
    fn from(cause: Outage) -> Self {
        Self::Unavailable { cause }
    }
}

impl From<StoreError> for VaultError {
    fn from(failure: StoreError) -> Self {
        match failure {
            StoreError::Damaged { .. } => Self::Damaged,
            StoreError::Down { outage, .. } => Self::Unavailable { cause: outage },
        }
    }
}

impl From<KeysRefused> for OpenError {
    fn from(refused: KeysRefused) -> Self {
        match refused {
            KeysRefused::Missing { .. } => Self::KeysMissing,
            KeysRefused::Newer { version } => Self::KeysNewer { version },
            KeysRefused::Unavailable(error) => Self::Wrap(error),
            KeysRefused::Wrong => Self::WrongMasterKey,
        }
    }
}

impl From<StoreError> for OpenError {
    fn from(failure: StoreError) -> Self {
        match failure {
            StoreError::Damaged { .. } => Self::KeysMissing,
            StoreError::Down { outage, .. } => Self::Store { cause: outage },
        }
    }
}
