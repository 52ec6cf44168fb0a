//! That strangers who lock an account do not lock its owner out.

use std::sync::Arc;

use super::{Case, MINUTE, about, lockout, quota};
use crate::counters::{AttemptCounter, Outcome, Trust};

pub(super) async fn holds(counter: &Arc<dyn AttemptCounter>) {
    strangers_do_not_lock_the_owner_out_of_a_known_network(counter).await;
    a_known_network_has_small_budgets_of_its_own(counter).await;
    a_known_account_lends_nothing_to_another_named_with_it(counter).await;
    a_device_has_a_budget_of_its_own_and_locks_nobody(counter).await;
}

/// Ann has logged in from home once.
async fn at_home(counter: &Arc<dyn AttemptCounter>, site: &'static str) -> Case {
    let mut case = Case::new(counter, site);
    case.limits.known_for = Some(60 * MINUTE);
    case.settle(&["ann"], Outcome::Success).await;
    case
}

async fn strangers_do_not_lock_the_owner_out_of_a_known_network(counter: &Arc<dyn AttemptCounter>) {
    let mut case = at_home(counter, "known").await;
    case.limits.site = quota(10, 10 * MINUTE);
    case.limits.wide_network = quota(10, 10 * MINUTE);
    case.at("street").fail(10, "ann").await;
    case.at("street").refusal("ann").await;
    case.at("home/next door").refusal("ann").await;
    let place = case.admitted(&["ann"]).await;
    assert_eq!(place.trust, Trust::KnownNetwork);
    case.give_back(place, Outcome::Success);
    about(case.at("street").refusal("ann").await, "locked", 30 * MINUTE);
    // Home is known for ann alone.
    assert_eq!(case.refusal("bob").await.reason.as_str(), "site_limit");
    case.limits.known_for = None;
    about(case.refusal("ann").await, "locked", 30 * MINUTE);
}

async fn a_known_network_has_small_budgets_of_its_own(counter: &Arc<dyn AttemptCounter>) {
    let mut case = at_home(counter, "budget").await;
    case.limits.pair = lockout(5, 15 * MINUTE);
    case.fail(5, "ann").await;
    about(case.refusal("ann").await, "pair_lockout", 15 * MINUTE);
    // What fails at home counts for strangers as well.
    case.at("street").fail(5, "ann").await;
    about(case.at("cafe").refusal("ann").await, "locked", 30 * MINUTE);
}

async fn a_known_account_lends_nothing_to_another_named_with_it(counter: &Arc<dyn AttemptCounter>) {
    let case = at_home(counter, "lend").await;
    case.at("street").fail(10, "bob").await;
    case.at("street").refusal("bob").await;
    let refusal = case.reserve(&["ann", "bob"]).await.err().unwrap();
    about(refusal, "locked", 30 * MINUTE);
}

async fn a_device_has_a_budget_of_its_own_and_locks_nobody(counter: &Arc<dyn AttemptCounter>) {
    let mut case = Case::new(counter, "device");
    case.limits.device = lockout(3, 15 * MINUTE);
    case.limits.network = quota(10, 10 * MINUTE);
    case.at("street").fail(10, "ann").await;
    about(case.at("street").refusal("ann").await, "locked", 30 * MINUTE);
    let mut phone = case.with("phone");
    let place = phone.admitted(&["ann"]).await;
    assert_eq!(place.trust, Trust::Device);
    phone.give_back(place, Outcome::Success);
    phone.fail(2, "ann").await;
    phone.settle(&["ann"], Outcome::Success).await;
    phone.fail(3, "ann").await;
    // Its budget is spent: it is a stranger now.
    about(phone.refusal("ann").await, "locked", 30 * MINUTE);
    assert_eq!(phone.at("other").admitted(&["bob"]).await.trust, Trust::Stranger);
    // A device is one account's: named with another, it is none.
    let tablet = case.with("tablet");
    about(tablet.reserve(&["ann", "bob"]).await.err().unwrap(), "locked", 30 * MINUTE);
    let held = case.with("laptop");
    held.fail(3, "eve").await;
    assert_eq!(held.admitted(&["eve"]).await.trust, Trust::Stranger, "eve was not failed");
    phone.limits.device.lockout = None;
    about(phone.refusal("ann").await, "locked", 30 * MINUTE);
}
