use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use governor::clock::FakeRelativeClock;

use super::*;
use crate::counters::{KeyHasher, Scope};
use crate::policy::{Limit, Lockout, Quota};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const SHOP: Scope<'_> = Scope { site: "shop", guard: None };

struct Bench {
    clock: FakeRelativeClock,
    counter: LocalCounter<FakeRelativeClock>,
    hasher: KeyHasher,
    limits: LoginLimits,
}

/// The account's usual lockout alone.
fn bench(memory_bytes: usize) -> Bench {
    let clock = FakeRelativeClock::default();
    Bench {
        counter: LocalCounter::with_clock(clock.clone(), memory_bytes),
        clock,
        hasher: KeyHasher::new(&[3; 32]),
        limits: LoginLimits { account: usual().account, ..LoginLimits::unlimited() },
    }
}

/// What an operator gets who sets nothing.
fn usual() -> LoginLimits {
    let mut limits = LoginLimits::default();
    limits.account.quota = None;
    limits
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap()
}

fn address(last: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + last))
}

impl Bench {
    fn tried(&self, from: u32, names: &[&str]) -> Tried {
        Tried {
            site: self.hasher.site(SHOP),
            network: self.hasher.network(None, address(from)),
            wide_network: self.hasher.wide_network(None, address(from)),
            accounts: names.iter().map(|name| self.hasher.account(SHOP, name)).collect(),
            device: None,
        }
    }

    fn reserve(&self, from: u32, name: &str) -> Result<Reservation, Refusal> {
        let limits = Arc::new(self.limits.clone());
        let reserved = self.counter.reserve(self.tried(from, &[name]), &limits);
        match reserved.now_or_never().unwrap() {
            Reserved::Admitted(reservation) => Ok(reservation),
            Reserved::Refused(refusal) => Err(refusal),
        }
    }

    fn give_back(&self, reservation: Reservation, outcome: Outcome) {
        AttemptCounter::settle(&self.counter, reservation, outcome, Box::new(drop));
    }

    fn settle(&self, from: u32, name: &str, outcome: Outcome) {
        self.give_back(self.reserve(from, name).ok().unwrap(), outcome);
    }

    fn fail(&self, times: usize, from: u32, name: &str) {
        (0..times).for_each(|_| self.settle(from, name, Outcome::Failure));
    }

    /// Fails if it may.
    fn guess(&self, from: u32, name: &str) {
        if let Ok(reservation) = self.reserve(from, name) {
            self.give_back(reservation, Outcome::Failure);
        }
    }

    fn refusal(&self, from: u32, name: &str) -> (&'static str, Duration) {
        let refusal = self.reserve(from, name).err().unwrap();
        (refusal.reason.as_str(), refusal.retry_after)
    }
}

