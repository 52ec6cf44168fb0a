//! A table bounded in bytes: when it is full, what is worth least goes, and what is held never does.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::Duration;

use parking_lot::Mutex;

use crate::counters::CounterKey;

/// The most slots of a shard. Small shards keep each making of room short, and a whole number of
/// full ones wastes no memory on growth by doubling.
const SLOTS_MAX: usize = 1024;

/// A hash map of so many slots grows beyond seven eighths of them.
const fn keys_of(slots: usize) -> usize {
    slots / 8 * 7
}

/// What may be forgotten, and in which order.
pub(in crate::counters) trait Entry: Default {
    /// What an entry is expected to hold outside its slot.
    const HEAP_BYTES: usize = 0;

    /// What would be lost with it.
    fn worth(&self, now: Duration) -> Worth;

    /// What it holds outside its slot.
    fn heap_bytes(&self) -> usize {
        0
    }
}

/// What would be lost with an entry, least first. To make a table forget an account with nine
/// failures, an attacker needs as many accounts with nine as the table holds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(in crate::counters) enum Worth {
    /// It is as good as never seen.
    Nothing,
    /// So much, and among equals the lower number goes first.
    Some(u32, u32),
    /// It must stay: it is locked, or an answer is awaited.
    Held,
}

/// Entries by key, in shards so that threads seldom wait for each other.
pub(in crate::counters) struct Table<V> {
    shards: Vec<Mutex<Shard<V>>>,
    keys_max: usize,
    heap_bytes_max: usize,
}

struct Shard<V> {
    entries: HashMap<CounterKey, V, BuildHasherDefault<Spread>>,
    heap_bytes: usize,
}

/// Keys are keyed hashes already: nobody outside can aim at a slot or a shard.
#[derive(Default)]
pub(in crate::counters) struct Spread(u64);

impl<V: Entry> Table<V> {
    /// What one slot takes, with the byte by which a hash map marks it.
    const SLOT_BYTES: usize = size_of::<(CounterKey, V)>() + 1;

    /// Empty; holds what fits into so many bytes, and a handful at least.
    pub(in crate::counters) fn new(bytes_max: usize) -> Self {
        let bytes = |slots| slots * Self::SLOT_BYTES + keys_of(slots) * V::HEAP_BYTES;
        let mut slots = SLOTS_MAX;
        while slots > 8 && bytes(slots) > bytes_max {
            slots /= 2;
        }
        let shards = bytes_max / bytes(slots);
        Self {
            shards: std::iter::repeat_with(Mutex::default).take(shards.max(1)).collect(),
            keys_max: keys_of(slots),
            heap_bytes_max: keys_of(slots) * V::HEAP_BYTES,
        }
    }

    /// Works on an entry, made if there is none; `None` where every entry is held.
    pub(in crate::counters) fn with<R>(
        &self,
        key: CounterKey,
        now: Duration,
        work: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(&key)?.lock();
        if shard.entries.len() >= self.keys_max && !shard.entries.contains_key(&key) {
            self.make_room(&mut shard, now);
            if shard.entries.len() >= self.keys_max {
                return None;
            }
        }
        self.make_slot(&mut shard);
        let entry = shard.entries.entry(key).or_default();
        let before = entry.heap_bytes();
        let done = work(entry);
        let after = entry.heap_bytes();
        self.weigh(&mut shard, (before, after), now);
        Some(done)
    }

    /// Works on an entry if there is one, and forgets it if it is worth nothing then.
    pub(in crate::counters) fn update<R>(
        &self,
        key: &CounterKey,
        now: Duration,
        work: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        let mut shard = self.shard(key)?.lock();
        let entry = shard.entries.get_mut(key)?;
        let before = entry.heap_bytes();
        let done = work(entry);
        let (after, worth) = (entry.heap_bytes(), entry.worth(now));
        if worth == Worth::Nothing {
            shard.entries.remove(key);
            shard.heap_bytes = shard.heap_bytes.saturating_sub(before);
        } else {
            self.weigh(&mut shard, (before, after), now);
        }
        Some(done)
    }

    /// Looks at an entry if there is one.
    pub(in crate::counters) fn look<R>(
        &self,
        key: &CounterKey,
        work: impl FnOnce(&mut V) -> R,
    ) -> Option<R> {
        self.shard(key)?.lock().entries.get_mut(key).map(work)
    }

    /// How many entries are so.
    pub(in crate::counters) fn count(&self, so: impl Fn(&V) -> bool) -> usize {
        let mut count = 0;
        self.each(|_, entry| count += usize::from(so(entry)));
        count
    }

    /// Looks at every entry, one shard after the other.
    pub(in crate::counters) fn each(&self, mut look: impl FnMut(&CounterKey, &V)) {
        (0..self.shards()).for_each(|place| self.each_of(place, &mut look));
    }

    /// How many shards there are.
    pub(in crate::counters) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Looks at every entry of a shard.
    pub(in crate::counters) fn each_of(&self, shard: usize, mut look: impl FnMut(&CounterKey, &V)) {
        if let Some(shard) = self.shards.get(shard) {
            shard.lock().entries.iter().for_each(|(key, entry)| look(key, entry));
        }
    }

