//! What is known of one subject: an account, a network, the pair of both.

use std::time::Duration;

use super::bucket::Bucket;
use super::failures::{FAILURES_MAX, Failure, Failures};
use super::table::{Entry, Worth};
use super::ticks::Ticks;
use crate::counters::{Lock, Rule, Tag};
use crate::policy::{Limit, Lockout, Quota};

/// What an answer under way is waited for before the client may ask again.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);

/// How long after its end a lock is remembered, to make the next one longer.
const LOCK_MEMORY: Duration = Duration::from_secs(24 * 3600);

/// How long failures in a row are remembered after the last one. It is also how long an account is
/// barred that has had too many of them: nobody waits for it, and it has an end all the same.
pub(super) const ROW_MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many failures a lock is worth that has just ended.
const LOCK_WORTH: u32 = 20;

/// Attempts, failures and the lock of one subject, by the counter's clock.
#[derive(Default)]
pub(super) struct Ledger {
    pub(super) attempts: Bucket,
    pub(super) failures: Failures,
    /// When the failures are worth remembering no longer.
    pub(super) stale_at: Ticks,
    /// Zero where there never was a lock.
    pub(super) locked_until: Ticks,
    /// Failures in a row.
    pub(super) row: u16,
    /// Places held for attempts under way.
    pub(super) held: u16,
    /// Locks shortly before the last one.
    pub(super) level: u8,
    /// How many failures the last lock took.
    pub(super) locked_by: u8,
    pub(super) barred: bool,
}

/// Why there is no place, and for how long.
pub(super) type Refused = (Rule, Duration);

impl Ledger {
    /// Takes a place, or says why there is none.
    pub(super) fn reserve(&mut self, now: Duration, limit: &Limit) -> Result<(), Refused> {
        self.admits(now, limit)?;
        self.hold();
        Ok(())
    }

    /// Takes a place where nothing can refuse it.
    pub(super) fn hold(&mut self) {
        self.held = self.held.saturating_add(1);
    }

