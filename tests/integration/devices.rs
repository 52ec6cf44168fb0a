//! Browsers that are trusted with an account while strangers guess at it.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::harness::{Answer, Client, ONLY_ACCOUNTS, Setup, Sidecar, Upstream};

const LOGIN: &str = "[[site.login]]\npath = \"/login\"\naccount_field = \"email\"\n";

/// A shop whose one good password is `right`, that begins a session for each login and caches badly.
fn shop() -> Upstream {
    let sessions = AtomicU32::new(0);
    Upstream::start(move |exchange| match exchange.request()?.text().contains("right") {
        true => {
            let session = sessions.fetch_add(1, Ordering::Relaxed) + 1;
            let session = format!("sid={session}; Path=/");
            let fields = [
                ("location", "/account"),
                ("set-cookie", &session),
                ("cache-control", "public, max-age=600"),
            ];
            exchange.answer(302, &fields, b"")
        }
        false => exchange.answer(401, &[], b"wrong password"),
    })
}

/// Behind a proxy of the operator's, so that clients come from many networks.
fn start(shop: &Upstream, more: &str) -> Sidecar {
    let top = "trusted_proxies = [\"127.0.0.0/8\"]";
    let tables = format!("{ONLY_ACCOUNTS}{more}");
    Setup::new(shop).top(top).site(LOGIN).tables(&tables).start()
}

/// A browser that keeps its cookies.
#[derive(Default)]
struct Browser(Vec<String>);

impl Browser {
    fn log_in(&mut self, client: &mut Client, from: &str, who: (&str, &str)) -> Answer {
        let cookies = self.0.join("; ");
        let form = ("content-type", "application/x-www-form-urlencoded");
        let mut fields = vec![form, ("x-forwarded-for", from)];
        if !cookies.is_empty() {
            fields.push(("cookie", &cookies));
        }
        let body = format!("email={}&password={}", who.0, who.1);
        let answer = client.request("POST", "/login", &fields, body.as_bytes());
        for cookie in answer.head.all("set-cookie") {
            let pair = cookie.split(';').next().unwrap();
            let name = pair.split('=').next().unwrap();
            self.0.retain(|kept| !kept.starts_with(&format!("{name}=")));
            self.0.push(pair.to_owned());
        }
        answer
    }
}

fn lock(client: &mut Client, account: &str) {
    for from in 1..=10 {
        let from = format!("203.0.113.{from}");
        let answer = Browser::default().log_in(client, &from, (account, "wrong"));
        assert_eq!(answer.status, 401);
    }
    let stranger = Browser::default().log_in(client, "203.0.113.99", (account, "right"));
    stranger.assert_refused(429);
}

#[test]
fn a_lock_by_strangers_keeps_the_owners_browser_in_wherever_he_is() {
    let shop = shop();
    let sidecar = start(&shop, "");
    let (mut client, mut phone) = (sidecar.https(), Browser::default());
    assert_eq!(phone.log_in(&mut client, "192.0.2.1", ("ada", "right")).status, 302);
    lock(&mut client, "ada");
    assert_eq!(phone.log_in(&mut client, "198.51.100.1", ("ada", "right")).status, 302);
    let colleague = phone.log_in(&mut client, "198.51.100.2", ("grace", "right"));
    assert_eq!(colleague.status, 302, "an account that nobody locked");
    assert_eq!(colleague.head.all("set-cookie").len(), 2);
    lock(&mut client, "grace");
    assert_eq!(phone.log_in(&mut client, "198.51.100.3", ("grace", "right")).status, 302);
    assert_eq!(phone.log_in(&mut client, "198.51.100.3", ("ada", "right")).status, 302);
}

#[test]
fn a_stolen_cookie_buys_five_guesses() {
    let shop = shop();
    let sidecar = start(&shop, "");
    let (mut client, mut browser) = (sidecar.https(), Browser::default());
    browser.log_in(&mut client, "192.0.2.1", ("ada", "right"));
    lock(&mut client, "ada");
    let mut thief = Browser(browser.0.clone());
    for nth in 1..=5 {
        let answer = thief.log_in(&mut client, "198.51.100.66", ("ada", "wrong"));
        assert_eq!(answer.status, 401, "guess {nth}");
    }
    thief.log_in(&mut client, "198.51.100.66", ("ada", "right")).assert_refused(429);
    let other = thief.log_in(&mut client, "198.51.100.66", ("grace", "wrong"));
    assert_eq!(other.status, 401, "for another account it is a stranger's");
    assert!(sidecar.metric("tillgate_login_locks_total", &["dimension=\"device\""]) > 0.0);
}

#[test]
fn the_cookie_is_for_the_browser_and_us_alone() {
    let shop = shop();
    let sidecar = start(&shop, "");
    let (mut client, mut browser) = (sidecar.https(), Browser::default());
    let answer = browser.log_in(&mut client, "192.0.2.1", ("ada", "right"));
    let cookies = answer.head.all("set-cookie");
    assert_eq!((cookies.len(), cookies[0]), (2, "sid=1; Path=/"));
    let ours = cookies[1];
    assert!(ours.starts_with("__Host-tillgate-device=v1."), "{ours}");
    for word in ["; Secure", "; HttpOnly", "; SameSite=Lax", "; Path=/", "; Max-Age=2592000"] {
        assert!(ours.contains(word), "{word} in {ours}");
    }
    assert_eq!(answer.field("cache-control"), Some("max-age=600, private"));
    assert_eq!(browser.log_in(&mut client, "192.0.2.1", ("ada", "right")).status, 302);
    assert_eq!(shop.last().field("cookie"), Some("sid=1"), "the shop sees its own only");
    let failed = browser.log_in(&mut client, "192.0.2.1", ("ada", "wrong"));
    assert_eq!(failed.head.all("set-cookie"), Vec::<&str>::new());
    let value = ours.split(['=', ';']).nth(1).unwrap();
    assert!(!sidecar.written().contains(value) && !sidecar.metrics().contains(value));
    // Over clear http nothing may be called Secure, and a cookie of https is not believed.
    let plain = Browser::default().log_in(&mut sidecar.http(), "192.0.2.1", ("ada", "right"));
    assert!(plain.head.all("set-cookie")[1].starts_with("tillgate-device=v1."));
}

#[test]
fn a_browser_is_trusted_across_a_restart_and_not_where_that_is_switched_off() {
    let (shop, data) = (shop(), tempfile::tempdir().unwrap());
    let top = "trusted_proxies = [\"127.0.0.0/8\"]";
    let start = |more: &str| {
        let tables = format!("{ONLY_ACCOUNTS}{more}");
        Setup::new(&shop).data(data.path()).top(top).site(LOGIN).tables(&tables).start()
    };
    let mut browser = Browser::default();
    let first = start("");
    browser.log_in(&mut first.https(), "192.0.2.1", ("ada", "right"));
    drop(first);
    let second = start("");
    lock(&mut second.https(), "ada");
    let answer = browser.log_in(&mut second.https(), "198.51.100.1", ("ada", "right"));
    assert_eq!(answer.status, 302);
    drop(second);
    let third = start("trusted_device = \"off\"\ntrusted_networks_bypass = false\n");
    let answer = browser.log_in(&mut third.https(), "198.51.100.1", ("ada", "right"));
    answer.assert_refused(429);
    let other = browser.log_in(&mut third.https(), "198.51.100.1", ("eve", "right"));
    assert_eq!(other.head.all("set-cookie").len(), 1);
}
