//! The latest different things, each with when it was last seen.
//!
//! Exact up to 32: no decision here asks for more, so that an estimate of larger sets would only cost
//! memory. Eight bytes for each.

use std::time::Duration;

use super::CounterKey;
use crate::policy::COUNTED_MAX;

/// What was seen, the latest last.
#[derive(Debug, Default)]
pub(super) struct Recents(Vec<Seen>);

#[derive(Clone, Copy, Debug)]
struct Seen {
    tag: u32,
    second: u32,
}

impl Recents {
    /// Notes a thing; the one seen longest ago makes room.
    pub(super) fn note(&mut self, what: &CounterKey, now: Duration) {
        self.note_tag(what.tag().0, now);
    }

    /// Notes what is different from all before: the n-th of its kind.
    pub(super) fn note_next(&mut self, now: Duration) {
        let next = self.0.last().map_or(0, |seen| seen.tag.wrapping_add(1));
        self.note_tag(next, now);
    }

    /// Forgets a thing.
    pub(super) fn forget(&mut self, what: &CounterKey) {
        self.0.retain(|seen| seen.tag != what.tag().0);
    }

    /// Whether a thing was seen within the last `within`.
    pub(super) fn holds(&self, what: &CounterKey, now: Duration, within: Duration) -> bool {
        self.fresh(now, within).any(|seen| seen.tag == what.tag().0)
    }

    /// How many were.
    pub(super) fn count(&self, now: Duration, within: Duration) -> usize {
        self.fresh(now, within).count()
    }

    /// Whether fewer than `limit` were.
    ///
    /// # Errors
    /// How long until that is so, if no more are seen.
    pub(super) fn room(
        &self,
        now: Duration,
        within: Duration,
        limit: usize,
    ) -> Result<(), Duration> {
        let surplus = self.count(now, within).checked_sub(limit);
        let last = surplus.and_then(|surplus| self.fresh(now, within).nth(surplus));
        let Some(last) = last else { return Ok(()) };
        let until = Duration::from_secs(last.second.into()).saturating_add(within);
        Err(until.saturating_sub(now))
    }

    /// When the last was.
    pub(super) fn last(&self) -> Option<Duration> {
        self.0.last().map(|seen| Duration::from_secs(seen.second.into()))
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What they take beside themselves.
    pub(super) fn heap_bytes(&self) -> usize {
        self.0.capacity() * size_of::<Seen>()
    }

    fn note_tag(&mut self, tag: u32, now: Duration) {
        self.0.retain(|seen| seen.tag != tag);
        if u32::try_from(self.0.len()).is_ok_and(|length| length >= COUNTED_MAX.get()) {
            self.0.remove(0);
        }
        let second = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        self.0.push(Seen { tag, second });
    }

    fn fresh(&self, now: Duration, within: Duration) -> impl Iterator<Item = &Seen> {
        let age = move |seen: &Seen| now.saturating_sub(Duration::from_secs(seen.second.into()));
        self.0.iter().filter(move |seen| age(seen) < within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::KeyHasher;

    const HOUR: Duration = Duration::from_secs(3600);

    fn key(name: usize) -> CounterKey {
        KeyHasher::new(&[3; 32]).session("shop", name.to_string().as_bytes())
    }

    fn at(second: u64) -> Duration {
        Duration::from_secs(second)
    }

    #[test]
    fn the_same_thing_counts_once_and_for_as_long_as_it_is_fresh() {
        let mut recents = Recents::default();
        recents.note(&key(1), at(0));
        recents.note(&key(2), at(100));
        recents.note(&key(1), at(200));
        assert_eq!(recents.count(at(200), HOUR), 2);
        assert!(recents.holds(&key(1), at(3799), HOUR) && !recents.holds(&key(2), at(3799), HOUR));
        recents.forget(&key(1));
        assert_eq!(recents.count(at(200), HOUR), 1);
    }

    #[test]
    fn room_comes_back_when_the_oldest_beyond_the_limit_is_no_longer_fresh() {
        let mut recents = Recents::default();
        for second in [0, 10, 20] {
            recents.note_next(at(second));
        }
        assert_eq!(recents.room(at(30), HOUR, 4), Ok(()));
        assert_eq!(recents.room(at(30), HOUR, 3), Err(at(3570)));
        assert_eq!(recents.room(at(30), HOUR, 2), Err(at(3580)));
        assert_eq!(recents.room(at(3600), HOUR, 3), Ok(()));
    }

    #[test]
    fn of_many_the_latest_32_are_kept() {
        let mut recents = Recents::default();
        (0..100).for_each(|name| recents.note(&key(name), at(1)));
        assert_eq!(recents.len(), 32);
        assert!(recents.holds(&key(99), at(1), HOUR) && !recents.holds(&key(67), at(1), HOUR));
    }
}
