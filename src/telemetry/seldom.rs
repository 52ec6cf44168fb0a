//! Lines that a stranger can cause: one a minute of each kind says enough.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long a kind of line is quiet after one.
const QUIET: Duration = Duration::from_secs(60);

/// When each kind of line was last written. The kinds are a closed set.
#[derive(Default)]
pub(super) struct Seldom(Mutex<HashMap<&'static str, Told>>);

struct Told {
    at: Instant,
    untold: u64,
}

impl Seldom {
    /// How many have not been told since the last line, where there may be one now.
    pub(super) fn may_tell(&self, kind: &'static str, now: Instant) -> Option<u64> {
        let mut kinds = self.0.lock();
        let told = kinds.get_mut(kind);
        if let Some(told) = told
            && now.saturating_duration_since(told.at) < QUIET
        {
            told.untold += 1;
            return None;
        }
        let before = kinds.insert(kind, Told { at: now, untold: 0 });
        Some(before.map_or(0, |told| told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_told_once_a_minute_with_the_number_of_the_others() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let tell = |kind, seconds| seldom.may_tell(kind, start + Duration::from_secs(seconds));
        assert_eq!(tell("a", 0), Some(0));
        assert_eq!([tell("a", 1), tell("a", 59), tell("b", 59)], [None, None, Some(0)]);
        assert_eq!(tell("a", 60), Some(2));
        assert_eq!(tell("a", 61), None);
    }
}
