//! The commands' side of the PostgreSQL store, on a connection of its own that may take its time.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use sqlx::Connection;
use sqlx::postgres::{PgConnection, PgRow};

use super::erasures::NOTIFY;
use super::lane::{UPKEEP_WAIT, in_time};
use super::{LOCK_KEYS, PostgresStore, keep_keys, kept_keys, key_row, sealed_row, token, value};
use crate::card::{Brand, TokenFormat};
use crate::keys::MasterId;
use crate::vault::store::{
    Census, ErasedRow, Fingerprint, KeptErased, KeyChange, KeyFacts, KeyId, KeyPurpose,
    KeysChanged, Kind, Obstacle, Resealed, StoreError, StoreFuture, StoredRow, Upkeep,
};

const PAGE: &str = "
    SELECT token, token_print, card_print, format, version, data_key, sealed, brand, last_four,
           floor(extract(epoch FROM created_at))::bigint AS created_at
      FROM tokens
     WHERE token_print > $1 AND erased_at IS NULL
     ORDER BY token_print LIMIT $2";

const RESEAL: &str = "
    UPDATE tokens AS t SET data_key = new.data_key, version = new.version, sealed = new.sealed
      FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::smallint[], $5::bytea[])
        AS new (token_print, before, data_key, version, sealed)
     WHERE t.token_print = new.token_print AND t.data_key = new.before";

const DROP_MASTER: &str = "DELETE FROM key_wraps WHERE master = $1";

/// Waits for those who keep rows under it, and lets nobody begin.
const HOLD_KEY: &str = "SELECT FROM data_keys WHERE id = $1 FOR UPDATE";

const DROP_KEY: &str = "DELETE FROM data_keys WHERE id = $1";

const USES_KEY: &str = "SELECT EXISTS (SELECT FROM tokens WHERE data_key = $1)";

/// What a row was stays on the server's disk until its next vacuum, in its log and in its archives:
/// sealed, and noise once `vault rotate` has dropped the key.
const ERASE: &str = "
    UPDATE tokens SET card_print = NULL, data_key = NULL, sealed = NULL, brand = NULL,
                      last_four = NULL, erased_at = now()
     WHERE token_print = ANY($1) AND erased_at IS NULL";

const ERASED_PAGE: &str = "
    SELECT token, token_print, format FROM tokens
     WHERE token_print > $1 AND erased_at IS NOT NULL
     ORDER BY token_print LIMIT $2";

/// The lock that whoever keeps rows shares, or holds alone: see `keep_tokens`.
const LOCK_ALL: &str = "SELECT pg_advisory_xact_lock(1953066092, 65536)";

/// Of which nothing is sealed: the version means nothing.
const KEEP_ERASED: &str = "
    INSERT INTO tokens (token_print, token, format, version, erased_at)
    SELECT new.token_print, new.token, new.format, 0, now()
      FROM unnest($1::bytea[], $2::text[], $3::text[]) AS new (token_print, token, format)
     WHERE NOT EXISTS (SELECT FROM tokens AS t WHERE t.card_print = new.token_print)
        ON CONFLICT DO NOTHING
    RETURNING token_print";

const WHICH_ERASED: &str = "
    SELECT token_print FROM tokens WHERE token_print = ANY($1) AND erased_at IS NOT NULL";

/// Rows and keys of one moment.
const BEGIN_CENSUS: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

const COUNT: &str = "
    SELECT count(*) FILTER (WHERE erased_at IS NULL) AS \"rows\", count(erased_at) AS erased,
           floor(extract(epoch FROM min(created_at) FILTER (WHERE erased_at IS NULL)))::bigint
               AS oldest,
           floor(extract(epoch FROM max(created_at) FILTER (WHERE erased_at IS NULL)))::bigint
               AS newest
      FROM tokens";

const COUNT_KINDS: &str = "
    SELECT format, brand, count(*) AS \"rows\" FROM tokens
     WHERE erased_at IS NULL GROUP BY format, brand ORDER BY format, brand";

const BYTES: &str = "SELECT pg_total_relation_size('tokens') AS bytes";

const COUNT_KEYS: &str = "
    SELECT id, purpose, floor(extract(epoch FROM created_at))::bigint AS created_at, master,
           (SELECT count(*) FROM tokens WHERE tokens.data_key = data_keys.id) AS \"rows\"
      FROM data_keys JOIN key_wraps ON key_wraps.data_key = id
     ORDER BY number, master";

