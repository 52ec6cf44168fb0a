//! Networks that the operator allows or denies, in the file and in lists beside it.

use crate::harness::{Answer, Setup, Sidecar, Upstream, eventually};

const TIGHT: &str = "[login]\nper_network = \"2/min\"\nper_account = \"100/min\"\npair_lockout = { enabled = false }\nrisk = \"off\"\n";
const TRUSTED: &str = "trusted_proxies = [\"127.0.0.1\"]";

fn shop() -> Upstream {
    Upstream::start(|exchange| match exchange.method() {
        "POST" => exchange.answer(401, &[], b"wrong password"),
        _ => exchange.answer(200, &[], b"ok"),
    })
}

fn guess(sidecar: &Sidecar, from: &str) -> Answer {
    let fields = [("x-forwarded-for", from), ("content-type", "application/x-www-form-urlencoded")];
    // Each network guesses at an account of its own, which no other one locks.
    let body = format!("email=user-{from}&password=w");
    sidecar.http().request("POST", "/login", &fields, body.as_bytes())
}

fn refusals(sidecar: &Sidecar, reason: &str) -> f64 {
    sidecar.metric("tillgate_login_refusals_total", &[&format!("reason=\"{reason}\"")])
}

#[test]
fn a_denied_network_cannot_log_in_and_an_allowed_one_meets_no_limit() {
    let shop = shop();
    let lists = "[networks]\ndeny = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n\
                 allow = [\"198.51.100.7\", \"2001:db8:7::/48\"]";
    let sidecar = Setup::new(&shop).top(TRUSTED).tables(TIGHT).tables(lists).start();
    for from in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"] {
        let answer = guess(&sidecar, from);
        answer.assert_refused(403);
        assert!(answer.text().contains("network"), "{}", answer.text());
    }
    assert_eq!(shop.count(), 0);
    assert_eq!(refusals(&sidecar, "network_denied"), 3.0);
    let fields = [("x-forwarded-for", "192.0.2.1")];
    let page = sidecar.http().request("GET", "/", &fields, b"");
    assert_eq!(page.status, 200, "only what is guarded is denied");
    for _ in 0..5 {
        assert_eq!(guess(&sidecar, "198.51.100.7").status, 401);
        assert_eq!(guess(&sidecar, "2001:db8:7::1").status, 401, "the smaller network is right");
    }
    let spared = sidecar.metric("tillgate_login_refusals_spared_total", &["network_limit"]);
    assert_eq!(spared, 6.0);
    let strangers = ["198.51.100.8"; 3].map(|from| guess(&sidecar, from).status);
    assert_eq!(strangers, [401, 401, 429]);
}

#[test]
fn a_list_is_read_again_when_it_changes_and_a_bad_one_changes_nothing() {
    let shop = shop();
    let lists = "[networks]\ndeny = [\"lists/deny.txt\"]";
    let setup = Setup::new(&shop).top(TRUSTED).tables(lists);
    let sidecar = setup.file("lists/deny.txt", "# nobody yet\n").start();
    let list = sidecar.folder().join("lists/deny.txt");
    assert_eq!(guess(&sidecar, "192.0.2.1").status, 401);
    std::fs::write(&list, "192.0.2.0/24 # a botnet\n198.51.100.0/24 ; SBL1\n").unwrap();
    eventually("the list is in force", || {
        (guess(&sidecar, "192.0.2.1").status == 403).then_some(())
    });
    assert_eq!(guess(&sidecar, "198.51.100.1").status, 403);

    let mark = sidecar.mark();
    std::fs::write(&list, "203.0.113.0/24\nnonsense\n").unwrap();
    let line = sidecar.wait_for_log(mark, "reload refused");
    let problem = line.to_string();
    assert!(problem.contains("deny.txt:2: networks.deny: is not a network"), "{problem}");
    assert!(!problem.contains("nonsense"), "the file may be a secret one: {problem}");
    assert_eq!(guess(&sidecar, "192.0.2.1").status, 403, "the list before is in force");
    assert_eq!(guess(&sidecar, "203.0.113.1").status, 401);
}

