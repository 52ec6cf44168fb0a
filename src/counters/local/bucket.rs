//! One cell of a GCRA, the leaky bucket that remembers one moment: when all that was taken is paid
//! for, at one interval each.

use std::time::Duration;

use super::table::{Entry, Worth};
use super::ticks::Ticks;
use crate::policy::Quota;

/// When the attempts so far are paid for, in nanoseconds of the counter's clock. The past means a
/// full burst, as for one never seen.
#[derive(Clone, Copy, Default)]
pub(in crate::counters) struct Bucket {
    paid_at: u64,
}

impl Bucket {
    /// Takes one, or says how long until there is one.
    pub(in crate::counters) fn take(
        &mut self,
        now: Duration,
        quota: Quota,
    ) -> Result<(), Duration> {
        self.admits(now, quota, 0)?;
        self.charge(now, quota);
        Ok(())
    }

    /// Whether there is one more beside so many that are held, or how long until there is.
    pub(super) fn admits(&self, now: Duration, quota: Quota, held: u32) -> Result<(), Duration> {
        let debt = self.paid_at.saturating_sub(nanos(now));
        let debt = debt.saturating_add(interval(quota).saturating_mul(u64::from(held)));
        let most = interval(quota).saturating_mul(u64::from(quota.count.get().saturating_sub(1)));
        match debt.checked_sub(most) {
            None | Some(0) => Ok(()),
            Some(wait) => Err(Duration::from_nanos(wait)),
        }
    }

    /// Takes one, whether there is one or not.
    pub(super) fn charge(&mut self, now: Duration, quota: Quota) {
        self.paid_at = self.paid_at.max(nanos(now)).saturating_add(interval(quota));
    }

    /// Whether it is as good as new.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        self.paid_at <= nanos(now)
    }

    /// One that is as good as new from then on.
    pub(super) fn idle_from(moment: Duration) -> Self {
        Self { paid_at: nanos(moment) }
    }

    /// When it is.
    pub(super) fn idle_at(&self) -> Duration {
        Duration::from_nanos(self.paid_at)
    }
}

impl Entry for Bucket {
    fn worth(&self, now: Duration) -> Worth {
        if self.is_idle(now) {
            return Worth::Nothing;
        }
        Worth::Some(0, Ticks::after(self.idle_at()).0)
    }
}

fn interval(quota: Quota) -> u64 {
    nanos(quota.per.checked_div(quota.count.get()).unwrap_or_default()).max(1)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn quota(count: u32) -> Quota {
        Quota { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(60) }
    }

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let (mut bucket, mut now) = (Bucket::default(), Duration::from_secs(1000));
        for _ in 0..5 {
            assert_eq!(bucket.take(now, quota(5)), Ok(()));
        }
        assert_eq!(bucket.take(now, quota(5)), Err(Duration::from_secs(12)));
        now += Duration::from_secs(11);
        assert_eq!(bucket.take(now, quota(5)), Err(Duration::from_secs(1)));
        now += Duration::from_secs(1);
        assert_eq!(bucket.take(now, quota(5)), Ok(()));
        assert_eq!(bucket.take(now, quota(5)), Err(Duration::from_secs(12)));
        assert!(bucket.is_idle(now + Duration::from_secs(60)));
    }

    #[test]
    fn what_is_held_is_as_if_it_were_taken() {
        let (mut bucket, now) = (Bucket::default(), Duration::from_secs(1000));
        assert_eq!(bucket.admits(now, quota(5), 4), Ok(()));
        assert_eq!(bucket.admits(now, quota(5), 5), Err(Duration::from_secs(12)));
        bucket.charge(now, quota(5));
        assert_eq!(bucket.admits(now, quota(5), 3), Ok(()));
        assert!(bucket.admits(now, quota(5), 4).is_err());
    }

    #[test]
    fn a_changed_quota_does_not_forget() {
        let mut bucket = Bucket::default();
        for _ in 0..6 {
            assert_eq!(bucket.take(Duration::ZERO, quota(6)), Ok(()));
        }
        assert_eq!(bucket.take(Duration::ZERO, quota(3)), Err(Duration::from_secs(20)));
    }
}
