use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use futures_util::FutureExt;
use http::{Method, Request};
use parking_lot::Mutex;

use super::*;
use crate::counters::LocalCounter;
use crate::policy::{Limit, Lockout, LoginRule, PathPattern};

const CLIENT: Client = Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST), device: None };
const FORM: Option<&[u8]> = Some(b"application/x-www-form-urlencoded");

fn site(logins: Vec<LoginRule>) -> Site {
    let name = SiteName("shop.example".into());
    Site {
        name,
        hosts: Vec::new(),
        upstreams: Vec::new(),
        logins,
        blocks: Vec::new(),
        routes: Vec::new(),
    }
}

fn rule(path: &str, field: Option<&str>) -> LoginRule {
    LoginRule {
        method: Method::POST,
        path: PathPattern::parse(path).unwrap(),
        account_field: field.map(str::to_owned),
        success: Vec::new(),
        failure: Vec::new(),
    }
}

fn post(uri: &str) -> request::Parts {
    Request::post(uri).body(()).unwrap().into_parts().0
}

fn names(site: &Site, uri: &str, body: &str) -> Option<Vec<String>> {
    let expected = LoginGuard::recognise(site, &post(uri)).unwrap();
    expected.account(FORM, body.as_bytes()).unwrap().map(|account| account.names().to_vec())
}

fn try_once(guard: &LoginGuard, site: &Site, body: &str) -> Verdict {
    let expected = LoginGuard::recognise(site, &post("/login")).unwrap();
    let account = expected.account(FORM, body.as_bytes()).unwrap();
    let limits = Arc::new(LoginLimits::default());
    guard.reserve(&expected, account, CLIENT, &limits).now_or_never().unwrap()
}

/// Remembers which sites had accounts locked.
#[derive(Default)]
struct Locks(Mutex<Vec<String>>);

impl LockWatcher for Locks {
    fn locked(&self, site: &SiteName, _lock: &Lock) {
        self.0.lock().push(site.to_string());
    }
}

fn guard() -> LoginGuard {
    LoginGuard::new(Arc::new(LocalCounter::new(1 << 20)), &[1; 32], Arc::new(Locks::default()))
}

/// The lockout of accounts alone.
fn account_lockout(failures: u32) -> Arc<LoginLimits> {
    let failures = NonZeroU32::new(failures).unwrap();
    let lockout = Some(Lockout { failures, ..Lockout::default() });
    let account = Limit { quota: None, lockout };
    Arc::new(LoginLimits { account, ..LoginLimits::unlimited() })
}

#[test]
fn a_lock_is_told_once_even_when_the_last_guess_hangs_up() {
    let (site, locks) = (site(Vec::new()), Arc::new(Locks::default()));
    let watcher = Arc::clone(&locks);
    let guard = LoginGuard::new(Arc::new(LocalCounter::new(1 << 20)), &[1; 32], watcher);
    let limits = account_lockout(2);
    for _ in 0..3 {
        let expected = LoginGuard::recognise(&site, &post("/login")).unwrap();
        let account = expected.account(FORM, b"email=a&password=b").unwrap();
        let verdict = guard.reserve(&expected, account, CLIENT, &limits).now_or_never().unwrap();
        drop(verdict);
    }
    assert_eq!(*locks.0.lock(), [site.name.to_string()], "told otherwise than once");
}

#[test]
fn the_usual_logins_are_recognised() {
    let site = site(Vec::new());
    for uri in [
        "/login",
        "/de/signin/",
        "/sign-in",
        "/session",
        "/wp-login.php",
        "/Account/LogOn",
        "/customer/account/loginPost/",
        "/index.php?route=account/login",
        "/?route=account%2Flogin",
        "/user/login",
        "/api/v1/login",
        "/rest/V1/integration/customer/token",
        "/login.aspx",
        "/index.php/customer/account/loginPost",
        "/login.php/x",
        "//login",
        "/%6cogin",
        "/login;x",
        "/a/../login",
        "/LOGIN",
        "/login.",
        "/login%20",
        "/login%0a",
        "/index.php?ro%75te=account/login",
    ] {
        assert!(LoginGuard::recognise(&site, &post(uri)).is_some(), "{uri}");
    }
    for uri in ["/", "/cart/add", "/blog/login-problems", "/loginx", "/search?q=shoes"] {
        assert!(LoginGuard::recognise(&site, &post(uri)).is_none(), "{uri}");
    }
    let get = Request::get("/login").body(()).unwrap().into_parts().0;
    assert!(LoginGuard::recognise(&site, &get).is_none());
}

