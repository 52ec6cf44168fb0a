//! A request is for one host, whose name has one reading.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::{HeaderValue, Request, Version};
use tillgate::proxy::host;

/// Takes a byte for the version, the first line as the target, the others as values of `Host`.
pub fn check(data: &[u8]) {
    let [version, rest @ ..] = data else { return };
    let version = [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2][usize::from(version % 3)];
    let mut lines = rest.split(|byte| *byte == b'\n');
    let target = lines.next().unwrap_or_default();
    let fields: Vec<_> = lines.filter_map(|line| HeaderValue::from_bytes(line).ok()).collect();
    let mut request = Request::builder().version(version).uri(target);
    for field in &fields {
        request = request.header(HOST, field);
    }
    let Ok(request) = request.body(()) else { return };
    let Ok(host) = host::of(&request) else { return };
    assert!(fields.len() < 2, "several hosts are one");
    let authority = request.uri().authority();
    if host.is_empty() {
        assert_eq!(version, Version::HTTP_10, "a request is for nobody");
        assert!(fields.is_empty() && authority.is_none(), "a name was dropped");
        return;
    }
    name(&host);
    for named in authority
        .map(|line| line.as_str().as_bytes())
        .into_iter()
        .chain(fields.iter().map(HeaderValue::as_bytes))
    {
        let named = named.to_ascii_lowercase();
        assert!(named.starts_with(host.as_bytes()), "{host} is in none of them");
        let rest = str::from_utf8(&named[host.len()..]).expect("a host is text");
        let port = rest.trim_start_matches('.');
        let digits = port.strip_prefix(':').unwrap_or_default();
        assert!(port.is_empty() || port.starts_with(':'), "{host} is cut out of a longer name");
        assert!(digits.is_empty() || digits.parse::<u16>().is_ok(), "{port} is no port");
    }
    let alone = Request::builder().header(HOST, &host).body(()).expect("a host is a value");
    assert_eq!(host::of(&alone).as_ref(), Ok(&host), "a host is read as another");
}

/// What RFC 3986 section 3.2.2 lets a name be made of.
fn name(host: &str) {
    if let Some(literal) = host.strip_prefix('[') {
        let literal = literal.strip_suffix(']').unwrap_or_default();
        assert!(literal.parse::<Ipv6Addr>().is_ok(), "{host} is no address");
        return;
    }
    let sound = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._~!$&'()*+,;=".contains(&byte)
    };
    assert!(host.bytes().all(sound), "{host} is no name");
    assert!(!host.ends_with('.'), "{host} has a dot too many");
}
