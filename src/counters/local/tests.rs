use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use governor::clock::FakeRelativeClock;

use super::*;
use crate::counters::KeyHasher;
use crate::policy::{Lockout, Quota};

const MINUTE: Duration = Duration::from_secs(60);

struct Bench {
    clock: FakeRelativeClock,
    counter: LocalCounter<FakeRelativeClock>,
    hasher: KeyHasher,
    limits: LoginLimits,
}

fn quota(count: u32) -> Quota {
    Quota { count: NonZeroU32::new(count).unwrap(), per: MINUTE }
}

/// Wide quotas, so that the lockout alone decides.
fn bench(keys_max: usize) -> Bench {
    let clock = FakeRelativeClock::default();
    let keys_max = NonZeroUsize::new(keys_max).unwrap();
    let lockout = Lockout::default();
    Bench {
        counter: LocalCounter::with_clock(clock.clone(), keys_max),
        clock,
        hasher: KeyHasher::new(&[3; 32]),
        limits: LoginLimits { per_network: quota(100_000), per_account: quota(100_000), lockout },
    }
}

impl Bench {
    fn reserve(&self, names: &[&str]) -> Result<Reservation, Refusal> {
        let network = self.hasher.network(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let accounts = names.iter().map(|name| self.hasher.account("shop", name)).collect();
        let reserved = self.counter.reserve(Tried { network, accounts }, &self.limits);
        match reserved.now_or_never().unwrap() {
            Reserved::Admitted(reservation) => Ok(reservation),
            Reserved::Refused(refusal) => Err(refusal),
        }
    }

    fn settle(&self, names: &[&str], outcome: Outcome) {
        AttemptCounter::settle(
            &self.counter,
            self.reserve(names).ok().unwrap(),
            outcome,
            Box::new(drop),
        );
    }

    fn refusal(&self, name: &str) -> (RefusalReason, Duration) {
        let refusal = self.reserve(&[name]).err().unwrap();
        (refusal.reason, refusal.retry_after)
    }
}

fn parallel(bench: &Bench, guesses: usize, after: impl Fn(Reservation) + Sync) -> usize {
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..guesses / 8 {
                    if let Ok(reservation) = bench.reserve(&["ann"]) {
                        passed.fetch_add(1, Ordering::Relaxed);
                        after(reservation);
                    }
                }
            });
        }
    });
    passed.into_inner()
}

#[test]
fn two_hundred_parallel_guesses_pass_exactly_the_lockout_limit() {
    let held = bench(1000);
    assert_eq!(parallel(&held, 200, drop), 10);
    assert_eq!(held.refusal("ann"), (RefusalReason::InFlight, Duration::from_secs(1)));
    let settled = bench(1000);
    let fail = |reservation| {
        AttemptCounter::settle(&settled.counter, reservation, Outcome::Failure, Box::new(drop));
    };
    assert_eq!(parallel(&settled, 200, fail), 10);
    assert_eq!(settled.refusal("ann").0, RefusalReason::Locked);
}

#[test]
fn two_hundred_parallel_guesses_pass_exactly_the_account_quota() {
    let mut bench = bench(1000);
    bench.limits.per_account = quota(5);
    assert_eq!(parallel(&bench, 200, drop), 5);
    assert_eq!(bench.refusal("ann"), (RefusalReason::AccountLimit, Duration::from_secs(12)));
}

#[test]
fn the_network_quota_counts_every_account() {
    let mut bench = bench(1000);
    bench.limits.per_network = quota(2);
    bench.settle(&["ann"], Outcome::Success);
    bench.settle(&[], Outcome::Success);
    assert_eq!(bench.refusal("bob"), (RefusalReason::NetworkLimit, Duration::from_secs(30)));
    bench.clock.advance(Duration::from_secs(30));
    assert!(bench.reserve(&["bob"]).is_ok());
}

#[test]
fn ten_failures_lock_for_thirty_minutes_and_refused_attempts_do_not_prolong_it() {
    let bench = bench(1000);
    for _ in 0..10 {
        bench.settle(&["ann"], Outcome::Failure);
    }
    assert_eq!(bench.counter.locked_accounts(), 1);
    assert_eq!(bench.refusal("ann"), (RefusalReason::Locked, 30 * MINUTE));
    bench.clock.advance(29 * MINUTE);
    assert_eq!(bench.refusal("ann"), (RefusalReason::Locked, MINUTE));
    bench.clock.advance(MINUTE);
    assert_eq!(bench.counter.locked_accounts(), 0);
    bench.settle(&["ann"], Outcome::Failure);
    assert!(bench.reserve(&["ann"]).is_ok());
}

