//! How many logins were tried and how many failed, per network and per account.
//!
//! An attempt is *reserved* before the shop sees it and *settled* once the shop has answered, so
//! guesses sent side by side cannot slip past a limit together. Limits come with every call and the
//! counts stay here: a reload changes the limits and forgives nobody. Names never reach this module,
//! only their keyed hashes.

#[cfg(test)]
mod contract;
mod key;
mod local;
mod pace;
mod recent;
mod shared;
mod signals;
mod surge;

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

pub use key::{CounterKey, KeyHasher};
pub use local::LocalCounter;
pub use pace::{Paces, Strikes};
pub use shared::SharedCounter;
pub use signals::{Bringer, CardRefusal, Score, Signal, Signals, Visitor};
pub use surge::{Alarm, Surge};

use crate::policy::{Lockout, LoginLimits};

/// What a counter's answer is awaited as: local counters know at once, shared ones ask.
pub type CounterFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Counts of attempts and failures. One instance outlives every reload.
pub trait AttemptCounter: Send + Sync {
    /// Takes a place for one attempt, or says why there is none. A refused attempt neither counts as
    /// a failure nor prolongs a lock.
    fn reserve<'a>(&'a self, tried: Tried, limits: &'a LoginLimits) -> CounterFuture<'a, Reserved>;

    /// Gives the place back; tells of each account that this locks, now or soon. Never waits, because
    /// it is also called while something is dropped.
    fn settle(&self, reservation: Reservation, outcome: Outcome, told: LockTold);

    /// How many accounts are locked now, for the metrics page.
    fn locked_accounts(&self) -> usize;

    /// Whether this process counts for itself alone although it should not.
    fn is_degraded(&self) -> bool;
}

/// Is told which account is locked from now on.
pub type LockTold = Box<dyn FnMut(CounterKey) + Send>;

/// The name of a place where counters are shared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease(u64);

/// Who tries, as keyed hashes.
pub struct Tried {
    /// The client's network.
    pub network: CounterKey,
    /// The accounts named; more than one where a request names several and the shop may take any.
    pub accounts: Vec<CounterKey>,
}

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
    /// The accounts it is held for.
    pub accounts: Vec<CounterKey>,
    /// What a failure leads to.
    pub lockout: Lockout,
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
}

/// Why an attempt is refused, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// When the next attempt may be admitted, if nobody else tries before.
    pub retry_after: Duration,
    /// The limit that was met.
    pub reason: RefusalReason,
}

/// The limit that refused an attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum RefusalReason {
    /// Too many attempts on the account.
    AccountLimit,
    /// As many attempts are under way as may still fail.
    InFlight,
    /// Too many failures on the account.
    Locked,
    /// Too many attempts from the network.
    NetworkLimit,
}

impl Outcome {
    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failure => "failure",
            Self::Neutral => "neutral",
            Self::Success => "success",
        }
    }
}

impl RefusalReason {
    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccountLimit => "account_limit",
            Self::InFlight => "in_flight",
            Self::Locked => "locked",
            Self::NetworkLimit => "network_limit",
        }
    }
}
