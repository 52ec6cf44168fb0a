//! One connection and its upkeep: opened when needed, closed after any failure.
//!
//! Not a pool: the vault's loops do one thing at a time each, and a pool would hold them back
//! behind dead connections, retry refused ones until its own deadline, and know one server only.

use std::time::Duration;

use futures_util::future::select_all;
use sqlx::Connection;
use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout};

use super::connect::{Access, Connector};
use super::failure::PostgresFailure;
use crate::vault::Outage;

/// How long a statement may take, seen from here: the server ends it earlier if the server can.
pub(super) const CALL_WAIT: Duration = Duration::from_secs(3);

/// The same for an operator's command, which may count millions of rows.
pub(super) const UPKEEP_WAIT: Duration = Duration::from_secs(11 * 60);

/// A connection that was idle for so long is asked whether it still stands before it is used.
const IDLE_TRUSTED: Duration = Duration::from_secs(1);

/// How long that answer may take.
const PING_WAIT: Duration = Duration::from_millis(500);

/// A connection, or the means to open one. One call at a time holds it.
pub(super) struct Lane {
    connector: Connector,
    access: Access,
    kept: Mutex<Option<Kept>>,
}

/// How many groups are committed at once: while one waits for the server's disk, the next is checked
/// and inserted. More would be smaller, and a commit costs the same for all sizes.
pub(super) const WRITERS: usize = 2;

/// The connections of those who write. Whoever comes is given one that is free.
pub(super) struct Lanes([Lane; WRITERS]);

/// A connection in nobody's hands.
struct Kept {
    connection: PgConnection,
    used: Instant,
}

/// A connection in use. Dropped without [`Held::keep`] it is closed: after a failure, and after a
/// caller that stopped waiting, nobody knows what the server is still doing on it.
pub(super) struct Held<'a> {
    pub(super) connection: PgConnection,
    place: MutexGuard<'a, Option<Kept>>,
    /// Opened for this call, not kept from an earlier one.
    fresh: bool,
}

impl Lane {
    pub(super) fn new(connector: Connector, access: Access) -> Self {
        Self { connector, access, kept: Mutex::new(None) }
    }

    /// The connection, once it is free and known to stand.
    pub(super) async fn hold(&self) -> Result<Held<'_>, PostgresFailure> {
        self.stand(self.kept.lock().await).await
    }

    async fn stand<'a>(
        &self,
        mut place: MutexGuard<'a, Option<Kept>>,
    ) -> Result<Held<'a>, PostgresFailure> {
        if let Some(kept) = place.take()
            && let Some(connection) = kept.standing().await
        {
            return Ok(Held { connection, place, fresh: false });
        }
        let connection = self.connector.connect(self.access).await?;
        Ok(Held { connection, place, fresh: true })
    }
}

impl Lanes {
    pub(super) fn new(connector: &Connector, access: Access) -> Self {
        Self([(); WRITERS].map(|()| Lane::new(connector.clone(), access)))
    }

    /// The first connection that is free, once it is known to stand.
    pub(super) async fn hold(&self) -> Result<Held<'_>, PostgresFailure> {
        let free =
            self.0.iter().map(|lane| Box::pin(async move { (lane, lane.kept.lock().await) }));
        let ((lane, place), ..) = select_all(free).await;
        lane.stand(place).await
    }
}

impl Kept {
    /// The connection, unless the server or the way to it has gone meanwhile.
    async fn standing(mut self) -> Option<PgConnection> {
        if self.used.elapsed() > IDLE_TRUSTED {
            timeout(PING_WAIT, self.connection.ping()).await.ok()?.ok()?;
        }
        Some(self.connection)
    }
}

impl Held<'_> {
    /// Puts the connection back for the next call.
    pub(super) fn keep(mut self) {
        *self.place = Some(Kept { connection: self.connection, used: Instant::now() });
    }

    /// What a statement that may be repeated came to, and the connection back; nothing where the
    /// connection was an old one and broke, as all do when the server starts anew: such a call is made
    /// again, and ends at the latest when every old connection has been tried.
    pub(super) fn settle<T>(
        self,
        done: Result<T, PostgresFailure>,
    ) -> Result<Option<T>, PostgresFailure> {
        match done {
            Err(failure) if !self.fresh && failure.outage() == Outage::Unreachable => Ok(None),
            done => {
                let answer = done?;
                self.keep();
                Ok(Some(answer))
            }
        }
    }
}

/// Waits for an answer, but not for ever.
pub(super) async fn in_time<T>(
    wait: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, PostgresFailure> {
    match timeout(wait, answer).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(PostgresFailure::Stalled),
    }
}
