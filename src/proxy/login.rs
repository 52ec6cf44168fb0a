//! The login guard: an attempt is reserved before the shop sees it and settled by what it answers.
//!
//! The invariant is that every admitted [`Attempt`] is settled exactly once; one that is dropped,
//! because the client left, counts as a failure, or hanging up would make guesses free. Account
//! names leave this module only as keyed hashes.

mod account;
mod fields;
mod json;
mod multipart;
mod outcome;
mod path;
mod recognise;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Uri, request, response};

pub use self::account::Account;
use self::account::NAMES_MAX;
use self::outcome::Judge;
pub use self::outcome::{BODY_LOOK_BYTES, Judgement};
pub(super) use self::path::{Plus, decode, decode_bytes, normalise, views};
pub use self::recognise::{Expected, Unreadable};
use crate::counters::{
    AttemptCounter, CounterKey, KeyHasher, Lock, Outcome, Refusal, RefusalReason, Reservation,
    Reserved, Rule, Scope, Standing, Tried,
};
use crate::policy::{Dimension, LimitMode, LoginLimits, Site, SiteName};

/// How long a request must wait that names more accounts than any honest one.
const TOO_MANY_NAMES_WAIT: Duration = Duration::from_secs(60);

/// Admits logins, or refuses them. Outlives reloads.
pub struct LoginGuard {
    counter: Arc<dyn AttemptCounter>,
    hasher: KeyHasher,
    watcher: Arc<dyn LockWatcher>,
}

/// Who is told when failures lock something.
pub trait LockWatcher: Send + Sync {
    /// It is locked from now on, after attempts on this site.
    fn locked(&self, site: &SiteName, lock: &Lock);
}

/// Whether a login may reach the shop.
#[must_use]
pub enum Verdict {
    /// It may; the attempt is to be settled by the answer.
    Admit(Attempt),
    /// The path looked like a login and the body is none: nothing is counted.
    NotALogin,
    /// It may not.
    Refuse(Refusal),
}

/// A login under way. Counts as a failure when dropped.
#[must_use]
pub struct Attempt {
    counter: Arc<dyn AttemptCounter>,
    watcher: Arc<dyn LockWatcher>,
    site: SiteName,
    /// None where the attempt would have been refused if refusing were meant.
    reservation: Option<Reservation>,
    observed: Option<Refusal>,
    judge: Box<Judge>,
}

/// Who makes an attempt, apart from the accounts named in it.
#[derive(Clone, Copy)]
pub struct Client {
    /// From where.
    pub address: IpAddr,
    /// The device that has proved to have logged in to the account before.
    pub device: Option<CounterKey>,
}

impl LoginGuard {
    /// Starts with counters, the key under which names are hashed, and who is told of locks.
    #[must_use]
    pub fn new(
        counter: Arc<dyn AttemptCounter>,
        account_key: &[u8; 32],
        watcher: Arc<dyn LockWatcher>,
    ) -> Self {
        Self { counter, hasher: KeyHasher::new(account_key), watcher }
    }

