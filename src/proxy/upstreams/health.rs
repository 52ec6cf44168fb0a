//! Whether a server takes requests: what checks say of it, and what customers' requests show.
//!
//! Read on every request and written when something changes, so all of it is atomics. Times are
//! milliseconds since the process began; zero is never.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use crate::policy::{Ejection, HealthCheck};

/// Of its share, what a server gets at once when it comes back; the rest comes with time.
const FIRST_SHARE_PERMILLE: u64 = 100;

/// What is known of a server.
#[derive(Default)]
pub(super) struct Health {
    /// Customers' requests that it failed, in a row.
    failures: AtomicU32,
    /// How often it was ejected without a good time between.
    ejections: AtomicU32,
    out_since: AtomicU64,
    out_until: AtomicU64,
    /// By the checks.
    down: AtomicBool,
    up_at: AtomicU64,
    /// Checks in a row that say the other thing than `down` does.
    turning: AtomicU32,
    /// Whether it has ever accepted a connection.
    proven: AtomicBool,
}

/// What a server may be given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    Full,
    Out(Reason),
    /// So many per mille of its share.
    Warming(u64),
}

/// Why a server is given nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reason {
    Checks,
    Ejected,
}

/// What a check has changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Turn {
    Down,
    Up,
}

impl Health {
    pub(super) fn standing(&self, now: u64, slow_start: Duration) -> Standing {
        if self.down.load(Relaxed) {
            return Standing::Out(Reason::Checks);
        }
        let until = self.out_until.load(Relaxed);
        if now < until {
            return Standing::Out(Reason::Ejected);
        }
        let since = until.max(self.up_at.load(Relaxed));
        let (warm, whole) = (now.saturating_sub(since), millis(slow_start));
        if since == 0 || warm >= whole {
            return Standing::Full;
        }
        let rest = (1_000 - FIRST_SHARE_PERMILLE) * warm / whole.max(1);
        Standing::Warming(FIRST_SHARE_PERMILLE + rest)
    }

    /// It has accepted a connection.
    pub(super) fn reached(&self) {
        if !self.proven.load(Relaxed) {
            self.proven.store(true, Relaxed);
        }
    }

    /// Whether it has never accepted a connection.
    pub(super) fn is_unproven(&self) -> bool {
        !self.proven.load(Relaxed)
    }

