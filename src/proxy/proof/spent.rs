//! Which proofs have been shown, for as long as they could be shown again.

use std::collections::HashSet;

use super::ID_BYTES;

/// How many are remembered in each half: two megabytes. Whoever fills both to show one of his own
/// again has solved a quarter of a million others for it.
const HALF_MAX: usize = 1 << 17;

type Id = [u8; ID_BYTES];

/// Two halves: when the newer one is full, or all of the older one is stale, the older one is
/// forgotten and the newer one takes its place.
#[derive(Default)]
pub(super) struct Spent {
    newer: HashSet<Id>,
    older: HashSet<Id>,
    /// When the last proof of each half ends.
    newer_ends: u64,
    older_ends: u64,
}

impl Spent {
    /// Whether this is the first time.
    pub(super) fn spend(&mut self, id: Id, ends: u64, now: u64) -> bool {
        if self.newer.len() >= HALF_MAX || self.older_ends < now {
            self.older = std::mem::take(&mut self.newer);
            self.older_ends = std::mem::take(&mut self.newer_ends);
        }
        self.newer_ends = self.newer_ends.max(ends);
        !self.older.contains(&id) && self.newer.insert(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> Id {
        let mut id = [0; ID_BYTES];
        id[..8].copy_from_slice(&number.to_be_bytes());
        id
    }

    #[test]
    fn a_proof_counts_once_as_long_as_it_is_good() {
        let mut spent = Spent::default();
        assert!(spent.spend(id(1), 300, 0));
        for now in [0, 100, 299, 300] {
            assert!(spent.spend(id(1000 + usize::try_from(now).unwrap()), now + 300, now));
            assert!(!spent.spend(id(1), 300, now), "shown again after {now} s");
        }
    }

    #[test]
    fn the_memory_is_bounded_and_forgets_the_oldest_first() {
        let mut spent = Spent::default();
        for number in 0..3 * HALF_MAX {
            assert!(spent.spend(id(number), 300, 0));
        }
        assert!(spent.newer.len() + spent.older.len() <= 2 * HALF_MAX);
        assert!(!spent.spend(id(3 * HALF_MAX - 1), 300, 0));
        assert!(!spent.spend(id(2 * HALF_MAX), 300, 0));
    }
}
