//! The login guard: an attempt is reserved before the shop sees it and settled by what it answers.
//! Guards of other names (coupons, registrations) go the same way under their own counts.
//!
//! The invariant is that every admitted [`Attempt`] is settled exactly once; one that is dropped,
//! because the client left, counts as a failure, or hanging up would make guesses free. Account
//! names leave this module only as keyed hashes.

mod account;
mod basic;
mod charset;
mod claim;
mod desk;
mod doubt;
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

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderValue, Uri, request, response};

pub use self::account::Account;
use self::account::NAMES_MAX;
pub use self::claim::{Claim, ClaimError, Extent};
pub use self::desk::{Desk, DeskFull, LockPlace};
use self::doubt::Doubt;
use self::guess::Guess;
use self::outcome::Judge;
pub use self::outcome::{BODY_LOOK_BYTES, Judgement};
pub(super) use self::path::{Plus, decode, decode_bytes, guarded_views, normalise, views};
use self::proven::Proven;
pub use self::recognise::Expected;
use super::device::{Devices, Shown};
use super::suspicion::SignalWatch;
use crate::counters::{
    AttemptCounter, CounterKey, KeyHasher, Lock, Outcome, Refusal, RefusalReason, Reservation,
    Reserved, Rule, Scope, Score, Standing, Tried, Trust,
};
use crate::policy::{
    Dimension, GuardKind, GuardRule, LimitMode, LoginLimits, Scheme, Site, SiteName,
};

/// How long a request must wait that names more accounts, or tries more, than any honest one.
const TOO_MANY_WAIT: Duration = Duration::from_secs(60);

