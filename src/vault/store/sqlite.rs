//! The store in one file: SQLite in WAL mode, every commit synced.

mod copy;
mod insert;
mod issued;
mod keys;
mod probe;
mod upkeep;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection, Row, SqlSafeStr, SqliteConnection};
use thiserror::Error;

use self::insert::insert_all;
use self::keys::{kept_keys, offer_keys};
use self::probe::{Guarded, Held, Probe};
use super::{
    Fingerprint, Inserted, IssuedTokens, KeyId, KeyRow, Ledger, NewRow, SealedRow, Sought,
    StoreError, StoreFuture, TokenStore, files,
};
use crate::card::{Token, TokenFormat};
use crate::vault::Outage;

/// How long a statement waits for another process's lock; well within `vault::CALL_DEADLINE`.
const LOCK_WAIT: Duration = Duration::from_secs(2);

/// How long a call waits for a connection, which is only ever held for one transaction.
const CONNECTION_WAIT: Duration = Duration::from_secs(3);

/// Takes the write lock at once: a transaction that reads first and writes later can fail half-way.
const BEGIN: &str = "BEGIN IMMEDIATE";

// Erased rows have no `card_print`, so the second half leaves them out by itself.
const FIND: &str = "
    SELECT token, token_print, card_print, format, version, data_key, sealed FROM tokens
     WHERE token_print IN (SELECT unhex(value) FROM json_each(?1)) AND erased_at IS NULL
     UNION ALL
    SELECT token, token_print, card_print, format, version, data_key, sealed FROM tokens
     WHERE card_print IN (SELECT unhex(value) FROM json_each(?2))";

const BEAT: &str = "
    INSERT INTO heartbeat (id, beat_at) VALUES (1, unixepoch())
        ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at";

/// Why the file cannot be used as a vault.
#[derive(Debug, Error)]
pub enum SqliteOpenError {
    /// The database did not open.
    #[error("cannot open {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The file or its folder could not be made.
    #[error("cannot create {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file was written by a newer program, or by none of ours.
    #[error("{} is not a vault of this version", path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: Box<MigrateError>,
    },
}

/// Rows in a SQLite file.
///
/// One connection writes, so that commits follow each other without lock contention; others read
/// beside it. A connection that saw an error is closed, and the next call opens a new one.
pub(in crate::vault) struct SqliteStore {
    writer: Guarded,
    readers: Guarded,
    ledger: Arc<Ledger>,
}

impl SqliteStore {
    /// Opens the file, makes it (mode 0600, in a folder with mode 0700) where there is none, and
    /// brings its tables up to date.
    pub(in crate::vault) async fn open(path: &Path) -> Result<Self, SqliteOpenError> {
        Self::open_waiting(path, LOCK_WAIT).await
    }

    /// The keys in a file, and nothing changed: no key where there is no file or no vault in it.
    pub(in crate::vault) async fn peek(path: &Path) -> Result<Vec<KeyRow>, SqliteOpenError> {
        if let Ok(false) = path.try_exists() {
            return Ok(Vec::new());
        }
        let failed = |source| SqliteOpenError::Database { path: path.to_owned(), source };
        let options = options(path, LOCK_WAIT).disable_statement_logging();
        let mut connection = options.connect().await.map_err(failed)?;
        // Of a vault that another version made, its migrations have the word.
        let keys = kept_keys(&mut connection).await.unwrap_or_default();
        // Closed, and waited for: the files SQLite puts beside a database go with the connection.
        connection.close().await.map_err(failed)?;
        Ok(keys)
    }

    async fn open_waiting(path: &Path, lock_wait: Duration) -> Result<Self, SqliteOpenError> {
        files::prepare(path).map_err(|(path, source)| SqliteOpenError::File { path, source })?;
        let options = options(path, lock_wait)
            .journal_mode(SqliteJournalMode::Wal)
            // A commit returns only after the log is synced: a token that left is on the disk.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            // What is erased is overwritten, not only unlinked.
            .pragma("secure_delete", "ON")
            .disable_statement_logging();
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(CONNECTION_WAIT)
                .max_lifetime(None)
                .idle_timeout(None)
        };
        let database = |source| SqliteOpenError::Database { path: path.to_owned(), source };
        let writer = pool(1).connect_with(options.clone()).await.map_err(database)?;
        migrator().run(&writer).await.map_err(|source| SqliteOpenError::Schema {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let readers = pool(2).connect_with(options).await.map_err(database)?;
        let file = |(path, source)| SqliteOpenError::File { path, source };
        let ledger = Arc::new(Ledger::open(path).map_err(file)?);
        let [writer, readers] = Guarded::both([writer, readers], Probe::open(path).map_err(file)?);
        Ok(Self { writer, readers, ledger })
    }
}

impl TokenStore for SqliteStore {
    fn keys<'a>(&'a self, offered: &'a [KeyRow]) -> StoreFuture<'a, Vec<KeyRow>> {
        Box::pin(async move {
            // Reading waits for no writer.
            if offered.is_empty() {
                let mut connection = self.readers.acquire().await?;
                let done = kept_keys(&mut connection).await;
                return settle(connection, done);
            }
            let mut connection = self.writer.acquire().await?;
            let done = offer_keys(&mut connection, offered).await;
            settle(connection, done)
        })
    }

