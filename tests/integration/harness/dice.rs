//! Random moments. A run says its seed, and runs again with `TILLGATE_SEED`.

use std::time::{Duration, Instant, SystemTime};

/// A source of chance.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new() -> Self {
        let given = std::env::var("TILLGATE_SEED").ok().map(|seed| seed.parse().unwrap());
        let seed = given.unwrap_or_else(|| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos()) + 1
        });
        eprintln!("TILLGATE_SEED={seed}");
        Self(seed)
    }

    /// A number below `end` (SplitMix64).
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }

    /// Lets a random time below `longest` go by.
    pub(crate) fn linger(&mut self, longest: Duration) {
        let longest = usize::try_from(longest.as_micros()).unwrap();
        let end = Instant::now() + Duration::from_micros(self.below(longest).try_into().unwrap());
        while Instant::now() < end {
            std::thread::yield_now();
        }
    }
}
