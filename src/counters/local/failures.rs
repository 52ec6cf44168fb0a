//! The failures of one subject in its window, eight bytes each.

use std::time::Duration;

use super::ticks::Ticks;
use crate::counters::Tag;

/// The most failures remembered, whatever the configuration allows: it bounds the memory of a subject.
pub(super) const FAILURES_MAX: usize = 100;

/// Room is asked for in steps of so many, because an allocator gives sixteen bytes at least.
const STEP: usize = 2;

/// Failures, the oldest first.
#[derive(Default)]
pub(super) struct Failures(Vec<Failure>);

/// One failure: when, and who stood on the other side.
#[derive(Clone, Copy)]
pub(super) struct Failure {
    pub(super) at: Ticks,
    pub(super) tag: Tag,
}

impl Failures {
    pub(super) fn push(&mut self, failure: Failure) {
        if self.0.len() >= FAILURES_MAX {
            self.0.remove(0);
        }
        if self.0.len() == self.0.capacity() {
            self.0.reserve_exact(STEP);
        }
        self.0.push(failure);
    }

    /// Forgets what is older than the window.
    pub(super) fn forget(&mut self, now: Duration, within: Duration) {
        let gone = |failure: &&Failure| failure.at.plus(within).until(now).is_none();
        let old = self.0.iter().take_while(gone).count();
        self.0.drain(..old);
    }

    /// Takes back those of one other side.
    pub(super) fn take_back(&mut self, tag: Tag) {
        self.0.retain(|failure| failure.tag != tag);
        if self.0.is_empty() {
            self.clear();
        }
    }

    /// Forgets all, and gives back the memory.
    pub(super) fn clear(&mut self) {
        self.0 = Vec::new();
    }

    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn last(&self) -> Option<Failure> {
        self.0.last().copied()
    }

    /// The one at a place, the oldest at none.
    pub(super) fn at(&self, place: usize) -> Option<Failure> {
        self.0.get(place).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Failure> + '_ {
        self.0.iter().copied()
    }

    /// Over how many other sides they are.
    pub(super) fn spread(&self) -> usize {
        let mut tags = [Tag(0); FAILURES_MAX];
        let mut count = 0;
        for (place, failure) in tags.iter_mut().zip(&self.0) {
            *place = failure.tag;
            count += 1;
        }
        let tags = tags.get_mut(..count).unwrap_or_default();
        tags.sort_unstable();
        tags.chunk_by(|one, other| one == other).count()
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Failure>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failures(tags: &[u32]) -> Failures {
        let mut failures = Failures::default();
        for (second, tag) in (0..).zip(tags) {
            failures.push(Failure { at: Ticks(second * 10), tag: Tag(*tag) });
        }
        failures
    }

    #[test]
    fn they_pass_out_of_the_window_one_by_one() {
        let mut all = failures(&[1, 2, 3]);
        let window = Duration::from_secs(60);
        all.forget(Duration::from_secs(60), window);
        assert_eq!(all.iter().map(|failure| failure.tag.0).collect::<Vec<_>>(), [2, 3]);
        all.forget(Duration::from_secs(61), window);
        assert_eq!((all.count(), all.at(0).unwrap().tag), (1, Tag(3)));
    }

    #[test]
    fn other_sides_are_counted_once_and_taken_back_together() {
        let mut all = failures(&[7, 8, 7, 9, 7]);
        assert_eq!(all.spread(), 3);
        all.take_back(Tag(7));
        assert_eq!((all.count(), all.spread()), (2, 2));
        all.take_back(Tag(8));
        all.take_back(Tag(9));
        assert_eq!((all.heap_bytes(), all.spread()), (0, 0));
    }

    #[test]
    fn memory_is_bounded_and_nine_take_eighty_bytes() {
        assert_eq!(failures(&[1; 9]).heap_bytes(), 80);
        let many = failures(&[1; 1000]);
        assert_eq!((many.count(), many.heap_bytes()), (100, 800));
        assert_eq!(many.last().unwrap().at, Ticks(9_990));
    }
}
