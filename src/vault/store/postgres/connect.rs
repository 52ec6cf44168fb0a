//! A connection to the server that takes writes, set up so that nothing on it waits for ever.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{ConnectOptions, Row};
use tokio::time::{Instant, timeout};

use super::failure::PostgresFailure;
use super::passfile;
use crate::policy::{PostgresAddress, PostgresHost, PostgresTlsMode};

/// How long connecting may take, all servers together; within `vault::CALL_DEADLINE`.
const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// What every session is told, in one round trip.
///
/// - A confirmed commit is on the disk (promise P2); a stricter setting of the server stays.
/// - Whatever waits, on a lock or in a transaction that its client has left, ends before the caller
///   gives up, so that nothing piles up behind it; the server notices by itself when we are gone.
/// - The functions of the vault count on "read committed", see `keep_tokens`.
/// - A plan made while a table was empty reads the table from end to end, and stays until the
///   statistics change: indexes only. Making a plan for each call costs more than the lookup.
pub(super) const SESSION: &str = "
    SELECT set_config('synchronous_commit', 'on', false)
     WHERE current_setting('synchronous_commit') <> 'remote_apply';
    SET default_transaction_isolation = 'read committed';
    SET statement_timeout = '2500ms';
    SET lock_timeout = '2s';
    SET idle_in_transaction_session_timeout = '5s';
    SET client_connection_check_interval = '1s';
    SET tcp_keepalives_idle = 30;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET tcp_user_timeout = '15s';
    SET enable_seqscan = off;
    SET plan_cache_mode = force_generic_plan;
    SET jit = off";

/// What an operator's command may take beyond that.
const PATIENT: &str = "
    SET statement_timeout = '10min';
    SET lock_timeout = '1min';
    SET idle_in_transaction_session_timeout = '1min'";

/// What a server must be before it is trusted with a token.
const FACTS: &str = "
    SELECT current_setting('server_version_num')::int / 10000 AS major,
           current_setting('fsync')::bool AS fsync,
           current_setting('synchronous_commit') IN ('on', 'remote_apply') AS synchronous,
           pg_is_in_recovery() AS standby,
           current_setting('transaction_read_only')::bool AS read_only";

/// What a connection is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Access {
    /// Lookups. Not on a standby: it may lag behind, and a token it does not have yet would be
    /// taken for none.
    Read,
    /// Operators' commands.
    Upkeep,
    /// Everything a request asks for.
    Write,
}

/// Opens connections to one database.
#[derive(Clone)]
pub(super) struct Connector {
    pub(super) address: Arc<PostgresAddress>,
}

impl Connector {
    /// The first server of the address that serves; each gets its share of the time.
    pub(super) async fn connect(&self, access: Access) -> Result<PgConnection, PostgresFailure> {
        let end = Instant::now() + CONNECT_WAIT;
        let mut failure = PostgresFailure::Stalled;
        let mut left = u32::try_from(self.address.hosts.len()).unwrap_or(u32::MAX);
        for host in &self.address.hosts {
            let share = end.saturating_duration_since(Instant::now()) / left.max(1);
            left = left.saturating_sub(1);
            let attempt = timeout(share, self.connect_to(host, access)).await;
            match attempt.unwrap_or(Err(PostgresFailure::Stalled)) {
                Ok(connection) => return Ok(connection),
                // That one server is only read-only says more than that another is away.
                Err(_) if matches!(failure, PostgresFailure::ReadOnly) => {}
                Err(other) => failure = other,
            }
        }
        Err(failure)
    }

    /// The way to each server of the address.
    pub(super) fn all_options(&self) -> impl Iterator<Item = PgConnectOptions> {
        self.address.hosts.iter().map(|host| self.options(host))
    }

    async fn connect_to(
        &self,
        host: &PostgresHost,
        access: Access,
    ) -> Result<PgConnection, PostgresFailure> {
        let mut connection: PgConnection = self.options(host).connect().await?;
        sqlx::raw_sql(SESSION).execute(&mut connection).await?;
        let facts = sqlx::raw_sql(FACTS).fetch_one(&mut connection).await?;
        let is = |name| facts.try_get::<bool, _>(name);
        let major = facts.try_get("major")?;
        if major < super::VERSION_LEAST {
            return Err(PostgresFailure::Version { major });
        }
        if !is("fsync")? {
            return Err(PostgresFailure::Fsync);
        }
        if !is("synchronous")? {
            return Err(PostgresFailure::SynchronousCommit);
        }
        if is("standby")? || (access != Access::Read && is("read_only")?) {
            return Err(PostgresFailure::ReadOnly);
        }
        if access == Access::Upkeep {
            sqlx::raw_sql(PATIENT).execute(&mut connection).await?;
        }
        Ok(connection)
    }

    fn options(&self, host: &PostgresHost) -> PgConnectOptions {
        let address = &self.address;
        let mut options = PgConnectOptions::new_without_pgpass()
            .username(&address.user)
            .database(&address.database)
            .application_name(env!("CARGO_PKG_NAME"))
            .extra_float_digits(None)
            .disable_statement_logging();
        let mut mode = match address.tls.mode {
            PostgresTlsMode::Disable => PgSslMode::Disable,
            PostgresTlsMode::Prefer => PgSslMode::Prefer,
            PostgresTlsMode::Require => PgSslMode::Require,
            PostgresTlsMode::VerifyFull => PgSslMode::VerifyFull,
        };
        match host {
            // As in libpq: no encryption within a machine.
            PostgresHost::Socket { folder, port } => {
                mode = PgSslMode::Disable;
                options = options.socket(folder).port(*port);
            }
            PostgresHost::Tcp { host, port } => options = options.host(host).port(*port),
        }
        options = options.ssl_mode(mode);
        if let Some(root) = &address.tls.root {
            options = options.ssl_root_cert(root);
        }
        if let Some((certificate, key)) = &address.tls.identity {
            options = options.ssl_client_cert(certificate).ssl_client_key(key);
        }
        if let Some(password) = &address.password {
            return options.password(password.expose());
        }
        // The client library has read PGPASSWORD; each connection looks into the file anew, so that
        // a password can be changed without a restart.
        if env::var_os("PGPASSWORD").is_none()
            && let Some(password) = passfile::password(address, host)
        {
            return options.password(password.expose());
        }
        options
    }
}
