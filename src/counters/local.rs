//! Counters of one process: what it holds is bounded, and a flood frees nobody who is locked.

mod bucket;
mod failures;
mod known;
mod ledger;
mod record;
mod state;
mod table;
mod tables;
mod ticks;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock, Reference};

pub(super) use self::bucket::Bucket;
use self::ledger::Ledger;
pub use self::state::CounterFile;
pub(super) use self::table::{Entry, Table, Worth};
pub use self::tables::Fill;
use self::tables::Tables;
use super::{
    AttemptCounter, CounterFuture, CounterKey, Lock, LockDesk, LockTold, Outcome, Refusal,
    RefusalReason, Reservation, Reserved, Rule, Standing, Subject, Tried, Trust,
};
use crate::policy::{Dimension, LoginLimits};

/// How long to wait where every place of a table is held by what is locked or under way.
const FULL_WAIT: Duration = Duration::from_secs(60);

/// The clock begins so long after zero, that what an earlier process has seen has a time too.
const PAST: Duration = Duration::from_secs(400 * 24 * 3600);

/// [`AttemptCounter`] in memory. A clone counts in the same tables.
pub struct LocalCounter<C: Clock = MonotonicClock> {
    tables: Arc<Tables>,
    clock: C,
    epoch: C::Instant,
}

impl<C: Clock + Clone> Clone for LocalCounter<C> {
    fn clone(&self) -> Self {
        Self { tables: Arc::clone(&self.tables), clock: self.clock.clone(), epoch: self.epoch }
    }
}

impl LocalCounter {
    /// Empty counters in at most so many bytes, by the machine's clock.
    #[must_use]
    pub fn new(memory_bytes: usize) -> Self {
        Self::with_clock(MonotonicClock, memory_bytes)
    }
}

impl<C: Clock> LocalCounter<C> {
    /// Empty counters in at most so many bytes.
    pub fn with_clock(clock: C, memory_bytes: usize) -> Self {
        let epoch = clock.now();
        Self { tables: Arc::new(Tables::new(memory_bytes)), clock, epoch }
    }

    fn now(&self) -> Duration {
        PAST.saturating_add(self.clock.now().duration_since(self.epoch).into())
    }

    fn try_reserve(&self, tried: Tried, limits: &Arc<LoginLimits>) -> Result<Reservation, Refusal> {
        let now = self.now();
        let device = tried.device.is_some() && tried.accounts.len() == 1;
        // A device whose budget is spent is a stranger's.
        if device && self.take(&tried, Trust::Device, limits, now).is_ok() {
            let limits = Arc::clone(limits);
            return Ok(Reservation { tried, trust: Trust::Device, limits, lease: None });
        }
        let trust =
            if self.is_known(&tried, limits, now) { Trust::KnownNetwork } else { Trust::Stranger };
        self.take(&tried, trust, limits, now)?;
        Ok(Reservation { tried, trust, limits: Arc::clone(limits), lease: None })
    }

    /// Whether shared counters may take the network for known.
    pub(super) fn knows(&self, tried: &Tried, limits: &LoginLimits) -> bool {
        self.is_known(tried, limits, self.now())
    }

    /// Takes the place that shared counters have given. Where it `binds`, limits here may refuse it
    /// too.
    ///
    /// # Errors
    /// Which of them does.
    pub(super) fn follow(
        &self,
        tried: &Tried,
        trust: Trust,
        limits: &LoginLimits,
        binds: bool,
    ) -> Result<(), Refusal> {
        let now = self.now();
        if binds {
            return self.take(tried, trust, limits, now);
        }
        for subject in tried.subjects(trust, limits) {
            // Where there is no room for it, the shared counters know it all the same.
            self.tables.of(subject.dimension).with(subject.key, now, Ledger::hold);
        }
        Ok(())
    }

    /// Notes a lock that began in shared counters.
    pub(super) fn impose(&self, lock: &Lock) {
        let now = self.now();
        self.tables.changed.store(true, Ordering::Relaxed);
        self.tables.of(lock.dimension).with(lock.key, now, |ledger| ledger.impose(now, lock));
    }

    /// Whether the one account named was logged in from this network.
    fn is_known(&self, tried: &Tried, limits: &LoginLimits, now: Duration) -> bool {
        let (Some(_), [account]) = (limits.known_for, tried.accounts.as_slice()) else {
            return false;
        };
        let known = self.tables.known.look(&tried.pair(*account), |known| known.holds(now));
        known.unwrap_or(false)
    }

