//! When locks begin, how long they hold, and how an operator sees them.

use std::sync::Arc;
use std::time::Duration;

use super::{Case, MINUTE, about, lockout, number};
use crate::counters::{AttemptCounter, Outcome};
use crate::policy::{Delays, Dimension, Lockout, LoginLimits};

/// Long enough to be met on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

pub(super) async fn hold(counter: &Arc<dyn AttemptCounter>) {
    ten_failures_lock_and_the_lock_is_told_once(counter).await;
    a_lock_ends_and_the_next_is_longer(counter).await;
    a_lowered_limit_refuses(counter).await;
    a_pair_that_fails_often_waits_longer_each_time(counter).await;
    a_network_is_locked_for_failures_over_many_accounts_only(counter).await;
    a_hundred_in_a_row_bar_strangers(counter).await;
    an_operator_sees_what_is_locked_and_releases_it(counter).await;
}

async fn ten_failures_lock_and_the_lock_is_told_once(counter: &Arc<dyn AttemptCounter>) {
    let case = Case::new(counter, "lock");
    case.fail(10, "ann").await;
    let first = case.refusal("ann").await;
    about(first, "locked", 30 * MINUTE);
    assert!(case.refusal("ann").await.retry_after <= first.retry_after, "prolonged");
    case.until_locks(1).await;
    assert!(case.reserve(&["bob"]).await.is_ok());
}

async fn a_lock_ends_and_the_next_is_longer(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "unlock");
    case.limits.account = lockout(2, SHORT);
    if let Some(lockout) = &mut case.limits.account.lockout {
        lockout.ceiling = 3 * SHORT;
    }
    for times in [1, 2] {
        case.fail(1, "ann").await;
        let place = case.admitted(&["ann"]).await;
        case.give_back(place, Outcome::Failure);
        about(case.refusal("ann").await, "locked", times * SHORT);
        let place = case.until_admitted("ann").await;
        case.give_back(place, Outcome::Neutral);
    }
    case.fail(2, "ann").await;
    about(case.refusal("ann").await, "locked", 3 * SHORT);
}

async fn a_lowered_limit_refuses(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "lowered");
    case.fail(7, "ann").await;
    case.limits.account = lockout(5, 30 * MINUTE);
    about(case.refusal("ann").await, "locked", 30 * MINUTE);
}

async fn a_pair_that_fails_often_waits_longer_each_time(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "pair");
    case.limits.pair = lockout(3, 15 * MINUTE);
    if let Some(lockout) = &mut case.limits.pair.lockout {
        lockout.delays = Some(Delays { first: SHORT, last: 2 * SHORT });
    }
    case.fail(3, "ann").await;
    about(case.refusal("ann").await, "pair_delay", SHORT);
    let place = case.until_admitted("ann").await;
    case.give_back(place, Outcome::Failure);
    case.until_settled(&["ann"]).await;
    let refusal = case.refusal("ann").await;
    about(refusal, "pair_delay", 2 * SHORT);
    assert!(refusal.retry_after > SHORT, "not longer: {refusal:?}");
    let place = case.until_admitted("ann").await;
    case.give_back(place, Outcome::Failure);
    case.until_settled(&["ann"]).await;
    about(case.refusal("ann").await, "pair_lockout", 15 * MINUTE);
    let _place = case.at("elsewhere").admitted(&["ann"]).await;
    let _place = case.admitted(&["bob"]).await;
}

async fn a_network_is_locked_for_failures_over_many_accounts_only(
    counter: &Arc<dyn AttemptCounter>,
) {
    let mut case = Case::new(counter, "spread");
    let hour = 60 * MINUTE;
    let over = |failures, accounts_min| {
        let lockout = Lockout::new(number(failures), 10 * MINUTE, hour, hour);
        Some(Lockout { accounts_min: number(accounts_min), ..lockout })
    };
    case.limits = LoginLimits::unlimited();
    case.limits.network.lockout = over(6, 3);
    case.fail(8, "ann").await;
    case.fail(1, "bob").await;
    case.settle(&["ann"], Outcome::Neutral).await;
    case.fail(1, "eve").await;
    about(case.refusal("ann").await, "network_lockout", hour);
    let _place = case.at("elsewhere").admitted(&["ann"]).await;
}

async fn a_hundred_in_a_row_bar_strangers(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "row");
    case.limits = LoginLimits::default();
    case.limits.account = lockout(50, MINUTE);
    if let Some(lockout) = &mut case.limits.account.lockout {
        lockout.consecutive_max = Some(number(4));
    }
    (case.limits.pair, case.limits.network) = Default::default();
    case.settle(&["ann"], Outcome::Success).await;
    for place in ["1", "2", "3", "4"] {
        case.at(place).fail(1, "ann").await;
    }
    let refusal = case.at("5").refusal("ann").await;
    assert_eq!(refusal.reason.as_str(), "account_barred");
    assert!(refusal.retry_after > 29 * 24 * 60 * MINUTE);
    case.settle(&["ann"], Outcome::Success).await;
    let place = case.at("5").until_admitted("ann").await;
    case.give_back(place, Outcome::Failure);
}

async fn an_operator_sees_what_is_locked_and_releases_it(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "desk");
    case.limits.account = lockout(4, 30 * MINUTE);
    case.limits.pair = lockout(3, 15 * MINUTE);
    case.fail(3, "ann").await;
    case.at("elsewhere").fail(1, "ann").await;
    case.refusal("ann").await;
    case.until_locks(2).await;
    let limits = case.limits.clone();
    let ours = async || {
        let all = case.counter.locked(1_000).await;
        let pair = |key: &crate::counters::CounterKey| key.is_pair_of(case.account("ann"));
        all.into_iter().filter(|lock| pair(&lock.key)).collect::<Vec<_>>()
    };
    let locks = ours().await;
    let seen: Vec<_> = locks.iter().map(|lock| (lock.dimension, lock.failures)).collect();
    assert_eq!(seen, [(Dimension::Account, 4), (Dimension::Pair, 3)]);
    let tried = case.at("elsewhere").tried(&["ann"]);
    let standings = case.counter.explain(&tried, &limits).await;
    let [account, pair] = standings.as_slice() else { panic!("{standings:?}") };
    assert_eq!((account.dimension, account.level, account.known), (Dimension::Account, 1, false));
    about(account.refusal.unwrap(), "locked", 30 * MINUTE);
    assert_eq!((pair.dimension, pair.failures, pair.refusal), (Dimension::Pair, 1, None));
    let released = case.counter.release(Dimension::Account, case.account("ann")).await;
    assert_eq!(released, 3, "the account and two pairs");
    assert_eq!(ours().await, []);
    case.fail(2, "ann").await;
}
