//! The store that instances share: PostgreSQL.
//!
//! Every call is one statement, and so one transaction and one round trip: nothing is left half done
//! on the server, and no lock waits for us, whatever becomes of us or of the network. A call that
//! was cut off may have been committed all the same; whoever asks again finds its card known.

mod connect;
mod erasures;
mod failure;
mod lane;
mod migrate;
mod passfile;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{Connection, Row};
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use self::connect::{Access, Connector};
pub use self::failure::PostgresFailure;
use self::lane::{CALL_WAIT, Lane, Lanes, WRITERS, in_time};
use self::migrate::Age;
use super::{
    Erasures, Fingerprint, Inserted, KeyId, KeyPurpose, KeyRow, NewRow, SealedRow, Sought,
    StoreError, StoreFuture, TokenStore,
};
use crate::card::{Token, TokenFormat};
use crate::keys::MasterId;
use crate::policy::PostgresAddress;

/// The oldest major version that has all the settings of a session.
const VERSION_LEAST: i32 = 14;

// Erased rows have no `card_print`, so the second half leaves them out by itself.
const FIND: &str = "
    SELECT token, token_print, card_print, format, version, data_key, sealed FROM tokens
     WHERE token_print = ANY($1) AND erased_at IS NULL
     UNION ALL
    SELECT token, token_print, card_print, format, version, data_key, sealed FROM tokens
     WHERE card_print = ANY($2)";

const KEEP: &str = "
    SELECT outcome, kept FROM keep_tokens($1, $2, $3, $4, $5, $6, $7, $8, $9)";

/// One change of keys or of rows that are there at a time. Beside the locks of `keep_tokens`, which
/// end at 65536.
const LOCK_KEYS: &str = "SELECT pg_advisory_xact_lock(1953066092, 65537)";

const EMPTY: &str = "
    SELECT NOT EXISTS (SELECT FROM data_keys) AND NOT EXISTS (SELECT FROM tokens)";

const KEEP_KEY: &str = "
    INSERT INTO data_keys (id, purpose) VALUES ($1, $2) ON CONFLICT DO NOTHING";

const KEEP_WRAP: &str = "
    INSERT INTO key_wraps (data_key, master, version, wrapped) VALUES ($1, $2, $3, $4)
        ON CONFLICT DO NOTHING";

const KEYS: &str = "
    SELECT id, purpose, master, version, wrapped FROM data_keys JOIN key_wraps ON data_key = id
     ORDER BY number, master";

const BEAT: &str = "
    INSERT INTO heartbeat (id, beat_at) VALUES (1, now())
        ON CONFLICT (id) DO UPDATE SET beat_at = excluded.beat_at";

/// Why the database cannot be used as a vault.
#[derive(Debug, Error)]
pub enum PostgresOpenError {
    /// No server of the address serves.
    #[error("cannot use the database {address}")]
    Connect {
        /// Its servers and its name.
        address: String,
        /// Why not, as the last of them has it.
        source: PostgresFailure,
    },
    /// The tables could not be made or brought up to date.
    #[error("cannot prepare the tables of {address}")]
    Migrate {
        /// Its servers and its name.
        address: String,
        /// What the database said.
        source: Box<MigrateError>,
    },
    /// A table of another program is in the way.
    #[error(
        "{address} is no vault, but has a table `{table}`; nothing was changed: give the vault a \
         database of its own"
    )]
    Foreign {
        /// Its servers and its name.
        address: String,
        /// The table.
        table: String,
    },
    /// A newer program has changed the tables.
    #[error(
        "{address} belongs to a newer version of this program (its tables have format {version}); \
         nothing was changed: use that version"
    )]
    Newer {
        /// Its servers and its name.
        address: String,
        /// The first change that is not known here.
        version: i64,
    },
    /// Not the tables of this program, as far as it can be seen.
    #[error(
        "the tables of {address} were made by another program, or by a version of this one that was \
         never released; nothing was changed: give the vault a database of its own, and take cards \
         over with `vault export` of that version and `vault import`"
    )]
    Unlike {
        /// Its servers and its name.
        address: String,
    },
    /// A row holds what no row can hold.
    #[error("{address} holds keys with an unreadable {column}")]
    Unreadable {
        /// Its servers and its name.
        address: String,
        /// Which column.
        column: &'static str,
    },
}

/// Rows in a PostgreSQL database.
pub(in crate::vault) struct PostgresStore {
    connector: Connector,
    keeper: Lane,
    reader: Lane,
    writers: Lanes,
}

