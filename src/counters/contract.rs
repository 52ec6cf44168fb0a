//! What every counter promises, in one process or shared.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::{
    AttemptCounter, KeyHasher, Outcome, Refusal, RefusalReason, Reservation, Reserved, Tried,
};
use crate::policy::{Lockout, LoginLimits, Quota};

const MINUTE: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(20);

/// One case: a counter, accounts of its own in it, and limits so wide that only what is set counts.
pub(super) struct Case {
    pub(super) counter: Arc<dyn AttemptCounter>,
    hasher: KeyHasher,
    site: &'static str,
    pub(super) limits: LoginLimits,
    locks: Arc<AtomicUsize>,
}

pub(super) fn quota(count: u32, per: Duration) -> Quota {
    Quota { count: NonZeroU32::new(count).unwrap(), per }
}

impl Case {
    pub(super) fn new(counter: &Arc<dyn AttemptCounter>, site: &'static str) -> Self {
        let wide = quota(1_000_000, MINUTE);
        Self {
            counter: Arc::clone(counter),
            hasher: KeyHasher::new(&[3; 32]),
            site,
            limits: LoginLimits {
                per_network: wide,
                per_account: wide,
                lockout: Lockout::default(),
            },
            locks: Arc::default(),
        }
    }

    pub(super) async fn reserve(&self, names: &[&str]) -> Result<Reservation, Refusal> {
        let network = self.hasher.account(self.site, "network");
        let accounts = names.iter().map(|name| self.hasher.account(self.site, name)).collect();
        match self.counter.reserve(Tried { network, accounts }, &self.limits).await {
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
                    assert_eq!(refusal.reason, RefusalReason::InFlight);
                    assert!(begun.elapsed() < DEADLINE, "never settled");
                }
            }
            tokio::task::yield_now().await;
        }
    }

    pub(super) async fn settle(&self, names: &[&str], outcome: Outcome) {
        let reservation = self.admitted(names).await;
        self.give_back(reservation, outcome);
    }

    /// Why the next one is refused, once all that was settled has arrived.
    pub(super) async fn refusal(&self, name: &str) -> Refusal {
        let begun = Instant::now();
        loop {
            match self.reserve(&[name]).await.err().unwrap() {
                Refusal { reason: RefusalReason::InFlight, .. } if begun.elapsed() < DEADLINE => {}
                refusal => return refusal,
            }
            tokio::task::yield_now().await;
        }
    }

    async fn until_admitted(&self, name: &str) {
        let begun = Instant::now();
        while self.reserve(&[name]).await.is_err() {
            assert!(begun.elapsed() < DEADLINE, "refused for ever");
            tokio::task::yield_now().await;
        }
    }
}

fn about(refusal: Refusal, reason: RefusalReason, wait: Duration) {
    assert_eq!(refusal.reason, reason);
    let (least, most) = (wait.saturating_sub(Duration::from_secs(10)), wait);
    assert!((least..=most).contains(&refusal.retry_after), "{refusal:?} is not {wait:?}");
}

/// Everything, on an empty counter.
pub(super) async fn holds(counter: Arc<dyn AttemptCounter>) {
    parallel_guesses_pass_exactly_the_limit(&counter).await;
    quotas_are_exact_and_refill(&counter).await;
    ten_failures_lock_and_the_lock_is_told_once(&counter).await;
    a_lock_ends(&counter).await;
    success_clears_and_neutral_counts_nothing(&counter).await;
    two_accounts_at_once_neither_clear_nor_hold_each_other(&counter).await;
    a_lowered_limit_refuses(&counter).await;
    networks_are_told_apart(&counter).await;
}

async fn parallel_guesses_pass_exactly_the_limit(counter: &Arc<dyn AttemptCounter>) {
    let case = Case::new(counter, "parallel");
    let tried = join_all((0..200).map(|_| case.reserve(&["ann"]))).await;
    let held: Vec<_> = tried.into_iter().flatten().collect();
    assert_eq!(held.len(), 10);
    let refusal = case.reserve(&["ann"]).await.err().unwrap();
    assert_eq!(refusal.reason, RefusalReason::InFlight);
    held.into_iter().for_each(|place| case.give_back(place, Outcome::Failure));
    about(case.refusal("ann").await, RefusalReason::Locked, 30 * MINUTE);
}