    /// Takes a place under every subject, or under none.
    fn take(
        &self,
        tried: &Tried,
        trust: Trust,
        limits: &LoginLimits,
        now: Duration,
    ) -> Result<(), Refusal> {
        // A device without a limit of its own proves nothing.
        if trust == Trust::Device && limits.device.is_none() {
            return Err(refusal(Dimension::Device, (Rule::Quota, Duration::ZERO)));
        }
        // Looked at before anything is taken: what refuses longest is the truest answer, and refused
        // guesses take up no memory.
        let binding = tried.subjects(trust, limits).filter(|subject| subject.binds);
        let refusals = binding.filter_map(|subject| self.look(&subject, limits, now));
        if let Some(longest) = refusals.max_by_key(|refusal| refusal.retry_after) {
            return Err(longest);
        }
        for (nth, subject) in tried.subjects(trust, limits).enumerate() {
            if let Err(refusal) = self.hold(&subject, limits, now) {
                for held in tried.subjects(trust, limits).take(nth) {
                    self.update(&held, now, Ledger::give_back);
                }
                return Err(refusal);
            }
        }
        Ok(())
    }

    /// What would refuse, if only this subject counted.
    fn look(&self, subject: &Subject, limits: &LoginLimits, now: Duration) -> Option<Refusal> {
        let (dimension, limit) = (subject.dimension, limits.of(subject.dimension));
        let ledgers = self.tables.of(dimension);
        let admits = ledgers.look(&subject.key, |ledger| ledger.admits(now, limit))?;
        admits.err().map(|refused| refusal(dimension, refused))
    }

    fn hold(&self, subject: &Subject, limits: &LoginLimits, now: Duration) -> Result<(), Refusal> {
        let (dimension, limit) = (subject.dimension, limits.of(subject.dimension));
        let ledgers = self.tables.of(dimension);
        if !subject.binds {
            ledgers.with(subject.key, now, Ledger::hold);
            return Ok(());
        }
        match ledgers.with(subject.key, now, |ledger| ledger.reserve(now, limit)) {
            Some(taken) => taken.map_err(|refused| refusal(dimension, refused)),
            // Pairs are cheap to lock, and the account and the network count without them: who fills
            // their table must not keep everybody else out.
            None if dimension == Dimension::Pair => Ok(()),
            None => Err(refusal(dimension, (Rule::Full, FULL_WAIT))),
        }
    }

    fn update<R>(
        &self,
        subject: &Subject,
        now: Duration,
        work: impl FnOnce(&mut Ledger) -> R,
    ) -> Option<R> {
        self.tables.of(subject.dimension).update(&subject.key, now, work)
    }

    /// Settles a place; which locks that begins.
    pub(super) fn give_back(&self, reservation: &Reservation, outcome: Outcome) -> Vec<Lock> {
        let (now, limits) = (self.now(), &reservation.limits);
        let owned = reservation.owned_account().filter(|_| outcome == Outcome::Success);
        let counts = outcome.counts(limits.counted);
        if counts || owned.is_some() {
            self.tables.changed.store(true, Ordering::Relaxed);
        }
        let mut locks = Vec::new();
        for subject in reservation.subjects() {
            let limit = limits.of(subject.dimension);
            let settled = self.update(&subject, now, |ledger| {
                ledger.give_back();
                if owned.is_some() {
                    ledger.succeed(subject.tag);
                }
                let locked = counts && ledger.charge(now, subject.tag, limit);
                locked.then(|| lock(&subject.dimension, &subject.key, ledger, now)).flatten()
            });
            locks.extend(settled.flatten());
        }
        if let Some(account) = owned {
            self.welcome(reservation, account, now);
        }
        locks
    }

    /// The owner of an account has come in.
    fn welcome(&self, reservation: &Reservation, account: CounterKey, now: Duration) {
        if reservation.trust != Trust::Stranger {
            self.tables.of(Dimension::Account).update(&account, now, Ledger::vouch);
        }
        if let Some(known_for) = reservation.limits.known_for {
            let pair = reservation.tried.pair(account);
            self.tables.known.with(pair, now, |known| known.renew(now, known_for));
        }
    }

    pub(super) fn locked_now(&self, most: usize) -> Vec<Lock> {
        let now = self.now();
        let mut locks = Vec::new();
        for dimension in Dimension::ALL {
            self.tables.of(dimension).each(|key, ledger| {
                locks.extend(lock(&dimension, key, ledger, now));
            });
        }
        locks.sort_by_key(|lock| std::cmp::Reverse(lock.remaining));
        locks.truncate(most);
        locks
    }

