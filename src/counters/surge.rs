//! How far a rate is above its usual.
//!
//! Events are counted per minute. The usual is the mean of the minutes before the current one, each
//! worth 1/1440 less than the one after it (so that about a day counts), divided by the weight of the
//! minutes there have been, so that the first hour already has a fair mean. With c events in the
//! current minute, m_i in the i-th minute before it and a = 1/1440:
//!
//! `usual = Σ a(1-a)^(i-1) m_i / (1 - (1-a)^n)`, `ratio = c / max(usual, 10)`
//!
//! The ten keep a quiet gateway's third payment of a minute from being an alarm.

use std::time::Duration;

/// Minutes of a day.
const MINUTES: f64 = 1440.0;
/// The least that counts as usual, in events per minute.
const USUAL_MIN: f64 = 10.0;
/// From this ratio on a minute is told of.
const ALARM_RATIO: f64 = 10.0;

/// The rate of one thing.
#[derive(Debug, Default)]
pub struct Surge {
    /// The current minute; none before the first event.
    minute: Option<u64>,
    count: u32,
    /// The sum above the fraction.
    weighted: f64,
    /// How many whole minutes there have been.
    minutes: f64,
    told: bool,
}

/// A minute far above the usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alarm {
    /// Events of the minute so far.
    pub count: u32,
    /// What is usual in a minute.
    pub usual: f64,
    /// The first by the second.
    pub ratio: f64,
}

impl Surge {
    /// Notes events; says so, once per minute, when there are far too many.
    pub fn note(&mut self, count: u32, now: Duration) -> Option<Alarm> {
        self.turn_to(now);
        self.count = self.count.saturating_add(count);
        let ratio = f64::from(self.count) / self.usual();
        if ratio < ALARM_RATIO || self.told {
            return None;
        }
        self.told = true;
        Some(Alarm { count: self.count, usual: self.usual(), ratio })
    }

    /// The current minute against the usual.
    pub fn ratio(&mut self, now: Duration) -> f64 {
        self.turn_to(now);
        f64::from(self.count) / self.usual()
    }

    fn usual(&self) -> f64 {
        let weight = 1.0 - decay(self.minutes);
        let mean = if weight > 0.0 { self.weighted / weight } else { 0.0 };
        mean.max(USUAL_MIN)
    }

    /// Closes the minutes that have passed; those without an event count too.
    fn turn_to(&mut self, now: Duration) {
        let minute = now.as_secs() / 60;
        let Some(current) = self.minute.replace(minute) else { return };
        let passed = minute.saturating_sub(current);
        if passed == 0 {
            return;
        }
        let passed = f64::from(u32::try_from(passed).unwrap_or(u32::MAX));
        self.weighted = self.weighted * decay(1.0) + f64::from(self.count) / MINUTES;
        self.weighted *= decay(passed - 1.0);
        self.minutes += passed;
        (self.count, self.told) = (0, false);
    }
}

fn decay(minutes: f64) -> f64 {
    (1.0 - 1.0 / MINUTES).powf(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(minute: u64) -> Duration {
        Duration::from_secs(minute * 60 + 1)
    }

    #[test]
    fn a_steady_rate_is_usual_after_the_first_minute() {
        let mut surge = Surge::default();
        for at in 0..60 {
            assert_eq!(surge.note(80, minute(at)), None);
        }
        assert!((surge.ratio(minute(59)) - 1.0).abs() < 0.01, "{}", surge.ratio(minute(59)));
        assert!(surge.ratio(minute(60)).abs() < f64::EPSILON);
    }

    #[test]
    fn ten_times_the_usual_is_told_once_a_minute() {
        let mut surge = Surge::default();
        (0..60).for_each(|at| assert_eq!(surge.note(20, minute(at)), None));
        assert_eq!(surge.note(199, minute(60)), None);
        let alarm = surge.note(2, minute(60)).unwrap();
        assert_eq!(alarm.count, 201);
        assert!((alarm.usual - 20.0).abs() < 0.1 && alarm.ratio >= 10.0, "{alarm:?}");
        assert_eq!(surge.note(500, minute(60)), None);
        assert!(surge.note(500, minute(61)).is_some());
    }

    #[test]
    fn a_quiet_gateway_is_not_alarmed_by_little() {
        let mut surge = Surge::default();
        assert_eq!(surge.note(1, minute(0)), None);
        assert_eq!(surge.note(99, minute(1_000)), None);
        assert!(surge.note(1, minute(1_000)).is_some());
    }

    #[test]
    fn a_day_later_a_burst_is_forgotten_by_two_thirds() {
        let mut surge = Surge::default();
        for at in 0..1440 {
            let _alarm = surge.note(100, minute(at));
        }
        surge.ratio(minute(2880));
        assert!((surge.usual() - 27.0).abs() < 1.0, "{}", surge.usual());
    }
}