#[test]
fn a_configured_path_cannot_be_passed_by_another_spelling() {
    let site = site(vec![rule("/shop/enter", None)]);
    for uri in [
        "/shop/enter",
        "/shop//enter",
        "/shop/enter/",
        "/shop/./enter",
        "/shop/x/../enter",
        "/%73hop/enter",
        "/shop/enter;jsessionid=1",
        "/shop;a/enter",
        "/Shop/Enter",
        "/index.php/shop/enter",
        "/shop%2fenter",
        "/shop/enter?x",
    ] {
        assert!(LoginGuard::recognise(&site, &post(uri)).is_some(), "{uri}");
    }
    assert!(LoginGuard::recognise(&site, &post("/login")).is_none());
    assert!(LoginGuard::recognise(&site, &post("/shop/enter2")).is_none());
}

#[test]
fn an_account_is_read_by_its_usual_names() {
    let site = site(Vec::new());
    for field in [
        "email",
        "username",
        "log",
        "user_login",
        "userid",
        "login%5Busername%5D",
        "_username",
        "j_username",
        "email%00x",
        "customer%5Bemail%5D",
        "login",
        "ctl00%24Main%24UserName",
        "user%20name",
    ] {
        let body = format!("{field}=Ann%40x&password=p");
        assert_eq!(names(&site, "/login", &body).unwrap(), ["ann@x"], "{field}");
    }
    let button = names(&site, "/my-account", "username=ann&password=p&login=Anmelden");
    assert_eq!(button.unwrap(), ["ann"]);
    assert_eq!(names(&site, "/login?email=ann", "password=p").unwrap(), ["ann"]);
}

#[test]
fn every_account_named_counts() {
    let site = site(Vec::new());
    let found = names(&site, "/login", "email=a&email=b&username=c&email=A&password=p");
    assert_eq!(found.unwrap(), ["a", "b", "c"]);
}

#[test]
fn a_configured_field_is_read_by_its_path() {
    let site = site(vec![rule("/login", Some("user.email"))]);
    let expected = LoginGuard::recognise(&site, &post("/login")).unwrap();
    let body = br#"{"email":"x","user":{"email":"Ann"}}"#;
    let account = expected.account(Some(&b"application/json"[..]), body).unwrap().unwrap();
    assert_eq!(account.names(), ["ann"]);
}

#[test]
fn a_body_without_a_password_is_no_login() {
    let site = site(Vec::new());
    assert!(names(&site, "/login", "email=ann").is_none());
    assert!(matches!(try_once(&guard(), &site, "email=ann"), Verdict::NotALogin));
}

#[test]
fn where_limits_observe_nothing_is_refused_and_what_would_be_is_told() {
    let (guard, site) = (guard(), site(Vec::new()));
    let mut limits = LoginLimits::clone(&account_lockout(2));
    limits.mode = LimitMode::Observe;
    let limits = Arc::new(limits);
    let expected = LoginGuard::recognise(&site, &post("/login")).unwrap();
    let reserve = || {
        let account = expected.account(FORM, b"email=ann&password=p").unwrap();
        let verdict = guard.reserve(&expected, account, CLIENT, &limits).now_or_never().unwrap();
        let Verdict::Admit(attempt) = verdict else { panic!("refused") };
        attempt
    };
    for _ in 0..2 {
        let attempt = reserve();
        assert_eq!(attempt.observed(), None);
        attempt.settle(Outcome::Failure);
    }
    // What would be refused neither counts nor clears.
    for outcome in [Outcome::Failure, Outcome::Success] {
        let attempt = reserve();
        assert_eq!(attempt.observed().unwrap().reason.as_str(), "locked");
        attempt.settle(outcome);
    }
    assert_eq!(guard.locked_accounts(), 1);
}

