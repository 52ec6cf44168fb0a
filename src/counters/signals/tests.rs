//! What an attack looks like, and what ordinary customers look like beside it.

use super::*;
use crate::counters::{KeyHasher, Scope};

fn hasher() -> KeyHasher {
    KeyHasher::new(&[5; 32])
}

const SHOP: Scope<'static> = Scope { site: "shop", guard: None };

fn network(number: u32) -> CounterKey {
    hasher().network(None, std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into())
}

fn account(number: u32) -> CounterKey {
    hasher().account(SHOP, &format!("customer {number}"))
}

fn tried(from: u32, as_whom: u32) -> Tried {
    Tried {
        site: hasher().site(SHOP),
        network: network(from),
        wide_network: network(0),
        accounts: vec![account(as_whom)],
        device: None,
    }
}

fn at(second: u64) -> Duration {
    Duration::from_secs(second)
}

fn bringer(from: u32, session: Option<u32>) -> Bringer {
    Bringer { network: network(from), session: session.map(|it| account(1_000_000 + it)) }
}

fn card(number: u32) -> CounterKey {
    account(2_000_000 + number)
}

#[test]
fn one_network_over_many_accounts_is_noticed_step_by_step() {
    let signals = Signals::new();
    let mut points = Vec::new();
    for who in 0..21 {
        points.push(signals.score(&tried(1, who), at(9)).points());
        signals.login_went(&tried(1, who), Outcome::Failure, at(9));
    }
    assert_eq!([points[4], points[5], points[10], points[20]], [0, 30, 50, 80]);
    let score = signals.score(&tried(1, 99), at(9));
    assert_eq!(score.reasons(), [Signal::ManyAccounts]);
    assert_eq!(signals.score(&tried(2, 0), at(9)).points(), 0, "another network is free");
    assert_eq!(signals.score(&tried(1, 99), at(3700)).points(), 0, "an hour later");
}

#[test]
fn many_networks_on_one_account_are_noticed_over_a_day() {
    let signals = Signals::new();
    for from in 0..20 {
        signals.login_went(&tried(from, 7), Outcome::Failure, at(u64::from(from) * 3600));
    }
    let now = at(20 * 3600);
    let score = signals.score(&tried(100, 7), now);
    assert_eq!((score.points(), score.reasons()), (80, &[Signal::ManyNetworks][..]));
    assert_eq!(signals.score(&tried(100, 8), now).points(), 0, "another account is free");
}

#[test]
fn an_office_that_mistypes_and_gets_in_leaves_no_trace() {
    let signals = Signals::new();
    for who in 0..100 {
        signals.login_went(&tried(1, who), Outcome::Failure, at(9));
        (0..4).for_each(|_| signals.login_went(&tried(1, who), Outcome::Success, at(10)));
    }
    assert_eq!(signals.score(&tried(1, 0), at(11)).points(), 0);
    // Nine who give up among many who get in are worth five.
    for who in 200..209 {
        signals.login_went(&tried(1, who), Outcome::Failure, at(12));
    }
    assert_eq!(signals.score(&tried(1, 0), at(13)).points(), 30);
    for who in 209..240 {
        signals.login_went(&tried(1, who), Outcome::Failure, at(13));
    }
    assert!(signals.score(&tried(1, 0), at(13)).points() >= 50, "own accounts buy only half");
}

#[test]
fn neutral_answers_and_requests_with_several_names_forgive_nothing() {
    let signals = Signals::new();
    for who in 0..5 {
        signals.login_went(&tried(1, who), Outcome::Failure, at(9));
        signals.login_went(&tried(1, who), Outcome::Neutral, at(9));
    }
    let both = Tried { accounts: (0..5).map(account).collect(), ..tried(1, 0) };
    signals.login_went(&both, Outcome::Success, at(9));
    assert_eq!(signals.score(&tried(1, 9), at(9)).points(), 30);
}

#[test]
fn what_an_operator_vouches_for_is_forgotten() {
    let signals = Signals::new();
    for from in 0..10 {
        signals.login_went(&tried(from, 7), Outcome::Failure, at(9));
        signals.login_went(&tried(1, from), Outcome::Failure, at(9));
    }
    assert_eq!(signals.score(&tried(1, 7), at(9)).names(), "many_accounts,many_networks");
    signals.forget(&account(7), at(9));
    assert_eq!(signals.score(&tried(1, 7), at(9)).names(), "many_accounts");
    signals.forget(&network(1), at(9));
    assert_eq!(signals.score(&tried(1, 7), at(9)).names(), "");
}

