//! Fields that are for one hop, and fields that tell the next hop who came.

mod client;
mod names;

use std::net::IpAddr;

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_LENGTH, COOKIE, Entry, HOST, HeaderName, HeaderValue,
    MAX_FORWARDS, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Request, Version};

pub(super) use client::set_client;
pub(super) use names::{drop_doubles, drop_spellings, strip_trailers};

use super::forwarded;
use super::request_id::{REQUEST_ID, RequestId, unique};
use crate::policy::TrustedProxies;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const GRPC_ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Other fields in which proxies tell who came. We set none of them, and a shop that believes one must
/// not believe a stranger's.
const HEARSAY: [&str; 7] = [
    "cf-connecting-ip",
    "client-ip",
    "true-client-ip",
    "x-client-ip",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
];

/// What no client may tell a shop, and no shop a provider: where its own requests go (httpoxy,
/// CVE-2016-5385), another path than the one that was checked, how risky we find a login, and whose
/// certificate was shown (also as RFC 9440 says it), in any spelling that CGI makes one of.
const NEVER: [&str; 10] = [
    "client-cert",
    "client-cert-chain",
    "proxy",
    client::FINGERPRINT,
    client::SERIAL,
    client::SUBJECT,
    client::VERIFIED,
    "x-original-url",
    "x-rewrite-url",
    "x-tillgate-risk",
];

/// Fields that frameworks take a method from.
pub(super) const METHOD_OVERRIDES: [&str; 3] =
    ["x-http-method", "x-http-method-override", "x-method-override"];

/// Where a request goes from here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NextHop {
    /// It was for us.
    Nowhere,
    /// To the shop.
    Upstream,
}

/// Counts `Max-Forwards` down, which OPTIONS alone has here (RFC 9110 §7.6.2; TRACE is refused).
#[must_use]
pub(super) fn next_hop<B>(request: &mut Request<B>) -> NextHop {
    if *request.method() != Method::OPTIONS {
        return NextHop::Upstream;
    }
    let Some(value) = request.headers().get(MAX_FORWARDS) else { return NextHop::Upstream };
    // What is no number counts for nothing.
    let left = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    let Some(left) = left else { return NextHop::Upstream };
    let Some(fewer) = left.checked_sub(1) else { return NextHop::Nowhere };
    request.headers_mut().insert(MAX_FORWARDS, HeaderValue::from(fewer));
    NextHop::Upstream
}