#[test]
fn a_configured_login_without_an_account_counts_for_its_network() {
    let (guard, site) = (guard(), site(vec![rule("/login", None)]));
    for _ in 0..20 {
        assert!(matches!(try_once(&guard, &site, ""), Verdict::Admit(_)));
    }
    let Verdict::Refuse(refusal) = try_once(&guard, &site, "") else { panic!("admitted") };
    assert_eq!(refusal.reason.as_str(), "network_limit");
}

#[test]
fn too_many_accounts_in_one_request_are_refused() {
    let body: String = (0..9).map(|n| format!("email=a{n}&")).collect();
    let verdict = try_once(&guard(), &site(Vec::new()), &(body + "password=p"));
    assert!(matches!(verdict, Verdict::Refuse(_)));
}

#[test]
fn a_dropped_attempt_is_a_failure() {
    let (guard, site) = (guard(), site(Vec::new()));
    let limits = account_lockout(1);
    let expected = LoginGuard::recognise(&site, &post("/login")).unwrap();
    let reserve = || {
        let account = expected.account(FORM, b"email=ann&password=p").unwrap();
        guard.reserve(&expected, account, CLIENT, &limits).now_or_never().unwrap()
    };
    let Verdict::Admit(attempt) = reserve() else { panic!("refused") };
    attempt.settle(Outcome::Neutral);
    assert_eq!(guard.locked_accounts(), 0);
    let Verdict::Admit(attempt) = reserve() else { panic!("refused") };
    drop(attempt);
    assert_eq!(guard.locked_accounts(), 1);
}

#[test]
fn a_name_that_the_shop_ignores_does_not_hide_the_one_it_reads() {
    let site = site(Vec::new());
    let found = names(&site, "/login", "login=admin&password=p&email=random7").unwrap();
    assert_eq!(found, ["random7", "admin"]);
    for label in ["Anmelden", "Log+in", "Zaloguj+si%C4%99", "1"] {
        let body = format!("username=ann&password=p&login={label}");
        assert_eq!(names(&site, "/my-account", &body).unwrap(), ["ann"], "{label}");
    }
}

#[test]
fn attempts_without_a_known_account_share_a_quota_of_the_site_and_no_lock() {
    let (guard, site) = (guard(), site(Vec::new()));
    let mut limits = LoginLimits::default();
    limits.wide_network = Limit::default();
    let limits = Arc::new(limits);
    let expected = LoginGuard::recognise(&site, &post("/login")).unwrap();
    let reserve = |n: u8| {
        let account = expected.account(FORM, b"odd=ann&password=p").unwrap();
        let client = Client { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)), device: None };
        guard.reserve(&expected, account, client, &limits).now_or_never().unwrap()
    };
    for n in 0..200 {
        assert!(matches!(reserve(n), Verdict::Admit(_)), "{n}");
    }
    let Verdict::Refuse(refusal) = reserve(200) else { panic!("admitted") };
    assert_eq!(refusal.reason.as_str(), "nameless_limit");
    assert!(refusal.retry_after <= Duration::from_secs(1), "seconds, not a lock");
    assert_eq!(guard.locked_accounts(), 0);
}

#[test]
fn a_body_that_cannot_be_read_is_refused_where_it_may_be_a_login() {
    let (open, configured) = (site(Vec::new()), site(vec![rule("/sessions", None)]));
    let json: Option<&[u8]> = Some(b"application/json");
    let refused = |site: &Site, uri: &str, body: &[u8]| {
        let expected = LoginGuard::recognise(site, &post(uri)).unwrap();
        expected.account(json, body).is_err()
    };
    assert!(refused(&open, "/login", b"{\"x\":\"y"));
    assert!(refused(&open, "/sessions", b"{\"password\":\"y"));
    assert!(!refused(&open, "/sessions", b"{\"x\":\"y"));
    assert!(refused(&configured, "/sessions", b"{\"x\":\"y"));
    assert!(!refused(&open, "/login", b"email=o'brien&password=p"));
}
