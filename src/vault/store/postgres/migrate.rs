//! Brings the tables up to date, unless they are a newer or another program's.

use sqlx::SqlSafeStr;
use sqlx::migrate::{AppliedMigration, Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;

/// The migrator's own table.
const APPLIED: &str = "_sqlx_migrations";

/// The vault's tables. A database of another program may have some of these names.
const TABLES: [&str; 4] = ["data_keys", "heartbeat", "key_wraps", "tokens"];

const PRESENT: &str = "
    SELECT name FROM unnest($1::text[]) AS name WHERE to_regclass(name) IS NOT NULL LIMIT 1";

/// How old the tables are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Age {
    /// As this program makes them.
    Current,
    /// There are none, but another program has one of that name.
    Foreign {
        /// Its name.
        table: String,
    },
    /// There are none.
    Missing,
    /// A newer program has changed them.
    Newer {
        /// The first change that is not known here.
        version: i64,
    },
    /// An older program has made them.
    Older,
    /// They were not made by any of our migrations.
    Unlike,
}

/// Looks, and changes nothing: a role that may not create tables is enough from the second start on.
pub(super) async fn age(connection: &mut PgConnection) -> Result<Age, MigrateError> {
    // Looked for before the migrations: another instance may be making all of them this moment.
    let table: Option<String> =
        sqlx::query_scalar(PRESENT).bind(TABLES).fetch_optional(&mut *connection).await?;
    let present = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(APPLIED)
        .fetch_one(&mut *connection)
        .await?;
    let applied =
        if present { connection.list_applied_migrations(APPLIED).await? } else { Vec::new() };
    let Some(first) = applied.first() else {
        return Ok(table.map_or(Age::Missing, |table| Age::Foreign { table }));
    };
    let ours = migrator();
    let known = |done: &AppliedMigration| ours.iter().find(|ours| ours.version == done.version);
    let changed = |done| known(done).is_some_and(|ours| ours.checksum != done.checksum);
    // Other programs number their migrations too, and keep them in a table of the same name.
    if known(first).is_none() || applied.iter().any(changed) {
        return Ok(Age::Unlike);
    }
    let unknown = applied.iter().find(|done| known(done).is_none());
    Ok(match unknown {
        Some(unknown) => Age::Newer { version: unknown.version },
        None if ours.iter().count() == applied.len() => Age::Current,
        None => Age::Older,
    })
}

/// Runs what has not been run, one instance at a time: the migrator holds an advisory lock. A
/// database with a migration that is not known here is left as it is.
pub(super) async fn run(connection: &mut PgConnection) -> Result<(), MigrateError> {
    migrator().run_direct(None, connection, false).await
}

fn migrator() -> Migrator {
    let first = include_str!("../../migrations/postgres/0001_vault.sql").into_sql_str();
    Migrator::with_migrations(vec![Migration::new(
        1,
        "vault".into(),
        MigrationType::Simple,
        first,
        false,
    )])
}
