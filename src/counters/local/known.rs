//! A network from which an account was logged in.

use std::time::Duration;

use super::table::{Entry, Worth};
use super::ticks::Ticks;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Until when a pair of account and network is known, and on how many days it was shown to be good.
///
/// Who has accounts of his own can fill the table with pairs. So one that was good on few days goes
/// first, and of those the newest: a flood displaces itself and not those who were there before.
#[derive(Clone, Copy, Default)]
pub(super) struct Known {
    pub(super) until: Ticks,
    pub(super) days: u8,
}

impl Known {
    /// Notes a success.
    pub(super) fn renew(&mut self, now: Duration, known_for: Duration) {
        let until = Ticks::after(now.saturating_add(known_for));
        if self.days == 0 || until >= self.until.plus(DAY) {
            self.days = self.days.saturating_add(1);
            self.until = until;
        }
    }

    pub(super) fn holds(&self, now: Duration) -> bool {
        self.until.until(now).is_some()
    }
}

impl Entry for Known {
    fn worth(&self, now: Duration) -> Worth {
        if !self.holds(now) {
            return Worth::Nothing;
        }
        Worth::Some(u32::from(self.days), u32::MAX - self.until.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_known_from_its_last_good_day_and_those_of_many_days_stay_longest() {
        let (month, mut now) = (30 * DAY, 60 * DAY);
        let mut often = Known::default();
        for _ in 0..3 {
            often.renew(now, month);
            often.renew(now + DAY / 2, month);
            now += DAY;
        }
        assert!(often.holds(now + 28 * DAY) && !often.holds(now + 29 * DAY));
        let (mut early, mut late) = (Known::default(), Known::default());
        early.renew(now, month);
        late.renew(now + DAY, month);
        assert!(late.worth(now) < early.worth(now) && early.worth(now) < often.worth(now));
        assert_eq!(often.worth(now + month), Worth::Nothing);
    }
}
