//! A bounded table: when it is full, what is worth least goes, and what is held never does.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::num::NonZeroUsize;
use std::time::Duration;

use parking_lot::Mutex;

use crate::counters::CounterKey;

const SHARDS: usize = 64;

/// What may be forgotten, and in which order.
pub(in crate::counters) trait Entry: Default {
    /// What would be lost with it.
    fn worth(&self, now: Duration) -> Worth;
}

/// What would be lost with an entry, least first. To make a shard forget an account with nine
/// failures, an attacker needs as many accounts with nine as the shard holds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::counters) enum Worth {
    /// It is as good as never seen.
    Nothing,
    /// So many failures, remembered until then.
    Some(usize, Duration),
    /// It must stay: it is locked, or an answer is awaited.
    Held,
}

/// Entries by key, in shards so that threads seldom wait for each other.
pub(in crate::counters) struct Table<V> {
    shards: Vec<Mutex<HashMap<CounterKey, V>>>,
    shard_keys_max: usize,
}

impl<V: Entry> Table<V> {
    /// Empty; holds `keys_max` entries, rounded up to a whole number per shard.
    pub(in crate::counters) fn new(keys_max: NonZeroUsize) -> Self {
        let shards = std::iter::repeat_with(Mutex::default).take(SHARDS).collect();
        Self { shards, shard_keys_max: keys_max.get().div_ceil(SHARDS) }
    }

    /// Works on an entry, made if there is none; `None` where every entry is held.
    pub(in crate::counters) fn with<R>(
        &self,
        key: CounterKey,
        now: Duration,
        work: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(&key)?.lock();
        if shard.len() >= self.shard_keys_max && !shard.contains_key(&key) {
            make_room(&mut shard, now, self.shard_keys_max);
            if shard.len() >= self.shard_keys_max {
                return None;
            }
        }
        Some(work(match shard.entry(key) {
            Place::Occupied(place) => place.into_mut(),
            Place::Vacant(place) => place.insert(V::default()),
        }))
    }

    /// Works on an entry if there is one.
    pub(in crate::counters) fn update<R>(
        &self,
        key: &CounterKey,
        work: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        self.shard(key)?.lock().get_mut(key).map(work)
    }

    /// How many entries are so.
    pub(in crate::counters) fn count(&self, so: impl Fn(&V) -> bool) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock().values().filter(|&entry| so(entry)).count())
            .sum()
    }

    fn shard(&self, key: &CounterKey) -> Option<&Mutex<HashMap<CounterKey, V>>> {
        // A key is a keyed hash, so that nobody outside can aim at a shard.
        let byte = key.as_bytes().first().copied().unwrap_or_default();
        self.shards.get(usize::from(byte) % SHARDS)
    }
}

/// Forgets what is worth nothing and, if that is little, the eighth that is worth least: a whole pass
/// per eighth keeps the cost of an insertion constant.
fn make_room<V: Entry>(shard: &mut HashMap<CounterKey, V>, now: Duration, keys_max: usize) {
    shard.retain(|_, entry| entry.worth(now) != Worth::Nothing);
    let room = keys_max.div_ceil(8);
    let surplus = shard.len().saturating_sub(keys_max.saturating_sub(room));
    let mut losses: Vec<_> = shard
        .iter()
        .map(|(key, entry)| (entry.worth(now), *key))
        .filter(|(worth, _)| *worth != Worth::Held)
        .collect();
    losses.sort_unstable();
    for (_, key) in losses.iter().take(surplus) {
        shard.remove(key);
    }
}
