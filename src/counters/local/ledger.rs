//! What is known of one account.

use std::collections::VecDeque;
use std::time::Duration;

use super::bucket::Bucket;
use super::table::{Entry, Worth};
use crate::counters::{Outcome, Refusal, RefusalReason};
use crate::policy::{Lockout, LoginLimits};

/// The most failures remembered, whatever the configuration allows (NIST SP 800-63B 5.2.2 allows no
/// more than 100 in a row); it bounds the memory of an account.
const FAILURES_MAX: usize = 100;

/// What an answer under way is waited for before the client may ask again.
const IN_FLIGHT_WAIT: Duration = Duration::from_secs(1);

/// Attempts, failures and the lock of one account. Times are since the counter's start.
#[derive(Default)]
pub(super) struct Ledger {
    attempts: Bucket,
    failures: VecDeque<Duration>,
    stale_at: Duration,
    in_flight: usize,
    locked_until: Duration,
}

/// What settling an attempt did to the account.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Settled {
    /// It was the failure that began a lock.
    Locked,
    /// No lock began.
    Open,
}

impl Ledger {
    /// Takes a place, or says why there is none.
    pub(super) fn reserve(&mut self, now: Duration, limits: &LoginLimits) -> Result<(), Refusal> {
        self.admits(now, &limits.lockout)?;
        let reason = RefusalReason::AccountLimit;
        self.attempts
            .take(now, limits.per_account)
            .map_err(|retry_after| Refusal { retry_after, reason })?;
        self.in_flight = self.in_flight.saturating_add(1);
        Ok(())
    }

    /// Whether one more attempt may still fail without passing the limit.
    pub(super) fn admits(&mut self, now: Duration, lockout: &Lockout) -> Result<(), Refusal> {
        if self.is_locked(now) {
            let retry_after = self.locked_until.saturating_sub(now);
            return Err(Refusal { retry_after, reason: RefusalReason::Locked });
        }
        self.forget(now, lockout.within);
        let limit = failures_max(lockout);
        if self.failures.len().saturating_add(self.in_flight) < limit {
            return Ok(());
        }
        // A reload may lower the limit below what has failed already: then the oldest must pass out
        // of the window first.
        let surplus = self.failures.len().checked_sub(limit);
        let Some(last) = surplus.and_then(|surplus| self.failures.get(surplus)) else {
            return Err(Refusal { retry_after: IN_FLIGHT_WAIT, reason: RefusalReason::InFlight });
        };
        let retry_after = last.saturating_add(lockout.within).saturating_sub(now);
        Err(Refusal { retry_after, reason: RefusalReason::Locked })
    }

    /// Gives the place back and counts what came of it.
    pub(super) fn settle(&mut self, outcome: Outcome, now: Duration, lockout: &Lockout) -> Settled {
        self.in_flight = self.in_flight.saturating_sub(1);
        match outcome {
            Outcome::Failure => return self.fail(now, lockout),
            Outcome::Neutral => {}
            Outcome::Success => self.failures.clear(),
        }
        Settled::Open
    }

    /// Whether the lock holds.
    pub(super) fn is_locked(&self, now: Duration) -> bool {
        now < self.locked_until
    }

    fn fail(&mut self, now: Duration, lockout: &Lockout) -> Settled {
        // An attempt admitted before the lock may fail after it: that does not prolong the lock.
        if self.is_locked(now) {
            return Settled::Open;
        }
        self.forget(now, lockout.within);
        self.failures.push_back(now);
        self.stale_at = now.saturating_add(lockout.within);
        if self.failures.len() >= failures_max(lockout) {
            self.locked_until = now.saturating_add(lockout.lock);
            self.failures = VecDeque::new();
            return Settled::Locked;
        }
        Settled::Open
    }

    fn forget(&mut self, now: Duration, within: Duration) {
        while self.failures.front().is_some_and(|at| at.saturating_add(within) <= now) {
            self.failures.pop_front();
        }
    }
}

impl Entry for Ledger {
    fn worth(&self, now: Duration) -> Worth {
        if self.in_flight > 0 || self.is_locked(now) {
            return Worth::Held;
        }
        if now < self.stale_at && !self.failures.is_empty() {
            return Worth::Some(self.failures.len(), self.stale_at);
        }
        self.attempts.worth(now)
    }
}

fn failures_max(lockout: &Lockout) -> usize {
    usize::try_from(lockout.failures.get()).unwrap_or(FAILURES_MAX).min(FAILURES_MAX)
}
