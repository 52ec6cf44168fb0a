//! How many of a site's logins fail, against what is usual there.
//!
//! The usual is the share of failures among all logins before, each minute worth 1/1440 less than the
//! one after it, so that about a day counts; fifty logins with ten failures are thought to have been
//! before all others, so that a new site has a usual too.

use std::time::Duration;

/// Minutes of a day.
const MINUTES: f64 = 1440.0;
/// What is thought to have been before the first login.
const FIRST: Logins = Logins { failed: 10.0, all: 50.0 };
/// Fewer failures in two minutes are the customers' own.
const FAILURES_MIN: f64 = 30.0;
/// How many times the usual share is unusual.
const TIMES: f64 = 2.0;
/// No share is higher than all, so a site where half fails is watched for this.
const SHARE_MAX: f64 = 0.9;

/// The logins of one site.
#[derive(Debug)]
pub(super) struct FailureRate {
    minute: u64,
    current: Logins,
    /// The minute before, so that a new minute does not begin innocent.
    last: Logins,
    before: Logins,
}

#[derive(Clone, Copy, Debug, Default)]
struct Logins {
    failed: f64,
    all: f64,
}

impl Default for FailureRate {
    fn default() -> Self {
        let none = Logins::default();
        Self { minute: 0, current: none, last: none, before: FIRST }
    }
}

impl FailureRate {
    /// Notes a login.
    pub(super) fn note(&mut self, failed: bool, now: Duration) {
        self.turn_to(now);
        self.current.all += 1.0;
        self.current.failed += f64::from(u8::from(failed));
    }

    /// Whether far more fail than usual.
    pub(super) fn is_unusual(&mut self, now: Duration) -> bool {
        self.turn_to(now);
        let (failed, all) =
            (self.current.failed + self.last.failed, self.current.all + self.last.all);
        let usual = self.before.failed / self.before.all;
        failed >= FAILURES_MIN && failed / all >= (usual * TIMES).min(SHARE_MAX)
    }

    fn turn_to(&mut self, now: Duration) {
        let minute = now.as_secs() / 60;
        let passed = minute.saturating_sub(self.minute);
        if passed == 0 {
            return;
        }
        self.minute = minute;
        let none = Logins::default();
        let last = std::mem::replace(&mut self.last, if passed == 1 { self.current } else { none });
        let gone = std::mem::take(&mut self.current);
        let gone = if passed == 1 { none } else { gone };
        let passed = f64::from(u32::try_from(passed).unwrap_or(u32::MAX));
        let decay = (1.0 - 1.0 / MINUTES).powf(passed);
        // What is thought of a new site fades with the first real logins, not with time alone.
        self.before.failed = (self.before.failed + last.failed + gone.failed) * decay;
        self.before.all = (self.before.all + last.all + gone.all) * decay;
        if self.before.all < FIRST.all {
            let missing = (FIRST.all - self.before.all) / FIRST.all;
            self.before.failed += FIRST.failed * missing;
            self.before.all = FIRST.all;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: u64) -> Duration {
        Duration::from_secs(minute * 60 + 1)
    }

    fn logins(rate: &mut FailureRate, at: u64, (failed, fine): (u32, u32)) {
        (0..failed).for_each(|_| rate.note(true, minute(at)));
        (0..fine).for_each(|_| rate.note(false, minute(at)));
    }

    #[test]
    fn a_site_where_as_many_fail_as_ever_is_not_unusual() {
        let mut rate = FailureRate::default();
        for at in 0..60 {
            logins(&mut rate, at, (30, 70));
            assert!(!rate.is_unusual(minute(at)), "minute {at}");
        }
    }

    #[test]
    fn a_flood_of_failures_is_unusual_until_it_ends() {
        let mut rate = FailureRate::default();
        (0..60).for_each(|at| logins(&mut rate, at, (10, 90)));
        logins(&mut rate, 60, (100, 90));
        assert!(rate.is_unusual(minute(60)) && rate.is_unusual(minute(61)));
        logins(&mut rate, 61, (10, 90));
        logins(&mut rate, 62, (10, 90));
        assert!(!rate.is_unusual(minute(62)));
    }

    #[test]
    fn few_failures_are_never_unusual() {
        let mut rate = FailureRate::default();
        logins(&mut rate, 0, (29, 0));
        assert!(!rate.is_unusual(minute(0)));
        logins(&mut rate, 0, (1, 0));
        assert!(rate.is_unusual(minute(0)));
        assert!(!rate.is_unusual(minute(100_000)));
    }
}