#[test]
fn a_site_under_attack_is_a_reason_that_needs_another() {
    let signals = Signals::new();
    for from in 0..200 {
        signals.login_went(&tried(from, from), Outcome::Failure, at(61));
    }
    let ordinary = signals.score(&tried(900, 900), at(61));
    assert_eq!((ordinary.points(), ordinary.names().as_str()), (20, "site_failures"));
    let other = hasher().site(Scope::logins("other"));
    let elsewhere = Tried { site: other, ..tried(900, 900) };
    assert_eq!(signals.score(&elsewhere, at(61)).points(), 0);
}

#[test]
fn the_sixth_card_of_a_session_is_refused_and_the_first_five_are_not() {
    let (signals, limits) = (Signals::new(), CardTesting::default());
    let mine = bringer(1, Some(1));
    let bring =
        |who: &Bringer, number, second| signals.bring(who, &card(number), (&limits, at(second)));
    for number in 0..5 {
        assert_eq!(bring(&mine, number, u64::from(number)), Ok(()));
    }
    assert_eq!(bring(&mine, 3, 10), Ok(()), "a card brought again is no other card");
    let refused = bring(&mine, 5, 10).unwrap_err();
    assert_eq!(refused, CardRefusal { signal: Signal::ManyCards, retry_after: at(3590) });
    assert_eq!(bring(&bringer(1, Some(2)), 5, 10), Ok(()), "another session is free");
    assert_eq!(bring(&mine, 5, 3600), Ok(()), "an hour later the first is forgotten");
}

#[test]
fn clients_without_a_session_may_bring_any_number_of_cards() {
    let (signals, limits) = (Signals::new(), CardTesting::default());
    for number in 0..50 {
        assert_eq!(signals.bring(&bringer(1, None), &card(number), (&limits, at(1))), Ok(()));
    }
}

#[test]
fn three_declines_stop_the_session_and_its_network() {
    let (signals, limits) = (Signals::new(), CardTesting::default());
    let mine = bringer(1, Some(1));
    for second in [0, 60, 120] {
        let now = at(second);
        assert_eq!(signals.bring(&mine, &card(1), (&limits, now)), Ok(()));
        signals.declined(&mine, now);
    }
    let bring = |who: Bringer, second| signals.bring(&who, &card(1), (&limits, at(second)));
    let refusal = CardRefusal { signal: Signal::ManyDeclines, retry_after: at(480) };
    assert_eq!(bring(mine, 120), Err(refusal));
    assert_eq!(bring(bringer(1, Some(2)), 120), Err(refusal), "its network, with a new session");
    assert_eq!(bring(bringer(2, Some(1)), 120), Err(refusal), "its session, from elsewhere");
    assert_eq!(bring(bringer(2, Some(2)), 120), Ok(()), "another customer");
    assert_eq!(bring(mine, 600), Ok(()));
    assert_eq!(signals.score(&tried(1, 1), at(120)).names(), "many_declines");
}

#[test]
fn a_token_leads_back_to_who_brought_its_card_for_an_hour() {
    let (signals, limits) = (Signals::new(), CardTesting::default());
    let mine = bringer(1, Some(1));
    signals.stands_for(&card(77), mine, at(5));
    assert_eq!(signals.brought_by(&card(77), at(3604)), Some(mine));
    assert_eq!(signals.brought_by(&card(77), at(3605)), None);
    assert_eq!(signals.brought_by(&card(78), at(5)), None);
    for number in 0..5 {
        assert_eq!(signals.bring(&mine, &card(number), (&limits, at(5))), Ok(()));
    }
    // The shop's form sends the token back: the card is counted already.
    assert_eq!(signals.bring(&mine, &card(77), (&limits, at(5))), Ok(()));
}

#[test]
fn a_flood_of_networks_does_not_make_the_worst_one_forgotten() {
    let signals = Signals::within(64 << 10, 64 << 10);
    for who in 0..20 {
        signals.login_went(&tried(1, who), Outcome::Failure, at(1));
    }
    for from in 2..5_000 {
        signals.login_went(&tried(from, from), Outcome::Failure, at(2));
    }
    assert_eq!(signals.score(&tried(1, 99), at(3)).names(), "many_accounts,site_failures");
    let kept = signals.networks.count(|_| true);
    assert!((20..700).contains(&kept), "{kept}");
}
