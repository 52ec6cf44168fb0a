//! Against a real server.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::super::contract::{self, Case};
use super::*;
use crate::counters::{CounterKey, Lock, LockDesk, Standing, Trust};
use crate::link::CALL_WAIT;
use crate::link::server::Redis;
use crate::policy::{Dimension, RedisAddress};

const DEADLINE: Duration = Duration::from_secs(20);

/// For what is counted: no wait of ours is the point.
async fn counter(server: &Redis) -> Arc<dyn AttemptCounter> {
    counter_with(server, DEADLINE).await
}

async fn counter_with(server: &Redis, patience: Duration) -> Arc<dyn AttemptCounter> {
    let address = Arc::new(RedisAddress::parse(&server.url(), Path::new("/")).unwrap());
    let link = Arc::new(Link::with_patience(address, LOGIN_KEYS, patience).await.unwrap());
    Arc::new(SharedCounter::start(link, LocalCounter::new(8 << 20)).unwrap())
}

async fn until(mut so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !so().await {
        assert!(begun.elapsed() < DEADLINE, "never happened");
        tokio::task::yield_now().await;
    }
}

/// So many instances behind one balancer that what each counts for itself never refuses: the server
/// alone decides.
struct Balanced {
    instances: Vec<Arc<dyn AttemptCounter>>,
    next: AtomicUsize,
    holders: Mutex<HashMap<u64, usize>>,
}

impl AttemptCounter for Balanced {
    fn reserve<'a>(
        &'a self,
        tried: Tried,
        limits: &'a Arc<LoginLimits>,
    ) -> CounterFuture<'a, Reserved> {
        Box::pin(async move {
            let place = self.next.fetch_add(1, Ordering::SeqCst) % self.instances.len();
            let reserved = self.instances[place].reserve(tried, limits).await;
            if let Reserved::Admitted(Reservation { lease: Some(lease), .. }) = &reserved {
                self.holders.lock().unwrap().insert(lease.0, place);
            }
            reserved
        })
    }

    fn settle(&self, reservation: Reservation, outcome: Outcome, told: LockTold) {
        let place = self.holders.lock().unwrap()[&reservation.lease.unwrap().0];
        self.instances[place].settle(reservation, outcome, told);
    }

    fn locked_accounts(&self) -> usize {
        self.instances.iter().map(|instance| instance.locked_accounts()).sum()
    }

    fn is_degraded(&self) -> bool {
        self.instances.iter().any(|instance| instance.is_degraded())
    }
}

impl LockDesk for Balanced {
    fn locked(&self, most: usize) -> CounterFuture<'_, Vec<Lock>> {
        self.instances[0].locked(most)
    }

    fn release(&self, dimension: Dimension, key: CounterKey) -> CounterFuture<'_, usize> {
        self.instances[0].release(dimension, key)
    }

    fn explain<'a>(
        &'a self,
        tried: &'a Tried,
        limits: &'a LoginLimits,
    ) -> CounterFuture<'a, Vec<Standing>> {
        self.instances[0].explain(tried, limits)
    }
}

#[tokio::test]
async fn the_contract_of_counters_holds_in_redis() {
    let Some(server) = Redis::start("") else { return };
    let mut instances = Vec::new();
    for _ in 0..16 {
        instances.push(counter(&server).await);
    }
    let balanced =
        Arc::new(Balanced { instances, next: AtomicUsize::default(), holders: Mutex::default() });
    let shared: Arc<dyn AttemptCounter> = Arc::<Balanced>::clone(&balanced);
    contract::holds(shared).await;
    assert!(!balanced.is_degraded());
    // Nothing stays for ever, and nothing has a name in clear.
    for key in server.cli(&["KEYS", "*"]).lines() {
        let (_, hash) = key.rsplit_once(':').unwrap();
        let hashed = hash.len() == 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        assert!(key.starts_with(LOGIN_KEYS) && (hashed || hash == "locks"), "{key}");
        assert!(server.cli(&["PTTL", key]).parse::<i64>().unwrap() > 0, "{key} never expires");
    }
}

#[tokio::test]
async fn guesses_spread_over_three_instances_pass_as_many_as_over_one() {
    let Some(server) = Redis::start("") else { return };
    let instances = [counter(&server).await, counter(&server).await, counter(&server).await];
    let cases = instances.each_ref().map(|counter| Case::new(counter, "shop"));
    let tries = (0..300).map(|nth: usize| cases[nth % 3].reserve(&["ann"]));
    let places: Vec<_> = join_all(tries).await.into_iter().enumerate().collect();
    assert_eq!(places.iter().filter(|(_, place)| place.is_ok()).count(), 10);
    for (nth, place) in places {
        if let Ok(place) = place {
            cases[nth % 3].give_back(place, Outcome::Failure);
        }
    }
    for case in &cases {
        assert_eq!(case.refusal("ann").await.reason.as_str(), "locked");
    }
}

#[tokio::test]
async fn a_place_whose_instance_died_counts_as_a_failure_when_its_lease_ends() {
    let Some(server) = Redis::start("") else { return };
    let counter = counter(&server).await;
    let case = Case::new(&counter, "shop");
    for _ in 0..9 {
        case.settle(&["ann"], Outcome::Failure).await;
    }
    let _lost_with_its_instance = case.admitted(&["ann"]).await;
    let places = server.cli(&["--raw", "KEYS", &format!("{LOGIN_KEYS}p:*")]);
    let ending = "local all = redis.call('ZRANGE', KEYS[1], 0, -1)
        local now = redis.call('TIME')
        for _, one in ipairs(all) do redis.call('ZADD', KEYS[1], now[1] * 1000000, one) end";
    server.cli(&["EVAL", ending, "1", &places]);
    assert_eq!(other(&server).await.refusal("ann").await.reason.as_str(), "locked");
}

