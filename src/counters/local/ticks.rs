//! Moments in four bytes: tenths of a second of the counter's clock, for 13 years.

use std::time::Duration;

const TICK_MILLIS: u64 = 100;

/// A moment. It is never before the one it was made of, so that nothing ends too early.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Ticks(pub(super) u32);

impl Ticks {
    /// The first at or after a moment.
    pub(super) fn after(moment: Duration) -> Self {
        let ticks = moment.as_micros().div_ceil(u128::from(TICK_MILLIS) * 1_000);
        Self(u32::try_from(ticks).unwrap_or(u32::MAX))
    }

    /// The moment itself.
    pub(super) fn moment(self) -> Duration {
        Duration::from_millis(u64::from(self.0).saturating_mul(TICK_MILLIS))
    }

    /// So much later.
    pub(super) fn plus(self, time: Duration) -> Self {
        Self::after(self.moment().saturating_add(time))
    }

    /// How long until then; none if it has passed.
    pub(super) fn until(self, now: Duration) -> Option<Duration> {
        self.moment().checked_sub(now).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_too_early() {
        let moment = Duration::from_micros(1_234_567);
        assert_eq!(Ticks::after(moment), Ticks(13));
        assert!(Ticks::after(moment).moment() >= moment);
        assert_eq!(Ticks(13).plus(Duration::from_secs(1)), Ticks(23));
        assert_eq!(Ticks(13).until(Duration::from_secs(1)), Some(Duration::from_millis(300)));
        assert_eq!(Ticks(13).until(Duration::from_millis(1_300)), None);
    }
}
