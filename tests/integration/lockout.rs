//! The limits of logins as customers, guessers and operators meet them (promise P6).

use std::thread;

use crate::harness::{Answer, Client, ONLY_ACCOUNTS, Setup, Sidecar, Upstream, eventually};

const LOGIN: &str = "[[site.login]]\npath = \"/login\"\naccount_field = \"email\"\n";
const HOME: &str = "192.0.2.7";

/// A shop whose one good password is `right`.
fn shop() -> Upstream {
    Upstream::start(|exchange| match exchange.request()?.text().contains("right") {
        true => exchange.answer(302, &[("location", "/account"), ("set-cookie", "sid=1")], b""),
        false => exchange.answer(401, &[], b"wrong password"),
    })
}

/// Behind a proxy of the operator's, so that clients come from many networks.
fn behind_a_proxy(shop: &Upstream, tables: &str) -> Sidecar {
    let top = "trusted_proxies = [\"127.0.0.0/8\"]";
    Setup::new(shop).top(top).site(LOGIN).tables(tables).start()
}

fn log_in(client: &mut Client, from: &str, account: &str, password: &str) -> Answer {
    let fields = [("x-forwarded-for", from), ("content-type", "application/x-www-form-urlencoded")];
    let body = format!("email={account}&password={password}");
    client.request("POST", "/login", &fields, body.as_bytes())
}

fn wait(answer: &Answer) -> u64 {
    answer.assert_refused(429);
    answer.field("retry-after").expect("429 without Retry-After").parse().unwrap()
}

#[test]
fn an_office_behind_one_address_logs_in_as_often_as_it_likes() {
    let shop = shop();
    let sidecar = Setup::new(&shop).site(LOGIN).start();
    let mut client = sidecar.http();
    for nth in 0..150 {
        let body = format!("email=colleague{}&password=right", nth % 50);
        assert_eq!(client.form("/login", &body).status, 302, "login {nth}");
    }
}

#[test]
fn mistyped_passwords_are_tried_again_at_once_and_a_guesser_waits_and_is_told_his_rule() {
    let shop = shop();
    let sidecar = behind_a_proxy(&shop, "[login]\nper_account = \"off\"\n");
    let mut client = sidecar.http();
    for _ in 0..5 {
        assert_eq!(log_in(&mut client, HOME, "ada", "wrong").status, 401);
    }
    assert!(wait(&log_in(&mut client, HOME, "ada", "right")) <= 2);
    let refused = |reason| sidecar.metric("tillgate_login_refusals_total", &[reason]);
    assert!(refused("pair_delay") >= 1.0);
    eventually("the moment to pass", || {
        (log_in(&mut client, HOME, "ada", "right").status == 302).then_some(())
    });
}

#[test]
fn p6_strangers_lock_an_account_and_not_its_owner_out() {
    let shop = shop();
    let tables = "[login]\nper_account = \"off\"\npair_lockout = { enabled = false }";
    let sidecar = behind_a_proxy(&shop, tables);
    let mut client = sidecar.http();
    assert_eq!(log_in(&mut client, HOME, "ada", "right").status, 302);
    for nth in 0..10 {
        let from = format!("198.51.{nth}.1");
        assert_eq!(log_in(&mut client, &from, "ada", "wrong").status, 401);
    }
    assert!(wait(&log_in(&mut client, "203.0.113.9", "ada", "right")) > 1_700);
    assert_eq!(log_in(&mut client, HOME, "ada", "right").status, 302, "the owner is locked out");
    let metric = |name, labels: &[&str]| sidecar.metric(name, labels);
    assert_eq!(metric("tillgate_login_locks_total", &["account"]), 1.0);
    assert_eq!(metric("tillgate_accounts_locked", &[]), 1.0);
}

