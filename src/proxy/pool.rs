//! Connections to upstreams, kept by the thread that opened them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;
use parking_lot::Mutex;

use super::body::Body;

/// How many idle connections a thread keeps to one upstream.
const IDLE_MAX: usize = 128;
/// How long an idle connection is kept: less than servers do (nginx 75 s, Apache 5 s answers with a
/// close that we notice).
const IDLE_TIME: Duration = Duration::from_secs(50);

/// Which upstream a connection leads to, trust included: two sites with different authorities never
/// share one.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct PoolKey(pub Arc<str>);

/// The idle connections of one thread. The lock is never waited for: only its thread takes it.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<HashMap<PoolKey, Vec<Idle>>>,
}

struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

/// A connection in use. Dropped, it is closed; given back, it serves the next request.
pub struct Lease {
    pool: Arc<Pool>,
    key: PoolKey,
    sender: SendRequest<Body>,
}

impl Pool {
    /// The connection that was used last and is still good.
    #[must_use]
    pub(super) fn take(self: &Arc<Self>, key: &PoolKey) -> Option<Lease> {
        let mut idle = self.idle.lock();
        let kept = idle.get_mut(key)?;
        while let Some(Idle { sender, since }) = kept.pop() {
            let fresh = since.elapsed() < IDLE_TIME;
            if fresh && sender.is_ready() {
                return Some(Lease { pool: Arc::clone(self), key: key.clone(), sender });
            }
        }
        None
    }

    /// Takes a new connection into use.
    #[must_use]
    pub(super) fn lease(self: &Arc<Self>, key: PoolKey, sender: SendRequest<Body>) -> Lease {
        Lease { pool: Arc::clone(self), key, sender }
    }
}

impl Lease {
    /// The connection.
    pub fn sender(&mut self) -> &mut SendRequest<Body> {
        &mut self.sender
    }

    /// Lets the next request have it. One that is still finishing is found ready, or dropped, by
    /// whoever takes it.
    pub fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        let mut idle = self.pool.idle.lock();
        let kept = idle.entry(self.key).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(Idle { sender: self.sender, since: Instant::now() });
        }
    }
}
