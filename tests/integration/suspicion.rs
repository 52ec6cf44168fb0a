//! Attacks that no single limit stops, and the customers beside them.

use std::time::{Duration, Instant};

use crate::harness::{Answer, Client, ONLY_ACCOUNTS, Setup, Sidecar, Upstream};
use crate::proof::{solve, terms};

const LOGIN: &str = "[[site.login]]\npath = \"/login\"\naccount_field = \"email\"\n";
/// Work that a test does at once.
const LITTLE_WORK: &str = "[proof_of_work]\nbits = 8\n";
/// Limits that no test here meets, so that signals alone decide.
const NO_LOCKS: &str = "lockout = { enabled = false }\n";

/// A shop whose one good password is `right`.
fn shop() -> Upstream {
    Upstream::start(|exchange| match exchange.request()?.text().contains("right") {
        true => exchange.answer(302, &[("location", "/account"), ("set-cookie", "sid=1")], b""),
        false => exchange.answer(401, &[], b"wrong password"),
    })
}

/// Behind a proxy of the operator's, so that clients come from many networks.
fn start(shop: &Upstream, tables: &str) -> Sidecar {
    let top = "trusted_proxies = [\"127.0.0.0/8\"]";
    Setup::new(shop).top(top).site(LOGIN).tables(tables).start()
}

fn log_in(client: &mut Client, from: &str, who: (&str, &str)) -> Answer {
    log_in_with(client, from, who, ("accept", "application/json"))
}

fn log_in_with(
    client: &mut Client,
    from: &str,
    (account, password): (&str, &str),
    more: (&str, &str),
) -> Answer {
    let form = ("content-type", "application/x-www-form-urlencoded");
    let body = format!("email={account}&password={password}");
    let fields = [form, ("x-forwarded-for", from), more];
    client.request("POST", "/login", &fields, body.as_bytes())
}

fn signals(sidecar: &Sidecar, reason: &str) -> f64 {
    sidecar.metric("tillgate_login_signals_total", &[&format!("reason=\"{reason}\"")])
}

#[test]
fn a_network_that_tries_many_accounts_gets_half_its_limit_and_then_nothing() {
    let shop = shop();
    let sidecar = start(&shop, "");
    let (mut client, begun) = (sidecar.http(), Instant::now());
    let tried: Vec<_> = (0..40)
        .map(|nth| log_in(&mut client, "203.0.113.7", (&format!("user{nth}"), "wrong")).status)
        .collect();
    let passed = tried.iter().filter(|status| **status == 401).count();
    // Half of twenty; one more comes back every six seconds.
    let allowed = 10 + usize::try_from(begun.elapsed().as_secs() / 6).unwrap() + 1;
    assert!((10..=allowed).contains(&passed), "{passed} passed");
    assert_eq!(shop.count(), passed);
    assert!(signals(&sidecar, "many_accounts") > 0.0);
    for nth in 0..30 {
        let from = format!("198.51.100.{nth}");
        let customer = log_in(&mut client, &from, (&format!("customer{nth}"), "right"));
        assert_eq!(customer.status, 302, "customer {nth}");
    }
}