impl Upkeep for PostgresStore {
    fn page(&self, after: Option<Fingerprint>, limit: u32) -> StoreFuture<'_, Vec<StoredRow>> {
        Box::pin(async move {
            let mut held = self.keeper.hold().await?;
            // Every fingerprint comes after the empty one.
            let after = after.map_or_else(Vec::new, |print| print.0.to_vec());
            let query = sqlx::query(PAGE).bind(after).bind(i64::from(limit));
            let rows = in_time(UPKEEP_WAIT, query.fetch_all(&mut held.connection)).await?;
            held.keep();
            rows.iter().map(stored_row).collect()
        })
    }

    fn reseal<'a>(&'a self, rows: &'a [Resealed]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut held = self.keeper.hold().await?;
            let count = in_time(UPKEEP_WAIT, reseal(&mut held.connection, rows)).await?;
            held.keep();
            Ok(count)
        })
    }

    fn change_keys<'a>(&'a self, change: &'a KeyChange) -> StoreFuture<'a, KeysChanged> {
        Box::pin(async move {
            let mut held = self.keeper.hold().await?;
            let changed = in_time(UPKEEP_WAIT, change_keys(&mut held.connection, change)).await??;
            held.keep();
            Ok(changed)
        })
    }

    fn erase<'a>(&'a self, tokens: &'a [Fingerprint]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut held = self.keeper.hold().await?;
            let count = in_time(UPKEEP_WAIT, erase(&mut held.connection, tokens)).await?;
            held.keep();
            Ok(count)
        })
    }

    fn erased_page(
        &self,
        after: Option<Fingerprint>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ErasedRow>> {
        Box::pin(async move {
            let mut held = self.keeper.hold().await?;
            let after = after.map_or_else(Vec::new, |print| print.0.to_vec());
            let query = sqlx::query(ERASED_PAGE).bind(after).bind(i64::from(limit));
            let rows = in_time(UPKEEP_WAIT, query.fetch_all(&mut held.connection)).await?;
            held.keep();
            rows.iter().map(erased_row).collect()
        })
    }

    fn keep_erased<'a>(&'a self, rows: &'a [ErasedRow]) -> StoreFuture<'a, Vec<KeptErased>> {
        Box::pin(async move {
            let mut held = self.keeper.hold().await?;
            let [new, all] = in_time(UPKEEP_WAIT, keep_erased(&mut held.connection, rows)).await?;
            held.keep();
            let outcome = |row: &ErasedRow| match row.token_print.0 {
                print if new.contains(&print) => KeptErased::New,
                print if all.contains(&print) => KeptErased::Known,
                _ => KeptErased::InUse,
            };
            Ok(rows.iter().map(outcome).collect())
        })
    }

    fn census(&self) -> StoreFuture<'_, Census> {
        Box::pin(async move {
            let mut held = self.keeper.hold().await?;
            let counts = in_time(UPKEEP_WAIT, count(&mut held.connection)).await?;
            held.keep();
            census(&counts)
        })
    }
}

async fn reseal(connection: &mut PgConnection, rows: &[Resealed]) -> Result<u64, sqlx::Error> {
    // One at a time: two that seal the same rows in another order would wait for each other.
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK_KEYS).execute(&mut *transaction).await?;
    let done = sqlx::query(RESEAL)
        .bind(rows.iter().map(|row| row.token_print.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.before.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.data_key.0).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| i16::from(row.version)).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.sealed.as_slice()).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}

/// What is damaged is no failure of the connection.
async fn change_keys(
    connection: &mut PgConnection,
    change: &KeyChange,
) -> Result<Result<KeysChanged, StoreError>, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK_KEYS).execute(&mut *transaction).await?;
    let kept = kept_keys(&mut transaction).await?;
    let kept = match kept.iter().map(key_row).collect::<Result<Vec<_>, _>>() {
        Ok(kept) => kept,
        Err(damaged) => return Ok(Err(damaged)),
    };
    if let Some(obstacle) = change.obstacle(&kept) {
        transaction.rollback().await?;
        return Ok(Ok(KeysChanged::Refused(obstacle)));
    }
    match change {
        KeyChange::Add { wraps, .. } | KeyChange::Wrap { wraps } => {
            keep_keys(&mut transaction, wraps).await?;
        }
        KeyChange::DropMaster { master } => {
            sqlx::query(DROP_MASTER).bind(master.0).execute(&mut *transaction).await?;
        }
        KeyChange::DropKey { key } => {
            sqlx::query(HOLD_KEY).bind(key.0).execute(&mut *transaction).await?;
            if sqlx::query_scalar(USES_KEY).bind(key.0).fetch_one(&mut *transaction).await? {
                transaction.rollback().await?;
                return Ok(Ok(KeysChanged::Refused(Obstacle::InUse)));
            }
            sqlx::query(DROP_KEY).bind(key.0).execute(&mut *transaction).await?;
        }
    }
    let keys = kept_keys(&mut transaction).await?;
    transaction.commit().await?;
    Ok(keys.iter().map(key_row).collect::<Result<_, _>>().map(KeysChanged::Done))
}

