//! What every counter promises, in one process or shared.

#[cfg(test)]
mod locks;
#[cfg(test)]
mod trust;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{
    AttemptCounter, CounterKey, KeyHasher, Outcome, Refusal, Reservation, Reserved, Rule, Scope,
    Tried,
};
use crate::policy::{Counted, Dimension, Limit, Lockout, LoginLimits, Quota};

pub(super) const MINUTE: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(20);

/// One case: a counter, subjects of its own in it, and the account's lockout alone.
#[derive(Clone)]
pub(super) struct Case {
    pub(super) counter: Arc<dyn AttemptCounter>,
    hasher: Arc<KeyHasher>,
    site: &'static str,
    /// From where is tried; what stands before a slash is the network at large.
    place: &'static str,
    device: Option<&'static str>,
    pub(super) limits: LoginLimits,
    locks: Arc<AtomicUsize>,
}

pub(super) fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

pub(super) fn quota(count: u32, per: Duration) -> Limit {
    Limit { quota: Some(Quota { count: number(count), per }), lockout: None }
}

pub(super) fn lockout(failures: u32, lock: Duration) -> Limit {
    let lockout = Lockout::new(number(failures), 30 * MINUTE, lock, lock);
    Limit { quota: None, lockout: Some(lockout) }
}

impl Case {
    pub(super) fn new(counter: &Arc<dyn AttemptCounter>, site: &'static str) -> Self {
        Self {
            counter: Arc::clone(counter),
            hasher: Arc::new(KeyHasher::new(&[3; 32])),
            site,
            place: "home",
            device: None,
            limits: LoginLimits { account: lockout(10, 30 * MINUTE), ..LoginLimits::unlimited() },
            locks: Arc::default(),
        }
    }

    /// The same, tried from elsewhere.
    pub(super) fn at(&self, place: &'static str) -> Self {
        Self { place, ..self.clone() }
    }

    /// The same, with a device that has logged in before.
    fn with(&self, device: &'static str) -> Self {
        Self { device: Some(device), ..self.clone() }
    }

    pub(super) fn account(&self, name: &str) -> CounterKey {
        self.hasher.account(Scope::logins(self.site), name)
    }

    fn tried(&self, names: &[&str]) -> Tried {
        let key =
            |kind, name| self.hasher.account(Scope { site: self.site, guard: Some(kind) }, name);
        Tried {
            site: self.hasher.site(Scope::logins(self.site)),
            network: key("network", self.place),
            wide_network: key("wide", self.place.split('/').next().unwrap()),
            accounts: names.iter().map(|name| self.account(name)).collect(),
            device: self.device.map(|device| key("device", device)),
        }
    }

    pub(super) async fn reserve(&self, names: &[&str]) -> Result<Reservation, Refusal> {
        let limits = Arc::new(self.limits.clone());
        match self.counter.reserve(self.tried(names), &limits).await {
            Reserved::Admitted(reservation) => Ok(reservation),
            Reserved::Refused(refusal) => Err(refusal),
        }
    }

    pub(super) fn give_back(&self, reservation: Reservation, outcome: Outcome) {
        let locks = Arc::clone(&self.locks);
        let told = move |_| {
            locks.fetch_add(1, Ordering::SeqCst);
        };
        self.counter.settle(reservation, outcome, Box::new(told));
    }

