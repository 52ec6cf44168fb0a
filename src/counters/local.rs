//! Counters of one process: what it holds is bounded, and a flood frees nobody who is locked.

mod bucket;
mod ledger;
mod table;

use std::num::NonZeroUsize;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock, Reference};

pub(super) use self::bucket::Bucket;
use self::ledger::{Ledger, Settled};
pub(super) use self::table::{Entry, Table, Worth};
use super::{
    AttemptCounter, CounterFuture, CounterKey, LockTold, Outcome, Refusal, RefusalReason,
    Reservation, Reserved, Tried,
};
use crate::policy::LoginLimits;

/// The most networks, and the most accounts, remembered at once unless told otherwise: about 140 MiB
/// when every account has nine failures.
const KEYS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 18) - 1);

/// How long to wait where every place of the table is held by a locked or waiting account.
const FULL_WAIT: Duration = Duration::from_secs(60);

/// [`AttemptCounter`] in memory.
pub struct LocalCounter<C: Clock = MonotonicClock> {
    networks: Table<Bucket>,
    accounts: Table<Ledger>,
    clock: C,
    epoch: C::Instant,
}

impl LocalCounter {
    /// Empty counters with the usual bound and the machine's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(MonotonicClock, KEYS_MAX)
    }
}

impl Default for LocalCounter {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock> LocalCounter<C> {
    /// Empty counters for at most about `keys_max` networks and as many accounts.
    pub fn with_clock(clock: C, keys_max: NonZeroUsize) -> Self {
        let epoch = clock.now();
        Self { networks: Table::new(keys_max), accounts: Table::new(keys_max), clock, epoch }
    }

    fn now(&self) -> Duration {
        self.clock.now().duration_since(self.epoch).into()
    }

    fn reserve_now(&self, tried: Tried, limits: &LoginLimits) -> Reserved {
        match self.try_reserve(tried, limits) {
            Ok(reservation) => Reserved::Admitted(reservation),
            Err(refusal) => Reserved::Refused(refusal),
        }
    }

    fn try_reserve(&self, tried: Tried, limits: &LoginLimits) -> Result<Reservation, Refusal> {
        let now = self.now();
        // Locks are looked at before anything is taken: they give the longest and truest wait.
        for account in &tried.accounts {
            self.accounts
                .update(account, |ledger| ledger.admits(now, &limits.lockout))
                .transpose()?;
        }
        self.take_network(&tried.network, now, limits)?;
        let lockout = limits.lockout;
        let mut reservation = Reservation { accounts: Vec::new(), lockout, lease: None };
        for account in tried.accounts {
            if let Err(refusal) = self.take_account(account, now, limits) {
                let _none_lock = self.give_back(reservation, Outcome::Neutral);
                return Err(refusal);
            }
            reservation.accounts.push(account);
        }
        Ok(reservation)
    }

    fn take_network(
        &self,
        key: &CounterKey,
        now: Duration,
        limits: &LoginLimits,
    ) -> Result<(), Refusal> {
        let reason = RefusalReason::NetworkLimit;
        let taken = self.networks.with(*key, now, |bucket| bucket.take(now, limits.per_network));
        taken.unwrap_or(Err(FULL_WAIT)).map_err(|retry_after| Refusal { retry_after, reason })
    }

    fn take_account(
        &self,
        key: CounterKey,
        now: Duration,
        limits: &LoginLimits,
    ) -> Result<(), Refusal> {
        let full = Refusal { retry_after: FULL_WAIT, reason: RefusalReason::AccountLimit };
        self.accounts.with(key, now, |ledger| ledger.reserve(now, limits)).unwrap_or(Err(full))
    }

    /// Settles a place; which accounts that locked.
    pub(super) fn give_back(&self, reservation: Reservation, outcome: Outcome) -> Vec<CounterKey> {
        let Reservation { accounts, lockout, lease: _ } = reservation;
        let now = self.now();
        // Who names several accounts may own one of them: his success says nothing of the others.
        let outcome = match outcome {
            Outcome::Success if accounts.len() > 1 => Outcome::Neutral,
            Outcome::Failure | Outcome::Neutral | Outcome::Success => outcome,
        };
        let locked = |account: &CounterKey| {
            let settled =
                self.accounts.update(account, |ledger| ledger.settle(outcome, now, &lockout));
            settled == Some(Settled::Locked)
        };
        accounts.into_iter().filter(locked).collect()
    }
}

impl<C: Clock + Send + Sync> AttemptCounter for LocalCounter<C> {
    fn reserve<'a>(&'a self, tried: Tried, limits: &'a LoginLimits) -> CounterFuture<'a, Reserved> {
        Box::pin(std::future::ready(self.reserve_now(tried, limits)))
    }

    fn settle(&self, reservation: Reservation, outcome: Outcome, told: LockTold) {
        self.give_back(reservation, outcome).into_iter().for_each(told);
    }

    fn locked_accounts(&self) -> usize {
        let now = self.now();
        self.accounts.count(|ledger| ledger.is_locked(now))
    }

    fn is_degraded(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
