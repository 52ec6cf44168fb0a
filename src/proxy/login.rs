//! The login guard: an attempt is reserved before the shop sees it and settled by what it answers.
//! Guards of other names (coupons, registrations) go the same way under their own counts.
//!
//! The invariant is that every admitted [`Attempt`] is settled exactly once; one that is dropped,
//! because the client left, counts as a failure, or hanging up would make guesses free. Account
//! names leave this module only as keyed hashes.

mod account;
mod basic;
mod claim;
mod fields;
mod graphql;
mod guess;
mod json;
mod multipart;
mod outcome;
mod path;
mod proven;
mod recognise;
pub mod rehearse;
mod signs;
mod xml;
mod xmlrpc;

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Uri, request, response};

use self::account::{Account, NAMES_MAX};
pub use self::claim::{Claim, ClaimError, Extent};
use self::guess::Guess;
use self::outcome::Judge;
pub use self::outcome::{BODY_LOOK_BYTES, Judgement};
pub(super) use self::path::{normalise, views};
use self::proven::Proven;
pub use self::recognise::Expected;
use crate::counters::{
    AttemptCounter, CounterKey, KeyHasher, Outcome, Refusal, RefusalReason, Reservation, Reserved,
    Tried,
};
use crate::policy::{GuardKind, GuardRule, Lockout, LoginLimits, Quota, Site, SiteName};

/// How long a request must wait that names more accounts, or tries more, than any honest one.
const TOO_MANY_WAIT: Duration = Duration::from_secs(60);

/// How many times a network's attempts a whole site may have that name no account we know. They share
/// a quota and never a lock: in a shop whose field has a name of its own, every customer is among
/// them, and failures of one must cost the others no more than seconds.
const NAMELESS_TIMES: u32 = 10;

/// Admits logins, or refuses them. Outlives reloads.
pub struct LoginGuard {
    counter: Arc<dyn AttemptCounter>,
    hasher: KeyHasher,
    watcher: Arc<dyn LockWatcher>,
    proven: Arc<Proven>,
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
    /// It may, uncounted: the shop took the same name and password a moment ago.
    Proven,
    /// It may not.
    Refuse(Refusal),
}

/// An attempt under way. Counts as a failure when dropped.
#[must_use]
pub struct Attempt {
    counter: Arc<dyn AttemptCounter>,
    watcher: Arc<dyn LockWatcher>,
    site: SiteName,
    rule: Option<Arc<GuardRule>>,
    reservation: Option<Reservation>,
    judge: Box<Judge>,
    /// What is proven by a success, and where that is noted.
    proves: Option<(CounterKey, Arc<Proven>)>,
}

impl LoginGuard {
    /// Starts with counters, the key under which names are hashed, and who is told of locks.
    #[must_use]
    pub fn new(
        counter: Arc<dyn AttemptCounter>,
        account_key: &[u8; 32],
        watcher: Arc<dyn LockWatcher>,
    ) -> Self {
        let (hasher, proven) = (KeyHasher::new(account_key), Arc::new(Proven::new()));
        Self { counter, hasher, watcher, proven }
    }

