//! What a request says of its path and its client is read without an accident, and believed of nobody
//! who may not say it.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{FORWARDED, HeaderName};
use http::{HeaderMap, HeaderValue};
use tillgate::policy::{ForwardedField, TrustedProxies};
use tillgate::proxy::{forwarded, spelling};

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Takes the first line as a path, the others as values of the field that names clients.
pub fn check(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let path = lines.next().unwrap_or_default();
    if let Ok(path) = str::from_utf8(path) {
        paths(path);
    }
    let _total = spelling::unescaped(path);
    let values: Vec<_> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    clients(&values);
}

/// No view that rules look at, but the path as it was written, leaves steps to be taken.
fn paths(path: &str) {
    let paths = spelling::Paths::of(path);
    let mut views = paths.iter();
    assert_eq!(views.next(), Some(path));
    let read = views.next().unwrap_or_default();
    if read != path {
        let steps = read.trim_matches('/').split('/');
        assert!(steps.clone().all(|step| step != ".." && step != "."), "{read}");
        assert!(!read.contains("//"), "{read}");
    }
    assert!(paths.with_raw().count() <= 12, "{path} has too many views");
}

fn clients(values: &[HeaderValue]) {
    let networks = vec!["10.0.0.0/8".parse().expect("a network")];
    let fields = [
        (ForwardedField::Forwarded, FORWARDED),
        (ForwardedField::XForwardedFor, HeaderName::from_static("x-forwarded-for")),
    ];
    for (field, name) in fields {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, value.clone());
        }
        let proxies = TrustedProxies { networks: networks.clone(), field };
        let found = |peer| forwarded::client_address(peer, &headers, &proxies).0;
        assert_eq!(found(STRANGER), STRANGER, "a stranger was believed");
        let _total = found(PROXY);
    }
}