    /// The place of one whose answers are known: what was settled before may still be on its way.
    pub(super) async fn admitted(&self, names: &[&str]) -> Reservation {
        let begun = Instant::now();
        loop {
            match self.reserve(names).await {
                Ok(reservation) => return reservation,
                Err(refusal) => {
                    assert_eq!(refusal.reason.rule, Rule::InFlight, "{}", refusal.reason.as_str());
                    assert!(begun.elapsed() < DEADLINE, "never settled");
                }
            }
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn settle(&self, names: &[&str], outcome: Outcome) {
        let reservation = self.admitted(names).await;
        self.give_back(reservation, outcome);
        self.until_settled(names).await;
    }

    /// Shared counters learn of what was settled a moment later.
    pub(super) async fn until_settled(&self, names: &[&str]) {
        let begun = Instant::now();
        let holds = async || {
            let standings = self.counter.explain(&self.tried(names), &self.limits).await;
            standings.iter().any(|standing| standing.held > 0)
        };
        while holds().await {
            assert!(begun.elapsed() < DEADLINE, "never settled");
            tokio::task::yield_now().await;
        }
    }

    async fn fail(&self, times: usize, name: &str) {
        for _ in 0..times {
            self.settle(&[name], Outcome::Failure).await;
        }
    }

    /// Why the next one is refused, once all that was settled has arrived.
    pub(super) async fn refusal(&self, name: &str) -> Refusal {
        let begun = Instant::now();
        loop {
            match self.reserve(&[name]).await.err().unwrap() {
                refusal if refusal.reason.rule != Rule::InFlight => return refusal,
                _ if begun.elapsed() > DEADLINE => panic!("never settled"),
                _ => tokio::task::yield_now().await,
            }
        }
    }

    /// A place, once there is one.
    async fn until_admitted(&self, name: &str) -> Reservation {
        let begun = Instant::now();
        loop {
            match self.reserve(&[name]).await {
                Ok(reservation) => return reservation,
                Err(_) => assert!(begun.elapsed() < DEADLINE, "refused for ever"),
            }
            tokio::task::yield_now().await;
        }
    }

    async fn until_locks(&self, count: usize) {
        let begun = Instant::now();
        while self.locks.load(Ordering::SeqCst) < count {
            assert!(begun.elapsed() < DEADLINE, "never told");
            tokio::task::yield_now().await;
        }
        assert_eq!(self.locks.load(Ordering::SeqCst), count);
    }
}

pub(super) fn about(refusal: Refusal, reason: &str, wait: Duration) {
    assert_eq!(refusal.reason.as_str(), reason);
    // Times are kept to a tenth of a second, and rounded up.
    let (least, most) = (wait.saturating_sub(Duration::from_secs(10)), wait + MINUTE / 600);
    assert!((least..=most).contains(&refusal.retry_after), "{refusal:?} is not {wait:?}");
}

/// Everything, on an empty counter.
pub(super) async fn holds(counter: Arc<dyn AttemptCounter>) {
    parallel_guesses_pass_exactly_the_limit(&counter).await;
    quotas_are_exact_and_refill(&counter).await;
    what_does_not_fail_costs_nothing(&counter).await;
    a_success_takes_back_what_failed_before_from_there(&counter).await;
    two_accounts_at_once_neither_clear_nor_hold_each_other(&counter).await;
    networks_are_told_apart(&counter).await;
    what_counts_is_for_the_limits_to_say(&counter).await;
    attempts_without_an_account_share_what_the_site_has(&counter).await;
    locks::hold(&counter).await;
    trust::holds(&counter).await;
}

async fn parallel_guesses_pass_exactly_the_limit(counter: &Arc<dyn AttemptCounter>) {
    let case = Case::new(counter, "parallel");
    let tried = join_all((0..200).map(|_| case.reserve(&["ann"]))).await;
    let held: Vec<_> = tried.into_iter().flatten().collect();
    assert_eq!(held.len(), 10);
    let refusal = case.reserve(&["ann"]).await.err().unwrap();
    assert_eq!(refusal.reason.as_str(), "in_flight");
    held.into_iter().for_each(|place| case.give_back(place, Outcome::Failure));
    about(case.refusal("ann").await, "locked", 30 * MINUTE);
}

async fn quotas_are_exact_and_refill(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "quota");
    case.limits.account = quota(5, 5 * MINUTE);
    let held = join_all((0..50).map(|_| case.reserve(&["ann"]))).await;
    let held: Vec<_> = held.into_iter().flatten().collect();
    assert_eq!(held.len(), 5);
    held.into_iter().for_each(|place| case.give_back(place, Outcome::Failure));
    about(case.refusal("ann").await, "account_limit", MINUTE);
    let mut case = Case::new(counter, "network quota");
    case.limits.network = quota(2, 2 * MINUTE);
    case.settle(&["ann"], Outcome::Failure).await;
    case.settle(&[], Outcome::Failure).await;
    about(case.refusal("bob").await, "network_limit", MINUTE);
    let mut case = Case::new(counter, "refill");
    case.limits.account = quota(2, Duration::from_millis(600));
    case.fail(2, "ann").await;
    let _place = case.until_admitted("ann").await;
}

async fn what_does_not_fail_costs_nothing(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "office");
    case.limits.network = quota(3, 3 * MINUTE);
    case.limits.account.quota = quota(3, 3 * MINUTE).quota;
    for outcome in [Outcome::Success, Outcome::Neutral] {
        for _ in 0..20 {
            case.settle(&["ann"], outcome).await;
        }
    }
    for name in ["bob", "eve", "joe"] {
        case.settle(&[name], Outcome::Failure).await;
    }
    about(case.refusal("ann").await, "network_limit", MINUTE);
}

