//! What a failure of PostgreSQL means to those who asked.

use std::io;

use sqlx::error::DatabaseError;
use thiserror::Error;

use crate::vault::Outage;
use crate::vault::store::StoreError;

/// Why there is no usable connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostgresFailure {
    /// A server that confirms what it has not written down.
    #[error("fsync is off: a power cut would lose tokens that the shop has; switch it on")]
    Fsync,
    /// A standby, or a database that was made read-only.
    #[error("it takes no writes")]
    ReadOnly,
    /// What the server or the network said.
    #[error(transparent)]
    Sql(#[from] sqlx::Error),
    /// No answer in time.
    #[error("it did not answer in time")]
    Stalled,
    /// A session that confirms what is not written down.
    #[error("synchronous_commit cannot be switched on")]
    SynchronousCommit,
    /// A server older than what this program was made for.
    #[error("version {major} is too old; it takes {least} or later", least = super::VERSION_LEAST)]
    Version {
        /// Its major version.
        major: i32,
    },
}

impl PostgresFailure {
    pub(super) fn outage(&self) -> Outage {
        match self {
            Self::Fsync | Self::SynchronousCommit | Self::Version { .. } => Outage::Unfit,
            Self::ReadOnly => Outage::ReadOnly,
            Self::Sql(error) => outage(error),
            Self::Stalled => Outage::Stalled,
        }
    }
}

impl From<PostgresFailure> for StoreError {
    fn from(failure: PostgresFailure) -> Self {
        match failure {
            PostgresFailure::Sql(sqlx::Error::ColumnDecode { .. }) => {
                Self::Damaged { column: "value" }
            }
            failure => Self::Down { outage: failure.outage(), source: Box::new(failure) },
        }
    }
}

fn outage(error: &sqlx::Error) -> Outage {
    match error {
        sqlx::Error::Database(database) => database_outage(database.as_ref()),
        sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => Outage::Stalled,
        // A certificate is refused in the midst of reading, and told as a failure to read.
        sqlx::Error::Io(error) if error.get_ref().is_some_and(|it| it.is::<rustls::Error>()) => {
            Outage::Denied
        }
        sqlx::Error::Tls(_) => Outage::Denied,
        _ => Outage::Unreachable,
    }
}

/// PostgreSQL 15 documentation, appendix A: the first two characters are the class.
fn database_outage(error: &dyn DatabaseError) -> Outage {
    let code = error.code().unwrap_or_default();
    match code.as_ref() {
        "25006" => Outage::ReadOnly,
        "53100" => Outage::Full,
        "53300" | "53400" => Outage::Busy,
        "55P03" | "40001" | "40P01" => Outage::Locked,
        "57014" => Outage::Stalled,
        "42501" | "3D000" => Outage::Denied,
        code if code.starts_with("28") => Outage::Denied,
        code if code.starts_with("08") || code.starts_with("57P") => Outage::Unreachable,
        code if code.starts_with("XX") => Outage::Corrupt,
        _ => Outage::Io,
    }
}
