//! Whom a request is for. Whoever reads it behind us must read the same name.

use std::net::Ipv6Addr;

use http::header::HOST;
use http::uri::Authority;
use http::{Request, Version};
use thiserror::Error;

use super::reject::Rejection;

/// Why a request is for nobody.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum HostFault {
    /// There are several, one that differs from the request line's, or what is no host.
    #[error("conflicting hosts")]
    Conflict,
    /// There is none.
    #[error("no host")]
    Missing,
}

impl From<HostFault> for Rejection {
    fn from(fault: HostFault) -> Self {
        match fault {
            HostFault::Conflict => Self::HostConflict,
            HostFault::Missing => Self::HostMissing,
        }
    }
}

/// The host a request is for: lower case, without port. Empty where HTTP/1.0 names none.
///
/// # Errors
/// When there is none, several, or one that differs from the request line's (RFC 9112 §3.2); when the
/// request is for no web page at all.
pub fn of<B>(request: &Request<B>) -> Result<String, HostFault> {
    let mut fields = request.headers().get_all(HOST).into_iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(HostFault::Conflict);
    }
    let field = field
        .map(|value| {
            let text = value.to_str().map_err(|_| HostFault::Conflict)?;
            text.parse::<Authority>().map_err(|_| HostFault::Conflict)
        })
        .transpose()?;
    // RFC 9112 §3.2: also beside an absolute form, so that nobody behind us is left to guess.
    if field.is_none() && request.version() == Version::HTTP_11 {
        return Err(HostFault::Missing);
    }
    let authority = match (request.uri().authority(), field) {
        // RFC 9113 §8.3.1 and RFC 9112 §3.2.2: both may be there, and then they must agree.
        (Some(line), Some(field)) if !same(line, &field) => return Err(HostFault::Conflict),
        (Some(line), _) => line.clone(),
        (None, Some(field)) => field,
        (None, None) if request.version() == Version::HTTP_10 => return Ok(String::new()),
        (None, None) => return Err(HostFault::Missing),
    };
    if authority.as_str().contains('@') || !has_sound_port(&authority) {
        return Err(HostFault::Conflict);
    }
    match authority.host().trim_end_matches('.') {
        host if !is_sound(host) => Err(HostFault::Conflict),
        host => Ok(host.to_ascii_lowercase()),
    }
}

/// RFC 3986 §3.2.2: what stands in brackets is an address, and there are none elsewhere.
fn is_sound(host: &str) -> bool {
    match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|it| it.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains(['[', ']']),
    }
}

/// RFC 3986 §3.2.3: digits or nothing, and TCP has no more than 65535.
fn has_sound_port(authority: &Authority) -> bool {
    match authority.as_str().strip_prefix(authority.host()) {
        Some("" | ":") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        }),
        None => false,
    }
}

fn same(line: &Authority, field: &Authority) -> bool {
    line.as_str().eq_ignore_ascii_case(field.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::request;
    use super::*;

    #[test]
    fn the_host_is_lower_case_and_without_port() {
        assert_eq!(of(&request("/", &["Shop.Example:8443"])).unwrap(), "shop.example");
        assert_eq!(of(&request("/", &["[::1]:80"])).unwrap(), "[::1]");
        assert_eq!(of(&request("/", &["shop.example:"])).unwrap(), "shop.example");
        let mut streamed = request("https://shop.example/", &[]);
        *streamed.version_mut() = Version::HTTP_2;
        assert_eq!(of(&streamed).unwrap(), "shop.example");
    }

    #[test]
    fn conflicting_hosts_are_refused() {
        let refused = |line, hosts: &[&str]| of(&request(line, hosts)).is_err();
        assert!(refused("/", &["a", "b"]));
        assert!(refused("http://a/", &["b"]));
        assert!(refused("/", &["user@a"]));
        assert!(refused("/", &[":80"]) && refused("/", &["."]) && refused("/", &["..:80"]));
        assert!(refused("/", &["[shop]"]) && refused("/", &["[20011]:443"]));
        assert!(refused("/", &["shop.example[2001:db8::1]:443"]));
        assert!(refused("/", &["shop.example:8a[2001:db8::1]:443"]));
        assert!(refused("/", &["a:b"]) && refused("/", &["a:65536"]) && refused("/", &["[::1]:x"]));
        assert!(refused("http://a/", &[]));
        assert!(refused("/", &[]));
    }
}