#[test]
fn a_list_of_a_hundred_thousand_networks_is_in_force() {
    let shop = shop();
    // Every other /24 of 1.0.0.0/8 to 3.255.255.255, and as many /48 of 2001:db8::/32's neighbours.
    let four = (0..50_000_u32).map(|nth| {
        let network = 0x0100_0000 + nth * 512;
        format!("{}/24\n", std::net::Ipv4Addr::from_bits(network))
    });
    let six = (0..50_000_u32).map(|nth| format!("2a00:{:x}:{:x}::/48\n", nth >> 8, nth & 255));
    let list: String = four.chain(six).collect();
    let lists = "[networks]\ndeny = [\"deny.txt\"]\nallow = [\"1.0.2.9\"]";
    let setup = Setup::new(&shop).top(TRUSTED).tables(TIGHT).tables(lists);
    let sidecar = setup.file("deny.txt", &list).start();
    for from in ["1.0.0.0", "1.0.2.255", "2.0.0.1", "2a00:0:0:1::", "2a00:c3:4f::1"] {
        assert_eq!(guess(&sidecar, from).status, 403, "{from}");
    }
    for from in ["1.0.1.0", "1.0.2.9", "0.255.255.255", "2a00:c3:50::1", "2a00:1::ffff"] {
        let denied = guess(&sidecar, from).status == 403;
        assert_eq!(denied, from == "2a00:1::ffff", "{from}");
    }
}

#[test]
fn where_limits_only_observe_a_denied_network_logs_in_and_is_told() {
    let shop = shop();
    let tables = "[login]\nmode = \"observe\"\n[networks]\ndeny = [\"192.0.2.0/24\"]\n\
                  [proof_of_work]\nalways = true";
    let guard = "[[site.guard]]\nname = \"reset\"\nkind = \"reset\"\npath = \"/forgot\"";
    let sidecar = Setup::new(&shop).top(TRUSTED).site(guard).tables(tables).start();
    let mark = sidecar.mark();
    assert_eq!(guess(&sidecar, "192.0.2.1").status, 401);
    assert_eq!(sidecar.wait_for_log(mark, "login would be refused")["reason"], "network_denied");
    assert_eq!(guess(&sidecar, "198.51.100.1").status, 401, "nor is work demanded");
    let fields = [("x-forwarded-for", "192.0.2.1")];
    assert_eq!(sidecar.http().request("POST", "/forgot", &fields, b"email=a").status, 401);
    let observed = |labels: &[&str]| sidecar.metric("tillgate_login_observed_total", labels);
    assert_eq!(observed(&["network_denied", "failure"]), 1.0);
    assert_eq!(observed(&["proof_wanted", "failure"]), 1.0);
    let labels = ["guard=\"reset\"", "network_denied"];
    assert_eq!(sidecar.metric("tillgate_guard_observed_total", &labels), 1.0);
    assert_eq!(refusals(&sidecar, "network_denied"), 0.0);
}

#[test]
fn a_refusal_is_in_the_audit_log_by_the_name_of_its_rule() {
    let shop = shop();
    let lists = "[networks]\ndeny = [\"192.0.2.0/24\"]";
    let sidecar = Setup::new(&shop).top(TRUSTED).tables(TIGHT).tables(lists).start();
    guess(&sidecar, "192.0.2.1").assert_refused(403);
    let strangers = ["198.51.100.8"; 3].map(|from| guess(&sidecar, from).status);
    assert_eq!(strangers, [401, 401, 429]);
    let audit = || std::fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
    for reason in ["network_denied", "network_limit"] {
        eventually("the refusal to be in the audit log", || {
            let named = format!("\"reason\":\"{reason}\"");
            audit()
                .lines()
                .any(|it| it.contains("login_refused") && it.contains(&named))
                .then_some(())
        });
    }
    assert!(!audit().contains("198.51.100") && !audit().contains("user-"));
}
