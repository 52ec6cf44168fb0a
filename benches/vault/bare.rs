//! The same file without the vault: what a loop that only inserts and commits reaches.

use std::fs::File;
use std::io::{Write as _, stderr};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Row as _, SqliteConnection};

use crate::Error;

const SCHEMA: &str = include_str!("../../src/vault/migrations/sqlite/0001_vault.sql");

const INTO: &str = "
    INSERT INTO tokens (token, token_print, card_print, format, version, data_key, sealed, brand,
                        last_four)";

const INSERT: &str = "
    INSERT INTO tokens (token, token_print, card_print, format, version, data_key, sealed, brand,
                        last_four)
    VALUES (?1, ?2, ?3, 'brand-four', 1, ?4, ?5, 'visa', '1111')";

/// For tokens alone, and none of its cards.
const FIND: &str = "
    SELECT token, token_print, card_print, format, version, data_key, sealed FROM tokens
     WHERE token_print IN (SELECT unhex(value) FROM json_each(?1)) AND erased_at IS NULL
     UNION ALL
    SELECT token, token_print, card_print, format, version, data_key, sealed FROM tokens
     WHERE card_print IN (SELECT unhex(value) FROM json_each('[]'))";

const SAMPLE: &str = "
    WITH RECURSIVE picks (n, id) AS (
        SELECT 1, 1 UNION ALL
        SELECT n + 1, 1 + abs(random()) % (SELECT max(id) FROM tokens) FROM picks WHERE n < ?1)
    SELECT DISTINCT hex(token_print) AS print FROM picks JOIN tokens USING (id)";

/// Rows of about the size of real ones, whose fingerprints are random too.
const FILL: &str = "
    WITH RECURSIVE counted (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < ?1)
    INSERT INTO tokens (token, token_print, card_print, format, version, data_key, sealed, brand,
                        last_four)
    SELECT 'x' || hex(randomblob(9)), randomblob(32), randomblob(32), 'brand-four', 1,
           (SELECT id FROM data_keys WHERE purpose = 'seal' LIMIT 1), randomblob(44), 'visa', '1111'
      FROM counted";

/// Rows per transaction of a filling.
const FILL_ROWS: u64 = 250_000;

/// One connection with the vault's own settings.
pub(crate) struct Loop {
    connection: SqliteConnection,
    next: u64,
}

impl Loop {
    /// An empty database.
    pub(crate) async fn open(folder: &Path) -> Result<Self, Error> {
        let mut bare = Self::open_existing(folder).await?;
        sqlx::raw_sql(SCHEMA).execute(&mut bare.connection).await?;
        sqlx::query("INSERT INTO data_keys (id, purpose) VALUES (zeroblob(16), 'seal')")
            .execute(&mut bare.connection)
            .await?;
        Ok(bare)
    }