    fn find<'a>(&'a self, sought: &'a Sought) -> StoreFuture<'a, Vec<SealedRow>> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            let done = find(&mut connection, sought).await;
            settle(connection, done)
        })
    }

    fn insert<'a>(&'a self, rows: &'a [NewRow]) -> StoreFuture<'a, Vec<Inserted>> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await?;
            let done = insert_all(&mut connection, rows, &self.ledger).await;
            settle(connection, done)
        })
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await?;
            let done = sqlx::query(BEAT).execute(&mut *connection).await;
            settle(connection, done.map(|_| ()).map_err(StoreError::from))
        })
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        Box::pin(async {
            self.readers.close().await;
            self.writer.close().await;
            Ok(())
        })
    }

    fn issued(&self) -> Option<&dyn IssuedTokens> {
        Some(self)
    }
}

fn options(path: &Path, lock_wait: Duration) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).create_if_missing(false).busy_timeout(lock_wait)
}

/// Gives the connection back after success and closes it after a failure: what state an I/O error
/// leaves it in is not worth finding out.
fn settle<T>(mut connection: Held, done: Result<T, StoreError>) -> Result<T, StoreError> {
    if done.is_err() {
        connection.close_on_drop();
        return done;
    }
    connection.ask_again().and(done)
}

async fn find(
    connection: &mut SqliteConnection,
    sought: &Sought,
) -> Result<Vec<SealedRow>, StoreError> {
    // One parameter for any number of fingerprints keeps this one prepared statement.
    let list =
        |prints: &[Fingerprint]| serde_json::Value::from_iter(prints.iter().map(hex)).to_string();
    let query = sqlx::query(FIND).bind(list(&sought.tokens)).bind(list(&sought.cards));
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(sealed_row).collect()
}

fn sealed_row(row: &SqliteRow) -> Result<SealedRow, StoreError> {
    let format: String = row.try_get("format")?;
    Ok(SealedRow {
        token: token(row.try_get("token")?)?,
        token_print: Fingerprint(bytes(row, "token_print")?),
        card_print: Fingerprint(bytes(row, "card_print")?),
        format: TokenFormat::named(&format).ok_or(StoreError::Damaged { column: "format" })?,
        version: row.try_get("version")?,
        data_key: KeyId(bytes(row, "data_key")?),
        sealed: row.try_get("sealed")?,
    })
}

fn token(text: &str) -> Result<Token, StoreError> {
    Token::parse(text.as_bytes()).map_err(|_| StoreError::Damaged { column: "token" })
}

fn bytes<const N: usize>(row: &SqliteRow, column: &'static str) -> Result<[u8; N], StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    bytes.try_into().map_err(|_| StoreError::Damaged { column })
}

fn hex(print: &Fingerprint) -> String {
    print.0.iter().fold(String::with_capacity(64), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(nibble), 16));
        }
        text
    })
}

fn migrator() -> Migrator {
    let first = include_str!("../migrations/sqlite/0001_vault.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(
        1,
        "vault".into(),
        MigrationType::Simple,
        first,
        false,
    )])
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        let outage = match error.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Outage::ReadOnly,
            io::ErrorKind::StorageFull => Outage::Full,
            _ => Outage::Io,
        };
        Self::Down { outage, source: Box::new(error) }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let outage = match &error {
            sqlx::Error::ColumnDecode { .. } => return Self::Damaged { column: "value" },
            sqlx::Error::Database(database) => outage(database.as_ref()),
            sqlx::Error::PoolTimedOut => Outage::Stalled,
            sqlx::Error::PoolClosed => Outage::Stopped,
            _ => Outage::Io,
        };
        Self::Down { outage, source: Box::new(error) }
    }
}

/// The low byte of a result code is its kind (sqlite.org/rescode.html).
fn outage(error: &dyn DatabaseError) -> Outage {
    let code = error.code().and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => Outage::Locked,
        Some(8) => Outage::ReadOnly,
        Some(11 | 26) => Outage::Corrupt,
        Some(13) => Outage::Full,
        _ => Outage::Io,
    }
}

#[cfg(test)]
mod tests;