fn parallel(bench: &Bench, guesses: usize, after: impl Fn(Reservation) + Sync) -> usize {
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..guesses / 8 {
                    if let Ok(reservation) = bench.reserve(1, "ann") {
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
fn two_hundred_parallel_guesses_pass_exactly_the_limit() {
    let held = bench(1 << 20);
    assert_eq!(parallel(&held, 200, std::mem::forget), 10);
    assert_eq!(held.refusal(1, "ann"), ("in_flight", Duration::from_secs(1)));
    let settled = bench(1 << 20);
    assert_eq!(parallel(&settled, 200, |it| settled.give_back(it, Outcome::Failure)), 10);
    assert_eq!(settled.refusal(1, "ann").0, "locked");
    let mut quota = bench(1 << 20);
    quota.limits = LoginLimits::default();
    assert_eq!(parallel(&quota, 200, |it| quota.give_back(it, Outcome::Failure)), 5);
    assert_eq!(quota.refusal(1, "ann"), ("account_limit", Duration::from_secs(12)));
}

#[test]
fn ten_failures_lock_for_thirty_minutes_and_refused_attempts_do_not_prolong_it() {
    let bench = bench(1 << 20);
    bench.fail(10, 1, "ann");
    assert_eq!(bench.counter.locked_accounts(), 1);
    assert_eq!(bench.refusal(1, "ann"), ("locked", 30 * MINUTE));
    bench.clock.advance(29 * MINUTE);
    assert_eq!(bench.refusal(2, "ann"), ("locked", MINUTE));
    bench.clock.advance(MINUTE);
    assert_eq!(bench.counter.locked_accounts(), 0);
    bench.fail(1, 1, "ann");
    assert!(bench.reserve(1, "ann").is_ok());
}

#[test]
fn failures_outside_the_window_do_not_count() {
    let bench = bench(1 << 20);
    bench.fail(9, 1, "ann");
    bench.clock.advance(30 * MINUTE);
    bench.fail(1, 1, "ann");
    assert!(bench.reserve(1, "ann").is_ok());
}

#[test]
fn a_lock_doubles_within_a_day_of_the_last_one_up_to_the_ceiling() {
    let bench = bench(1 << 20);
    for hours in [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 24.0, 24.0] {
        bench.fail(10, 1, "ann");
        let lock = HOUR.mul_f64(hours);
        assert_eq!(bench.refusal(1, "ann"), ("locked", lock));
        bench.clock.advance(lock + 23 * HOUR);
    }
    bench.clock.advance(HOUR);
    bench.settle(1, "ann", Outcome::Success);
    bench.fail(10, 1, "ann");
    assert_eq!(bench.refusal(1, "ann"), ("locked", 30 * MINUTE));
}

#[test]
fn who_mistypes_often_waits_longer_each_time_and_tries_one_at_a_time() {
    let mut bench = bench(1 << 20);
    bench.limits = LoginLimits { pair: usual().pair, ..LoginLimits::unlimited() };
    bench.fail(4, 1, "ann");
    for seconds in [1, 2, 4, 8, 16, 30] {
        bench.fail(1, 1, "ann");
        let wait = Duration::from_secs(seconds);
        assert_eq!(bench.refusal(1, "ann"), ("pair_delay", wait));
        bench.clock.advance(wait);
        let alone = bench.reserve(1, "ann").unwrap();
        assert_eq!(bench.refusal(1, "ann").0, "in_flight");
        bench.give_back(alone, Outcome::Neutral);
    }
    bench.fail(1, 1, "ann");
    assert_eq!(bench.refusal(1, "ann"), ("pair_lockout", 15 * MINUTE));
    assert!(bench.reserve(2, "ann").is_ok());
}

#[test]
fn a_lowered_limit_refuses_until_enough_failures_have_passed_out_of_the_window() {
    let mut bench = bench(1 << 20);
    for _ in 0..7 {
        bench.fail(1, 1, "ann");
        bench.clock.advance(MINUTE);
    }
    bench.limits.account.lockout = Some(Lockout { failures: number(5), ..Lockout::default() });
    assert_eq!(bench.refusal(1, "ann"), ("locked", 25 * MINUTE));
    bench.clock.advance(25 * MINUTE);
    assert!(bench.reserve(1, "ann").is_ok());
}

#[test]
fn a_hundred_failures_in_a_row_bar_strangers_however_slowly_they_come() {
    let bench = bench(1 << 20);
    for _ in 0..100 {
        bench.fail(1, 1, "ann");
        bench.clock.advance(DAY);
    }
    assert_eq!(bench.refusal(1, "ann"), ("account_barred", 29 * DAY));
    bench.clock.advance(29 * DAY);
    bench.fail(2, 1, "ann");
    assert!(bench.reserve(1, "ann").is_ok(), "the row was not forgotten");
}

#[test]
fn what_has_nothing_to_remember_takes_no_memory() {
    let mut bench = bench(1 << 20);
    bench.limits = LoginLimits::default();
    for n in 0..100 {
        bench.settle(n, &n.to_string(), Outcome::Success);
        bench.settle(n, &n.to_string(), Outcome::Neutral);
    }
    for dimension in Dimension::ALL {
        assert_eq!(bench.counter.tables.of(dimension).count(|_| true), 0, "{dimension:?}");
    }
    assert_eq!(bench.counter.tables.known.count(|_| true), 100);
}

#[test]
fn a_flood_of_accounts_stays_bounded_and_frees_nobody() {
    let bench = bench(4 << 20);
    bench.fail(10, 1, "locked");
    bench.fail(9, 1, "nearly");
    let waiting = bench.reserve(1, "waiting").ok().unwrap();
    let most = bench.counter.tables.of(Dimension::Account).keys_max();
    for n in 0..5 * most {
        bench.fail(1, 2, &format!("flood{n}"));
        bench.clock.advance(Duration::from_millis(1));
    }
    let held = bench.counter.tables.of(Dimension::Account).count(|_| true);
    assert!(held <= most && held > most / 2, "{held} of {most}");
    assert_eq!(bench.refusal(3, "locked").0, "locked");
    bench.fail(1, 1, "nearly");
    assert_eq!(bench.refusal(3, "nearly").0, "locked");
    bench.give_back(waiting, Outcome::Failure);
    assert_eq!(bench.counter.locked_accounts(), 2);
}

#[test]
fn a_flood_of_networks_frees_no_network_from_its_lock() {
    let mut bench = bench(4 << 20);
    bench.limits = LoginLimits { network: LoginLimits::default().network, ..bench.limits };
    bench.limits.network.quota = None;
    bench.limits.account = Limit::default();
    for n in 0..20 {
        bench.fail(1, 1, &n.to_string());
    }
    assert_eq!(bench.refusal(1, "ann").0, "network_lockout");
    let most = u32::try_from(bench.counter.tables.of(Dimension::Network).keys_max()).unwrap();
    for from in 2..3 * most {
        bench.guess(from, "ann");
    }
    assert_eq!(bench.refusal(1, "ann").0, "network_lockout");
    // Nor does it make a lock that has just ended be forgotten: the next one is twice as long.
    bench.clock.advance(HOUR);
    for from in 3 * most..5 * most {
        bench.guess(from, "ann");
    }
    for n in 0..20 {
        bench.fail(1, 1, &n.to_string());
    }
    assert_eq!(bench.refusal(1, "ann"), ("network_lockout", 2 * HOUR));
}

#[test]
fn a_flood_of_logins_makes_no_known_network_forgotten() {
    let mut bench = bench(1 << 20);
    bench.limits.known_for = Some(30 * DAY);
    bench.settle(1, "ann", Outcome::Success);
    for n in 0..50_000 {
        bench.settle(n + 2, "mallory", Outcome::Success);
        bench.clock.advance(Duration::from_millis(100));
    }
    bench.fail(10, 2, "ann");
    assert_eq!(bench.reserve(1, "ann").ok().unwrap().trust, Trust::KnownNetwork);
    assert_eq!(bench.refusal(2, "ann").0, "locked");
}

#[test]
fn memory_holds_also_when_every_entry_grows() {
    let mut bench = bench(1 << 20);
    let slow = Lockout { failures: number(100), consecutive_max: None, ..Lockout::default() };
    bench.limits.account.lockout = Some(slow);
    let table = bench.counter.tables.of(Dimension::Account);
    for n in 0..table.keys_max() {
        bench.fail(60, 1, &n.to_string());
    }
    let mut bytes = 0;
    table.each(|_, ledger| bytes += Entry::heap_bytes(ledger) + size_of::<Ledger>() + 17);
    assert!(bytes <= (1 << 20) * 30 / 100, "{bytes} bytes");
}

#[test]
fn a_table_full_of_locks_refuses_the_unknown_and_forgets_no_lock() {
    let mut bench = bench(0);
    bench.limits.account.lockout = Some(Lockout { failures: number(1), ..Lockout::default() });
    (0..2_000).for_each(|n| bench.guess(1, &n.to_string()));
    let most = bench.counter.tables.of(Dimension::Account).keys_max();
    assert_eq!(bench.counter.locked_accounts(), most);
    assert_eq!(bench.refusal(1, "new"), ("counters_full", FULL_WAIT));
}

#[test]
fn a_table_full_of_locked_pairs_keeps_nobody_out() {
    let mut bench = bench(0);
    bench.limits.account = Limit::default();
    bench.limits.pair.lockout = Some(Lockout { failures: number(1), ..Lockout::default() });
    (0..2_000).for_each(|n| bench.guess(n, "ann"));
    bench.fail(1, 5_000, "bob");
}

#[test]
fn a_place_is_given_back_under_every_subject_when_the_last_one_refuses() {
    let mut bench = bench(1 << 20);
    bench.limits.network.quota = Some(Quota { count: number(1), per: MINUTE });
    let place = bench.reserve(1, "ann").ok().unwrap();
    for _ in 0..20 {
        assert_eq!(bench.refusal(1, "bob").0, "in_flight");
    }
    bench.give_back(place, Outcome::Neutral);
    assert_eq!(bench.counter.tables.of(Dimension::Account).count(|_| true), 0);
    assert!(bench.reserve(1, "bob").is_ok());
}

#[test]
fn a_subject_of_nine_failures_fits_where_it_should() {
    assert_eq!(size_of::<Ledger>(), 48);
    assert_eq!(size_of::<known::Known>(), 8);
}

#[tokio::test]
async fn the_contract_of_counters_holds_in_one_process() {
    crate::counters::contract::holds(Arc::new(LocalCounter::new(8 << 20))).await;
}

#[test]
fn counters_are_shared_as_one_trait_object() {
    let counter: Arc<dyn AttemptCounter> = Arc::new(LocalCounter::new(1 << 20));
    assert_eq!(counter.locked_accounts(), 0);
}
