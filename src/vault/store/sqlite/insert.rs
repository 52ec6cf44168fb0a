//! How a group of rows is kept: together, or else each for itself.
//!
//! Each statement is a turn of the database's thread, which costs as much as its work on a row does.
//! Nearly every group is new in all its parts and is kept by few statements; one that is not is taken
//! back and kept row by row, which finds out what became of each.

use std::collections::HashSet;
use std::sync::LazyLock;

use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Connection as _, Sqlite, SqliteConnection};

use super::{BEGIN, Inserted, Ledger, NewRow, SealedRow, StoreError, token};

/// How many rows one statement keeps, at most; there is one for a few rows, too.
const MANY: usize = 32;
const FEW: usize = 8;

static INSERT: LazyLock<String> = LazyLock::new(|| insert_of(1));
static INSERT_FEW: LazyLock<String> = LazyLock::new(|| insert_of(FEW));
static INSERT_MANY: LazyLock<String> = LazyLock::new(|| insert_of(MANY));

const KNOWN: &str = "SELECT token FROM tokens WHERE card_print = ?1 AND format = ?2";

const IS_TOKEN: &str = "SELECT 1 FROM tokens WHERE token_print = ?1";

const HAS_KEY: &str = "SELECT 1 FROM data_keys WHERE id = ?1";

/// Keeps the rows that can be kept, in one transaction.
pub(super) async fn insert_all(
    connection: &mut SqliteConnection,
    rows: &[NewRow],
    ledger: &Ledger,
) -> Result<Vec<Inserted>, StoreError> {
    let mut transaction = connection.begin_with(BEGIN).await?;
    if no_two_meet(rows) {
        if insert_together(&mut transaction, rows).await? {
            ledger.issue()?;
            transaction.commit().await?;
            return Ok(rows.iter().map(|new| Inserted::Created(new.row.token)).collect());
        }
        transaction.rollback().await?;
        transaction = connection.begin_with(BEGIN).await?;
    }
    let mut outcomes = Vec::with_capacity(rows.len());
    for row in rows {
        outcomes.push(insert(&mut transaction, row).await?);
    }
    if outcomes.iter().any(|outcome| matches!(outcome, Inserted::Created(_))) {
        ledger.issue()?;
    }
    transaction.commit().await?;
    Ok(outcomes)
}

/// Whether there are several rows, and none has a fingerprint of another: a statement for many looks
/// at the table as it was before.
fn no_two_meet(rows: &[NewRow]) -> bool {
    let mut prints = HashSet::with_capacity(2 * rows.len());
    rows.len() > 1
        && rows
            .iter()
            .all(|new| prints.insert(new.row.token_print) && prints.insert(new.row.card_print))
}

/// Whether all rows were kept. If not, some may have been.
async fn insert_together(
    connection: &mut SqliteConnection,
    rows: &[NewRow],
) -> Result<bool, StoreError> {
    for rows in rows.chunks(MANY) {
        let (statement, places) = match rows.len() {
            1 => (INSERT.as_str(), 1),
            2..=FEW => (INSERT_FEW.as_str(), FEW),
            _ => (INSERT_MANY.as_str(), MANY),
        };
        let mut query = rows.iter().fold(sqlx::query(statement), bind);
        for _ in rows.len()..places {
            query = bind_nothing(query);
        }
        let done = query.execute(&mut *connection).await?;
        if usize::try_from(done.rows_affected()) != Ok(rows.len()) {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn insert(connection: &mut SqliteConnection, new: &NewRow) -> Result<Inserted, StoreError> {
    let query = bind(sqlx::query(INSERT.as_str()), new);
    if query.execute(&mut *connection).await?.rows_affected() == 1 {
        return Ok(Inserted::Created(new.row.token));
    }
    why_not_inserted(connection, &new.row).await
}

async fn why_not_inserted(
    connection: &mut SqliteConnection,
    row: &SealedRow,
) -> Result<Inserted, StoreError> {
    let is_token = sqlx::query(IS_TOKEN)
        .bind(row.card_print.0.as_slice())
        .fetch_optional(&mut *connection)
        .await?;
    if is_token.is_some() {
        return Ok(Inserted::IsToken);
    }
    let known: Option<String> = sqlx::query_scalar(KNOWN)
        .bind(row.card_print.0.as_slice())
        .bind(row.format.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(text) = known {
        return Ok(Inserted::Known(token(&text)?));
    }
    let key = sqlx::query(HAS_KEY).bind(row.data_key.0.as_slice()).fetch_optional(connection);
    Ok(if key.await?.is_some() { Inserted::TokenTaken } else { Inserted::KeyGone })
}

type Insert<'a> = Query<'a, Sqlite, SqliteArguments>;

fn bind<'a>(query: Insert<'a>, new: &'a NewRow) -> Insert<'a> {
    let row = &new.row;
    query
        .bind(row.token.as_str())
        .bind(row.token_print.0.as_slice())
        .bind(row.card_print.0.as_slice())
        .bind(row.format.as_str())
        .bind(i64::from(row.version))
        .bind(row.data_key.0.as_slice())
        .bind(row.sealed.as_slice())
        .bind(new.brand.as_str())
        .bind(new.last_four.as_str())
}

/// A place that stays empty.
fn bind_nothing(query: Insert<'_>) -> Insert<'_> {
    (0..COLUMNS).fold(query, |query, _| query.bind(None::<&str>))
}

const COLUMNS: usize = 9;

/// The conditions stand in the statement itself, not before it, so that they hold against rows that
/// another process commits in between.
fn insert_of(rows: usize) -> String {
    let places = vec!["(?, ?, ?, ?, ?, ?, ?, ?, ?)"; rows].join(", ");
    format!(
        "
    WITH new (token, token_print, card_print, format, version, data_key, sealed, brand, last_four)
      AS (VALUES {places})
    INSERT INTO tokens (token, token_print, card_print, format, version, data_key, sealed, brand,
                        last_four)
    SELECT * FROM new
     WHERE new.token IS NOT NULL
       AND NOT EXISTS (SELECT 1 FROM tokens WHERE tokens.card_print = new.token_print)
       AND NOT EXISTS (SELECT 1 FROM tokens WHERE tokens.token_print = new.card_print)
       AND EXISTS (SELECT 1 FROM data_keys WHERE data_keys.id = new.data_key)
        ON CONFLICT DO NOTHING"
    )
}
