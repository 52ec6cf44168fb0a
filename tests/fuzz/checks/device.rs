//! The cookie of a trusted browser is for us alone, and nobody else can make one.

use std::time::{Duration, SystemTime};

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use tillgate::counters::{KeyHasher, Scope};
use tillgate::proxy::device::{Browser, Devices};

const NAMES: [&str; 2] = ["tillgate-device", "__Host-tillgate-device"];
const LIFETIME: Duration = Duration::from_secs(3600);

/// Takes a byte for the scheme, then each line as a `Cookie` field.
pub fn check(data: &[u8]) {
    let [scheme, rest @ ..] = data else { return };
    let over_tls = scheme % 2 == 1;
    let lines = rest.split(|byte| *byte == b'\n');
    let fields: Vec<_> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let devices = Devices::new(&[7; 32]);
    let account = KeyHasher::new(&[9; 32]).account(Scope::logins("shop"), "erika");
    let (now, long_ago) =
        (SystemTime::UNIX_EPOCH + LIFETIME * 9, (SystemTime::UNIX_EPOCH, LIFETIME));

    let mut headers = of(&fields);
    let browser = Browser::take(&mut headers, over_tls, false);
    assert_eq!(pairs(&headers), others(&fields), "the shop sees other cookies");
    for clock in [(now, LIFETIME), long_ago] {
        let known = devices.recognise(&browser.shown, &account, clock);
        assert!(known.is_none(), "a stranger is believed");
    }

    // What is granted to this browser is known again, whatever else it sends.
    let granted = devices.grant(&browser.shown, &account, browser.scheme, (now, LIFETIME));
    let granted = granted.expect("a cookie can be made");
    let cookie = granted.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    let mut sent = vec![HeaderValue::from_bytes(cookie).expect("a cookie is a value")];
    sent.extend(fields);
    let mut headers = of(&sent);
    let again = Browser::take(&mut headers, over_tls, false);
    assert_eq!(pairs(&headers), others(&sent), "the shop sees other cookies");
    let known = |clock| devices.recognise(&again.shown, &account, clock).is_some();
    assert!(known((now, LIFETIME)), "a browser is not known again");
    assert!(!known((now + LIFETIME, LIFETIME)), "a browser is trusted for ever");
    let other = KeyHasher::new(&[9; 32]).account(Scope::logins("shop"), "max");
    let other = devices.recognise(&again.shown, &other, (now, LIFETIME));
    assert!(other.is_none(), "a browser is trusted with another account");
}

fn of(fields: &[HeaderValue]) -> HeaderMap {
    fields.iter().map(|field| (COOKIE, field.clone())).collect()
}

/// The cookies of a request, as a shop reads them.
fn pairs(headers: &HeaderMap) -> Vec<Vec<u8>> {
    let fields = headers.get_all(COOKIE).into_iter();
    fields.flat_map(split).collect()
}

/// Those that are not ours.
fn others(fields: &[HeaderValue]) -> Vec<Vec<u8>> {
    let ours = |pair: &Vec<u8>| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default().trim_ascii();
        NAMES.iter().any(|ours| ours.as_bytes() == name)
    };
    fields.iter().flat_map(split).filter(|pair| !ours(pair)).collect()
}

fn split(field: &HeaderValue) -> Vec<Vec<u8>> {
    let pairs = field.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    pairs.filter(|pair| !pair.is_empty()).map(<[u8]>::to_vec).collect()
}