    /// Gives a place back.
    pub(super) fn give_back(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// Whether one more attempt may still count without passing the limit.
    pub(super) fn admits(&mut self, now: Duration, limit: &Limit) -> Result<(), Refused> {
        if let Some(left) = self.locked_until.until(now) {
            return Err((if self.barred { Rule::Barred } else { Rule::Lockout }, left));
        }
        if let Some(lockout) = &limit.lockout {
            self.admits_failure(now, lockout)?;
        }
        limit.quota.map_or(Ok(()), |quota| self.admits_attempt(now, quota))
    }

    /// Counts what a place was held for; whether a lock begins.
    pub(super) fn charge(&mut self, now: Duration, tag: Tag, limit: &Limit) -> bool {
        if let Some(quota) = limit.quota {
            self.attempts.charge(now, quota);
        }
        limit.lockout.is_some_and(|lockout| self.fail(now, tag, &lockout))
    }

    /// Takes back the failures of one other side, whose owner has come in (NIST SP 800-63B-4
    /// §3.2.2: those from the same address), and ends the row.
    pub(super) fn succeed(&mut self, tag: Tag) {
        self.failures.take_back(tag);
        self.row = 0;
    }

    /// Ends the row, and the bar if there is one: somebody trusted has come in.
    pub(super) fn vouch(&mut self) {
        self.row = 0;
        if std::mem::take(&mut self.barred) {
            self.locked_until = Ticks::default();
        }
    }

    /// Takes over a lock that began elsewhere; one that holds longer stays.
    pub(super) fn impose(&mut self, now: Duration, lock: &Lock) {
        if self.locked(now).is_some_and(|left| left >= lock.remaining) {
            return;
        }
        self.level = u8::try_from(lock.level).unwrap_or(u8::MAX);
        self.barred = lock.barred;
        let failures = usize::try_from(lock.failures).unwrap_or(FAILURES_MAX);
        self.lock(now, lock.remaining, failures);
    }

    /// Whether the lock holds, and how long.
    pub(super) fn locked(&self, now: Duration) -> Option<Duration> {
        self.locked_until.until(now)
    }

    /// Failures in the window, which are forgotten when they pass out of it.
    pub(super) fn recent(&mut self, now: Duration, lockout: Option<&Lockout>) -> usize {
        if let Some(lockout) = lockout {
            self.failures.forget(now, lockout.within);
        }
        self.failures.count()
    }

    fn admits_failure(&mut self, now: Duration, lockout: &Lockout) -> Result<(), Refused> {
        let (failed, held) = (self.recent(now, Some(lockout)), usize::from(self.held));
        if let Some(left) = self.delay(lockout).and_then(|until| until.until(now)) {
            return Err((Rule::Delay, left));
        }
        self.forget_row(now);
        let row = u32::from(self.row).saturating_add(u32::from(self.held));
        if lockout.consecutive_max.is_some_and(|most| row >= most.get()) {
            return Err((Rule::InFlight, IN_FLIGHT_WAIT));
        }
        let (free, most) = (bounded(lockout.failures.get()), bounded(lockout.locks_at()));
        // Once failures delay, one attempt at a time: those beside it would not have waited.
        let alone = failed >= free && failed < most && held == 0;
        if failed.saturating_add(held) < free || alone {
            return Ok(());
        }
        let (spread, least) = (self.failures.spread(), bounded(lockout.accounts_min.get()));
        if spread.saturating_add(held) < least {
            return Ok(());
        }
        // A reload may lower the limit below what has failed already: then the oldest must pass out
        // of the window first.
        let surplus = failed.checked_sub(most).filter(|_| spread >= least);
        let Some(last) = surplus.and_then(|surplus| self.failures.at(surplus)) else {
            return Err((Rule::InFlight, IN_FLIGHT_WAIT));
        };
        let left = last.at.plus(lockout.within).until(now).unwrap_or_default();
        Err((Rule::Lockout, left))
    }

    fn admits_attempt(&self, now: Duration, quota: Quota) -> Result<(), Refused> {
        self.attempts.admits(now, quota, 0).map_err(|left| (Rule::Quota, left))?;
        let held = self.attempts.admits(now, quota, u32::from(self.held));
        held.map_err(|_| (Rule::InFlight, IN_FLIGHT_WAIT))
    }

    /// Until when the last failure makes the next attempt wait.
    fn delay(&self, lockout: &Lockout) -> Option<Ticks> {
        let failed = u32::try_from(self.failures.count()).unwrap_or(u32::MAX);
        Some(self.failures.last()?.at.plus(lockout.delay_after(failed)?))
    }

    fn fail(&mut self, now: Duration, tag: Tag, lockout: &Lockout) -> bool {
        let at = Ticks::after(now);
        if let Some(most) = lockout.consecutive_max {
            self.forget_row(now);
            self.row = self.row.saturating_add(1);
            self.stale_at = at.plus(ROW_MEMORY);
            if u32::from(self.row) >= most.get() && !self.barred {
                self.barred = true;
                self.lock(now, ROW_MEMORY, usize::from(self.row));
                return true;
            }
        }
        // An attempt admitted before the lock may fail after it: that does not prolong the lock.
        if self.locked(now).is_some() {
            return false;
        }
        self.barred = false;
        self.failures.forget(now, lockout.within);
        self.failures.push(Failure { at, tag });
        self.stale_at = self.stale_at.max(at.plus(lockout.within));
        let failed = self.failures.count();
        let over_few = self.failures.spread() < bounded(lockout.accounts_min.get());
        if failed < bounded(lockout.locks_at()) || over_few {
            return false;
        }
        let level = self.level_of_next(now);
        self.level = u8::try_from(level).unwrap_or(u8::MAX);
        self.lock(now, lockout.lock_after(level), failed);
        true
    }

    /// How many locks there were shortly before one that begins now.
    pub(super) fn level_of_next(&self, now: Duration) -> u32 {
        if self.was_locked(now) { u32::from(self.level).saturating_add(1) } else { 0 }
    }

    fn lock(&mut self, now: Duration, time: Duration, failures: usize) {
        self.locked_until = Ticks::after(now.saturating_add(time));
        self.locked_by = u8::try_from(failures).unwrap_or(u8::MAX);
        self.failures.clear();
    }

    fn forget_row(&mut self, now: Duration) {
        if self.stale_at.until(now).is_none() {
            self.row = 0;
        }
    }

    fn was_locked(&self, now: Duration) -> bool {
        self.locked_until != Ticks::default()
            && self.locked_until.plus(LOCK_MEMORY).until(now).is_some()
    }
}

impl Entry for Ledger {
    /// Five failures.
    const HEAP_BYTES: usize = 40;

    fn worth(&self, now: Duration) -> Worth {
        if self.held > 0 || self.locked(now).is_some() {
            return Worth::Held;
        }
        let fresh = self.stale_at.until(now).is_some();
        let failures = u32::try_from(self.failures.count()).unwrap_or(u32::MAX);
        let failures = if fresh { failures.max(u32::from(self.row)) } else { 0 };
        if self.was_locked(now) {
            let locks = LOCK_WORTH.saturating_mul(u32::from(self.level).saturating_add(1));
            return Worth::Some(failures.saturating_add(locks), self.locked_until.0);
        }
        if failures > 0 {
            return Worth::Some(failures, self.stale_at.0);
        }
        self.attempts.worth(now)
    }

    fn heap_bytes(&self) -> usize {
        self.failures.heap_bytes()
    }
}

/// What counts failures is no more than are remembered.
fn bounded(count: u32) -> usize {
    usize::try_from(count).unwrap_or(FAILURES_MAX).min(FAILURES_MAX)
}
