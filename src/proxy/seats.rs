//! A bounded number of things under way at once: requests, tunnels.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many are taken.
#[derive(Clone, Default)]
pub(super) struct Seats(Arc<AtomicUsize>);

/// One of them; dropping it gives it back.
pub(super) struct Seat(Seats);

impl Seats {
    /// One more, unless that is too many.
    pub(super) fn take(&self, limit: usize) -> Option<Seat> {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        // Dropped where it is one too many, which gives it back.
        let seat = Seat(self.clone());
        (before < limit).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seat_is_free_again_when_it_is_left() {
        let seats = Seats::default();
        let (one, other) = (seats.take(2), seats.take(2));
        assert!(one.is_some() && other.is_some() && seats.take(2).is_none());
        drop(one);
        assert!(seats.take(2).is_some());
    }
}
