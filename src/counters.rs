//! How many attempts were made and how many failed, per network, per account and per site.
//!
//! An attempt is *reserved* before the shop sees it and *settled* once the shop has answered: until
//! then it holds a place under every subject it is counted under, as if it had failed already, so
//! that guesses sent side by side cannot slip past a limit together. What does not count gives its
//! place back and costs nothing. Limits come with every call and the counts stay here: a reload
//! changes the limits and forgives nobody. Names never reach this module, only their keyed hashes;
//! nothing here knows what a login is, so other guards use it with keys of their own.

#[cfg(test)]
mod contract;
mod key;
mod local;
mod pace;
mod recent;
mod refusal;
mod shared;
mod signals;
mod subject;
mod surge;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use key::{CounterKey, KeyHasher, Scope};
pub use local::{CounterFile, Fill, LocalCounter};
pub use pace::{Paces, Strikes};
pub use refusal::{Refusal, RefusalReason, Rule};
pub use shared::{LOGIN_KEYS, SharedCounter};
pub use signals::{Bringer, CardRefusal, Score, Signal, Signals};
pub use subject::{Subject, Tag, Tried, Trust};
pub use surge::{Alarm, Surge};

use crate::policy::{Counted, Dimension, LoginLimits};

/// What a counter's answer is awaited as: local counters know at once, shared ones ask.
pub type CounterFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Counts of attempts and failures. One instance outlives every reload.
pub trait AttemptCounter: LockDesk + Send + Sync {
    /// Takes a place for one attempt, or says why there is none. A refused attempt neither counts as
    /// a failure nor prolongs a lock.
    fn reserve<'a>(
        &'a self,
        tried: Tried,
        limits: &'a Arc<LoginLimits>,
    ) -> CounterFuture<'a, Reserved>;

    /// Gives the place back; tells of each lock that this begins, now or soon. Never waits, because
    /// it is also called while something is dropped.
    fn settle(&self, reservation: Reservation, outcome: Outcome, told: LockTold);

    /// How many accounts are locked now, for the metrics page.
    fn locked_accounts(&self) -> usize;

    /// Whether this process counts for itself alone although it should not.
    fn is_degraded(&self) -> bool;
}

/// What an operator asks of counters.
pub trait LockDesk {
    /// What is locked now, those whose lock ends last first; at most so many.
    fn locked(&self, most: usize) -> CounterFuture<'_, Vec<Lock>>;

    /// Forgets the failures and locks of one subject, and with an account those of its pairs; how
    /// many there were.
    fn release(&self, dimension: Dimension, key: CounterKey) -> CounterFuture<'_, usize>;

    /// How every subject of an attempt stands, without counting it.
    fn explain<'a>(
        &'a self,
        tried: &'a Tried,
        limits: &'a LoginLimits,
    ) -> CounterFuture<'a, Vec<Standing>>;
}

/// Is told of each lock that begins.
pub type LockTold = Box<dyn FnMut(Lock) + Send>;

/// The name of a place where counters are shared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease(u64);

/// What became of a wish to try.
#[must_use]
pub enum Reserved {
    /// There is a place, to be given back by [`AttemptCounter::settle`].
    Admitted(Reservation),
    /// There is none.
    Refused(Refusal),
}

/// A place taken.
pub struct Reservation {
    /// Who tries.
    pub tried: Tried,
    /// What is thought of him, which says where the place is held.
    pub trust: Trust,
    /// By what limits it was given and will be settled, whatever is reloaded meanwhile.
    pub limits: Arc<LoginLimits>,
    /// Its name in shared counters, if it is held there.
    pub lease: Option<Lease>,
}

/// How an attempt went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The shop said no, or the client left before it answered.
    Failure,
    /// The shop decided nothing: it was down, or it failed.
    Neutral,
    /// The shop let the client in.
    Success,
    /// The shop never saw it.
    Withdrawn,
}

/// A lock that holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lock {
    /// What kind of thing is locked.
    pub dimension: Dimension,
    /// Which one.
    pub key: CounterKey,
    /// How many failures it took.
    pub failures: u32,
    /// How many locks there were shortly before it.
    pub level: u32,
    /// Whether it holds until somebody vouches for the account.
    pub barred: bool,
    /// How long it holds from now.
    pub remaining: Duration,
}

/// How one subject of an attempt stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Standing {
    /// What kind of thing it is.
    pub dimension: Dimension,
    /// Which one.
    pub key: CounterKey,
    /// Its failures in the window of its lockout.
    pub failures: u32,
    /// Over how many accounts they are or, of an account, from how many networks.
    pub spread: u32,
    /// Its failures in a row, where they are limited.
    pub consecutive: u32,
    /// The places held for attempts under way.
    pub held: u32,
    /// How many locks there were within a day.
    pub level: u32,
    /// Whether the network is known for the account, so that the account's limits do not refuse.
    pub known: bool,
    /// What would refuse the next attempt, if only this subject counted.
    pub refusal: Option<Refusal>,
}

impl Outcome {
    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Neutral => "neutral",
            Self::Success => "success",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// What an attempt is taken for whose end nobody saw: one that counts, or hanging up would be a
    /// way around the limits.
    #[must_use]
    pub fn abandoned(counted: Counted) -> Self {
        match counted {
            Counted::Attempts | Counted::Failures => Self::Failure,
            Counted::Successes => Self::Success,
        }
    }

    /// Whether it uses up what the limits allow.
    #[must_use]
    pub fn counts(self, counted: Counted) -> bool {
        match counted {
            Counted::Attempts => self != Self::Withdrawn,
            Counted::Failures => self == Self::Failure,
            Counted::Successes => self == Self::Success,
        }
    }
}

impl Reservation {
    /// Where the place is held.
    pub fn subjects(&self) -> impl Iterator<Item = Subject> + '_ {
        self.tried.subjects(self.trust, &self.limits)
    }

    /// The one account whose owner a success shows to have come in. Who names several may own one
    /// of them: his success says nothing of the others.
    #[must_use]
    pub fn owned_account(&self) -> Option<CounterKey> {
        match (self.limits.counted, self.tried.accounts.as_slice()) {
            (Counted::Failures, [account]) => Some(*account),
            _ => None,
        }
    }
}