    /// The database of a vault.
    pub(crate) async fn open_existing(folder: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new()
            .filename(folder.join("vault.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("secure_delete", "ON")
            .disable_statement_logging();
        Ok(Self { connection: options.connect().await?, next: 0 })
    }

    /// Inserts rows and commits after every `group`; gives how long that took.
    pub(crate) async fn insert(&mut self, rows: u64, group: u64) -> Result<Duration, Error> {
        let begun = Instant::now();
        let mut left = rows;
        while left > 0 {
            let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
            for _ in 0..group.min(left) {
                self.next += 1;
                sqlx::query(INSERT)
                    .bind(format!("{:016}", self.next))
                    .bind(scattered(self.next, 1).as_slice())
                    .bind(scattered(self.next, 2).as_slice())
                    .bind([0; 16].as_slice())
                    .bind([7; 44].as_slice())
                    .execute(&mut *transaction)
                    .await?;
            }
            transaction.commit().await?;
            left = left.saturating_sub(group);
        }
        Ok(begun.elapsed())
    }

    /// The same, where each group is one statement: no loop is faster.
    pub(crate) async fn insert_together(
        &mut self,
        rows: u64,
        group: u64,
    ) -> Result<Duration, Error> {
        let begun = Instant::now();
        let mut left = rows;
        while left > 0 {
            let size = group.min(left);
            let places =
                vec!["(?, ?, ?, 'brand-four', 1, ?, ?, 'visa', '1111')"; usize::try_from(size)?];
            let insert = format!("{INTO} VALUES {}", places.join(", "));
            let mut query = sqlx::query(AssertSqlSafe(insert));
            for _ in 0..size {
                self.next += 1;
                query = query
                    .bind(format!("{:016}", self.next))
                    .bind(scattered(self.next, 1).to_vec())
                    .bind(scattered(self.next, 2).to_vec())
                    .bind([0; 16].as_slice())
                    .bind([7; 44].as_slice());
            }
            let mut transaction = self.connection.begin_with("BEGIN IMMEDIATE").await?;
            query.execute(&mut *transaction).await?;
            transaction.commit().await?;
            left -= size;
        }
        Ok(begun.elapsed())
    }

    /// Reads these rows as the vault does; gives how many there are.
    pub(crate) async fn find(&mut self, prints: &[String]) -> Result<usize, Error> {
        let list = serde_json::Value::from_iter(prints.iter().cloned()).to_string();
        let rows = sqlx::query(FIND).bind(list).fetch_all(&mut self.connection).await?;
        for row in &rows {
            let _sealed: Vec<u8> = row.try_get("sealed")?;
        }
        Ok(rows.len())
    }

    /// Fingerprints of rows anywhere in the table.
    pub(crate) async fn prints(&mut self, count: i64) -> Result<Vec<String>, Error> {
        let rows = sqlx::query(SAMPLE).bind(count).fetch_all(&mut self.connection).await?;
        Ok(rows.iter().map(|row| row.try_get("print")).collect::<Result<_, _>>()?)
    }

    /// How many rows there are.
    pub(crate) async fn rows(&mut self) -> Result<u64, Error> {
        let row =
            sqlx::query("SELECT count(*) FROM tokens").fetch_one(&mut self.connection).await?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)?)?)
    }

    /// Adds so many rows to the table, with a database that need not survive a power cut meanwhile.
    pub(crate) async fn fill(&mut self, rows: u64) -> Result<(), Error> {
        for pragma in ["synchronous = OFF", "cache_size = -2000000"] {
            let pragma = AssertSqlSafe(format!("PRAGMA {pragma}"));
            sqlx::query(pragma).execute(&mut self.connection).await?;
        }
        let mut left = rows;
        while left > 0 {
            let group = left.min(FILL_ROWS);
            sqlx::query(FILL).bind(i64::try_from(group)?).execute(&mut self.connection).await?;
            left -= group;
            let _ = writeln!(stderr().lock(), "filled {} of {rows} rows", rows - left);
        }
        for pragma in ["wal_checkpoint(TRUNCATE)", "cache_size = -2000"] {
            let pragma = AssertSqlSafe(format!("PRAGMA {pragma}"));
            sqlx::query(pragma).execute(&mut self.connection).await?;
        }
        Ok(())
    }
}

/// 32 bytes as evenly spread as a fingerprint's.
pub(crate) fn scattered(number: u64, salt: u64) -> [u8; 32] {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ salt;
    let mut bytes = [0; 32];
    for part in bytes.chunks_exact_mut(8) {
        state = (state ^ state >> 31).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        part.copy_from_slice(&state.to_be_bytes());
    }
    bytes
}

/// How many groups a vault has committed: it counts them beside its database.
pub(crate) fn groups(folder: &Path) -> Result<u64, Error> {
    let mut count = [0; 8];
    File::open(folder.join("vault.db-changes"))?.read_exact_at(&mut count, 0)?;
    Ok(u64::from_le_bytes(count))
}