    /// Whether a request may be a login, by its head; costs an ordinary request next to nothing.
    #[must_use]
    pub fn recognise<'p>(site: &'p Site, head: &request::Parts) -> Option<Expected<'p>> {
        Expected::recognise(site, head)
    }

    /// Whether a site takes logins at this address, whatever the method.
    #[must_use]
    pub fn is_login_address(site: &Site, uri: &Uri) -> bool {
        recognise::is_login_address(site, uri)
    }

    /// Takes a place for an attempt, before it is forwarded.
    pub async fn reserve(
        &self,
        expected: &Expected<'_>,
        account: Option<Account>,
        client: Client,
        limits: &Arc<LoginLimits>,
    ) -> Verdict {
        if !expected.is_attempt(account.as_ref()) {
            return Verdict::NotALogin;
        }
        let account = account.unwrap_or_default();
        let reserved = if account.names().len() > NAMES_MAX {
            let (dimension, rule) = (Dimension::Account, Rule::Quota);
            let reason = RefusalReason { dimension, rule };
            Reserved::Refused(Refusal { retry_after: TOO_MANY_NAMES_WAIT, reason })
        } else {
            let scope = Scope { site: &expected.site.name.0, guard: None };
            let tried = self.tried(scope, account.names(), client);
            self.counter.reserve(tried, limits).await
        };
        match (reserved, limits.mode) {
            (Reserved::Admitted(reservation), _) => {
                Verdict::Admit(self.attempt(expected, Ok(reservation)))
            }
            (Reserved::Refused(refusal), LimitMode::Enforce) => Verdict::Refuse(refusal),
            (Reserved::Refused(refusal), LimitMode::Observe) => {
                Verdict::Admit(self.attempt(expected, Err(refusal)))
            }
        }
    }

    /// Under what an attempt on these accounts is counted.
    #[must_use]
    pub fn tried(&self, scope: Scope<'_>, names: &[String], client: Client) -> Tried {
        let Client { address, device } = client;
        Tried {
            site: self.hasher.site(scope),
            network: self.hasher.network(scope.guard, address),
            wide_network: self.hasher.wide_network(scope.guard, address),
            accounts: names.iter().map(|name| self.hasher.account(scope, name)).collect(),
            device,
        }
    }

    /// What is locked now, what ends last first; at most so many.
    pub async fn locked(&self, most: usize) -> Vec<Lock> {
        self.counter.locked(most).await
    }

    /// Forgets the failures and locks of a subject, and with an account those of its pairs; how many
    /// there were.
    pub async fn release(&self, dimension: Dimension, key: CounterKey) -> usize {
        self.counter.release(dimension, key).await
    }

    /// How every subject of an attempt stands, without counting it.
    pub async fn explain(&self, tried: &Tried, limits: &LoginLimits) -> Vec<Standing> {
        self.counter.explain(tried, limits).await
    }

    /// How many accounts are locked now, for the metrics page.
    #[must_use]
    pub fn locked_accounts(&self) -> usize {
        self.counter.locked_accounts()
    }

    /// Whether attempts are counted for this process alone although they should be shared.
    #[must_use]
    pub fn is_degraded(&self) -> bool {
        self.counter.is_degraded()
    }

    fn attempt(&self, expected: &Expected<'_>, taken: Result<Reservation, Refusal>) -> Attempt {
        let (reservation, observed) = match taken {
            Ok(reservation) => (Some(reservation), None),
            Err(refusal) => (None, Some(refusal)),
        };
        Attempt {
            counter: Arc::clone(&self.counter),
            watcher: Arc::clone(&self.watcher),
            site: expected.site.name.clone(),
            reservation,
            observed,
            judge: Box::new(Judge::new(expected)),
        }
    }
}

impl Attempt {
    /// Judges the answer by its head; remembers what [`Self::judge_body`] needs of it.
    pub fn judge_head(&mut self, answer: &response::Parts) -> Judgement {
        self.judge.head(answer)
    }

    /// Judges the answer by its decoded body, of which at most [`BODY_LOOK_BYTES`] are looked at.
    #[must_use]
    pub fn judge_body(&self, body: &[u8]) -> Outcome {
        self.judge.body(body)
    }

    /// Why it would have been refused, where limits only observe. It is judged, so that one can see
    /// whether the refusal would have been right, and counts as little as if it had been refused.
    #[must_use]
    pub fn observed(&self) -> Option<Refusal> {
        self.observed
    }

    /// Counts how it went and gives the place back.
    pub fn settle(mut self, outcome: Outcome) {
        if let Some(reservation) = self.reservation.take() {
            self.give_back(reservation, outcome);
        }
    }

    fn give_back(&self, reservation: Reservation, outcome: Outcome) {
        let (watcher, site) = (Arc::clone(&self.watcher), self.site.clone());
        let told = move |lock| watcher.locked(&site, &lock);
        self.counter.settle(reservation, outcome, Box::new(told));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            let outcome = Outcome::abandoned(reservation.limits.counted);
            self.give_back(reservation, outcome);
        }
    }
}

#[cfg(test)]
mod tests;