impl PostgresStore {
    /// Opens the database, makes its tables where there are none, and brings them up to date.
    pub(in crate::vault) async fn open(
        address: &Arc<PostgresAddress>,
    ) -> Result<Self, PostgresOpenError> {
        let (connector, mut connection) = reach(address, Access::Upkeep).await?;
        if age(&mut connection, address).await? != Age::Current {
            migrate::run(&mut connection).await.map_err(unprepared(address))?;
        }
        Ok(Self {
            keeper: Lane::new(connector.clone(), Access::Upkeep),
            reader: Lane::new(connector.clone(), Access::Read),
            writers: Lanes::new(&connector, Access::Write),
            connector,
        })
    }

    /// The keys in a database, and nothing changed: none where there is no vault in it.
    pub(in crate::vault) async fn peek(
        address: &Arc<PostgresAddress>,
    ) -> Result<Vec<KeyRow>, PostgresOpenError> {
        let (_, mut connection) = reach(address, Access::Read).await?;
        if age(&mut connection, address).await? == Age::Missing {
            return Ok(Vec::new());
        }
        let rows = in_time(CALL_WAIT, kept_keys(&mut connection)).await.map_err(|source| {
            let address = address.to_string();
            PostgresOpenError::Connect { address, source }
        })?;
        rows.iter().map(key_row).collect::<Result<_, _>>().map_err(|failure| {
            let column = match failure {
                StoreError::Damaged { column } => column,
                StoreError::Down { .. } => "value",
            };
            PostgresOpenError::Unreadable { address: address.to_string(), column }
        })
    }
}

impl TokenStore for PostgresStore {
    fn keys<'a>(&'a self, offered: &'a [KeyRow]) -> StoreFuture<'a, Vec<KeyRow>> {
        Box::pin(async move {
            let rows = loop {
                // Reading waits for no writer.
                let (mut held, done);
                if offered.is_empty() {
                    held = self.reader.hold().await?;
                    done = in_time(CALL_WAIT, kept_keys(&mut held.connection)).await;
                } else {
                    held = self.writers.hold().await?;
                    done = in_time(CALL_WAIT, offer_keys(&mut held.connection, offered)).await;
                }
                if let Some(rows) = held.settle(done)? {
                    break rows;
                }
            };
            rows.iter().map(key_row).collect()
        })
    }

    fn find<'a>(&'a self, sought: &'a Sought) -> StoreFuture<'a, Vec<SealedRow>> {
        Box::pin(async move {
            let list =
                |prints: &[Fingerprint]| -> Vec<_> { prints.iter().map(|print| print.0).collect() };
            let rows = loop {
                let mut held = self.reader.hold().await?;
                let query = sqlx::query(FIND).bind(list(&sought.tokens)).bind(list(&sought.cards));
                let done = in_time(CALL_WAIT, query.fetch_all(&mut held.connection)).await;
                if let Some(rows) = held.settle(done)? {
                    break rows;
                }
            };
            rows.iter().map(sealed_row).collect()
        })
    }

    fn insert<'a>(&'a self, rows: &'a [NewRow]) -> StoreFuture<'a, Vec<Inserted>> {
        Box::pin(async move {
            // What was committed before the connection broke is found, and not kept twice.
            let done = loop {
                let mut held = self.writers.hold().await?;
                // All rows, to the end: the word that the commit failed comes after the last of them.
                let done = in_time(CALL_WAIT, keep(rows).fetch_all(&mut held.connection)).await;
                if let Some(done) = held.settle(done)? {
                    break done;
                }
            };
            if done.len() != rows.len() {
                return Err(StoreError::Damaged { column: "outcome" });
            }
            done.iter().map(inserted).collect()
        })
    }

    fn writers(&self) -> usize {
        WRITERS
    }

    fn hear_erasures<'a>(
        &'a self,
        erasures: &'a Erasures,
        stop: &'a CancellationToken,
    ) -> BoxFuture<'a, ()> {
        Box::pin(erasures::follow(&self.connector, erasures, stop))
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            loop {
                let mut held = self.writers.hold().await?;
                let done = in_time(CALL_WAIT, sqlx::query(BEAT).execute(&mut held.connection));
                let done = done.await;
                if held.settle(done)?.is_some() {
                    return Ok(());
                }
            }
        })
    }
}

async fn reach(
    address: &Arc<PostgresAddress>,
    access: Access,
) -> Result<(Connector, PgConnection), PostgresOpenError> {
    let connector = Connector { address: Arc::clone(address) };
    match connector.connect(access).await {
        Ok(connection) => Ok((connector, connection)),
        Err(source) => Err(PostgresOpenError::Connect { address: address.to_string(), source }),
    }
}