/// The protocol that a request wants to change to, if the connection may change at all.
#[must_use]
pub(super) fn upgrade_wanted<B>(request: &Request<B>) -> Option<HeaderValue> {
    let headers = request.headers();
    let named = list(headers, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let protocol = headers.get(UPGRADE)?;
    // RFC 9113 §3.1: "h2c" upgrades are obsolete, and a way round every rule here.
    let allowed = !protocol.as_bytes().to_ascii_lowercase().windows(3).any(|name| name == b"h2c");
    (named && allowed && request.version() == Version::HTTP_11).then(|| protocol.clone())
}

/// Whether the client understands trailers.
#[must_use]
pub(super) fn trailers_welcome(headers: &HeaderMap) -> bool {
    list(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

/// Drops what was for the upstream's hop only. A length beside a transfer coding says nothing
/// (RFC 9112 §6.3).
pub(super) fn strip_answer(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop_by_hop(headers);
}

/// Asks for no coding that cannot be looked into. A gRPC message is compressed by itself.
pub(super) fn limit_codings(headers: &mut HeaderMap) {
    if headers.contains_key(GRPC_ACCEPT_ENCODING) {
        keep_only(headers, GRPC_ACCEPT_ENCODING, "identity");
    }
    if !headers.contains_key(ACCEPT_ENCODING) {
        return;
    }
    let known = |range: &&str| {
        let name = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        matches!(name.as_str(), "br" | "deflate" | "gzip" | "identity" | "x-gzip" | "zstd")
    };
    let kept = list(headers, &ACCEPT_ENCODING).filter(known).collect::<Vec<_>>().join(", ");
    keep_only(headers, ACCEPT_ENCODING, if kept.is_empty() { "identity" } else { &kept });
}

/// Drops what was for this hop only (RFC 9110 §7.6.1): the fields named by `Connection` first.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(CONNECTION) {
        let named: Vec<HeaderName> =
            list(headers, &CONNECTION).filter_map(|token| token.parse().ok()).collect();
        for name in named {
            // A client must not be able to take away what routing and framing stand on.
            if name != HOST && name != CONTENT_LENGTH && name != COOKIE {
                headers.remove(name);
            }
        }
    }
    const HOP: [HeaderName; 9] = [
        CONNECTION,
        HTTP2_SETTINGS,
        KEEP_ALIVE,
        PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION,
        PROXY_CONNECTION,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    for name in HOP {
        headers.remove(name);
    }
}

/// What the next hop is told about the client.
pub(super) struct Origin<'a> {
    /// The peer on the socket.
    pub peer: IpAddr,
    /// Whose word on who came before them counts.
    pub proxies: &'a TrustedProxies,
    /// The host it asked for.
    pub host: &'a str,
    /// `https` or `http`.
    pub scheme: &'static str,
}

/// Sets `X-Forwarded-*` and `Forwarded` (RFC 7239). What an untrusted client says is dropped.
pub(super) fn set_forwarded(headers: &mut HeaderMap, origin: &Origin<'_>) {
    let Origin { peer, proxies, host, scheme } = *origin;
    if !proxies.contain(peer) {
        for name in [X_FORWARDED_HOST, X_FORWARDED_PROTO] {
            headers.remove(name);
        }
        drop_lookalikes(headers);
    }
    drop_never(headers);
    // A host that is no token is quoted (RFC 7239 §4): `a,for=…` would be an element of its own.
    let quote = if host.bytes().all(is_token) { "" } else { "\"" };
    let about = format!("host={quote}{host}{quote};proto={scheme}");
    forwarded::pass_on(headers, peer, proxies, &about);
    keep_or_set(headers, X_FORWARDED_PROTO, scheme);
    keep_or_set(headers, X_FORWARDED_HOST, host);
}

/// Drops what nobody may tell the next hop. Of the fields that replace a method only the lookalikes go
/// here: nobody sends these by accident, and the guard looks for the others.
pub(super) fn drop_never(headers: &mut HeaderMap) {
    // The few names that are here beside those of the list, not the list beside them: most lists are
    // longer, and a custom name is costly to look up.
    let refused = |name: &&HeaderName| {
        let read = names::folded(name);
        NEVER.contains(&&*read) || names::folds(name) && METHOD_OVERRIDES.contains(&&*read)
    };
    let refused: Vec<HeaderName> = headers.keys().filter(refused).cloned().collect();
    for name in refused {
        headers.remove(name);
    }
}

/// CGI and its heirs read `X_Real_IP` as `X-Real-IP` (RFC 3875 §4.1.18): a stranger's field whose name
/// becomes one of those goes too.
fn drop_lookalikes(headers: &mut HeaderMap) {
    let told = |name: &str| {
        HEARSAY.contains(&name)
            || matches!(name, "forwarded" | "x-request-id")
            || name.starts_with("x-forwarded-")
    };
    let lookalikes: Vec<HeaderName> =
        headers.keys().filter(|name| told(&names::folded(name))).cloned().collect();
    for name in lookalikes.iter().filter(|name| **name != REQUEST_ID) {
        headers.remove(name);
    }
}

/// Sets the request id, and a trace parent where the client has none (W3C Trace Context).
pub(super) fn set_trace(headers: &mut HeaderMap, id: &RequestId) {
    headers.insert(REQUEST_ID, id.value());
    let given = headers.get(TRACEPARENT).is_some_and(|value| is_traceparent(value.as_bytes()));
    if !given {
        let (high, low) = unique();
        let span = low | 1;
        keep_only(headers, TRACEPARENT, &format!("00-{high:016x}{low:016x}-{span:016x}-01"));
        headers.remove("tracestate");
    }
}

/// HTTP/2 may split `Cookie` into crumbs; one field goes upstream (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let Entry::Occupied(entry) = headers.entry(COOKIE) else { return };
    if entry.iter().count() < 2 {
        return;
    }
    let joined = entry.iter().map(HeaderValue::as_bytes).collect::<Vec<_>>().join(&b"; "[..]);
    entry.remove();
    if let Ok(value) = HeaderValue::from_bytes(&joined) {
        headers.insert(COOKIE, value);
    }
}

/// Frames a request for the upstream: by its length where that is known, for old servers read chunks
/// badly; and with a length of zero where the method means a body (RFC 9110 §8.6).
pub(crate) fn set_length(method: &Method, headers: &mut HeaderMap, length: Option<u64>) {
    let means_body = matches!(*method, Method::PATCH | Method::POST | Method::PUT);
    match length {
        Some(length) if length > 0 || means_body => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Some(_) | None => {
            headers.remove(CONTENT_LENGTH);
        }
    }
}

