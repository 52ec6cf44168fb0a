//! The commands' side of the SQLite store.

use std::time::{Duration, SystemTime};

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::keys::{keep_keys, kept_keys};
use super::{BEGIN, SqliteStore, bytes, sealed_row, settle, token};
use crate::card::{Brand, TokenFormat};
use crate::keys::MasterId;
use crate::vault::store::{
    Census, ErasedRow, Fingerprint, KeptErased, KeyChange, KeyFacts, KeyId, KeyPurpose,
    KeysChanged, Kind, Ledger, Obstacle, Resealed, StoreError, StoreFuture, StoredRow, Upkeep,
};

const PAGE: &str = "
    SELECT token, token_print, card_print, format, version, data_key, sealed, brand, last_four,
           created_at
      FROM tokens
     WHERE token_print > ?1 AND erased_at IS NULL
     ORDER BY token_print LIMIT ?2";

const RESEAL: &str = "
    UPDATE tokens SET data_key = ?3, version = ?4, sealed = ?5
     WHERE token_print = ?1 AND data_key = ?2";

const DROP_MASTER: &str = "DELETE FROM key_wraps WHERE master = ?1";

const DROP_KEY: &str = "DELETE FROM data_keys WHERE id = ?1";

const USES_KEY: &str = "SELECT EXISTS (SELECT 1 FROM tokens WHERE data_key = ?1)";

const ERASE: &str = "
    UPDATE tokens SET card_print = NULL, data_key = NULL, sealed = NULL, brand = NULL,
                      last_four = NULL, erased_at = unixepoch()
     WHERE token_print = ?1 AND erased_at IS NULL";

const ERASED_PAGE: &str = "
    SELECT token, token_print, format FROM tokens
     WHERE token_print > ?1 AND erased_at IS NOT NULL
     ORDER BY token_print LIMIT ?2";

/// Of which nothing is sealed: the version means nothing.
const KEEP_ERASED: &str = "
    INSERT INTO tokens (token, token_print, format, version, erased_at)
    SELECT ?1, ?2, ?3, 0, unixepoch()
     WHERE NOT EXISTS (SELECT 1 FROM tokens WHERE card_print = ?2)
        ON CONFLICT DO NOTHING";

const IS_ERASED: &str = "
    SELECT EXISTS (SELECT 1 FROM tokens WHERE token_print = ?1 AND erased_at IS NOT NULL)";

/// Until then the old content of erased pages lies in the log.
const EMPTY_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

const COUNT: &str = "
    SELECT count(*) FILTER (WHERE erased_at IS NULL) AS \"rows\", count(erased_at) AS erased,
           min(created_at) FILTER (WHERE erased_at IS NULL) AS oldest,
           max(created_at) FILTER (WHERE erased_at IS NULL) AS newest
      FROM tokens";

const COUNT_KINDS: &str = "
    SELECT format, brand, count(*) AS \"rows\" FROM tokens
     WHERE erased_at IS NULL GROUP BY format, brand ORDER BY format, brand";

const BYTES: &str = "
    SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()";

const COUNT_KEYS: &str = "
    SELECT id, purpose, created_at, master,
           (SELECT count(*) FROM tokens WHERE tokens.data_key = data_keys.id) AS \"rows\"
      FROM data_keys JOIN key_wraps ON key_wraps.data_key = id
     ORDER BY number, master";

impl Upkeep for SqliteStore {
    fn page(&self, after: Option<Fingerprint>, limit: u32) -> StoreFuture<'_, Vec<StoredRow>> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            let done = page(&mut connection, after, limit).await;
            settle(connection, done)
        })
    }

    fn reseal<'a>(&'a self, rows: &'a [Resealed]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await?;
            let done = reseal(&mut connection, rows).await;
            settle(connection, done)
        })
    }

    fn change_keys<'a>(&'a self, change: &'a KeyChange) -> StoreFuture<'a, KeysChanged> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await?;
            let done = change_keys(&mut connection, change).await;
            settle(connection, done)
        })
    }

    fn erase<'a>(&'a self, tokens: &'a [Fingerprint]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await?;
            let done = erase(&mut connection, tokens, &self.ledger).await;
            settle(connection, done)
        })
    }

    fn erased_page(
        &self,
        after: Option<Fingerprint>,
        limit: u32,
    ) -> StoreFuture<'_, Vec<ErasedRow>> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            let done = erased_page(&mut connection, after, limit).await;
            settle(connection, done)
        })
    }

    fn keep_erased<'a>(&'a self, rows: &'a [ErasedRow]) -> StoreFuture<'a, Vec<KeptErased>> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await?;
            let done = keep_erased(&mut connection, rows, &self.ledger).await;
            settle(connection, done)
        })
    }

    fn census(&self) -> StoreFuture<'_, Census> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            let done = census(&mut connection).await;
            settle(connection, done)
        })
    }
}

