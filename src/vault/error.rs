//! Why the vault does not open, and why a call of an open one fails.

use std::io;

use thiserror::Error;

use super::cipher::KeysRefused;
use super::{Outage, PostgresOpenError, SqliteOpenError};
use crate::card::TokenFormat;

/// Why a call failed. Holds nothing that came from a request.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum VaultError {
    /// A row is not as it was sealed.
    #[error("a row of the vault is damaged")]
    Damaged,
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
}

/// Why the vault does not open.
#[derive(Debug, Error)]
pub enum OpenError {
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
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Random,
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
    /// The key is not the one this vault was made with.
    #[error(
        "the master key is not the one this vault was made with; nothing was changed: \
         configure the right key, or restore the vault that belongs to this one"
    )]
    WrongMasterKey,
}

impl From<KeysRefused> for OpenError {
    fn from(refused: KeysRefused) -> Self {
        match refused {
            KeysRefused::Missing { .. } => Self::KeysMissing,
            KeysRefused::Newer { version } => Self::KeysNewer { version },
            KeysRefused::Wrong => Self::WrongMasterKey,
        }
    }
}

impl From<Outage> for VaultError {
    fn from(cause: Outage) -> Self {
        Self::Unavailable { cause }
    }
}