#[test]
fn failures_outside_the_window_do_not_count() {
    let bench = bench(1000);
    for _ in 0..9 {
        bench.settle(&["ann"], Outcome::Failure);
    }
    bench.clock.advance(30 * MINUTE);
    bench.settle(&["ann"], Outcome::Failure);
    assert!(bench.reserve(&["ann"]).is_ok());
}

#[test]
fn success_clears_and_neutral_counts_nothing() {
    let bench = bench(1000);
    for _ in 0..3 {
        for _ in 0..9 {
            bench.settle(&["ann"], Outcome::Failure);
        }
        for _ in 0..20 {
            bench.settle(&["ann"], Outcome::Neutral);
        }
        bench.settle(&["ann"], Outcome::Success);
    }
    assert!(bench.reserve(&["ann"]).is_ok());
}

#[test]
fn a_success_that_names_two_accounts_clears_neither() {
    let bench = bench(1000);
    for _ in 0..9 {
        bench.settle(&["victim"], Outcome::Failure);
    }
    bench.settle(&["victim", "mallory"], Outcome::Success);
    bench.settle(&["victim"], Outcome::Failure);
    assert_eq!(bench.refusal("victim").0, RefusalReason::Locked);
}

#[test]
fn a_refusal_for_one_of_two_accounts_holds_no_place_for_the_other() {
    let mut bench = bench(1000);
    bench.limits.per_account = quota(1);
    bench.settle(&["ann"], Outcome::Neutral);
    assert!(bench.reserve(&["bob", "ann"]).is_err());
    bench.limits.per_account = quota(1000);
    bench.clock.advance(MINUTE);
    let all: Vec<_> = (0..10).map(|_| bench.reserve(&["bob"]).is_ok()).collect();
    assert_eq!(all, [true; 10]);
}

#[test]
fn a_lowered_limit_refuses_until_enough_failures_have_passed_out_of_the_window() {
    let mut bench = bench(1000);
    for _ in 0..7 {
        bench.settle(&["ann"], Outcome::Failure);
        bench.clock.advance(MINUTE);
    }
    bench.limits.lockout.failures = NonZeroU32::new(5).unwrap();
    assert_eq!(bench.refusal("ann"), (RefusalReason::Locked, 25 * MINUTE));
    bench.clock.advance(25 * MINUTE);
    assert!(bench.reserve(&["ann"]).is_ok());
}

#[test]
fn a_flood_of_accounts_stays_bounded_and_frees_nobody() {
    let bench = bench(6_400);
    for _ in 0..10 {
        bench.settle(&["locked"], Outcome::Failure);
    }
    for _ in 0..9 {
        bench.settle(&["nearly"], Outcome::Failure);
    }
    let waiting = bench.reserve(&["waiting"]).ok().unwrap();
    for n in 0..60_000 {
        bench.settle(&[&format!("flood{n}")], Outcome::Failure);
        bench.clock.advance(Duration::from_millis(1));
    }
    assert!(bench.counter.accounts.count(|_| true) <= 6_400);
    assert_eq!(bench.refusal("locked").0, RefusalReason::Locked);
    bench.settle(&["nearly"], Outcome::Failure);
    assert_eq!(bench.refusal("nearly").0, RefusalReason::Locked);
    AttemptCounter::settle(&bench.counter, waiting, Outcome::Failure, Box::new(drop));
    assert_eq!(bench.counter.locked_accounts(), 2);
}

#[test]
fn a_table_full_of_locks_refuses_the_unknown() {
    let mut bench = bench(1);
    bench.limits.lockout.failures = NonZeroU32::MIN;
    for n in 0..2_000 {
        if let Ok(reservation) = bench.reserve(&[&n.to_string()]) {
            AttemptCounter::settle(&bench.counter, reservation, Outcome::Failure, Box::new(drop));
        }
    }
    assert_eq!(bench.counter.locked_accounts(), 64);
    assert_eq!(bench.refusal("new"), (RefusalReason::AccountLimit, FULL_WAIT));
}

#[tokio::test]
async fn the_contract_of_counters_holds_in_one_process() {
    crate::counters::contract::holds(Arc::new(LocalCounter::new())).await;
}

#[test]
fn counters_are_shared_as_one_trait_object() {
    let counter: Arc<dyn AttemptCounter> = Arc::new(LocalCounter::new());
    assert_eq!(counter.locked_accounts(), 0);
}