    fn release_now(&self, dimension: Dimension, key: CounterKey) -> usize {
        let forgive = |ledger: &mut Ledger| {
            let held = ledger.held;
            *ledger = Ledger { held, ..Ledger::default() };
        };
        let now = self.now();
        self.tables.changed.store(true, Ordering::Relaxed);
        let own = self.tables.of(dimension).update(&key, now, forgive).is_some();
        let mut pairs = Vec::new();
        if dimension == Dimension::Account {
            let table = self.tables.of(Dimension::Pair);
            table.each(|pair, _| pairs.extend(pair.is_pair_of(key).then_some(*pair)));
            pairs.retain(|pair| table.update(pair, now, forgive).is_some());
        }
        usize::from(own) + pairs.len()
    }

    fn explain_now(&self, tried: &Tried, limits: &LoginLimits) -> Vec<Standing> {
        let now = self.now();
        let known = self.is_known(tried, limits, now);
        let device = tried.device.map(|_| Trust::Device);
        let trusts = device.into_iter().chain([Trust::Stranger]);
        let subjects = trusts.flat_map(|trust| tried.subjects(trust, limits));
        let standing = |subject: Subject| self.stands(&subject, limits, known, now);
        subjects.map(standing).collect()
    }

    fn stands(
        &self,
        subject: &Subject,
        limits: &LoginLimits,
        known: bool,
        now: Duration,
    ) -> Standing {
        let Subject { dimension, key, .. } = *subject;
        let limit = limits.of(dimension);
        let read = |ledger: &mut Ledger| Standing {
            dimension,
            key,
            failures: short(ledger.recent(now, limit.lockout.as_ref())),
            spread: short(ledger.failures.spread()),
            consecutive: u32::from(ledger.row),
            held: u32::from(ledger.held),
            level: ledger.level_of_next(now),
            known,
            refusal: ledger.admits(now, limit).err().map(|refused| refusal(dimension, refused)),
        };
        let found = self.tables.of(dimension).look(&key, read);
        found.unwrap_or_else(|| read(&mut Ledger::default()))
    }
}

impl<C: Clock + Send + Sync> AttemptCounter for LocalCounter<C> {
    fn reserve<'a>(
        &'a self,
        tried: Tried,
        limits: &'a Arc<LoginLimits>,
    ) -> CounterFuture<'a, Reserved> {
        let reserved = match self.try_reserve(tried, limits) {
            Ok(reservation) => Reserved::Admitted(reservation),
            Err(refusal) => Reserved::Refused(refusal),
        };
        Box::pin(std::future::ready(reserved))
    }

    fn settle(&self, reservation: Reservation, outcome: Outcome, told: LockTold) {
        self.give_back(&reservation, outcome).into_iter().for_each(told);
    }

    fn locked_accounts(&self) -> usize {
        let now = self.now();
        self.tables.of(Dimension::Account).count(|ledger| ledger.locked(now).is_some())
    }

    fn is_degraded(&self) -> bool {
        false
    }
}

impl<C: Clock + Send + Sync> LockDesk for LocalCounter<C> {
    fn locked(&self, most: usize) -> CounterFuture<'_, Vec<Lock>> {
        Box::pin(std::future::ready(self.locked_now(most)))
    }

    fn release(&self, dimension: Dimension, key: CounterKey) -> CounterFuture<'_, usize> {
        Box::pin(std::future::ready(self.release_now(dimension, key)))
    }

    fn explain<'a>(
        &'a self,
        tried: &'a Tried,
        limits: &'a LoginLimits,
    ) -> CounterFuture<'a, Vec<Standing>> {
        Box::pin(std::future::ready(self.explain_now(tried, limits)))
    }
}

fn refusal(dimension: Dimension, (rule, retry_after): ledger::Refused) -> Refusal {
    Refusal { retry_after, reason: RefusalReason { dimension, rule } }
}

fn lock(dimension: &Dimension, key: &CounterKey, ledger: &Ledger, now: Duration) -> Option<Lock> {
    Some(Lock {
        dimension: *dimension,
        key: *key,
        failures: u32::from(ledger.locked_by),
        level: u32::from(ledger.level),
        barred: ledger.barred,
        remaining: ledger.locked(now)?,
    })
}

fn short(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
