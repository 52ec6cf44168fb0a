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
pub mod rehearse;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::{Uri, request, response};

pub use self::account::Account;
use self::account::NAMES_MAX;
use self::outcome::Judge;
pub use self::outcome::{BODY_LOOK_BYTES, Judgement};
pub(super) use self::path::{normalise, views};
pub use self::recognise::{Expected, Unreadable};
use crate::counters::{
    AttemptCounter, CounterKey, KeyHasher, Outcome, Refusal, RefusalReason, Reservation, Reserved,
    Tried,
};
use crate::policy::{Lockout, LoginLimits, Quota, Site, SiteName};

/// How long a request must wait that names more accounts than any honest one.
const TOO_MANY_NAMES_WAIT: Duration = Duration::from_secs(60);

/// How many times a network's attempts a whole site may have that name no account we know. They share
/// a quota and never a lock: in a shop whose field has a name of its own, every customer is among
/// them, and failures of one must cost the others no more than seconds.
const NAMELESS_TIMES: u32 = 10;

/// Admits logins, or refuses them. Outlives reloads.
pub struct LoginGuard {
    counter: Arc<dyn AttemptCounter>,
    hasher: KeyHasher,
    watcher: Arc<dyn LockWatcher>,
}

/// Who is told when failures lock an account.
pub trait LockWatcher: Send + Sync {
    /// The account, by its keyed hash, is locked from now on.
    fn locked(&self, site: &SiteName, account: CounterKey, lockout: &Lockout);
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
    reservation: Option<Reservation>,
    judge: Box<Judge>,
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
        client: IpAddr,
        limits: &LoginLimits,
    ) -> Verdict {
        if account.is_none() && expected.rule.is_none() {
            return Verdict::NotALogin;
        }
        let account = account.unwrap_or_default();
        if account.names().len() > NAMES_MAX {
            let reason = RefusalReason::AccountLimit;
            return Verdict::Refuse(Refusal { retry_after: TOO_MANY_NAMES_WAIT, reason });
        }
        let accounts = self.keys(expected.site, &account);
        let nameless = accounts.is_empty();
        let tried = Tried { network: self.hasher.network(client), accounts };
        match self.counter.reserve(tried, limits).await {
            Reserved::Admitted(reservation) => {
                if nameless && let Some(refusal) = self.nameless(expected.site, limits).await {
                    return Verdict::Refuse(refusal);
                }
                Verdict::Admit(Attempt {
                    counter: Arc::clone(&self.counter),
                    watcher: Arc::clone(&self.watcher),
                    site: expected.site.name.clone(),
                    reservation: Some(reservation),
                    judge: Box::new(Judge::new(expected)),
                })
            }
            Reserved::Refused(refusal) => Verdict::Refuse(refusal),
        }
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

    /// Counts an attempt for the site as if the site were one network. Holds no place.
    async fn nameless(&self, site: &Site, limits: &LoginLimits) -> Option<Refusal> {
        let count = limits.per_network.count;
        let count = count.saturating_mul(NonZeroU32::MIN.saturating_add(NAMELESS_TIMES - 1));
        let limits =
            LoginLimits { per_network: Quota { count, ..limits.per_network }, ..limits.clone() };
        // No account has this name: control characters are taken out of names.
        let network = self.hasher.account(&site.name.0, "\0");
        match self.counter.reserve(Tried { network, accounts: Vec::new() }, &limits).await {
            Reserved::Admitted(_no_account_to_hold) => None,
            Reserved::Refused(refusal) => {
                Some(Refusal { reason: RefusalReason::AccountLimit, ..refusal })
            }
        }
    }

    fn keys(&self, site: &Site, account: &Account) -> Vec<CounterKey> {
        account.names().iter().map(|name| self.hasher.account(&site.name.0, name)).collect()
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

    /// Counts how it went and gives the place back.
    pub fn settle(mut self, outcome: Outcome) {
        self.give_back(outcome);
    }

    fn give_back(&mut self, outcome: Outcome) {
        if let Some(reservation) = self.reservation.take() {
            let lockout = reservation.lockout;
            let (watcher, site) = (Arc::clone(&self.watcher), self.site.clone());
            let told = move |account| watcher.locked(&site, account, &lockout);
            self.counter.settle(reservation, outcome, Box::new(told));
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.give_back(Outcome::Failure);
    }
}

#[cfg(test)]
mod tests;
