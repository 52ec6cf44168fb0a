//! One GCRA cell. The arithmetic is `governor`'s; the place and the bound are ours, because a
//! `governor` key store forgets its cells when the quota changes and has no upper size.

use std::cell::Cell;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota as GovernorQuota, RateLimiter};

use super::table::{Entry, Worth};
use crate::policy::Quota;

/// When the attempts so far are paid for. The past means a full burst, as for one never seen.
#[derive(Clone, Copy, Default)]
pub(in crate::counters) struct Bucket {
    paid_at: Duration,
}

/// The time a bucket still owes, which is what `governor` is shown: its clock then stands at zero and
/// the state does not depend on when a limiter was made.
struct Debt(Cell<Nanos>);

#[derive(Clone)]
struct Standstill;

impl Bucket {
    /// Takes one attempt, or says how long until there is one.
    pub(in crate::counters) fn take(
        &mut self,
        now: Duration,
        quota: Quota,
    ) -> Result<(), Duration> {
        let debt = Debt(Cell::new(self.paid_at.saturating_sub(now).into()));
        let limiter: RateLimiter<NotKeyed, Debt, Standstill, NoOpMiddleware<Nanos>> =
            RateLimiter::new(pace(quota), debt, Standstill);
        limiter.check().map_err(|until| until.wait_time_from(Nanos::default()))?;
        self.paid_at = now.saturating_add(limiter.into_state_store().0.get().into());
        Ok(())
    }

    /// Whether it is as good as new.
    pub(super) fn is_idle(&self, now: Duration) -> bool {
        self.paid_at <= now
    }
}

impl Entry for Bucket {
    fn worth(&self, now: Duration) -> Worth {
        if self.is_idle(now) { Worth::Nothing } else { Worth::Some(0, self.paid_at) }
    }
}

impl StateStore for Debt {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (decision, debt) = decide(Some(self.0.get()))?;
        self.0.set(debt);
        Ok(decision)
    }
}

impl Clock for Standstill {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::default()
    }
}

fn pace(quota: Quota) -> GovernorQuota {
    let each = quota.per.checked_div(quota.count.get()).unwrap_or_default();
    GovernorQuota::with_period(each)
        .unwrap_or_else(|| GovernorQuota::per_second(quota.count))
        .allow_burst(quota.count)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn a_burst_passes_and_then_one_per_interval() {
        let quota = Quota { count: NonZeroU32::new(5).unwrap(), per: Duration::from_secs(60) };
        let (mut bucket, mut now) = (Bucket::default(), Duration::from_secs(1000));
        for _ in 0..5 {
            assert_eq!(bucket.take(now, quota), Ok(()));
        }
        assert_eq!(bucket.take(now, quota), Err(Duration::from_secs(12)));
        now += Duration::from_secs(11);
        assert_eq!(bucket.take(now, quota), Err(Duration::from_secs(1)));
        now += Duration::from_secs(1);
        assert_eq!(bucket.take(now, quota), Ok(()));
        assert_eq!(bucket.take(now, quota), Err(Duration::from_secs(12)));
        assert!(bucket.is_idle(now + Duration::from_secs(60)));
    }

    #[test]
    fn a_changed_quota_does_not_forget() {
        let quota =
            |count| Quota { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(60) };
        let mut bucket = Bucket::default();
        for _ in 0..6 {
            assert_eq!(bucket.take(Duration::ZERO, quota(6)), Ok(()));
        }
        assert_eq!(bucket.take(Duration::ZERO, quota(3)), Err(Duration::from_secs(20)));
    }
}
