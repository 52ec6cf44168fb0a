use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use futures_util::FutureExt;
use http::{Method, Request};
use parking_lot::Mutex;

use super::*;
use crate::counters::LocalCounter;
use crate::policy::{
    Balance, Condition, FieldPath, GuardRule, Limit, Lockout, Maintenance, PathPattern, Place,
};

#[cfg(test)]
mod carriers;

const CLIENT: Client = Client { address: IpAddr::V4(Ipv4Addr::LOCALHOST), device: None };
const FORM: Option<&[u8]> = Some(b"application/x-www-form-urlencoded");

fn site(logins: Vec<GuardRule>) -> Site {
    guarded(logins, Vec::new())
}

fn guarded(logins: Vec<GuardRule>, guards: Vec<GuardRule>) -> Site {
    let shared = |rules: Vec<GuardRule>| rules.into_iter().map(Arc::new).collect();
    Site {
        name: SiteName("shop.example".into()),
        hosts: Vec::new(),
        upstreams: Vec::new(),
        balance: Balance::default(),
        maintenance: Maintenance::default(),
        logins: shared(logins),
        guards: shared(guards),
        blocks: Vec::new(),
        routes: Vec::new(),
    }
}

fn rule(path: &str, field: Option<&str>) -> GuardRule {
    let subject_field = field.map(|field| FieldPath::parse(field).unwrap());
    GuardRule { subject_field, ..GuardRule::login(PathPattern::parse(path).unwrap()) }
}

fn post(uri: &str) -> request::Parts {
    Request::post(uri).body(()).unwrap().into_parts().0
}

/// The claims of a form.
fn claims<'p>(expected: &Expected<'p>, body: &str) -> Result<Vec<Claim<'p>>, ClaimError> {
    expected.claims(FORM, body.as_bytes(), Extent::Whole)
}

/// The names of the one claim that a form makes.
fn names(site: &Site, uri: &str, body: &str) -> Option<Vec<String>> {
    let expected = LoginGuard::recognise(site, &post(uri)).unwrap();
    let claims = claims(&expected, body).unwrap();
    assert!(claims.len() < 2, "several claims");
    claims.first().map(|claim| claim.account.names().to_vec())
}

fn reserve(
    guard: &LoginGuard,
    (site, body): (&Site, &str),
    client: Client,
    limits: &Arc<LoginLimits>,
) -> Option<Verdict> {
    let expected = LoginGuard::recognise(site, &post("/login")).unwrap();
    let claims = claims(&expected, body).unwrap();
    let claim = claims.first()?;
    Some(guard.reserve(&expected, claim, client, limits).now_or_never().unwrap())
}

fn try_once(guard: &LoginGuard, site: &Site, body: &str) -> Option<Verdict> {
    reserve(guard, (site, body), CLIENT, &Arc::new(LoginLimits::default()))
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
        drop(reserve(&guard, (&site, "email=a&password=b"), CLIENT, &limits));
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
        "/login.PHP/x",
        "/Login.aspx/x",
        "/login.jsp/x.css",
        "/account/login.json",
        "/index.php?main_page=login&action=process",
        "/index.php?dispatch=auth.login",
        "/index.php?rt=account/login",
        "/?r=site/login",
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
        "/shop%252fenter",
        "/shop/enter?x",
        "/shop/enter.json",
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
        "txtEmail",
        "login_email_address",
        "txt_username",
        "kundennummer",
    ] {
        let body = format!("{field}=Ann%40x&password=p");
        assert_eq!(names(&site, "/login", &body).unwrap(), ["ann@x"], "{field}");
    }
    let button = names(&site, "/my-account", "username=ann&password=p&login=Anmelden");
    assert_eq!(button.unwrap(), ["ann"]);
    assert_eq!(names(&site, "/login?email=ann", "password=p").unwrap(), ["ann"]);
}

#[test]
fn a_password_is_known_in_the_languages_of_shops() {
    let site = site(Vec::new());
    for field in ["user_pwd", "txtPwd", "pw", "customer_pw", "heslo", "wachtwoord", "pass%77ort"] {
        let found = names(&site, "/login", &format!("email=ann&{field}=p"));
        assert_eq!(found.unwrap(), ["ann"], "{field}");
    }
}

/// Both rules have a condition, so that the first does not decide.
fn site_of_two_methods() -> Site {
    let field = FieldPath::parse("password").unwrap();
    let when = Some(Condition { field, value: None, place: Place::Anywhere });
    let by = |method| GuardRule { method, when: when.clone(), ..rule("/enter", Some("email")) };
    site(vec![by(Method::POST), by(Method::GET)])
}