/// Another instance at the same shop.
async fn other(server: &Redis) -> Case {
    Case::new(&counter(server).await, "shop")
}

#[tokio::test]
async fn without_the_server_local_limits_hold_and_nothing_is_forgiven_when_it_is_back() {
    let Some(mut server) = Redis::start("") else { return };
    let counter = counter_with(&server, CALL_WAIT).await;
    let case = Case::new(&counter, "shop");
    for _ in 0..4 {
        case.settle(&["ann"], Outcome::Failure).await;
    }
    server.kill9();
    let begun = Instant::now();
    for _ in 0..6 {
        case.settle(&["ann"], Outcome::Failure).await;
    }
    assert_eq!(case.reserve(&["ann"]).await.err().unwrap().reason.as_str(), "locked");
    assert!(begun.elapsed() < Duration::from_secs(2), "requests wait for a dead server");
    until(async || counter.is_degraded()).await;
    server.start_again();
    until(async || !counter.is_degraded()).await;
    assert_eq!(case.refusal("ann").await.reason.as_str(), "locked");
    assert!(case.reserve(&["bob"]).await.is_ok_and(|place| place.lease.is_some()));
}

#[tokio::test]
async fn a_full_server_is_no_reason_to_admit_everybody() {
    let Some(server) = Redis::start("") else { return };
    let counter = counter(&server).await;
    let case = Case::new(&counter, "shop");
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let places = join_all((0..50).map(|_| case.reserve(&["ann"]))).await;
    assert_eq!(places.iter().flatten().count(), 10);
}

#[tokio::test]
async fn an_owner_who_logged_in_elsewhere_is_known_where_strangers_have_locked_his_account() {
    let Some(server) = Redis::start("") else { return };
    let [one, other] = [counter(&server).await, counter(&server).await];
    let [mut one, mut other] = [&one, &other].map(|counter| Case::new(counter, "shop"));
    one.limits.known_for = Some(Duration::from_secs(3600));
    other.limits.known_for = one.limits.known_for;
    one.settle(&["ann"], Outcome::Success).await;
    for _ in 0..10 {
        other.at("street").settle(&["ann"], Outcome::Failure).await;
    }
    assert_eq!(other.at("street").refusal("ann").await.reason.as_str(), "locked");
    assert_eq!(other.admitted(&["ann"]).await.trust, Trust::KnownNetwork);
}

#[tokio::test]
async fn a_client_who_leaves_before_the_answer_holds_no_place() {
    let Some(server) = Redis::start("") else { return };
    let counter = counter(&server).await;
    let case = Case::new(&counter, "shop");
    for _ in 0..30 {
        let mut asking = std::pin::pin!(case.reserve(&["ann"]));
        // It is on its way to the server, or there already; seldom the answer is back at once.
        if let Poll::Ready(Ok(place)) = futures_util::poll!(asking.as_mut()) {
            case.give_back(place, Outcome::Neutral);
        }
    }
    case.until_settled(&["ann"]).await;
    let places = join_all((0..20).map(|_| case.reserve(&["ann"]))).await;
    assert_eq!(places.iter().flatten().count(), 10);
}

#[tokio::test]
async fn a_lock_that_began_without_the_server_is_handed_to_it() {
    let Some(mut server) = Redis::start("") else { return };
    let [alone, elsewhere] =
        [counter_with(&server, CALL_WAIT).await, counter_with(&server, CALL_WAIT).await];
    server.kill9();
    until(async || alone.is_degraded() && elsewhere.is_degraded()).await;
    let case = Case::new(&alone, "shop");
    for _ in 0..10 {
        case.settle(&["ann"], Outcome::Failure).await;
    }
    server.start_again();
    until(async || !elsewhere.is_degraded()).await;
    let case = Case::new(&elsewhere, "shop");
    until(async || match case.reserve(&["ann"]).await {
        Ok(place) => {
            case.give_back(place, Outcome::Neutral);
            false
        }
        Err(refusal) => refusal.reason.as_str() == "locked",
    })
    .await;
    assert_eq!(alone.locked(10).await.len(), 1);
    assert_eq!(elsewhere.release(Dimension::Account, case.account("ann")).await, 1);
}

#[tokio::test]
async fn what_is_kept_of_one_subject_is_bounded() {
    let Some(server) = Redis::start("") else { return };
    let counter = counter(&server).await;
    let mut case = Case::new(&counter, "shop");
    case.limits.account = contract::lockout(1_000, Duration::from_secs(60));
    if let Some(lockout) = &mut case.limits.account.lockout {
        // Never reached by failures from one network.
        lockout.accounts_min = contract::number(2);
    }
    for _ in 0..150 {
        case.settle(&["ann"], Outcome::Failure).await;
    }
    let ledgers = server.cli(&["--raw", "KEYS", &format!("{LOGIN_KEYS}s:*")]);
    let bytes: usize = server.cli(&["STRLEN", &ledgers]).parse().unwrap();
    assert!((1_000..1_600).contains(&bytes), "{bytes} bytes");
}
