//! A copy of the database of one moment, made while others write.

use std::path::Path;

use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::keys::kept_keys;
use super::upkeep::page;
use super::{LOCK_WAIT, SqliteOpenError, SqliteStore, options};
use crate::vault::store::{KeyRow, StoreError, StoredRow};

/// A transaction that reads: whoever serves goes on writing, and the copy is whole and compact.
const COPY: &str = "VACUUM INTO ?1";

const COUNT_ALL: &str = "SELECT count(*), count(erased_at) FROM tokens";

/// How many rows of a copy are opened.
const SAMPLE: u32 = 1_000;

/// What a database holds, erased rows among the rows.
pub(in crate::vault) struct Content {
    pub(in crate::vault) rows: u64,
    pub(in crate::vault) erased: u64,
    pub(in crate::vault) keys: Vec<KeyRow>,
    pub(in crate::vault) sample: Vec<StoredRow>,
    /// Whether every page of it can be read.
    pub(in crate::vault) sound: bool,
}

impl SqliteStore {
    /// Writes a copy to a file that is empty. Gives how many rows there were before and after.
    pub(in crate::vault) async fn copy(
        from: &Path,
        to: &Path,
    ) -> Result<(u64, u64), SqliteOpenError> {
        let failed = |source| SqliteOpenError::Database { path: from.to_owned(), source };
        let options = options(from, LOCK_WAIT).disable_statement_logging();
        let mut connection = options.connect().await.map_err(failed)?;
        let before = count(&mut connection).await.map_err(failed)?.0;
        // Bytes that are no UTF-8 cannot be a parameter.
        let name = to.to_str().ok_or_else(|| {
            failed(sqlx::Error::InvalidArgument("the name of the copy is not UTF-8".to_owned()))
        })?;
        sqlx::query(COPY).bind(name).execute(&mut connection).await.map_err(failed)?;
        let after = count(&mut connection).await.map_err(failed)?.0;
        connection.close().await.map_err(failed)?;
        Ok((before, after))
    }

    /// What is in a file that nobody writes to. Nothing is made beside it.
    pub(in crate::vault) async fn look_into(
        path: &Path,
    ) -> Result<Result<Content, StoreError>, SqliteOpenError> {
        let failed = |source| SqliteOpenError::Database { path: path.to_owned(), source };
        let options = options(path, LOCK_WAIT).read_only(true).immutable(true);
        let mut connection = options.disable_statement_logging().connect().await.map_err(failed)?;
        let content = content(&mut connection).await;
        connection.close().await.map_err(failed)?;
        Ok(content)
    }
}

async fn content(connection: &mut SqliteConnection) -> Result<Content, StoreError> {
    let checked: Vec<String> =
        sqlx::query_scalar("PRAGMA quick_check(1)").fetch_all(&mut *connection).await?;
    let (rows, erased) = count(connection).await?;
    Ok(Content {
        rows,
        erased,
        keys: kept_keys(connection).await?,
        sample: page(connection, None, SAMPLE).await?,
        sound: checked == ["ok"],
    })
}

async fn count(connection: &mut SqliteConnection) -> Result<(u64, u64), sqlx::Error> {
    let (rows, erased): (i64, i64) = sqlx::query_as(COUNT_ALL).fetch_one(connection).await?;
    Ok((u64::try_from(rows).unwrap_or(0), u64::try_from(erased).unwrap_or(0)))
}