/// How old the tables are, unless a newer or another program has made them.
async fn age(
    connection: &mut PgConnection,
    address: &PostgresAddress,
) -> Result<Age, PostgresOpenError> {
    let place = || address.to_string();
    match migrate::age(connection).await.map_err(unprepared(address))? {
        Age::Foreign { table } => Err(PostgresOpenError::Foreign { address: place(), table }),
        Age::Newer { version } => Err(PostgresOpenError::Newer { address: place(), version }),
        Age::Unlike => Err(PostgresOpenError::Unlike { address: place() }),
        age @ (Age::Current | Age::Missing | Age::Older) => Ok(age),
    }
}

fn unprepared(address: &PostgresAddress) -> impl FnOnce(MigrateError) -> PostgresOpenError {
    let address = address.to_string();
    |source| PostgresOpenError::Migrate { address, source: Box::new(source) }
}

async fn kept_keys(connection: &mut PgConnection) -> Result<Vec<PgRow>, sqlx::Error> {
    sqlx::query(KEYS).fetch_all(connection).await
}

async fn offer_keys(
    connection: &mut PgConnection,
    offered: &[KeyRow],
) -> Result<Vec<PgRow>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK_KEYS).execute(&mut *transaction).await?;
    // With tokens but no keys, new keys would only hide that the old ones are lost.
    if sqlx::query_scalar(EMPTY).fetch_one(&mut *transaction).await? {
        keep_keys(&mut transaction, offered).await?;
    }
    let rows = kept_keys(&mut transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}

async fn keep_keys(connection: &mut PgConnection, keys: &[KeyRow]) -> Result<(), sqlx::Error> {
    for key in keys {
        sqlx::query(KEEP_KEY)
            .bind(key.id.0)
            .bind(key.purpose.as_str())
            .execute(&mut *connection)
            .await?;
        sqlx::query(KEEP_WRAP)
            .bind(key.id.0)
            .bind(key.master.0)
            .bind(i16::from(key.version))
            .bind(key.wrapped.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// A column of parameters for each column of the table.
fn keep(rows: &[NewRow]) -> sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments> {
    let sealed = || rows.iter().map(|new| &new.row);
    sqlx::query(KEEP)
        .bind(sealed().map(|row| row.token.as_str()).collect::<Vec<_>>())
        .bind(sealed().map(|row| row.token_print.0).collect::<Vec<_>>())
        .bind(sealed().map(|row| row.card_print.0).collect::<Vec<_>>())
        .bind(sealed().map(|row| row.format.as_str()).collect::<Vec<_>>())
        .bind(sealed().map(|row| i16::from(row.version)).collect::<Vec<_>>())
        .bind(sealed().map(|row| row.data_key.0).collect::<Vec<_>>())
        .bind(sealed().map(|row| row.sealed.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|new| new.brand.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|new| new.last_four.as_str()).collect::<Vec<_>>())
}

fn inserted(row: &PgRow) -> Result<Inserted, StoreError> {
    let outcome: &str = value(row, "outcome")?;
    match outcome {
        "created" => Ok(Inserted::Created(token(value(row, "kept")?)?)),
        "is_token" => Ok(Inserted::IsToken),
        "key_gone" => Ok(Inserted::KeyGone),
        "known" => Ok(Inserted::Known(token(value(row, "kept")?)?)),
        "token_taken" => Ok(Inserted::TokenTaken),
        _ => Err(StoreError::Damaged { column: "outcome" }),
    }
}

fn key_row(row: &PgRow) -> Result<KeyRow, StoreError> {
    let purpose = value(row, "purpose")?;
    Ok(KeyRow {
        id: KeyId(value(row, "id")?),
        purpose: KeyPurpose::named(purpose).ok_or(StoreError::Damaged { column: "purpose" })?,
        master: MasterId(value(row, "master")?),
        version: version(row)?,
        wrapped: value(row, "wrapped")?,
    })
}

fn sealed_row(row: &PgRow) -> Result<SealedRow, StoreError> {
    let format = value(row, "format")?;
    Ok(SealedRow {
        token: token(value(row, "token")?)?,
        token_print: Fingerprint(value(row, "token_print")?),
        card_print: Fingerprint(value(row, "card_print")?),
        format: TokenFormat::named(format).ok_or(StoreError::Damaged { column: "format" })?,
        version: version(row)?,
        data_key: KeyId(value(row, "data_key")?),
        sealed: value(row, "sealed")?,
    })
}

fn token(text: &str) -> Result<Token, StoreError> {
    Token::parse(text.as_bytes()).map_err(|_| StoreError::Damaged { column: "token" })
}

fn version(row: &PgRow) -> Result<u8, StoreError> {
    let version: i16 = value(row, "version")?;
    u8::try_from(version).map_err(|_| StoreError::Damaged { column: "version" })
}

fn value<'r, T>(row: &'r PgRow, column: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(column).map_err(|_| StoreError::Damaged { column })
}
