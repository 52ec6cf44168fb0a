//! Who is believed, and what the shop and the caches see of it.

use super::*;
use crate::counters::{KeyHasher, Scope};

const LIFE: Duration = Duration::from_secs(30 * 24 * 3600);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn account(name: &str) -> CounterKey {
    KeyHasher::new(&[7; 32]).account(Scope::logins("shop.example"), name)
}

fn devices() -> Devices {
    Devices::new(&[7; 32])
}

/// What a browser sends back of a `Set-Cookie`.
fn returned(cookie: &HeaderValue) -> String {
    cookie.to_str().unwrap().split(';').next().unwrap().to_owned()
}

fn shown(cookies: &str, scheme: Scheme) -> (Shown, Vec<String>) {
    let mut headers = HeaderMap::new();
    headers.insert(COOKIE, HeaderValue::from_str(cookies).unwrap());
    let shown = take(&mut headers, scheme);
    let left = headers.get_all(COOKIE).iter().map(|it| it.to_str().unwrap().to_owned()).collect();
    (shown, left)
}

fn grant(before: &Shown, name: &str, now: u64) -> HeaderValue {
    devices().grant(before, &account(name), Scheme::Https, (at(now), LIFE)).unwrap()
}

fn knows(shown: &Shown, name: &str, now: u64) -> bool {
    devices().recognise(shown, &account(name), (at(now), LIFE)).is_some()
}

#[test]
fn a_browser_is_trusted_with_its_account_for_thirty_days() {
    let cookie = grant(&Shown::default(), "ann", 0);
    let text = cookie.to_str().unwrap();
    assert!(text.starts_with("__Host-tillgate-device=v1."), "{text}");
    assert!(text.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax; Secure"), "{text}");
    assert!(cookie.is_sensitive());
    let (shown, _) = shown(&returned(&cookie), Scheme::Https);
    assert!(knows(&shown, "ann", 0) && knows(&shown, "ann", LIFE.as_secs() - 1));
    assert!(!knows(&shown, "ann", LIFE.as_secs()), "older than its life");
    assert!(!knows(&shown, "bob", 0), "another account");
    let elsewhere = KeyHasher::new(&[7; 32]).account(Scope::logins("other.example"), "ann");
    assert!(devices().recognise(&shown, &elsewhere, (at(0), LIFE)).is_none(), "another site");
    let stranger = Devices::new(&[8; 32]);
    assert!(stranger.recognise(&shown, &account("ann"), (at(0), LIFE)).is_none(), "another key");
    assert!(!knows(&Shown::default(), "ann", 0));
}

#[test]
fn a_stamp_from_the_future_is_not_believed() {
    let (shown, _) = shown(&returned(&grant(&Shown::default(), "ann", 1_000)), Scheme::Https);
    assert!(knows(&shown, "ann", 1_000 - 60));
    assert!(!knows(&shown, "ann", 1_000 - 61));
}

#[test]
fn no_changed_byte_of_a_cookie_is_believed() {
    let cookie = returned(&grant(&Shown::default(), "ann", 0));
    let (name, value) = cookie.split_once("v1.").unwrap();
    let bytes = base64::decode(value).unwrap();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 1;
        let (shown, _) = shown(&format!("{name}v1.{}", base64::encode(&changed)), Scheme::Https);
        assert!(!knows(&shown, "ann", 0), "byte {place}");
    }
    for length in 0..bytes.len() {
        let cut = format!("{name}v1.{}", base64::encode(&bytes[..length]));
        assert!(!knows(&shown(&cut, Scheme::Https).0, "ann", 0), "{length} bytes");
    }
    assert!(!knows(&shown(&format!("{name}v2.{value}"), Scheme::Https).0, "ann", 0));
}

#[test]
fn four_accounts_share_a_browser_and_the_fifth_displaces_the_first() {
    let mut browser = Shown::default();
    for (now, name) in ["ann", "bob", "cid", "dan", "ann", "eve"].into_iter().enumerate() {
        let cookie = grant(&browser, name, u64::try_from(now).unwrap());
        assert!(cookie.len() < 400);
        browser = shown(&returned(&cookie), Scheme::Https).0;
    }
    let known = ["ann", "bob", "cid", "dan", "eve"].map(|name| knows(&browser, name, 9));
    assert_eq!(known, [true, false, true, true, true]);
    let id = |name| devices().recognise(&browser, &account(name), (at(9), LIFE)).unwrap();
    assert_eq!(id("ann"), id("eve"), "one browser has one name");
}

#[test]
fn the_shop_sees_every_cookie_but_ours() {
    let ours = returned(&grant(&Shown::default(), "ann", 0));
    let (browser, left) =
        shown(&format!("a=1; {ours};  b=\"2\"; tillgate-device=x"), Scheme::Https);
    assert!(knows(&browser, "ann", 0));
    assert_eq!(left, ["a=1;  b=\"2\""]);
    assert_eq!(shown(&ours, Scheme::Https).1, Vec::<String>::new());
    assert_eq!(shown(&format!("{ours}; a=1"), Scheme::Https).1, ["a=1"]);
    assert_eq!(shown("x=tillgate-devices", Scheme::Https).1, ["x=tillgate-devices"]);
    // As shops read names, with blanks around them.
    assert_eq!(shown("a=1; tillgate-device =x;b", Scheme::Https).1, ["a=1;b"]);
}

#[test]
fn a_cookie_that_any_neighbour_could_plant_is_not_read_over_tls() {
    let plain = devices().grant(&Shown::default(), &account("ann"), Scheme::Http, (at(0), LIFE));
    let plain = plain.unwrap();
    assert!(plain.to_str().unwrap().starts_with("tillgate-device="));
    assert!(!plain.to_str().unwrap().contains("Secure"));
    assert!(knows(&shown(&returned(&plain), Scheme::Http).0, "ann", 0));
    assert!(!knows(&shown(&returned(&plain), Scheme::Https).0, "ann", 0));
}

#[test]
fn the_answer_with_the_cookie_is_for_no_shared_cache() {
    let cases = [
        (None, "private"),
        (Some("public, max-age=600"), "max-age=600, private"),
        (Some("s-maxage=60,must-revalidate"), "must-revalidate, private"),
        (Some("Private, max-age=5"), "Private, max-age=5"),
        (Some("no-store"), "no-store"),
        (Some("private=\"x-a, x-b\", public"), "private, no-cache"),
    ];
    for (before, after) in cases {
        let mut headers = HeaderMap::new();
        headers.append(SET_COOKIE, HeaderValue::from_static("sid=1"));
        headers.insert("cdn-cache-control", HeaderValue::from_static("max-age=600"));
        if let Some(before) = before {
            headers.insert(CACHE_CONTROL, HeaderValue::from_static(before));
        }
        put(&mut headers, HeaderValue::from_static("d=1"));
        assert_eq!(headers[CACHE_CONTROL], after, "{before:?}");
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(cookies, ["sid=1", "d=1"]);
        assert!(!headers.contains_key("cdn-cache-control"));
    }
}

#[test]
fn the_scheme_is_the_clients_own() {
    let told = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-proto", HeaderValue::from_static(value));
        headers
    };
    assert_eq!(scheme(true, &HeaderMap::new(), false), Scheme::Https);
    assert_eq!(scheme(false, &told("https"), true), Scheme::Https);
    assert_eq!(scheme(false, &told("https"), false), Scheme::Http);
    assert_eq!(scheme(true, &told("http"), true), Scheme::Http);
}