pub(super) async fn page(
    connection: &mut SqliteConnection,
    after: Option<Fingerprint>,
    limit: u32,
) -> Result<Vec<StoredRow>, StoreError> {
    // Every fingerprint comes after the empty one.
    let after = after.map_or_else(Vec::new, |print| print.0.to_vec());
    let rows = sqlx::query(PAGE).bind(after).bind(i64::from(limit)).fetch_all(connection).await?;
    rows.iter().map(stored_row).collect()
}

async fn reseal(connection: &mut SqliteConnection, rows: &[Resealed]) -> Result<u64, StoreError> {
    let (mut transaction, mut count) = (connection.begin_with(BEGIN).await?, 0);
    for row in rows {
        let done = sqlx::query(RESEAL)
            .bind(row.token_print.0.as_slice())
            .bind(row.before.0.as_slice())
            .bind(row.data_key.0.as_slice())
            .bind(i64::from(row.version))
            .bind(row.sealed.as_slice())
            .execute(&mut *transaction)
            .await?;
        count += done.rows_affected();
    }
    transaction.commit().await?;
    Ok(count)
}

async fn change_keys(
    connection: &mut SqliteConnection,
    change: &KeyChange,
) -> Result<KeysChanged, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let obstacle = change.obstacle(&kept_keys(&mut transaction).await?);
    if let Some(obstacle) = obstacle {
        return Ok(KeysChanged::Refused(obstacle));
    }
    match change {
        KeyChange::Add { wraps, .. } | KeyChange::Wrap { wraps } => {
            keep_keys(&mut transaction, wraps).await?;
        }
        KeyChange::DropMaster { master } => {
            let master = master.0.as_slice();
            sqlx::query(DROP_MASTER).bind(master).execute(&mut *transaction).await?;
        }
        KeyChange::DropKey { key } => {
            let used = sqlx::query_scalar(USES_KEY).bind(key.0.as_slice());
            if used.fetch_one(&mut *transaction).await? {
                return Ok(KeysChanged::Refused(Obstacle::InUse));
            }
            sqlx::query(DROP_KEY).bind(key.0.as_slice()).execute(&mut *transaction).await?;
        }
    }
    let keys = kept_keys(&mut transaction).await?;
    transaction.commit().await?;
    Ok(KeysChanged::Done(keys))
}

async fn erase(
    connection: &mut SqliteConnection,
    tokens: &[Fingerprint],
    ledger: &Ledger,
) -> Result<u64, StoreError> {
    let (mut transaction, mut count) = (connection.begin_with(BEGIN).await?, 0);
    for token in tokens {
        let done = sqlx::query(ERASE).bind(token.0.as_slice()).execute(&mut *transaction).await?;
        count += done.rows_affected();
    }
    ledger.erasing()?;
    transaction.commit().await?;
    ledger.erased()?;
    // Where a reader holds on to the log, a later checkpoint does it.
    sqlx::query(EMPTY_LOG).execute(connection).await?;
    Ok(count)
}

async fn erased_page(
    connection: &mut SqliteConnection,
    after: Option<Fingerprint>,
    limit: u32,
) -> Result<Vec<ErasedRow>, StoreError> {
    let after = after.map_or_else(Vec::new, |print| print.0.to_vec());
    let query = sqlx::query(ERASED_PAGE).bind(after).bind(i64::from(limit));
    query.fetch_all(connection).await?.iter().map(erased_row).collect()
}

