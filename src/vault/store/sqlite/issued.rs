//! Which tokens were ever issued, and for which cards, in pages for the filter in memory.
//!
//! A page is one row of text: a database gives ten thousand rows of their own ten times slower.

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection, Row, SqliteConnection};

use super::{BEGIN, SqliteStore, bytes, settle};
use crate::vault::store::{
    Fingerprint, IssuedTokens, Ledger, PrintPage, StoreError, StoreFuture, Tail, Whose,
};

/// How many tokens or cards a page has.
const PAGE_ROWS: i64 = 8192;

/// The first characters that a fingerprint is written with, which are the filter's key.
const KEY_DIGITS: usize = 16;

// Read from the indexes of fingerprints alone, each of which is a tenth of the table.
const TOKENS: &str = "
    SELECT max(print) AS last, group_concat(hex(substr(print, 1, 8)), '') AS keys
      FROM (SELECT token_print AS print FROM tokens WHERE token_print > ?1
             ORDER BY token_print LIMIT ?2)";

const CARDS: &str = "
    SELECT max(print) AS last, group_concat(hex(substr(print, 1, 8)), '') AS keys
      FROM (SELECT card_print AS print FROM tokens WHERE card_print > ?1
             ORDER BY card_print LIMIT ?2)";

// Erased rows have no card.
const TAIL: &str = "
    SELECT max(id) AS last, count(*) AS \"rows\",
           group_concat(hex(substr(token_print, 1, 8)) || hex(substr(card_print, 1, 8)), '') AS keys
      FROM (SELECT id, token_print, card_print FROM tokens WHERE id > ?1 ORDER BY id LIMIT ?2)";

const LAST: &str = "SELECT coalesce(max(id), 0) FROM tokens";

impl IssuedTokens for SqliteStore {
    fn ledger(&self) -> &std::sync::Arc<Ledger> {
        &self.ledger
    }

    fn last(&self) -> StoreFuture<'_, i64> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            let done = sqlx::query_scalar(LAST).fetch_one(&mut *connection).await;
            settle(connection, done.map_err(StoreError::from))
        })
    }

    fn prints(&self, whose: Whose, after: Option<Fingerprint>) -> StoreFuture<'_, PrintPage> {
        Box::pin(async move {
            let mut connection = self.readers.acquire().await?;
            let done = prints(&mut connection, whose, after).await;
            settle(connection, done)
        })
    }

    fn tail(&self, after: i64) -> StoreFuture<'_, Tail> {
        Box::pin(async move {
            let mut connection = self.writer.acquire().await?;
            let done = tail(&mut connection, after, &self.ledger).await;
            settle(connection, done)
        })
    }
}

async fn prints(
    connection: &mut SqliteConnection,
    whose: Whose,
    after: Option<Fingerprint>,
) -> Result<PrintPage, StoreError> {
    let page = match whose {
        Whose::Cards => CARDS,
        Whose::Tokens => TOKENS,
    };
    // Every fingerprint comes after the empty one.
    let after = after.map_or_else(Vec::new, |print| print.0.to_vec());
    let row = sqlx::query(page).bind(after).bind(PAGE_ROWS).fetch_one(connection).await?;
    let keys = keys(&row)?;
    let last = if keys.is_empty() { None } else { Some(Fingerprint(bytes(&row, "last")?)) };
    Ok(PrintPage { keys, last })
}

async fn tail(
    connection: &mut SqliteConnection,
    after: i64,
    ledger: &Ledger,
) -> Result<Tail, StoreError> {
    // With the lock for writing nobody is between saying that it issues tokens and committing them.
    let mut transaction = connection.begin_with(BEGIN).await?;
    let row = sqlx::query(TAIL).bind(after).bind(PAGE_ROWS).fetch_one(&mut *transaction).await?;
    let issues = ledger.issues()?;
    transaction.rollback().await?;
    let keys = keys(&row)?;
    let last = row.try_get::<Option<i64>, _>("last")?.unwrap_or(after);
    let is_all = row.try_get::<i64, _>("rows")? < PAGE_ROWS;
    Ok(Tail { keys, last, issues: is_all.then_some(issues) })
}

fn keys(row: &SqliteRow) -> Result<Vec<u64>, StoreError> {
    let text: Option<&str> = row.try_get("keys")?;
    let digits = text.unwrap_or_default().as_bytes().chunks(KEY_DIGITS);
    let key = |digits| u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    digits.map(|digits| key(digits).ok_or(StoreError::Damaged { column: "token_print" })).collect()
}