async fn quotas_are_exact_and_refill(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "quota");
    case.limits.per_account = quota(5, 5 * MINUTE);
    for _ in 0..5 {
        case.settle(&["ann"], Outcome::Success).await;
    }
    about(case.refusal("ann").await, RefusalReason::AccountLimit, MINUTE);
    let mut case = Case::new(counter, "network quota");
    case.limits.per_network = quota(2, 2 * MINUTE);
    case.settle(&["ann"], Outcome::Success).await;
    case.settle(&[], Outcome::Success).await;
    about(case.refusal("bob").await, RefusalReason::NetworkLimit, MINUTE);
    let mut case = Case::new(counter, "refill");
    case.limits.per_account = quota(2, Duration::from_millis(600));
    for _ in 0..2 {
        case.settle(&["ann"], Outcome::Neutral).await;
    }
    case.until_admitted("ann").await;
}

async fn ten_failures_lock_and_the_lock_is_told_once(counter: &Arc<dyn AttemptCounter>) {
    let case = Case::new(counter, "lock");
    for _ in 0..10 {
        case.settle(&["ann"], Outcome::Failure).await;
    }
    let first = case.refusal("ann").await;
    about(first, RefusalReason::Locked, 30 * MINUTE);
    assert!(case.refusal("ann").await.retry_after <= first.retry_after, "prolonged");
    let begun = Instant::now();
    while case.locks.load(Ordering::SeqCst) == 0 {
        assert!(begun.elapsed() < DEADLINE, "never told");
        tokio::task::yield_now().await;
    }
    assert_eq!(case.locks.load(Ordering::SeqCst), 1);
    assert!(case.reserve(&["bob"]).await.is_ok());
}

async fn a_lock_ends(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "unlock");
    // Long enough to be met on a busy machine.
    let lock = Duration::from_secs(2);
    case.limits.lockout.lock = lock;
    for _ in 0..10 {
        case.settle(&["ann"], Outcome::Failure).await;
    }
    about(case.refusal("ann").await, RefusalReason::Locked, lock);
    case.until_admitted("ann").await;
}

async fn success_clears_and_neutral_counts_nothing(counter: &Arc<dyn AttemptCounter>) {
    let case = Case::new(counter, "success");
    for _ in 0..3 {
        for _ in 0..9 {
            case.settle(&["ann"], Outcome::Failure).await;
        }
        for _ in 0..20 {
            case.settle(&["ann"], Outcome::Neutral).await;
        }
        case.settle(&["ann"], Outcome::Success).await;
    }
    let _place = case.admitted(&["ann"]).await;
}

async fn two_accounts_at_once_neither_clear_nor_hold_each_other(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "two");
    for _ in 0..9 {
        case.settle(&["victim"], Outcome::Failure).await;
    }
    case.settle(&["victim", "mallory"], Outcome::Success).await;
    case.settle(&["victim"], Outcome::Failure).await;
    assert_eq!(case.refusal("victim").await.reason, RefusalReason::Locked);
    let wide = std::mem::replace(&mut case.limits.per_account, quota(1, MINUTE / 2));
    case.settle(&["ann"], Outcome::Neutral).await;
    assert!(case.reserve(&["bob", "ann"]).await.is_err());
    case.limits.per_account = wide;
    let places = join_all((0..10).map(|_| case.reserve(&["bob"]))).await;
    assert_eq!(places.iter().flatten().count(), 10, "a place is held for bob");
}

async fn a_lowered_limit_refuses(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "lowered");
    for _ in 0..7 {
        case.settle(&["ann"], Outcome::Failure).await;
    }
    case.limits.lockout.failures = NonZeroU32::new(5).unwrap();
    about(case.refusal("ann").await, RefusalReason::Locked, 30 * MINUTE);
}

async fn networks_are_told_apart(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "networks");
    case.limits.per_network = quota(1, MINUTE);
    for last in 0..2 {
        let network = case.hasher.network(IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
        let tried = || Tried { network, accounts: Vec::new() };
        for expected in [true, false] {
            let reserved = case.counter.reserve(tried(), &case.limits).await;
            assert_eq!(matches!(reserved, Reserved::Admitted(_)), expected);
        }
    }
}
