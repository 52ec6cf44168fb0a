//! Between the browser's address, which is ours, and the shop's, which the shop believes to be asked
//! under. Without it the browser would leave for the shop at the first absolute link, and cookies for
//! `https` alone would never come back.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, HOST, HeaderName, IF_MODIFIED_SINCE,
    IF_NONE_MATCH, ORIGIN, RANGE, REFERER, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue};
use regex::bytes::{NoExpand, Regex, RegexBuilder};

/// What browsers enforce about a name with such a beginning, they do not about one with ours before it
/// (RFC 6265bis §4.1.3).
const COOKIE_MARK: &str = "tillgate-learn-";

/// Fields that would send the browser elsewhere, or that speak of this hop.
const NOT_FOR_BROWSERS: [&str; 7] = [
    "alt-svc",
    "connection",
    "content-length",
    "keep-alive",
    "public-key-pins",
    "strict-transport-security",
    "transfer-encoding",
];

/// Fields in which addresses of the shop stand.
const WITH_ADDRESSES: [&str; 5] =
    ["access-control-allow-origin", "content-security-policy", "link", "refresh", "location"];

/// The two addresses.
pub(super) struct Translator {
    /// The shop's name, with a port where it has one of its own.
    name: String,
    absolute: Regex,
}

impl Translator {
    /// Between us and the names of one shop, of which the first is the one it is asked under.
    pub(super) fn new(name: &str, also: &str) -> Result<Self, regex::Error> {
        let names = format!("{}|{}", regex::escape(name), regex::escape(also));
        // With what must not follow left out of the match: `regex` looks neither ahead nor behind.
        let absolute =
            format!(r#"(?:https?:)?(?P<slashes>//|\\/\\/)(?:{names})(?P<end>[^a-z0-9.:-]|$)"#);
        let absolute = RegexBuilder::new(&absolute).case_insensitive(true).build()?;
        Ok(Self { name: name.to_owned(), absolute })
    }

    /// A request's head, as the shop is to see it; `ours` is the `Host` that the browser used.
    pub(super) fn request(&self, headers: &mut HeaderMap, ours: &str) {
        // Pages must come whole and as text, or nothing could be seen in them.
        for name in [
            ACCEPT_ENCODING,
            CONNECTION,
            CONTENT_LENGTH,
            IF_MODIFIED_SINCE,
            IF_NONE_MATCH,
            RANGE,
            TE,
            TRANSFER_ENCODING,
            UPGRADE,
        ] {
            headers.remove(name);
        }
        let shop = format!("https://{}", self.name);
        for name in [ORIGIN, REFERER] {
            let told = headers.get(&name).and_then(|value| value.to_str().ok());
            let rest = told.and_then(|text| text.strip_prefix(&format!("http://{ours}")));
            if let Some(value) = rest.and_then(|rest| format!("{shop}{rest}").parse().ok()) {
                headers.insert(name, value);
            }
        }
        if let Some(cookies) = headers.get("cookie").and_then(|value| value.to_str().ok())
            && let Ok(plain) = cookies.replace(COOKIE_MARK, "").parse()
        {
            headers.insert("cookie", plain);
        }
        set(headers, HOST, &self.name);
        // What a guard before it tells a shop: it is asked over https, by a customer.
        set(headers, HeaderName::from_static("x-forwarded-for"), "127.0.0.1");
        set(headers, HeaderName::from_static("x-forwarded-host"), &self.name);
        set(headers, HeaderName::from_static("x-forwarded-proto"), "https");
    }

    /// An answer's head, as the browser is to see it.
    pub(super) fn answer(&self, headers: &mut HeaderMap, ours: &str) {
        for name in NOT_FOR_BROWSERS {
            headers.remove(name);
        }
        for name in WITH_ADDRESSES {
            let Some(value) = headers.get(name) else { continue };
            let mut text = self.text(value.as_bytes(), ours);
            if name == "content-security-policy" {
                text = without(&text, b"upgrade-insecure-requests");
            }
            if let Ok(value) = HeaderValue::from_bytes(&text) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
        let cookies: Vec<_> = headers.get_all(SET_COOKIE).iter().filter_map(cookie).collect();
        headers.remove(SET_COOKIE);
        for cookie in cookies {
            headers.append(SET_COOKIE, cookie);
        }
    }

    /// A text in which the shop's absolute addresses have become ours.
    pub(super) fn text(&self, text: &[u8], ours: &str) -> Vec<u8> {
        let replace = |found: &regex::bytes::Captures<'_>| {
            let part = |name| found.name(name).map(|found| found.as_bytes()).unwrap_or_default();
            [b"http:", part("slashes"), ours.as_bytes(), part("end")].concat()
        };
        self.absolute.replace_all(text, replace).into_owned()
    }
}

/// A cookie that a browser keeps for `http://127.0.0.1`.
fn cookie(value: &HeaderValue) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let pair = parts.next()?;
    let small = pair.to_ascii_lowercase();
    let marked = small.starts_with("__host-") || small.starts_with("__secure-");
    let mut kept = if marked { format!("{COOKIE_MARK}{pair}") } else { pair.to_owned() };
    for attribute in parts {
        let small = attribute.to_ascii_lowercase().replace(' ', "");
        let bound = matches!(small.as_str(), "secure" | "samesite=none" | "partitioned");
        if !bound && !small.starts_with("domain=") {
            kept.push_str("; ");
            kept.push_str(attribute);
        }
    }
    kept.parse().ok()
}

