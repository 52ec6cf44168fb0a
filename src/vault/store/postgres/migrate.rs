//! Brings the tables up to date, unless they are a newer program's.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;

/// The migrator's own table.
const APPLIED: &str = "_sqlx_migrations";

/// How old the tables are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Age {
    /// As this program makes them.
    Current,
    /// There are none.
    Missing,
    /// A newer program has changed them.
    Newer {
        /// The first change that is not known here.
        version: i64,
    },
    /// An older program has made them.
    Older,
}

/// Looks, and changes nothing: a role that may not create tables is enough from the second start on.
pub(super) async fn age(connection: &mut PgConnection) -> Result<Age, MigrateError> {
    let present = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(APPLIED)
        .fetch_one(&mut *connection)
        .await?;
    let applied =
        if present { connection.list_applied_migrations(APPLIED).await? } else { Vec::new() };
    let ours = migrator();
    let unknown = applied.iter().find(|done| !ours.version_exists(done.version));
    if let Some(unknown) = unknown {
        return Ok(Age::Newer { version: unknown.version });
    }
    let done = |migration: &Migration| {
        applied
            .iter()
            .any(|done| done.version == migration.version && done.checksum == migration.checksum)
    };
    Ok(match applied.is_empty() {
        true => Age::Missing,
        false if ours.iter().all(done) => Age::Current,
        false => Age::Older,
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
