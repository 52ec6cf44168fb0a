//! The connection to a Redis or Valkey server that instances share.
//!
//! A [`Link`] has one connection, used by all threads at once and kept by a thread of its own, which
//! asks after the server every second and makes the connection again when it is lost. While there is
//! none a call fails at once instead of waiting, so that a dead server costs no request its time.

mod cluster;
mod connect;
mod outage;
#[cfg(test)]
#[expect(dead_code, reason = "the wire tests use the rest")]
#[path = "../tests/integration/harness/redis.rs"]
pub(crate) mod server;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, ScriptInvocation};
use tokio::runtime;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use self::connect::Connector;
pub use self::outage::LinkOutage;
use crate::policy::RedisAddress;

/// How long a call may take.
pub const CALL_WAIT: Duration = Duration::from_millis(400);

/// How long connecting may take, all sentinels or servers of a cluster together.
const CONNECT_WAIT: Duration = Duration::from_secs(3);

/// How often a server that is gone is looked for.
const RETRY_EVERY: Duration = Duration::from_millis(250);

/// How often a server is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A connection that heals. Shared by all runtimes of the process.
pub struct Link {
    address: Arc<RedisAddress>,
    patience: Duration,
    state: watch::Receiver<State>,
    stop: CancellationToken,
}

#[derive(Clone)]
enum State {
    Down(LinkOutage),
    Starting,
    Up(Connection),
}

#[derive(Clone)]
struct Connection {
    inner: MultiplexedConnection,
    /// Cancelled by whoever finds that it is of no use any more.
    broken: CancellationToken,
}

/// What the thread that keeps the connection works with.
struct Keeper {
    connector: Connector,
    patience: Duration,
    state: watch::Sender<State>,
    stop: CancellationToken,
}

impl Link {
    /// Connects, or begins to try; returns once the first attempt has ended either way. All keys of
    /// its calls begin with `keys`, which holds a hash tag: in a cluster they are in one slot.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub async fn start(address: Arc<RedisAddress>, keys: &'static str) -> io::Result<Self> {
        Self::with_patience(address, keys, CALL_WAIT).await
    }

    /// The same with another wait than [`CALL_WAIT`], for tests on a busy machine.
    pub(crate) async fn with_patience(
        address: Arc<RedisAddress>,
        keys: &'static str,
        patience: Duration,
    ) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (sender, mut state) = watch::channel(State::Starting);
        let stop = CancellationToken::new();
        let connector = Connector { address: Arc::clone(&address), keys };
        let keeper = Keeper { connector, patience, state: sender, stop: stop.clone() };
        let name = "redis".to_owned();
        thread::Builder::new().name(name).spawn(move || runtime.block_on(keeper.keep()))?;
        // The sender lives as long as its thread.
        let _ = state.wait_for(|state| !matches!(state, State::Starting)).await;
        Ok(Self { address, patience, state, stop })
    }

    /// Calls a script, which is atomic on the server.
    ///
    /// # Errors
    /// When there is no answer within [`CALL_WAIT`]; the script may then have run or not.
    pub async fn call<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, LinkOutage> {
        // Cloned out of the lock, which is not held over the call.
        let state = self.state.borrow().clone();
        let mut connection = match state {
            State::Down(outage) => return Err(outage),
            State::Starting => return Err(LinkOutage::Unreachable),
            // Found out by another call; its keeper is about to say so.
            State::Up(connection) if connection.broken.is_cancelled() => {
                return Err(LinkOutage::Stalled);
            }
            State::Up(connection) => connection,
        };
        let answer = timeout(self.patience, script.invoke_async(&mut connection.inner)).await;
        let outage = match answer {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => said(&error),
            Err(_) => LinkOutage::Stalled,
        };
        if outage.ends_connection() {
            connection.broken.cancel();
        }
        Err(outage)
    }

    /// Why calls fail at the moment, if they do; costs nothing.
    #[must_use]
    pub fn outage(&self) -> Option<LinkOutage> {
        match &*self.state.borrow() {
            State::Down(outage) => Some(*outage),
            State::Starting => Some(LinkOutage::Unreachable),
            State::Up(connection) if connection.broken.is_cancelled() => Some(LinkOutage::Stalled),
            State::Up(_) => None,
        }
    }
}

impl Drop for Link {
    /// Lets the thread end by itself.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({})", self.address)
    }
}

impl Keeper {
    async fn keep(self) {
        let mut known: Option<LinkOutage> = None;
        loop {
            let connected = tokio::select! {
                () = self.stop.cancelled() => return,
                connected = timeout(CONNECT_WAIT, self.connector.connect()) => connected,
            };
            match connected.unwrap_or(Err(LinkOutage::Stalled)) {
                Ok(inner) => {
                    info!(server = %self.connector.address, "connected to the shared store");
                    known = None;
                    let connection = Connection { inner, broken: CancellationToken::new() };
                    self.state.send_replace(State::Up(connection.clone()));
                    self.attend(connection).await;
                }
                Err(outage) => {
                    if known.replace(outage) != Some(outage) {
                        let server = &self.connector.address;
                        error!(%server, outage = outage.as_str(), "the shared store fails");
                    }
                    self.state.send_replace(State::Down(outage));
                }
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(RETRY_EVERY) => {}
            }
        }
    }

    /// Returns when the connection is of no use any more.
    async fn attend(&self, mut connection: Connection) {
        let outage = loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = connection.broken.cancelled() => break LinkOutage::Unreachable,
                () = sleep(PING_EVERY) => {}
            }
            let ping = redis::cmd("PING");
            match timeout(self.patience, ping.exec_async(&mut connection.inner)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break said(&error),
                Err(_) => break LinkOutage::Stalled,
            }
        };
        self.state.send_replace(State::Down(outage));
    }
}

/// What a failure means, said to the log where the server has words of its own for it. They name
/// commands and limits of the server; our arguments are hashes and sealed bytes.
fn said(failure: &RedisError) -> LinkOutage {
    let outage = LinkOutage::of(failure);
    if outage == LinkOutage::Refused {
        error!(code = failure.code(), "the shared store refuses a call");
    }
    outage
}