async fn erase(connection: &mut PgConnection, tokens: &[Fingerprint]) -> Result<u64, sqlx::Error> {
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK_KEYS).execute(&mut *transaction).await?;
    let prints: Vec<_> = tokens.iter().map(|print| print.0).collect();
    let done = sqlx::query(ERASE).bind(prints).execute(&mut *transaction).await?;
    sqlx::raw_sql(NOTIFY).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(done.rows_affected())
}

/// Gives the fingerprints that are new, and all that are there as erased ones now.
async fn keep_erased(
    connection: &mut PgConnection,
    rows: &[ErasedRow],
) -> Result<[HashSet<[u8; 32]>; 2], sqlx::Error> {
    let prints: Vec<_> = rows.iter().map(|row| row.token_print.0).collect();
    let mut transaction = connection.begin().await?;
    sqlx::query(LOCK_ALL).execute(&mut *transaction).await?;
    let new: Vec<[u8; 32]> = sqlx::query_scalar(KEEP_ERASED)
        .bind(&prints)
        .bind(rows.iter().map(|row| row.token.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.format.as_str()).collect::<Vec<_>>())
        .fetch_all(&mut *transaction)
        .await?;
    let all: Vec<[u8; 32]> =
        sqlx::query_scalar(WHICH_ERASED).bind(&prints).fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    Ok([new, all].map(HashSet::from_iter))
}

/// What a census is made of.
struct Counts {
    whole: PgRow,
    size: PgRow,
    kinds: Vec<PgRow>,
    keys: Vec<PgRow>,
}

async fn count(connection: &mut PgConnection) -> Result<Counts, sqlx::Error> {
    let mut transaction = connection.begin_with(BEGIN_CENSUS).await?;
    let whole = sqlx::query(COUNT).fetch_one(&mut *transaction).await?;
    let keys = sqlx::query(COUNT_KEYS).fetch_all(&mut *transaction).await?;
    let kinds = sqlx::query(COUNT_KINDS).fetch_all(&mut *transaction).await?;
    let size = sqlx::query(BYTES).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(Counts { whole, size, kinds, keys })
}

fn census(counts: &Counts) -> Result<Census, StoreError> {
    let count = &counts.whole;
    let mut keys: Vec<KeyFacts> = Vec::new();
    for row in &counts.keys {
        let facts = key_facts(row)?;
        match keys.last_mut() {
            Some(last) if last.id == facts.id => last.masters.extend(facts.masters),
            Some(_) | None => keys.push(facts),
        }
    }
    Ok(Census {
        rows: number(count, "rows")?,
        erased: number(count, "erased")?,
        oldest: value::<Option<i64>>(count, "oldest")?.map(time).transpose()?,
        newest: value::<Option<i64>>(count, "newest")?.map(time).transpose()?,
        bytes: number(&counts.size, "bytes")?,
        kinds: counts.kinds.iter().map(kind).collect::<Result<_, _>>()?,
        keys,
    })
}

fn erased_row(row: &PgRow) -> Result<ErasedRow, StoreError> {
    let format = value(row, "format")?;
    Ok(ErasedRow {
        token: token(value(row, "token")?)?,
        token_print: Fingerprint(value(row, "token_print")?),
        format: TokenFormat::named(format).ok_or(StoreError::Damaged { column: "format" })?,
    })
}

fn stored_row(row: &PgRow) -> Result<StoredRow, StoreError> {
    Ok(StoredRow {
        row: sealed_row(row)?,
        brand: Brand::named(value(row, "brand")?).ok_or(StoreError::Damaged { column: "brand" })?,
        last_four: value(row, "last_four")?,
        created_at: time(value(row, "created_at")?)?,
    })
}

fn kind(row: &PgRow) -> Result<Kind, StoreError> {
    let (format, brand) = (value(row, "format")?, value(row, "brand")?);
    Ok(Kind {
        format: TokenFormat::named(format).ok_or(StoreError::Damaged { column: "format" })?,
        brand: Brand::named(brand).ok_or(StoreError::Damaged { column: "brand" })?,
        rows: number(row, "rows")?,
    })
}

fn key_facts(row: &PgRow) -> Result<KeyFacts, StoreError> {
    let purpose = KeyPurpose::named(value(row, "purpose")?);
    Ok(KeyFacts {
        id: KeyId(value(row, "id")?),
        purpose: purpose.ok_or(StoreError::Damaged { column: "purpose" })?,
        created_at: time(value(row, "created_at")?)?,
        rows: number(row, "rows")?,
        masters: vec![MasterId(value(row, "master")?)],
    })
}

fn number(row: &PgRow, column: &'static str) -> Result<u64, StoreError> {
    let number: i64 = value(row, column)?;
    u64::try_from(number).map_err(|_| StoreError::Damaged { column })
}

fn time(seconds: i64) -> Result<SystemTime, StoreError> {
    let since = u64::try_from(seconds).ok().map(Duration::from_secs);
    since
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .ok_or(StoreError::Damaged { column: "created_at" })
}