#[test]
fn p6_a_network_that_fails_on_many_accounts_is_locked_out_and_a_forgetful_customer_is_not() {
    let shop = shop();
    let tables = "[login]\nper_network = \"off\"\nper_account = \"off\"\n\
                  lockout = { enabled = false }\npair_lockout = { enabled = false }\nrisk = \"off\"";
    let sidecar = behind_a_proxy(&shop, tables);
    let mut client = sidecar.http();
    for _ in 0..30 {
        assert_eq!(log_in(&mut client, HOME, "ada", "wrong").status, 401);
    }
    for nth in 0..20 {
        let victim = format!("victim{nth}");
        assert_eq!(log_in(&mut client, "198.51.100.1", &victim, "wrong").status, 401);
    }
    assert!(wait(&log_in(&mut client, "198.51.100.1", "other", "right")) > 3_500);
    assert_eq!(log_in(&mut client, HOME, "ada", "right").status, 302);
    let audit = || std::fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
    eventually("the lock to be in the audit log", || {
        audit().contains("\"dimension\":\"network\"").then_some(())
    });
    assert!(!audit().contains("198.51.100.1"));
}

#[test]
fn limits_that_observe_refuse_nothing_and_say_what_they_would_have_refused() {
    let shop = shop();
    let tables = format!("{ONLY_ACCOUNTS}mode = \"observe\"\n");
    let sidecar = behind_a_proxy(&shop, &tables);
    let mut client = sidecar.http();
    for _ in 0..10 {
        assert_eq!(log_in(&mut client, HOME, "ada", "wrong").status, 401);
    }
    let mark = sidecar.mark();
    assert_eq!(log_in(&mut client, HOME, "ada", "wrong").status, 401);
    assert_eq!(log_in(&mut client, HOME, "ada", "right").status, 302);
    let said = sidecar.wait_for_log(mark, "login would be refused");
    assert_eq!(said["reason"], "locked");
    for outcome in ["failure", "success"] {
        let labels = ["locked", outcome];
        assert_eq!(sidecar.metric("tillgate_login_observed_total", &labels), 1.0);
    }
    assert_eq!(sidecar.metric("tillgate_login_refusals_total", &[]), 0.0);
}

#[test]
fn p6_a_restart_forgives_no_guesser_and_forgets_no_known_network() {
    let shop = shop();
    let mut sidecar = behind_a_proxy(&shop, ONLY_ACCOUNTS);
    let mut client = sidecar.http();
    assert_eq!(log_in(&mut client, HOME, "ada", "right").status, 302);
    for _ in 0..10 {
        assert_eq!(log_in(&mut client, "198.51.100.1", "ada", "wrong").status, 401);
    }
    for _ in 0..9 {
        assert_eq!(log_in(&mut client, "198.51.100.1", "bob", "wrong").status, 401);
    }
    sidecar.restart();
    let mut client = sidecar.http();
    assert!(wait(&log_in(&mut client, "203.0.113.9", "ada", "right")) > 1_600);
    assert_eq!(log_in(&mut client, HOME, "ada", "right").status, 302, "home is forgotten");
    assert_eq!(log_in(&mut client, "198.51.100.1", "bob", "wrong").status, 401);
    wait(&log_in(&mut client, "203.0.113.9", "bob", "right"));
    // What a file that somebody has been at says is not believed, and said to be so.
    let state = sidecar.data().join("counters.state");
    assert!(!String::from_utf8_lossy(&std::fs::read(&state).unwrap()).contains("ada"));
    sidecar.kill9();
    std::fs::write(&state, "tillgate counters 1\nnothing").unwrap();
    let mark = sidecar.mark();
    sidecar.restart();
    sidecar.wait_for_log(mark, "counters begin empty");
}

#[test]
fn p6_a_crowd_of_guessers_passes_the_limit_of_an_account_exactly_once_over() {
    let shop = shop();
    let sidecar = behind_a_proxy(&shop, "[login]\nper_account = \"off\"");
    let address = sidecar.address("http");
    let guessers: Vec<_> = (0..200)
        .map(|nth| {
            thread::spawn(move || {
                let from = format!("10.{nth}.0.1");
                log_in(&mut Client::plain(address), &from, "ada", "wrong").status
            })
        })
        .collect();
    let statuses: Vec<_> = guessers.into_iter().map(|guesser| guesser.join().unwrap()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 401).count(), 10);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 190);
    assert_eq!(shop.count(), 10);
}
