//! Bodies that are read whole before anything of them goes on: how much of them is in memory at once.
//!
//! Most are small and cost no more than their connection; what is read beyond that is counted for the
//! whole process, so that no number of clients who send slowly fills the memory. One client network gets
//! a quarter, or what its one body may need, so that it takes the room from nobody else.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::policy::ClientNetwork;

/// What is read of each body without being counted.
pub(in crate::proxy) const UNCOUNTED_BYTES: usize = 64 << 10;

/// A body in pieces is copied when it goes on as one.
const COPIES: u64 = 2;

/// One network's part of the room.
const SHARE: u64 = 4;

/// What is held of all bodies.
#[derive(Default)]
pub struct HeldBodies {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: u64,
    networks: HashMap<ClientNetwork, u64>,
}

/// How much may be held.
#[derive(Clone)]
pub struct Room {
    bodies: Arc<HeldBodies>,
    all_max: u64,
}

/// What one request holds; given back when it is dropped.
pub struct Holding {
    bodies: Arc<HeldBodies>,
    network: ClientNetwork,
    bytes: u64,
}

impl HeldBodies {
    /// How much that is now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.counts.lock().all
    }
}

impl Room {
    /// As the operator says.
    pub fn new(bodies: &Arc<HeldBodies>, all_max: u64) -> Self {
        Self { bodies: Arc::clone(bodies), all_max }
    }

    /// What begins with nothing.
    pub fn holding(&self, client: IpAddr) -> Holding {
        let (bodies, network) = (Arc::clone(&self.bodies), ClientNetwork::of(client));
        Holding { bodies, network, bytes: 0 }
    }
}

impl Holding {
    /// Whether there is room for so much of a body that may be as large as its limit.
    #[must_use]
    pub fn grow(&mut self, room: &Room, length: usize, limit_bytes: u64) -> bool {
        let counted = length.saturating_sub(UNCOUNTED_BYTES);
        let bytes = u64::try_from(counted).unwrap_or(u64::MAX).saturating_mul(COPIES);
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        let share = (room.all_max / SHARE).max(limit_bytes.saturating_mul(COPIES));
        let mut counts = self.bodies.counts.lock();
        let own = counts.networks.get(&self.network).copied().unwrap_or_default();
        if counts.all.saturating_add(more) > room.all_max || own.saturating_add(more) > share {
            return false;
        }
        counts.all += more;
        counts.networks.insert(self.network, own + more);
        self.bytes = bytes;
        true
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        let mut counts = self.bodies.counts.lock();
        counts.all -= self.bytes;
        let left = counts.networks.get_mut(&self.network).map(|own| {
            *own -= self.bytes;
            *own
        });
        if left == Some(0) {
            counts.networks.remove(&self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: u64 = 64 << 20;
    const LIMIT: u64 = 1 << 20;

    fn grown(room: &Room, client: &str, length: usize) -> Option<Holding> {
        let mut holding = room.holding(client.parse().unwrap());
        holding.grow(room, length, LIMIT).then_some(holding)
    }

    #[test]
    fn a_network_has_its_share_and_all_have_the_room_and_both_come_back() {
        let (bodies, mebibyte) = (Arc::default(), UNCOUNTED_BYTES + (1 << 20));
        let room = Room::new(&bodies, ALL);
        let mut held: Vec<_> = (0..8).map(|_| grown(&room, "192.0.2.1", mebibyte)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(grown(&room, "192.0.2.1", mebibyte).is_none(), "a quarter, each held twice");
        assert!(grown(&room, "192.0.2.1", UNCOUNTED_BYTES).is_some(), "small ones always fit");
        for network in 2..5 {
            let client = format!("192.0.2.{network}");
            held.extend((0..8).map(|_| grown(&room, &client, mebibyte)));
        }
        assert!(held.iter().all(Option::is_some));
        assert!(grown(&room, "192.0.2.9", mebibyte).is_none(), "all of it is held");
        held.pop();
        assert!(grown(&room, "192.0.2.9", mebibyte).is_some());
        drop(held);
        assert_eq!(bodies.bytes(), 0);
        assert!(bodies.counts.lock().networks.is_empty());
    }

    #[test]
    fn one_body_may_be_as_large_as_its_limit_and_is_counted_once() {
        let bodies = Arc::default();
        let room = Room::new(&bodies, 3 * LIMIT);
        let mut holding = room.holding("2001:db8::1".parse().unwrap());
        for length in [1, 100_000, 50_000, 1 << 20] {
            assert!(holding.grow(&room, length, LIMIT));
        }
        assert_eq!(bodies.bytes(), 2 * (LIMIT - (64 << 10)));
        assert!(grown(&room, "2001:db8::2", 1 << 20).is_none(), "a neighbour in the same /64");
    }
}
