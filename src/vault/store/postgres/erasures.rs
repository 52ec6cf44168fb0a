//! Erasures by other instances, heard of as they are committed.
//!
//! Each instance listens on a connection of its own. While that is away, or a pooler stands between that
//! passes no notifications on, what is remembered ends by its age: `cache::LIFE` at the latest.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::connect::{Connector, SESSION};
use super::failure::PostgresFailure;
use crate::vault::store::Erasures;

/// What who erases notifies in the transaction that does it. Of one database.
const CHANNEL: &str = "tillgate_erased";

/// The same as a statement.
pub(super) const NOTIFY: &str = "SELECT pg_notify('tillgate_erased', '')";

/// How long it takes at most to begin.
const BEGIN_WAIT: Duration = Duration::from_secs(3);

/// How often is tried to begin anew.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How often a silent connection is asked whether it still stands, and how long that may take.
const ASK_EVERY: Duration = Duration::from_secs(15);
const ASK_WAIT: Duration = Duration::from_secs(3);

/// Listens until stopped.
pub(super) async fn follow(connector: &Connector, erasures: &Erasures, stop: &CancellationToken) {
    let mut failing = false;
    while !stop.is_cancelled() {
        let begun = tokio::select! {
            () = stop.cancelled() => return,
            begun = begin(connector) => begun,
        };
        let failure = match begun {
            Ok(listener) => {
                if failing {
                    info!("erasures by other instances are heard of at once again");
                }
                failing = false;
                // Whatever was erased before that was not heard.
                erasures.heard();
                let failure = hear(listener, erasures, stop).await;
                erasures.heard();
                failure
            }
            Err(failure) => Some(failure),
        };
        if let (Some(cause), false) = (failure, failing) {
            warn!(%cause, "erasures by other instances are noticed late, after a minute at most");
            failing = true;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(RETRY_EVERY) => {}
        }
    }
}

/// Gives why it ended; nothing if it was stopped.
async fn hear(
    mut listener: PgListener,
    erasures: &Erasures,
    stop: &CancellationToken,
) -> Option<PostgresFailure> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return None,
            heard = listener.try_recv() => match heard {
                Ok(Some(_)) => erasures.heard(),
                Ok(None) => return Some(PostgresFailure::Stalled),
                Err(error) => return Some(error.into()),
            },
            () = sleep(ASK_EVERY) => {
                let asked = sqlx::raw_sql("SELECT 1").execute(&mut listener);
                match timeout(ASK_WAIT, asked).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Some(error.into()),
                    Err(_) => return Some(PostgresFailure::Stalled),
                }
            }
        }
    }
}

/// On the first server of the address that lets us: a standby does not.
async fn begin(connector: &Connector) -> Result<PgListener, PostgresFailure> {
    let mut failure = PostgresFailure::Stalled;
    for options in connector.all_options() {
        // A pool of the one connection, because the listener wants one.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(BEGIN_WAIT)
            .max_lifetime(None)
            .idle_timeout(None)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(SESSION).execute(connection).await.map(drop) })
            })
            .connect_lazy_with(options);
        let listening = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(CHANNEL).await?;
            Ok::<_, PostgresFailure>(listener)
        };
        match timeout(BEGIN_WAIT, listening).await.unwrap_or(Err(PostgresFailure::Stalled)) {
            Ok(listener) => return Ok(listener),
            Err(other) => failure = other,
        }
    }
    Err(failure)
}