fn without(text: &[u8], word: &[u8]) -> Vec<u8> {
    let found = regex::escape(&String::from_utf8_lossy(word));
    match Regex::new(&format!("(?i){found}")) {
        Ok(found) => found.replace_all(text, NoExpand(b"")).into_owned(),
        Err(_) => text.to_vec(),
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use http::header::LOCATION;

    use super::*;

    const OURS: &str = "127.0.0.1:4000";

    fn translator() -> Translator {
        Translator::new("shop.example", "127.0.0.1:8080").unwrap()
    }

    fn seen(text: &str) -> String {
        String::from_utf8(translator().text(text.as_bytes(), OURS)).unwrap()
    }

    #[test]
    fn every_absolute_address_of_the_shop_becomes_ours_and_no_other() {
        let page = r#"<form action="https://shop.example/login"> //Shop.Example/a http://127.0.0.1:8080
            {"to":"https:\/\/shop.example\/account"} https://shop.example.evil/ https://a.shop.example/
            https://shop.example:8443/"#;
        let expected = r#"<form action="http://127.0.0.1:4000/login"> http://127.0.0.1:4000/a http://127.0.0.1:4000
            {"to":"http:\/\/127.0.0.1:4000\/account"} https://shop.example.evil/ https://a.shop.example/
            https://shop.example:8443/"#;
        assert_eq!(seen(page), expected);
    }

    #[test]
    fn a_browser_keeps_the_cookies_and_the_shop_gets_them_back() {
        let mut headers = HeaderMap::new();
        for cookie in [
            "__Host-sid=1; Path=/; Secure; HttpOnly",
            "a=b; Domain=shop.example; SameSite=None; Secure",
        ] {
            headers.append(SET_COOKIE, cookie.parse().unwrap());
        }
        headers.insert("strict-transport-security", "max-age=1".parse().unwrap());
        translator().answer(&mut headers, OURS);
        let kept: Vec<_> = headers.get_all(SET_COOKIE).iter().collect();
        assert_eq!(kept, ["tillgate-learn-__Host-sid=1; Path=/; HttpOnly", "a=b"]);
        assert!(!headers.contains_key("strict-transport-security"));
        let mut headers = HeaderMap::new();
        headers.insert("cookie", "tillgate-learn-__Host-sid=1; a=b".parse().unwrap());
        translator().request(&mut headers, OURS);
        assert_eq!(headers["cookie"], "__Host-sid=1; a=b");
    }

    #[test]
    fn the_shop_is_asked_under_its_own_name_over_https() {
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, format!("http://{OURS}").parse().unwrap());
        headers.insert(REFERER, format!("http://{OURS}/login?a=b").parse().unwrap());
        headers.insert(ACCEPT_ENCODING, "br".parse().unwrap());
        translator().request(&mut headers, OURS);
        assert_eq!(headers[ORIGIN], "https://shop.example");
        assert_eq!(headers[REFERER], "https://shop.example/login?a=b");
        assert_eq!(headers[HOST], "shop.example");
        assert_eq!(headers["x-forwarded-proto"], "https");
        assert!(!headers.contains_key(ACCEPT_ENCODING));
    }

    #[test]
    fn a_redirect_stays_with_us() {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, "https://shop.example/account".parse().unwrap());
        headers.insert(
            "content-security-policy",
            "form-action https://shop.example; upgrade-insecure-requests".parse().unwrap(),
        );
        translator().answer(&mut headers, OURS);
        assert_eq!(headers[LOCATION], "http://127.0.0.1:4000/account");
        assert_eq!(headers["content-security-policy"], "form-action http://127.0.0.1:4000; ");
    }
}