    /// How many entries there are.
    pub(in crate::counters) fn keys(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.len()).sum()
    }

    /// The most entries there can be.
    pub(in crate::counters) fn keys_max(&self) -> usize {
        self.shards.len() * self.keys_max
    }

    /// The most slots that a shard has asked for.
    #[cfg(test)]
    pub(in crate::counters) fn slots(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().entries.capacity()).max().unwrap_or_default()
    }

    /// Notes how an entry has grown or shrunk, and makes room where that was too much.
    fn weigh(&self, shard: &mut Shard<V>, (before, after): (usize, usize), now: Duration) {
        shard.heap_bytes = shard.heap_bytes.saturating_add(after).saturating_sub(before);
        if shard.heap_bytes > self.heap_bytes_max {
            self.make_room(shard, now);
        }
    }

    /// Sees to a free slot. A hash map without one, which what was removed also uses up, would take
    /// twice the memory at once, beyond what was meant.
    fn make_slot(&self, shard: &mut Shard<V>) {
        let (keys, room) = (shard.entries.len(), shard.entries.capacity());
        if keys < room || keys >= self.keys_max {
            return;
        }
        let room = keys.saturating_mul(2).clamp(4, self.keys_max);
        let roomy = HashMap::with_capacity_and_hasher(room, BuildHasherDefault::default());
        let old = std::mem::replace(&mut shard.entries, roomy);
        shard.entries.extend(old);
    }

    /// Forgets what is worth nothing and, where that is little, the eighth that is worth least: a
    /// whole pass per eighth keeps the cost of an insertion constant.
    fn make_room(&self, shard: &mut Shard<V>, now: Duration) {
        let Shard { entries, heap_bytes } = shard;
        entries.retain(|_, entry| {
            let stays = entry.worth(now) != Worth::Nothing;
            if !stays {
                *heap_bytes = heap_bytes.saturating_sub(entry.heap_bytes());
            }
            stays
        });
        let mut losses: Vec<_> = entries
            .iter()
            .map(|(key, entry)| (entry.worth(now), *key))
            .filter(|(worth, _)| *worth != Worth::Held)
            .collect();
        losses.sort_unstable();
        for (_, key) in losses {
            let roomy = entries.len() <= self.keys_max / 8 * 7
                && *heap_bytes <= self.heap_bytes_max / 8 * 7;
            if roomy {
                break;
            }
            if let Some(entry) = entries.remove(&key) {
                *heap_bytes = heap_bytes.saturating_sub(entry.heap_bytes());
            }
        }
    }

    fn shard(&self, key: &CounterKey) -> Option<&Mutex<Shard<V>>> {
        // Other bits than those by which the hash map chooses a slot.
        let spread = usize::try_from(key.spread() >> 20).unwrap_or_default();
        self.shards.get(spread.checked_rem(self.shards.len())?)
    }
}

impl<V> Default for Shard<V> {
    fn default() -> Self {
        Self { entries: HashMap::default(), heap_bytes: 0 }
    }
}

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    /// For completeness: a key comes as one number.
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, spread: u64) {
        self.0 = spread;
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::counters::KeyHasher;

    /// Worth what it says; zero is nothing.
    #[derive(Default)]
    struct Weight(u32);

    impl Entry for Weight {
        fn worth(&self, _now: Duration) -> Worth {
            match self.0 {
                0 => Worth::Nothing,
                u32::MAX => Worth::Held,
                weight => Worth::Some(weight, 0),
            }
        }
    }

    fn keys(count: u32) -> impl Iterator<Item = CounterKey> {
        let hasher = KeyHasher::new(&[9; 32]);
        (0..count).map(move |nth| hasher.network(None, IpAddr::V4(Ipv4Addr::from_bits(nth))))
    }

    #[test]
    fn what_weighs_least_goes_and_what_is_held_stays() {
        let (table, now) = (Table::<Weight>::new(1 << 20), Duration::ZERO);
        for (nth, key) in keys(200_000).enumerate() {
            let weight = match nth % 200 {
                0 => u32::MAX,
                1 => 9,
                _ => 1,
            };
            table.with(key, now, |entry| entry.0 = weight);
        }
        let most = table.keys_max();
        assert!((most / 2..=most).contains(&table.count(|_| true)));
        assert_eq!(table.count(|entry| entry.0 == u32::MAX), 1_000);
        assert_eq!(table.count(|entry| entry.0 == 9), 1_000);
    }

    #[test]
    fn coming_and_going_never_doubles_the_slots() {
        let (table, now) = (Table::<Weight>::new(1 << 16), Duration::ZERO);
        for key in keys(1_000_000) {
            table.with(key, now, |entry| entry.0 = 1 + u32::from(key.as_bytes()[0]));
            if key.as_bytes()[1] > 64 {
                table.update(&key, now, |entry| entry.0 = 0);
            }
        }
        assert!(table.slots() <= table.keys_max, "{} of {}", table.slots(), table.keys_max);
    }

    #[test]
    fn a_table_of_no_memory_holds_a_handful() {
        assert_eq!(Table::<Weight>::new(0).keys_max(), 7);
    }
}