async fn keep_erased(
    connection: &mut SqliteConnection,
    rows: &[ErasedRow],
    ledger: &Ledger,
) -> Result<Vec<KeptErased>, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    let mut kept = Vec::with_capacity(rows.len());
    for row in rows {
        let print = row.token_print.0.as_slice();
        let done = sqlx::query(KEEP_ERASED)
            .bind(row.token.as_str())
            .bind(print)
            .bind(row.format.as_str())
            .execute(&mut *transaction)
            .await?;
        let is_new = done.rows_affected() == 1;
        let is_erased = || sqlx::query_scalar(IS_ERASED).bind(print);
        kept.push(match is_new {
            true => KeptErased::New,
            false if is_erased().fetch_one(&mut *transaction).await? => KeptErased::Known,
            false => KeptErased::InUse,
        });
    }
    if kept.contains(&KeptErased::New) {
        ledger.issue()?;
    }
    transaction.commit().await?;
    Ok(kept)
}

async fn census(connection: &mut SqliteConnection) -> Result<Census, StoreError> {
    // One transaction: rows and keys are of one moment.
    let mut transaction = connection.begin().await?;
    let count = sqlx::query(COUNT).fetch_one(&mut *transaction).await?;
    let rows = sqlx::query(COUNT_KEYS).fetch_all(&mut *transaction).await?;
    let kinds = sqlx::query(COUNT_KINDS).fetch_all(&mut *transaction).await?;
    let size = sqlx::query(BYTES).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    let mut keys: Vec<KeyFacts> = Vec::new();
    for row in &rows {
        let facts = key_facts(row)?;
        match keys.last_mut() {
            Some(last) if last.id == facts.id => last.masters.extend(facts.masters),
            Some(_) | None => keys.push(facts),
        }
    }
    let oldest: Option<i64> = count.try_get("oldest")?;
    let newest: Option<i64> = count.try_get("newest")?;
    Ok(Census {
        rows: number(&count, "rows")?,
        erased: number(&count, "erased")?,
        oldest: oldest.map(time).transpose()?,
        newest: newest.map(time).transpose()?,
        bytes: number(&size, "bytes")?,
        kinds: kinds.iter().map(kind).collect::<Result<_, _>>()?,
        keys,
    })
}

fn erased_row(row: &SqliteRow) -> Result<ErasedRow, StoreError> {
    let format: String = row.try_get("format")?;
    Ok(ErasedRow {
        token: token(row.try_get("token")?)?,
        token_print: Fingerprint(bytes(row, "token_print")?),
        format: TokenFormat::named(&format).ok_or(StoreError::Damaged { column: "format" })?,
    })
}

fn stored_row(row: &SqliteRow) -> Result<StoredRow, StoreError> {
    let brand: String = row.try_get("brand")?;
    Ok(StoredRow {
        row: sealed_row(row)?,
        brand: Brand::named(&brand).ok_or(StoreError::Damaged { column: "brand" })?,
        last_four: row.try_get("last_four")?,
        created_at: time(row.try_get("created_at")?)?,
    })
}

fn kind(row: &SqliteRow) -> Result<Kind, StoreError> {
    let (format, brand): (String, String) = (row.try_get("format")?, row.try_get("brand")?);
    Ok(Kind {
        format: TokenFormat::named(&format).ok_or(StoreError::Damaged { column: "format" })?,
        brand: Brand::named(&brand).ok_or(StoreError::Damaged { column: "brand" })?,
        rows: number(row, "rows")?,
    })
}

fn key_facts(row: &SqliteRow) -> Result<KeyFacts, StoreError> {
    let purpose: String = row.try_get("purpose")?;
    Ok(KeyFacts {
        id: KeyId(bytes(row, "id")?),
        purpose: KeyPurpose::named(&purpose).ok_or(StoreError::Damaged { column: "purpose" })?,
        created_at: time(row.try_get("created_at")?)?,
        rows: number(row, "rows")?,
        masters: vec![MasterId(bytes(row, "master")?)],
    })
}

fn number(row: &SqliteRow, column: &'static str) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| StoreError::Damaged { column })
}

fn time(seconds: i64) -> Result<SystemTime, StoreError> {
    let seconds = u64::try_from(seconds).ok().map(Duration::from_secs);
    seconds
        .and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since))
        .ok_or(StoreError::Damaged { column: "created_at" })
}