    /// Whether a request may be a login or another guarded attempt, by its head; costs an ordinary
    /// request next to nothing.
    #[must_use]
    pub fn recognise<'p>(site: &'p Site, head: &request::Parts) -> Option<Expected<'p>> {
        Expected::recognise(site, head)
    }

    /// Whether a site takes guarded attempts at this address, whatever the method.
    #[must_use]
    pub fn is_guarded_address(site: &Site, uri: &Uri) -> bool {
        recognise::is_guarded_address(site, uri)
    }

    /// The refusal of a request that makes more attempts than any honest one.
    #[must_use]
    pub fn too_many() -> Refusal {
        Refusal { retry_after: TOO_MANY_WAIT, reason: RefusalReason::AccountLimit }
    }

    /// Takes a place for an attempt, before it is forwarded.
    pub async fn reserve(
        &self,
        expected: &Expected<'_>,
        claim: &Claim<'_>,
        client: IpAddr,
        limits: &LoginLimits,
    ) -> Verdict {
        let site = expected.site;
        let proves = claim.shown.as_ref().map(|shown| self.shown_key(site, shown));
        if proves.is_some_and(|key| self.proven.holds(&key, Instant::now())) {
            return Verdict::Proven;
        }
        if claim.account.names().len() > NAMES_MAX {
            return Verdict::Refuse(Self::too_many());
        }
        let guard = claim.rule.filter(|rule| rule.kind != GuardKind::Login);
        let limits = claim.rule.and_then(|rule| rule.limits.as_deref()).unwrap_or(limits);
        let accounts = self.keys(site, guard, &claim.account);
        let nameless = guard.is_none() && accounts.is_empty();
        let tried = Tried { network: self.network(site, guard, client), accounts };
        match self.counter.reserve(tried, limits).await {
            Reserved::Admitted(reservation) => {
                if nameless && let Some(refusal) = self.nameless(site, limits).await {
                    return Verdict::Refuse(refusal);
                }
                Verdict::Admit(Attempt {
                    counter: Arc::clone(&self.counter),
                    watcher: Arc::clone(&self.watcher),
                    site: site.name.clone(),
                    rule: claim.rule.map(Arc::clone),
                    reservation: Some(reservation),
                    judge: Box::new(Judge::new(expected, claim)),
                    proves: proves.map(|key| (key, Arc::clone(&self.proven))),
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

    /// Whom an attempt is counted for; a guard counts under its own name.
    fn keys(
        &self,
        site: &Site,
        guard: Option<&Arc<GuardRule>>,
        account: &Account,
    ) -> Vec<CounterKey> {
        let scope = scope(site, guard);
        account.names().iter().map(|name| self.hasher.account(&scope, name)).collect()
    }

    fn network(&self, site: &Site, guard: Option<&Arc<GuardRule>>, client: IpAddr) -> CounterKey {
        let network = self.hasher.network(client);
        match guard {
            // No account has this name: control characters are taken out of names.
            Some(_) => self.hasher.account(&scope(site, guard), &format!("\0{network}")),
            None => network,
        }
    }

    fn shown_key(&self, site: &Site, shown: &Guess) -> CounterKey {
        self.hasher.account(&format!("{}\0shown", site.name), shown.secret())
    }
}

/// The name under which a site's logins, or the attempts of one of its guards, are counted.
fn scope<'s>(site: &'s Site, guard: Option<&Arc<GuardRule>>) -> Cow<'s, str> {
    match guard {
        Some(guard) => Cow::Owned(format!("{}\0{}", site.name, guard.name)),
        None => Cow::Borrowed(&*site.name.0),
    }
}

impl Attempt {
    /// The rule it falls under; `None` is a login that was detected.
    #[must_use]
    pub fn rule(&self) -> Option<&GuardRule> {
        self.rule.as_deref()
    }

    /// The guard that counts it, where it is no login.
    #[must_use]
    pub fn guard(&self) -> Option<&GuardRule> {
        self.rule().filter(|rule| rule.kind != GuardKind::Login)
    }

    /// Judges the answer by its head; remembers what [`Self::judge_body`] needs of it.
    pub fn judge_head(&mut self, answer: &response::Parts) -> Judgement {
        self.judge.head(answer)
    }

    /// Judges the answer by its decoded body, of which at most [`BODY_LOOK_BYTES`] are looked at.
    #[must_use]
    pub fn judge_body(&self, body: &[u8]) -> Outcome {
        self.judge.body(body)
    }

    /// Counts how it went, as far as its rule holds that against the client, and gives the place back.
    pub fn settle(mut self, outcome: Outcome) {
        if let Some((key, proven)) = &self.proves
            && outcome == Outcome::Success
        {
            proven.note(*key, Instant::now());
        }
        self.give_back(self.judge.counted(outcome));
    }

    /// Gives the place back of an attempt that never reached the shop.
    pub fn withdraw(mut self) {
        self.give_back(Outcome::Neutral);
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
