//! The same for a vault in PostgreSQL: new cards beside a loop that only inserts and commits.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{Connection as _, PgConnection, Row as _};
use tillgate::keys::{FileKey, MasterKeys};
use tillgate::policy::PostgresAddress;
use tillgate::vault::{CodesPlace, StorePlace, Vault, VaultSettings};

use crate::bare::scattered;
use crate::{CARDS, Error, IN_FLIGHT, ROUNDS, median, say, say_rates, spread, tokenize};

/// A table as the vault's own, that nobody else knows. A copy has no foreign keys: it gets the same.
const TABLE: &str = "
    DROP TABLE IF EXISTS bare_tokens;
    CREATE TABLE bare_tokens (LIKE tokens INCLUDING ALL);
    ALTER TABLE bare_tokens ADD FOREIGN KEY (data_key) REFERENCES data_keys (id)";

/// A whole group in one statement, which is its own transaction: no loop is faster.
const INSERT: &str = "
    INSERT INTO bare_tokens (token, token_print, card_print, format, version, data_key, sealed, brand,
                             last_four)
    SELECT token, print, card, 'brand-four', 1, (SELECT id FROM data_keys LIMIT 1), sealed, 'visa',
           '1111'
      FROM unnest($1::text[], $2::bytea[], $3::bytea[], $4::bytea[]) AS rows (token, print, card, sealed)";

/// A group is one transaction, and so is one number of a transaction.
const GROUPS: &str = "SELECT count(DISTINCT xmin::text) FROM tokens";

/// What a group would be if only one was committed at a time, and the other half gathered meanwhile.
const HALF: u64 = IN_FLIGHT as u64 / 2;

struct Loop {
    connection: PgConnection,
    next: u64,
}

impl Loop {
    async fn open(url: &str) -> Result<Self, Error> {
        let mut connection = PgConnection::connect(url).await?;
        sqlx::raw_sql(TABLE).execute(&mut connection).await?;
        sqlx::query("SET synchronous_commit = on").execute(&mut connection).await?;
        Ok(Self { connection, next: 0 })
    }

    async fn groups(&mut self) -> Result<u64, Error> {
        let row = sqlx::query(GROUPS).fetch_one(&mut self.connection).await?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)?)?)
    }

    /// Inserts rows in groups of so many; gives how long that took.
    async fn insert(&mut self, rows: u64, group: u64) -> Result<Duration, Error> {
        let begun = Instant::now();
        let mut left = rows;
        while left > 0 {
            let numbers = self.next..self.next + group.min(left);
            self.next = numbers.end;
            let prints = |salt: u64| -> Vec<Vec<u8>> {
                numbers.clone().map(|number| scattered(number, salt).to_vec()).collect()
            };
            let tokens: Vec<String> =
                numbers.clone().map(|number| format!("{number:016}")).collect();
            let sealed: Vec<Vec<u8>> = numbers.clone().map(|_| vec![7; 44]).collect();
            sqlx::query(INSERT)
                .bind(tokens)
                .bind(prints(1))
                .bind(prints(2))
                .bind(sealed)
                .execute(&mut self.connection)
                .await?;
            left = left.saturating_sub(group);
        }
        Ok(begun.elapsed())
    }
}

/// New cards in an empty database at `url`, beside the loop on the same server.
pub(crate) async fn new_cards(url: &str, folder: &Path) -> Result<(), Error> {
    let current = Box::new(FileKey { path: folder.join("master.key") });
    let address = PostgresAddress::parse(url, folder)?;
    let settings = VaultSettings {
        store: StorePlace::Postgres(Arc::new(address)),
        cvv_store: CodesPlace::Memory,
        cvv_ttl: Duration::from_secs(900),
    };
    let vault = Vault::open(settings, Arc::new(MasterKeys { current, previous: None })).await?;
    let mut bare = Loop::open(url).await?;
    let (mut vaults, mut bares, mut sizes, mut waits) = (vec![], vec![], vec![], vec![]);
    let mut halves = vec![];
    for round in 0..ROUNDS as u64 {
        let groups = bare.groups().await?;
        let begun = Instant::now();
        waits.extend(tokenize(&vault, round * CARDS, CARDS, IN_FLIGHT).await?);
        vaults.push(begun.elapsed());
        let size = CARDS.div_ceil((bare.groups().await? - groups).max(1));
        sizes.push(size);
        bares.push(bare.insert(CARDS, size).await?);
        halves.push(bare.insert(CARDS, HALF).await?);
    }
    say_rates("PostgreSQL: ", (&mut vaults, &mut bares), &mut sizes, &mut waits);
    let share = median(&mut halves).as_secs_f64() / median(&mut vaults).as_secs_f64();
    say(&format!("  share of a bare loop, groups of {HALF}"), &format!("{:.0} %", 100.0 * share));
    let (mut alone, mut commits) = (Vec::new(), Vec::new());
    for round in 0..300 {
        alone.extend(tokenize(&vault, 1_000_000 + round, 1, 1).await?);
        commits.push(bare.insert(1, 1).await?);
    }
    say("  one new card alone: median, p99", &spread(&mut alone));
    say("  one bare commit: median, p99", &spread(&mut commits));
    vault.close().await;
    Ok(())
}
