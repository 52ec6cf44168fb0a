//! The keys in a SQLite store.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::{BEGIN, bytes};
use crate::keys::MasterId;
use crate::vault::store::{KeyId, KeyPurpose, KeyRow, StoreError};

const KEEP_KEY: &str = "
    INSERT INTO data_keys (id, purpose) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

const KEEP_WRAP: &str = "
    INSERT INTO key_wraps (data_key, master, version, wrapped) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING";

const EMPTY: &str = "
    SELECT NOT EXISTS (SELECT 1 FROM data_keys) AND NOT EXISTS (SELECT 1 FROM tokens)";

const KEYS: &str = "
    SELECT id, purpose, master, version, wrapped FROM data_keys JOIN key_wraps ON data_key = id
     ORDER BY number, master";

pub(super) async fn offer_keys(
    connection: &mut SqliteConnection,
    offered: &[KeyRow],
) -> Result<Vec<KeyRow>, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    // With tokens but no keys, new keys would only hide that the old ones are lost.
    if sqlx::query_scalar(EMPTY).fetch_one(&mut *transaction).await? {
        keep_keys(&mut transaction, offered).await?;
    }
    let rows = kept_keys(&mut transaction).await?;
    transaction.commit().await?;
    Ok(rows)
}

pub(super) async fn kept_keys(
    connection: &mut SqliteConnection,
) -> Result<Vec<KeyRow>, StoreError> {
    let rows = sqlx::query(KEYS).fetch_all(connection).await?;
    rows.iter().map(key_row).collect()
}

pub(super) async fn keep_keys(
    connection: &mut SqliteConnection,
    keys: &[KeyRow],
) -> Result<(), StoreError> {
    for key in keys {
        sqlx::query(KEEP_KEY)
            .bind(key.id.0.as_slice())
            .bind(key.purpose.as_str())
            .execute(&mut *connection)
            .await?;
        sqlx::query(KEEP_WRAP)
            .bind(key.id.0.as_slice())
            .bind(key.master.0.as_slice())
            .bind(i64::from(key.version))
            .bind(key.wrapped.as_slice())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

fn key_row(row: &SqliteRow) -> Result<KeyRow, StoreError> {
    let purpose: String = row.try_get("purpose")?;
    Ok(KeyRow {
        id: KeyId(bytes(row, "id")?),
        purpose: KeyPurpose::named(&purpose).ok_or(StoreError::Damaged { column: "purpose" })?,
        master: MasterId(bytes(row, "master")?),
        version: row.try_get("version")?,
        wrapped: row.try_get("wrapped")?,
    })
}
