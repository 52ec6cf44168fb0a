//! One address of an upstream, as far as it outlives reloads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::health::Health;
use super::line::Line;

/// What is kept of one address of an upstream.
pub(in crate::proxy) struct Server {
    /// What its kept connections are found by.
    pub(in crate::proxy) id: u64,
    pub(super) health: Health,
    pub(super) in_flight: AtomicUsize,
    /// Connections that have left HTTP.
    joined: AtomicUsize,
    /// The requests of its site that wait.
    pub(super) line: Arc<Line>,
    /// What leads a client back here.
    pub(super) tag: String,
    /// When it is asked for its health next, in milliseconds since the process began.
    pub(super) check_due: AtomicU64,
    pub(super) being_checked: AtomicBool,
}

impl Server {
    pub(super) fn new(id: u64, tag: String, line: Arc<Line>) -> Self {
        Self {
            id,
            health: Health::default(),
            in_flight: AtomicUsize::new(0),
            joined: AtomicUsize::new(0),
            line,
            tag,
            check_due: AtomicU64::new(0),
            being_checked: AtomicBool::new(false),
        }
    }

    /// The requests that it works on.
    pub(super) fn requests(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// All that it has to do: each WebSocket is as much as a request.
    pub(super) fn load(&self) -> usize {
        self.requests().saturating_add(self.joined.load(Ordering::Relaxed))
    }

    /// A connection leaves HTTP.
    pub(super) fn join(&self) {
        self.joined.fetch_add(1, Ordering::Relaxed);
    }

    /// It has ended.
    pub(super) fn part(&self) {
        self.joined.fetch_sub(1, Ordering::Relaxed);
    }

    /// Takes a place among the requests that it works on.
    pub(super) fn enter(&self, most: usize) -> bool {
        if self.in_flight.fetch_add(1, Ordering::SeqCst) < most {
            return true;
        }
        // Another thread was faster.
        self.leave();
        false
    }

    /// Gives the place back.
    pub(super) fn leave(&self) {
        self.in_flight.fetch_sub(1, Ordering::SeqCst);
        self.line.freed();
    }
}
