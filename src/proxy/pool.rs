//! Connections to upstreams, kept by the thread that opened them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::forward::Sender;
use super::upstreams::{Entry, InFlight};

/// How many idle connections a thread keeps to one server.
const IDLE_MAX: usize = 128;
/// How long an idle connection is kept: less than servers do (nginx 75 s, Apache 5 s answers with a
/// close that we notice).
const IDLE_TIME: Duration = Duration::from_secs(50);

/// The idle connections of one thread, by the server they lead to; its id stands for what they were
/// verified by, too: two sites with different authorities never share one. The lock is never waited
/// for: only its thread takes it.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    kept: HashMap<u64, Vec<Idle>>,
    swept: Option<Instant>,
}

struct Idle {
    sender: Sender,
    since: Instant,
}

/// A connection in use, or a stream of one that others use too. Dropped, it is closed; given back, it
/// serves the next request.
pub struct Lease {
    pool: Arc<Pool>,
    pub(super) place: InFlight,
    pub(super) sender: Sender,
}

impl Pool {
    /// The connection that was used last and is still good.
    #[must_use]
    pub(super) fn take(&self, id: u64) -> Option<Sender> {
        let mut idle = self.idle.lock();
        let kept = idle.kept.get_mut(&id)?;
        if let Some(shared) = kept.iter().find_map(|idle| idle.sender.share()) {
            return Some(shared);
        }
        while let Some(last) = kept.last() {
            // One that is shared, and has no room, stays for those who are on it.
            if last.sender.is_shared() && !last.sender.is_closed() {
                return None;
            }
            let Idle { sender, since } = kept.pop()?;
            if since.elapsed() < IDLE_TIME && sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// Takes a connection into use.
    #[must_use]
    pub(super) fn lease(self: &Arc<Self>, place: InFlight, sender: Sender) -> Lease {
        Lease { pool: Arc::clone(self), place, sender }
    }

    /// Keeps a connection that several requests use at once.
    pub(super) fn keep_shared(&self, id: u64, sender: &Sender) {
        if let Some(kept) = sender.kept() {
            self.keep(id, kept);
        }
    }

    fn keep(&self, id: u64, sender: Sender) {
        let now = Instant::now();
        let mut idle = self.idle.lock();
        idle.sweep(now);
        let kept = idle.kept.entry(id).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(Idle { sender, since: now });
        }
    }
}

impl Shelves {
    /// Closes what has been idle for too long, of servers that are gone too.
    fn sweep(&mut self, now: Instant) {
        let due = self.swept.is_none_or(|swept| now.duration_since(swept) >= IDLE_TIME);
        if !due {
            return;
        }
        self.swept = Some(now);
        self.kept.retain(|_, kept| {
            kept.retain(|idle| match idle.sender.is_shared() {
                true => !idle.sender.is_forsaken(),
                false => now.duration_since(idle.since) < IDLE_TIME,
            });
            !kept.is_empty()
        });
    }
}

impl Lease {
    /// The server it leads to.
    pub(super) fn entry(&self) -> &Arc<Entry> {
        &self.place.entry
    }

    /// Lets the next request have it. One that is still finishing is found ready, or dropped, by
    /// whoever takes it.
    pub fn give_back(self) {
        let Self { pool, place, sender } = self;
        if sender.is_shared() || sender.is_closed() {
            return;
        }
        pool.keep(place.entry.server.id, sender);
    }
}