/// Admits logins, or refuses them. Outlives reloads.
pub struct LoginGuard {
    counter: Arc<dyn AttemptCounter>,
    hasher: KeyHasher,
    watcher: Arc<dyn LockWatcher>,
    desk: Arc<Desk>,
    proven: Arc<Proven>,
    doubt: Arc<Doubt>,
    devices: Devices,
    signals: Arc<SignalWatch>,
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
    desk: Arc<Desk>,
    site: SiteName,
    client: IpAddr,
    rule: Option<Arc<GuardRule>>,
    /// None where the attempt would have been refused if refusing were meant.
    reservation: Option<Box<Reservation>>,
    observed: Option<&'static str>,
    judge: Box<Judge>,
    signals: Arc<SignalWatch>,
    score: Score,
    /// What is proven by a success, and where that is noted.
    proves: Option<(CounterKey, Arc<Proven>)>,
    /// The password, and where it is noted that the shop seemed to take it.
    doubted: Option<(CounterKey, Arc<Doubt>)>,
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
        Self {
            counter,
            hasher: KeyHasher::new(account_key),
            watcher,
            desk: Arc::default(),
            proven: Arc::new(Proven::new()),
            doubt: Arc::new(Doubt::new()),
            devices: Devices::new(account_key),
            signals: Arc::new(SignalWatch::new(account_key)),
        }
    }

    /// Who behaves like an attacker.
    #[must_use]
    pub fn signals(&self) -> &Arc<SignalWatch> {
        &self.signals
    }

    /// The device that has logged in to the account of a request, if it names one and shows it.
    pub(super) fn device(
        &self,
        (site, claim): (&Site, &Claim<'_>),
        shown: &Shown,
        clock: (SystemTime, Duration),
    ) -> Option<CounterKey> {
        if shown.is_empty() || claim.guard().is_some() {
            return None;
        }
        let [name] = claim.account.names() else { return None };
        let account = self.hasher.account(Scope::logins(&site.name.0), name);
        let id = self.devices.recognise(shown, &account, clock)?;
        Some(self.hasher.device(id.as_bytes()))
    }

    /// The cookie for a browser where an attempt has just succeeded; none where it does not show whose
    /// account that is.
    pub(super) fn grant(
        &self,
        attempt: &Attempt,
        (shown, scheme): (&Shown, Scheme),
        clock: (SystemTime, Duration),
    ) -> Option<HeaderValue> {
        // What a guard counts is no login.
        let login = attempt.guard().is_none().then_some(attempt)?;
        let account = login.reservation.as_ref()?.owned_account()?;
        self.devices.grant(shown, &account, scheme, clock)
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
        let (dimension, rule) = (Dimension::Account, Rule::Quota);
        Refusal { retry_after: TOO_MANY_WAIT, reason: RefusalReason { dimension, rule } }
    }

    /// Takes a place for an attempt, before it is forwarded.
    pub async fn reserve(
        &self,
        expected: &Expected<'_>,
        claim: &Claim<'_>,
        client: Client,
        limits: &Arc<LoginLimits>,
    ) -> Verdict {
        let site = expected.site;
        let proves = claim.shown.as_ref().map(|shown| self.shown_key(site, shown));
        if proves.is_some_and(|key| self.proven.holds(&key, Instant::now())) {
            return Verdict::Proven;
        }
        let (reserved, allowed) = if claim.account.names().len() > NAMES_MAX {
            (Reserved::Refused(Self::too_many()), false)
        } else {
            let guard = claim.guard().map(|guard| &*guard.name);
            let scope = Scope { site: &site.name.0, guard };
            let tried = self.tried(scope, claim.account.names(), client);
            let allowed = self.desk.allows(&tried);
            (self.counter.reserve(tried, limits).await, allowed)
        };
        let attempt = |taken| self.attempt((expected, claim), client.address, (taken, proves));
        match (reserved, limits.mode) {
            (Reserved::Admitted(reservation), _) => Verdict::Admit(attempt(Ok(reservation))),
            (Reserved::Refused(refusal), LimitMode::Enforce) if !allowed => {
                Verdict::Refuse(refusal)
            }
            (Reserved::Refused(refusal), LimitMode::Enforce | LimitMode::Observe) => {
                Verdict::Admit(attempt(Err(refusal)))
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

    /// Forgets the failures and locks of a subject, what speaks against it here, and with an account the
    /// failures and locks of its pairs; how many there were.
    pub async fn release(&self, dimension: Dimension, key: CounterKey) -> usize {
        self.signals.forget(&key);
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

    /// What operators know of locks, and whom they let in.
    #[must_use]
    pub fn desk(&self) -> &Desk {
        &self.desk
    }

    fn attempt(
        &self,
        (expected, claim): (&Expected<'_>, &Claim<'_>),
        client: IpAddr,
        (taken, proves): (Result<Reservation, Refusal>, Option<CounterKey>),
    ) -> Attempt {
        let (reservation, observed) = match taken {
            Ok(reservation) => (Some(Box::new(reservation)), None),
            Err(refusal) => (None, Some(refusal.reason.as_str())),
        };
        Attempt {
            counter: Arc::clone(&self.counter),
            watcher: Arc::clone(&self.watcher),
            desk: Arc::clone(&self.desk),
            site: expected.site.name.clone(),
            client,
            reservation,
            observed,
            rule: claim.rule.map(Arc::clone),
            judge: Box::new(Judge::new(expected, claim)),
            proves: proves.map(|key| (key, Arc::clone(&self.proven))),
            doubted: self.doubted(expected.site, claim),
            signals: Arc::clone(&self.signals),
            score: Score::default(),
        }
    }

    fn shown_key(&self, site: &Site, shown: &Guess) -> CounterKey {
        self.hasher.guess(&site.name.0, shown.secret())
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

    /// By which rule it would have been refused, where limits only observe. It is judged, so that one can
    /// see whether the refusal would have been right; over a limit it counts as little as if refused.
    #[must_use]
    pub fn observed(&self) -> Option<&'static str> {
        self.observed
    }

    /// Notes by which rule it would have been refused before any limit.
    pub(super) fn observe(&mut self, rule: &'static str) {
        self.observed = Some(rule);
    }

    /// Counts how it went, as far as its rule holds that against the client, and gives the place back.
    pub fn settle(mut self, outcome: Outcome) {
        if let Some((key, proven)) = &self.proves
            && outcome == Outcome::Success
        {
            proven.note(*key, Instant::now());
        }
        if let Some(reservation) = self.reservation.take() {
            self.give_back(*reservation, outcome);
        }
    }

    /// Gives the place back of an attempt that never reached the shop.
    pub fn withdraw(mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.give_back(*reservation, Outcome::Withdrawn);
        }
    }

    /// Who tries, and what is thought of him; nothing where limits only observe and would refuse.
    pub(super) fn place(&self) -> Option<(&Tried, Trust)> {
        self.reservation.as_ref().map(|place| (&place.tried, place.trust))
    }

    /// Notes how suspicious it is.
    pub(super) fn suspect(&mut self, score: Score) {
        self.score = score;
    }

    /// How suspicious it is.
    #[must_use]
    pub fn score(&self) -> &Score {
        &self.score
    }

    fn give_back(&self, reservation: Reservation, outcome: Outcome) {
        if self.guard().is_none() {
            self.signals.login_went(&reservation.tried, outcome);
        }
        let (watcher, desk) = (Arc::clone(&self.watcher), Arc::clone(&self.desk));
        let (site, client) = (self.site.clone(), self.client);
        let told = move |lock| {
            desk.note(&site, client, &lock);
            watcher.locked(&site, &lock);
        };
        self.counter.settle(reservation, outcome, Box::new(told));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            let outcome = Outcome::abandoned(reservation.limits.counted);
            self.give_back(*reservation, outcome);
        }
    }
}

#[cfg(test)]
mod tests;