    /// It has answered a request that was sent at `begun`.
    pub(super) fn succeeded(&self, begun: u64, now: u64) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
        // Asked although it was out, because there was no other: it is needed, and it works.
        let until = self.out_until.load(Relaxed);
        if until > now && begun > self.out_since.load(Relaxed) {
            let _lost_to_another = self.out_until.compare_exchange(until, now, Relaxed, Relaxed);
        }
    }

    /// It has failed a request. For how long it is left alone, if that begins now.
    pub(super) fn failed(&self, now: u64, ejection: &Ejection) -> Option<Duration> {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if failures < ejection.failures.get() {
            return None;
        }
        self.eject(now, ejection)
    }

    fn eject(&self, now: u64, ejection: &Ejection) -> Option<Duration> {
        let until = self.out_until.load(Relaxed);
        if until > now {
            return None;
        }
        let good = now.saturating_sub(until) > millis(ejection.time_max);
        let before = if good { 0 } else { self.ejections.load(Relaxed) };
        let longer = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        let time = ejection.time.saturating_mul(longer).min(ejection.time_max);
        self.out(until, now, time)?;
        self.ejections.store(before.saturating_add(1), Relaxed);
        Some(time)
    }

    /// Leaves it alone for so long, whatever it did before.
    pub(super) fn leave(&self, now: u64, time: Duration) {
        let _lost_to_another = self.out(self.out_until.load(Relaxed), now, time);
    }

    /// Of several who fail at once, one ejects.
    fn out(&self, before: u64, now: u64, time: Duration) -> Option<u64> {
        let until = now.saturating_add(millis(time));
        self.out_since.store(now, Relaxed);
        self.out_until.compare_exchange(before, until, Relaxed, Relaxed).ok()
    }

    /// A check has ended.
    pub(super) fn checked(&self, healthy: bool, now: u64, check: &HealthCheck) -> Option<Turn> {
        let down = self.down.load(Relaxed);
        if healthy != down {
            self.turning.store(0, Relaxed);
            return None;
        }
        let turning = self.turning.fetch_add(1, Relaxed).saturating_add(1);
        let enough = if down { check.rise } else { check.fall };
        if turning < enough.get() {
            return None;
        }
        self.turning.store(0, Relaxed);
        if down {
            self.up_at.store(now, Relaxed);
            self.down.store(false, Relaxed);
            return Some(Turn::Up);
        }
        self.down.store(true, Relaxed);
        Some(Turn::Down)
    }

    /// Nobody checks it any more: what the last check said is no reason to leave it alone.
    pub(super) fn unchecked(&self) {
        if self.down.load(Relaxed) {
            self.down.store(false, Relaxed);
        }
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    const SLOW: Duration = Duration::from_secs(10);

    fn ejection() -> Ejection {
        Ejection { time_max: Duration::from_secs(60), ..Ejection::default() }
    }

    fn check() -> HealthCheck {
        HealthCheck {
            path: "/".parse().unwrap(),
            host: None,
            interval: SLOW,
            timeout: SLOW,
            statuses: Vec::new(),
            fall: NonZeroU32::new(3).unwrap(),
            rise: NonZeroU32::new(2).unwrap(),
        }
    }

    #[test]
    fn failures_in_a_row_eject_for_growing_times() {
        let health = Health::default();
        let fail = |now| health.failed(now, &ejection());
        assert_eq!([fail(1_000), fail(1_001)], [None, None]);
        health.succeeded(999, 1_002);
        assert_eq!([fail(1_003), fail(1_004)], [None, None], "a success between");
        assert_eq!(fail(1_005), Some(Duration::from_secs(10)));
        assert_eq!(health.standing(1_006, SLOW), Standing::Out(Reason::Ejected));
        assert_eq!(fail(1_007), None, "others that fail with it do not make it longer");
        // Back, and failing at the first request: out for longer, up to the end of the scale.
        let mut now = 11_005;
        for seconds in [20, 40, 60, 60] {
            assert_eq!(health.standing(now, SLOW), Standing::Warming(100));
            assert_eq!(fail(now), Some(Duration::from_secs(seconds)));
            now += seconds * 1_000;
        }
        health.succeeded(now, now);
        now += 60_001;
        assert_eq!([fail(now), fail(now)], [None, None]);
        assert_eq!(fail(now), Some(Duration::from_secs(10)), "after a good time");
    }

    #[test]
    fn a_server_that_comes_back_gets_its_share_bit_by_bit() {
        let health = Health::default();
        assert_eq!(health.standing(5, SLOW), Standing::Full);
        health.leave(1_000, Duration::from_secs(1));
        assert_eq!(health.standing(1_999, SLOW), Standing::Out(Reason::Ejected));
        assert_eq!(health.standing(2_000, SLOW), Standing::Warming(100));
        assert_eq!(health.standing(7_000, SLOW), Standing::Warming(550));
        assert_eq!(health.standing(12_000, SLOW), Standing::Full);
        assert_eq!(health.standing(2_000, Duration::ZERO), Standing::Full);
    }

    #[test]
    fn a_server_that_was_needed_and_works_is_back() {
        let health = Health::default();
        health.leave(1_000, Duration::from_secs(60));
        health.succeeded(900, 1_500);
        assert_eq!(health.standing(1_500, SLOW), Standing::Out(Reason::Ejected), "asked before");
        health.succeeded(1_400, 1_500);
        assert_eq!(health.standing(1_500, SLOW), Standing::Warming(100));
    }

    #[test]
    fn checks_turn_a_server_down_and_up_by_their_thresholds() {
        let health = Health::default();
        let see = |healthy, now| health.checked(healthy, now, &check());
        assert_eq!([see(false, 1), see(false, 2), see(true, 3)], [None; 3]);
        assert_eq!([see(false, 4), see(false, 5)], [None; 2], "a success between");
        assert_eq!(see(false, 6), Some(Turn::Down));
        assert_eq!(health.standing(7, SLOW), Standing::Out(Reason::Checks));
        assert_eq!([see(true, 8), see(false, 9), see(true, 10)], [None; 3]);
        assert_eq!(see(true, 11), Some(Turn::Up));
        assert_eq!(health.standing(11, SLOW), Standing::Warming(100));
        for now in 12..15 {
            let _ = see(false, now);
        }
        health.unchecked();
        assert_ne!(health.standing(16, SLOW), Standing::Out(Reason::Checks));
    }
}
