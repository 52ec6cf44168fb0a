//! Names and passwords that the shop took a moment ago.
//!
//! `Authorization: Basic` comes with every request for every picture: a place for each would refuse
//! the customer whom the shop lets in. Kept as keyed hashes, for minutes, in a table of a fixed size.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::counters::CounterKey;

/// How long the shop's word holds.
const PROVEN_FOR: Duration = Duration::from_secs(5 * 60);

/// How many are remembered; another one takes the place of whichever has the same slot.
const SLOTS: usize = 4096;

/// What was proven lately.
pub(super) struct Proven {
    slots: Mutex<Vec<Option<(CounterKey, Instant)>>>,
}

impl Proven {
    pub(super) fn new() -> Self {
        Self { slots: Mutex::new(Vec::new()) }
    }

    /// Whether the shop took this within the last minutes.
    pub(super) fn holds(&self, key: &CounterKey, now: Instant) -> bool {
        let slots = self.slots.lock();
        let slot = slots.get(slot_of(key)).copied().flatten();
        slot.is_some_and(|(known, at)| {
            known == *key && now.saturating_duration_since(at) < PROVEN_FOR
        })
    }

    /// Remembers that the shop took it.
    pub(super) fn note(&self, key: CounterKey, now: Instant) {
        let mut slots = self.slots.lock();
        if slots.is_empty() {
            slots.resize(SLOTS, None);
        }
        if let Some(slot) = slots.get_mut(slot_of(&key)) {
            *slot = Some((key, now));
        }
    }
}

/// The key is a keyed hash, so that nobody can choose whose slot is taken.
fn slot_of(key: &CounterKey) -> usize {
    let [first, second, ..] = *key.as_bytes();
    usize::from(u16::from_be_bytes([first, second])) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{KeyHasher, Scope};

    #[test]
    fn what_the_shop_took_holds_for_minutes() {
        let (proven, now) = (Proven::new(), Instant::now());
        let hasher = KeyHasher::new(&[1; 32]);
        let scope = Scope::logins("shop");
        let (ann, bob) = (hasher.account(scope, "ann:p"), hasher.account(scope, "bob:p"));
        assert!(!proven.holds(&ann, now));
        proven.note(ann, now);
        assert!(proven.holds(&ann, now) && !proven.holds(&bob, now));
        assert!(!proven.holds(&ann, now + PROVEN_FOR));
    }
}