#[test]
fn a_list_of_accounts_is_slowed_down_and_then_asked_for_work() {
    let shop = shop();
    let sidecar = start(&shop, &format!("{ONLY_ACCOUNTS}{LITTLE_WORK}"));
    let mut client = sidecar.http();
    let mut guess = |nth: u32| log_in(&mut client, "203.0.113.7", (&format!("user{nth}"), "wrong"));
    for nth in 0..10 {
        assert_eq!(guess(nth).status, 401);
    }
    assert_eq!(shop.last().field("x-tillgate-risk"), Some("30; many_accounts"));
    let begun = Instant::now();
    assert_eq!(guess(10).status, 401);
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    // Nine more at once, so that the test need not wait for each.
    let address = sidecar.address("http");
    let more: Vec<_> = (11..20)
        .map(|nth| {
            let name = format!("user{nth}");
            let guess =
                move || log_in(&mut Client::plain(address), "203.0.113.7", (&name, "wrong"));
            std::thread::spawn(guess)
        })
        .collect();
    assert!(more.into_iter().all(|guess| guess.join().unwrap().status == 401));

    let (seen, mark) = (shop.count(), sidecar.mark());
    let mut client = sidecar.http();
    let asked = log_in(&mut client, "203.0.113.7", ("user20", "wrong"));
    let proof = solve(&terms(&asked));
    assert_eq!(shop.count(), seen, "the shop has not seen it");
    let told = sidecar.wait_for_log(mark, "login suspicious");
    assert!(told.to_string().contains("many_accounts") && told.to_string().contains("proof"));
    let show = ("x-tillgate-proof", proof.as_str());
    let worked = log_in_with(&mut client, "203.0.113.7", ("user20", "wrong"), show);
    assert_eq!(worked.status, 401);
    let audit = std::fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
    assert!(
        audit.contains("\"reason\":\"proof_wanted\"") && audit.contains("many_accounts"),
        "{audit}"
    );
    assert!(!audit.contains("user20"));
}

#[test]
fn patient_guesses_from_many_networks_at_one_account_are_slowed_and_its_owner_is_not() {
    let shop = shop();
    let sidecar = start(&shop, &format!("{ONLY_ACCOUNTS}{NO_LOCKS}{LITTLE_WORK}"));
    let mut client = sidecar.http();
    assert_eq!(log_in(&mut client, "192.0.2.1", ("ada", "right")).status, 302);
    for nth in 0..10 {
        let from = format!("203.0.113.{nth}");
        assert_eq!(log_in(&mut client, &from, ("ada", "wrong")).status, 401);
    }
    let begun = Instant::now();
    assert_eq!(log_in(&mut client, "203.0.113.10", ("ada", "wrong")).status, 401);
    assert!(begun.elapsed() >= Duration::from_secs(1));
    assert_eq!(shop.last().field("x-tillgate-risk"), Some("50; many_networks"));
    let begun = Instant::now();
    assert_eq!(log_in(&mut client, "192.0.2.1", ("ada", "right")).status, 302);
    assert_eq!(log_in(&mut client, "203.0.113.11", ("grace", "right")).status, 302);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!(shop.last().field("x-tillgate-risk"), Some("0"), "another account");
}

#[test]
fn where_limits_only_observe_suspicion_changes_nothing_and_is_told() {
    let shop = shop();
    let sidecar = start(&shop, &format!("{ONLY_ACCOUNTS}mode = \"observe\"\n"));
    let (mut client, begun) = (sidecar.http(), Instant::now());
    for nth in 0..25 {
        let answer = log_in(&mut client, "203.0.113.7", (&format!("user{nth}"), "wrong"));
        assert_eq!(answer.status, 401);
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "nobody waits");
    assert!(sidecar.metric("tillgate_login_suspicious_total", &["step=\"proof\""]) > 0.0);
}

#[test]
fn suspicion_can_be_switched_off() {
    let shop = shop();
    let sidecar = start(&shop, &format!("{ONLY_ACCOUNTS}risk = \"off\"\n"));
    let mut client = sidecar.http();
    for nth in 0..25 {
        let answer = log_in(&mut client, "203.0.113.7", (&format!("user{nth}"), "wrong"));
        assert_eq!(answer.status, 401);
    }
    assert_eq!(sidecar.metric("tillgate_login_suspicious_total", &[]), 0.0);
}

#[test]
fn a_client_cannot_say_how_suspicious_it_is() {
    let shop = shop();
    let sidecar = start(&shop, "");
    let lie = ("x-tillgate-risk", "0; trust me");
    let answer = log_in_with(&mut sidecar.http(), "192.0.2.1", ("ada", "wrong"), lie);
    assert_eq!(answer.status, 401);
    assert_eq!(shop.last().field("x-tillgate-risk"), Some("0"));
}