async fn a_success_takes_back_what_failed_before_from_there(counter: &Arc<dyn AttemptCounter>) {
    let case = Case::new(counter, "success");
    for _ in 0..3 {
        case.fail(9, "ann").await;
        case.settle(&["ann"], Outcome::Success).await;
    }
    // Guesses from elsewhere are not hers to take back.
    case.at("elsewhere").fail(9, "ann").await;
    case.settle(&["ann"], Outcome::Success).await;
    case.fail(1, "ann").await;
    about(case.refusal("ann").await, "locked", 30 * MINUTE);
}

async fn two_accounts_at_once_neither_clear_nor_hold_each_other(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "two");
    case.fail(9, "victim").await;
    case.settle(&["victim", "mallory"], Outcome::Success).await;
    case.fail(1, "victim").await;
    assert_eq!(case.refusal("victim").await.reason.as_str(), "locked");
    case.limits.account.quota = quota(1, MINUTE / 2).quota;
    case.settle(&["ann"], Outcome::Failure).await;
    assert!(case.reserve(&["bob", "ann"]).await.is_err());
    case.limits.account.quota = None;
    let places = join_all((0..10).map(|_| case.reserve(&["bob"]))).await;
    assert_eq!(places.iter().flatten().count(), 10, "a place is held for bob");
}

async fn networks_are_told_apart(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "networks");
    case.limits.network = quota(1, MINUTE);
    case.limits.wide_network = quota(3, MINUTE);
    for place in ["isp/1", "isp/2", "isp/3"] {
        let case = case.at(place);
        case.settle(&[], Outcome::Failure).await;
        assert_eq!(case.refusal("ann").await.reason.dimension, Dimension::Network);
    }
    about(case.at("isp/4").refusal("ann").await, "wide_network_limit", MINUTE / 3);
    let _place = case.at("other").admitted(&["ann"]).await;
}

async fn what_counts_is_for_the_limits_to_say(counter: &Arc<dyn AttemptCounter>) {
    let cases = [
        (
            "attempts",
            Counted::Attempts,
            [Outcome::Success, Outcome::Neutral],
            Some(Outcome::Withdrawn),
        ),
        ("successes", Counted::Successes, [Outcome::Success; 2], Some(Outcome::Failure)),
        ("failures", Counted::Failures, [Outcome::Failure; 2], Some(Outcome::Neutral)),
    ];
    for (site, counted, counting, free) in cases {
        let mut case = Case::new(counter, site);
        (case.limits.counted, case.limits.account) = (counted, quota(2, 2 * MINUTE));
        for outcome in free.into_iter().cycle().take(5) {
            case.settle(&["ann"], outcome).await;
        }
        for outcome in counting {
            case.settle(&["ann"], outcome).await;
        }
        about(case.refusal("ann").await, "account_limit", MINUTE);
    }
}

async fn attempts_without_an_account_share_what_the_site_has(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "nameless");
    case.limits.nameless = quota(2, 2 * MINUTE);
    case.at("one").settle(&[], Outcome::Failure).await;
    case.at("two").settle(&[], Outcome::Failure).await;
    let begun = Instant::now();
    let refusal = loop {
        match case.at("three").reserve(&[]).await.err().unwrap() {
            refusal if refusal.reason.rule != Rule::InFlight => break refusal,
            _ => assert!(begun.elapsed() < DEADLINE),
        }
        tokio::task::yield_now().await;
    };
    about(refusal, "nameless_limit", MINUTE);
    let _place = case.at("three").admitted(&["ann"]).await;
}