#[test]
fn a_configured_login_is_not_passed_by_another_method() {
    let site = site(vec![rule("/shop/enter", Some("email"))]);
    let tried = |method: &str, uri: &str, body: &str| {
        let head = Request::builder().method(method).uri(uri);
        let head = head.header("content-length", body.len()).body(()).unwrap().into_parts().0;
        let expected = LoginGuard::recognise(&site, &head)?;
        let claims = claims(&expected, body).unwrap();
        claims.first().map(|claim| claim.account.names().to_vec())
    };
    for method in ["GET", "HEAD", "PUT", "PATCH", "post", "FOO"] {
        let in_query = tried(method, "/shop/enter?email=ann&password=p", "");
        assert_eq!(in_query.unwrap(), ["ann"], "{method}");
        let in_body = tried(method, "/shop/enter", "email=ann&password=p");
        assert_eq!(in_body.unwrap(), ["ann"], "{method}");
        assert!(tried(method, "/shop/enter?email=ann", "").is_none(), "{method}");
    }
    let site = site_of_two_methods();
    let head = Request::get("/enter?email=ann&password=p").body(()).unwrap().into_parts().0;
    let expected = LoginGuard::recognise(&site, &head).unwrap();
    assert_eq!(claims(&expected, "").unwrap().len(), 1, "counted by both rules");
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
    let json = Some(&b"application/json"[..]);
    let claims = expected.claims(json, body, Extent::Whole).unwrap();
    assert_eq!(claims[0].account.names(), ["ann"]);
}

#[test]
fn a_body_without_a_password_is_no_login() {
    let site = site(Vec::new());
    assert!(names(&site, "/login", "email=ann").is_none());
    assert!(try_once(&guard(), &site, "email=ann").is_none());
}

#[test]
fn where_limits_observe_nothing_is_refused_and_what_would_be_is_told() {
    let (guard, site) = (guard(), site(Vec::new()));
    let mut limits = LoginLimits::clone(&account_lockout(2));
    limits.mode = LimitMode::Observe;
    let limits = Arc::new(limits);
    let admitted = || {
        let verdict = reserve(&guard, (&site, "email=ann&password=p"), CLIENT, &limits);
        let Some(Verdict::Admit(attempt)) = verdict else { panic!("refused") };
        attempt
    };
    for _ in 0..2 {
        let attempt = admitted();
        assert_eq!(attempt.observed(), None);
        attempt.settle(Outcome::Failure);
    }
    // What would be refused neither counts nor clears.
    for outcome in [Outcome::Failure, Outcome::Success] {
        let attempt = admitted();
        assert_eq!(attempt.observed(), Some("locked"));
        attempt.settle(outcome);
    }
    assert_eq!(guard.locked_accounts(), 1);
}

#[test]
fn a_configured_login_without_an_account_counts_for_its_network() {
    let (guard, site) = (guard(), site(vec![rule("/login", None)]));
    for _ in 0..20 {
        assert!(matches!(try_once(&guard, &site, ""), Some(Verdict::Admit(_))));
    }
    let Some(Verdict::Refuse(refusal)) = try_once(&guard, &site, "") else { panic!("admitted") };
    assert_eq!(refusal.reason.as_str(), "network_limit");
}

#[test]
fn too_many_accounts_in_one_request_are_refused() {
    let body: String = (0..9).map(|n| format!("email=a{n}&")).collect();
    let verdict = try_once(&guard(), &site(Vec::new()), &(body + "password=p"));
    assert!(matches!(verdict, Some(Verdict::Refuse(_))));
}

#[test]
fn a_dropped_attempt_is_a_failure() {
    let (guard, site) = (guard(), site(Vec::new()));
    let limits = account_lockout(1);
    let reserve = || reserve(&guard, (&site, "email=ann&password=p"), CLIENT, &limits);
    let Some(Verdict::Admit(attempt)) = reserve() else { panic!("refused") };
    attempt.settle(Outcome::Neutral);
    assert_eq!(guard.locked_accounts(), 0);
    let Some(Verdict::Admit(attempt)) = reserve() else { panic!("refused") };
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
    let limits = Arc::new(LoginLimits { wide_network: Limit::default(), ..LoginLimits::default() });
    let reserve = |n: u8| {
        let client = Client { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, n)), device: None };
        reserve(&guard, (&site, "odd=ann&password=p"), client, &limits)
    };
    for n in 0..200 {
        assert!(matches!(reserve(n), Some(Verdict::Admit(_))), "{n}");
    }
    let Some(Verdict::Refuse(refusal)) = reserve(200) else { panic!("admitted") };
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
        expected.claims(json, body, Extent::Whole).is_err()
    };
    assert!(refused(&open, "/login", b"{\"x\":\"y"));
    assert!(refused(&open, "/sessions", b"{\"password\":\"y"));
    assert!(!refused(&open, "/sessions", b"{\"x\":\"y"));
    assert!(refused(&configured, "/sessions", b"{\"x\":\"y"));
    assert!(!refused(&open, "/login", b"email=o'brien&password=p"));
}