/// Says on this hop that trailers are welcome.
pub(super) fn welcome_trailers(headers: &mut HeaderMap) {
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(CONNECTION, HeaderValue::from_static("te"));
}

/// Says on this hop that the protocol should change.
pub(super) fn ask_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(UPGRADE, protocol);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
}

fn is_traceparent(value: &[u8]) -> bool {
    let lengths = [2, 32, 16, 2];
    let mut parts = value.split(|&byte| byte == b'-');
    let hex = |part: &[u8]| part.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    lengths.iter().all(|&length| parts.next().is_some_and(|p| p.len() == length && hex(p)))
        && parts.next().is_none()
}

fn list<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|token| !token.is_empty())
}

/// RFC 9110 §5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The value of a field that stands exactly once: of two, nobody knows which the other side would take.
pub(super) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h HeaderValue> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)
}

fn keep_or_set(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if !headers.contains_key(&name) {
        keep_only(headers, name, text);
    }
}

fn keep_only(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    match HeaderValue::from_str(text) {
        Ok(value) => headers.insert(name, value),
        Err(_) => headers.remove(name),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn fields_named_by_connection_are_dropped_but_not_those_that_frame() {
        let mut map = headers(&[
            ("connection", "x-secret, content-length, host"),
            ("x-secret", "1"),
            ("content-length", "3"),
            ("host", "shop"),
            ("te", "gzip"),
        ]);
        strip_hop_by_hop(&mut map);
        let mut left: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host"]);
    }

    #[test]
    fn an_untrusted_client_cannot_say_who_it_is() {
        let mut map = headers(&[("x-forwarded-for", "1.1.1.1"), ("forwarded", "for=1.1.1.1")]);
        let peer = "2.2.2.2".parse().unwrap();
        let proxies = &TrustedProxies::default();
        let origin = Origin { peer, proxies, host: "shop", scheme: "https" };
        set_forwarded(&mut map, &origin);
        assert_eq!(map["x-forwarded-for"], "2.2.2.2");
        assert_eq!(map["forwarded"], "for=2.2.2.2;host=shop;proto=https");
    }

    #[test]
    fn a_host_cannot_pass_for_another_element_of_forwarded() {
        let proxies = &TrustedProxies::default();
        let peer = "2.2.2.2".parse().unwrap();
        for (host, told) in [
            ("shop,for=6.6.6.6", "\"shop,for=6.6.6.6\""),
            ("shop;for=6.6.6.6", "\"shop;for=6.6.6.6\""),
            ("shop:8443", "\"shop:8443\""),
            ("shop", "shop"),
        ] {
            let mut map = HeaderMap::new();
            set_forwarded(&mut map, &Origin { peer, proxies, host, scheme: "https" });
            assert_eq!(map["forwarded"], format!("for=2.2.2.2;host={told};proto=https"));
        }
    }

    #[test]
    fn a_strangers_underscores_do_not_pass_for_ours() {
        let mut map = headers(&[
            ("x_forwarded_for", "6.6.6.6"),
            ("x_real_ip", "6.6.6.6"),
            ("x-tillgate_risk", "evil"),
            ("x_original_url", "/account/login"),
            ("x_http_method_override", "PUT"),
        ]);
        let peer = "2.2.2.2".parse().unwrap();
        let proxies = &TrustedProxies::default();
        let origin = Origin { peer, proxies, host: "shop", scheme: "https" };
        set_forwarded(&mut map, &origin);
        assert!(map.values().all(|value| value != "6.6.6.6" && value != "evil"), "{map:?}");
    }

    #[test]
    fn only_codings_that_can_be_read_are_asked_for() {
        let limited = |value| {
            let mut map = headers(&[("accept-encoding", value)]);
            limit_codings(&mut map);
            map["accept-encoding"].to_str().unwrap().to_owned()
        };
        assert_eq!(limited("gzip, dcb, br;q=0.5, *;q=0.1"), "gzip, br;q=0.5");
        assert_eq!(limited("*"), "identity");
    }

    #[test]
    fn a_sound_trace_parent_is_passed_on_and_another_is_replaced() {
        let sound = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let mut map = headers(&[("traceparent", sound)]);
        set_trace(&mut map, &RequestId::fresh());
        assert_eq!(map["traceparent"], sound);
        let mut map = headers(&[("traceparent", "junk")]);
        set_trace(&mut map, &RequestId::fresh());
        assert!(is_traceparent(map["traceparent"].as_bytes()));
    }
}
