//! Who came before the proxies before us, and how the next hop is told.
//!
//! Each proxy adds the address it was called from at the end of a list, so the list is read from its
//! end: as long as the one who wrote an element is trusted, the element is believed. What stands
//! beyond the first stranger, or beyond an element that names no address, may have been written by
//! anybody (RFC 7239 §8.1). One field is believed, never both: a proxy that writes the one passes on
//! what a client wrote into the other.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{FORWARDED, HeaderName, HeaderValue};

use super::exchange::ClientAddr;
use crate::policy::{ForwardedField, TrustedProxies};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// An address that a proxy was called from, and what the proxy wrote.
struct Hop<'h> {
    written: &'h [u8],
    address: IpAddr,
}

/// The client's address: the peer's, or the right-most that no trusted proxy has.
#[must_use]
pub fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &TrustedProxies) -> ClientAddr {
    let peer = peer.to_canonical();
    let hops = believed(peer, headers, proxies);
    ClientAddr(hops.map(|hop| hop.address).last().unwrap_or(peer))
}

/// Replaces `X-Forwarded-For` by the addresses that are believed, and gives the same as `Forwarded`
/// (RFC 7239 §4) with `about` us at its end. Shops take the first address for the client's, so
/// nothing is left of it that a client wrote.
pub(super) fn pass_on(
    headers: &mut HeaderMap,
    peer: IpAddr,
    proxies: &TrustedProxies,
    about: &str,
) {
    let (mut addresses, mut elements) = (Vec::new(), Vec::new());
    for hop in believed(peer, headers, proxies) {
        addresses.push(hop.address.to_string());
        elements.push(match proxies.field {
            ForwardedField::Forwarded => String::from_utf8_lossy(hop.written).into_owned(),
            ForwardedField::XForwardedFor => format!("for={}", node(hop.address)),
        });
    }
    addresses.reverse();
    addresses.push(peer.to_string());
    elements.reverse();
    elements.push(format!("for={};{about}", node(peer)));
    for (name, list) in [(X_FORWARDED_FOR, addresses), (FORWARDED, elements)] {
        match HeaderValue::from_str(&list.join(", ")) {
            Ok(value) => headers.insert(name, value),
            Err(_) => headers.remove(name),
        };
    }
}

/// What the trusted proxies tell, the last hop first, to the first stranger.
fn believed<'h>(
    peer: IpAddr,
    headers: &'h HeaderMap,
    proxies: &'h TrustedProxies,
) -> impl Iterator<Item = Hop<'h>> {
    let name = match proxies.field {
        ForwardedField::Forwarded => FORWARDED,
        ForwardedField::XForwardedFor => X_FORWARDED_FOR,
    };
    // Several lines are one list, in their order (RFC 9110 §5.3).
    let lines = headers.get_all(name).into_iter().rev().map(HeaderValue::as_bytes);
    let elements = lines.flat_map(Elements).filter(|element| !element.is_empty());
    let mut writer = peer;
    elements.map_while(move |written| {
        let address = proxies.contain(writer).then(|| match proxies.field {
            ForwardedField::Forwarded => forwarded_for(written),
            ForwardedField::XForwardedFor => node_address(written),
        });
        writer = address??;
        Some(Hop { written, address: writer })
    })
}

/// The elements of a list from its right end. Quotes are matched from there too: what a client left
/// open does not swallow what a proxy wrote behind it.
struct Elements<'h>(&'h [u8]);

impl<'h> Iterator for Elements<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        if self.0.is_empty() {
            return None;
        }
        let mut quoted = false;
        let comma = self.0.iter().rposition(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let (rest, element) = match comma {
            Some(at) => (self.0.get(..at), self.0.get(at + 1..)),
            None => (None, Some(self.0)),
        };
        self.0 = rest.unwrap_or_default();
        element.map(<[u8]>::trim_ascii)
    }
}

/// The address in the one `for` of an element of `Forwarded`.
fn forwarded_for(element: &[u8]) -> Option<IpAddr> {
    // No quoted pairs (RFC 9110 §5.6.4): no address needs one, and without them quotes are plain.
    if element.contains(&b'\\') {
        return None;
    }
    let mut quoted = false;
    let pairs = element.split(|byte| {
        quoted ^= *byte == b'"';
        *byte == b';' && !quoted
    });
    let pairs = pairs.filter_map(|pair| {
        let equals = memchr::memchr(b'=', pair)?;
        let name = pair.get(..equals)?.trim_ascii();
        name.eq_ignore_ascii_case(b"for").then(|| pair.get(equals + 1..))?
    });
    let mut nodes = pairs.map(<[u8]>::trim_ascii);
    let node = nodes.next()?;
    if nodes.next().is_some() {
        return None;
    }
    let inside = node.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    node_address(inside.unwrap_or(node))
}

/// An address, in brackets or not, with a port or without: proxies write all of these. `unknown` and
/// hidden names (RFC 7239 §6.3) are none.
fn node_address(node: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(node).ok()?;
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let (address, rest) = match text.strip_prefix('[') {
        Some(inside) => {
            let (address, rest) = inside.split_once(']')?;
            (IpAddr::V6(address.parse().ok()?), rest)
        }
        None => {
            let at = text.find(':')?;
            let (address, rest) = text.split_at_checked(at)?;
            (IpAddr::V4(address.parse().ok()?), rest)
        }
    };
    is_port(rest).then(|| address.to_canonical())
}

/// Nothing, or a port as it is or hidden (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    let hidden = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(port) => match port.strip_prefix('_') {
            Some(name) => !name.is_empty() && name.bytes().all(hidden),
            None => port.len() <= 5 && port.parse::<u16>().is_ok(),
        },
    }
}

/// RFC 7239 §6: an IPv6 address is bracketed and quoted.
fn node(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("\"[{address}]\""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert_eq, proptest};

    use super::*;

    fn proxies(field: ForwardedField) -> TrustedProxies {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
        TrustedProxies { networks: networks.to_vec(), field }
    }

    fn headers(name: &HeaderName, lines: &[&[u8]]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name.clone(), HeaderValue::from_bytes(line).unwrap());
        }
        headers
    }

    fn by_list(lines: &[&[u8]]) -> String {
        let headers = headers(&X_FORWARDED_FOR, lines);
        let proxies = proxies(ForwardedField::XForwardedFor);
        client_address("10.0.0.1".parse().unwrap(), &headers, &proxies).0.to_string()
    }

    fn by_forwarded(lines: &[&[u8]]) -> String {
        let headers = headers(&FORWARDED, lines);
        let proxies = proxies(ForwardedField::Forwarded);
        client_address("10.0.0.1".parse().unwrap(), &headers, &proxies).0.to_string()
    }

    #[test]
    fn the_client_is_the_right_most_address_that_is_not_trusted() {
        let cases: [(&[&[u8]], &str); 16] = [
            (&[b"6.6.6.6, 9.9.9.9, 10.0.0.2"], "9.9.9.9"),
            (&[b""], "10.0.0.1"),
            (&[b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&[b"6.6.6.6", b"9.9.9.9", b"10.0.0.2"], "9.9.9.9"),
            (&[b"6.6.6.6,9.9.9.9 , , 10.0.0.2"], "9.9.9.9"),
            (&[b"6.6.6.6, junk, 10.0.0.3"], "10.0.0.3"),
            (&[b"6.6.6.6, unknown"], "10.0.0.1"),
            (&[b"6.6.6.6, _hidden, 10.0.0.3"], "10.0.0.3"),
            (&[b"9.9.9.9:51234"], "9.9.9.9"),
            (&[b"[2001:db8::9]:51234"], "2001:db8::9"),
            (&[b"[2001:db8::9]"], "2001:db8::9"),
            (&[b"2001:db8::9, fd00::2"], "2001:db8::9"),
            (&[b"::ffff:9.9.9.9, ::ffff:10.0.0.2"], "9.9.9.9"),
            (&[b"6.6.6.6, 9.9.9.9:x"], "10.0.0.1"),
            (&[b"6.6.6.6, 9.9.9.9:123456"], "10.0.0.1"),
            (&[b"6.6.6.6, fe80::1%eth0"], "10.0.0.1"),
        ];
        for (lines, client) in cases {
            assert_eq!(by_list(lines), client, "{lines:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_writes_changes_what_a_proxy_wrote_behind_it(
            lines in prop::collection::vec("[ -~\t\\x80-\\xff]{0,40}|[for=\";,\\\\ 6.]{0,40}", 1..4),
        ) {
            let written: Vec<Vec<u8>> = lines.iter().map(|line| line.as_bytes().to_vec()).collect();
            let behind = |element: &str| {
                let mut lines = written.clone();
                lines.last_mut().unwrap().extend_from_slice(element.as_bytes());
                lines
            };
            let as_slices = |lines: &[Vec<u8>]| -> String {
                let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
                format!("{} {}", by_list(&lines), by_forwarded(&lines))
            };
            prop_assert_eq!(as_slices(&behind(", 203.0.113.9")), "203.0.113.9 10.0.0.1");
            let found = as_slices(&behind(", for=\"[2001:db8::9]:1\";proto=https"));
            prop_assert_eq!(found, "10.0.0.1 2001:db8::9");
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_uncover_what_a_client_wrote() {
        assert_eq!(by_list(&[b"6.6.6.6", b"\xff, 9.9.9.9"]), "9.9.9.9");
        assert_eq!(by_list(&[b"6.6.6.6", b"\xff"]), "10.0.0.1");
    }

    #[test]
    fn forwarded_is_read_from_its_right_end() {
        let cases: [(&[&[u8]], &str); 17] = [
            (&[b"for=6.6.6.6, for=9.9.9.9, for=10.0.0.2"], "9.9.9.9"),
            (&[b"For=\"[2001:db8::9]:51234\";proto=https;by=10.0.0.1"], "2001:db8::9"),
            (&[b"proto=https; FOR = 9.9.9.9"], "9.9.9.9"),
            (&[b"for=\"9.9.9.9:_port\""], "9.9.9.9"),
            (&[b"for=6.6.6.6", b"for=9.9.9.9"], "9.9.9.9"),
            (&[b"for=6.6.6.6, for=unknown, for=10.0.0.2"], "10.0.0.2"),
            (&[b"for=6.6.6.6, for=_hidden"], "10.0.0.1"),
            (&[b"for=6.6.6.6, proto=https"], "10.0.0.1"),
            (&[b"for=6.6.6.6, for=9.9.9.9;for=7.7.7.7"], "10.0.0.1"),
            // What a client leaves open, or hides in a quoted value, is not taken for a proxy's.
            (&[b"for=\", for=9.9.9.9"], "9.9.9.9"),
            (&[b"for=\"6.6.6.6, for=9.9.9.9"], "9.9.9.9"),
            (&[b"for=\"a\\\", for=9.9.9.9"], "9.9.9.9"),
            (&[b"for=9.9.9.9;host=\"a;for=6.6.6.6\""], "9.9.9.9"),
            (&[b"for=9.9.9.9;host=\"a, for=6.6.6.6\""], "9.9.9.9"),
            (&[b"for=9.9.9.9;host=\"a\\\";for=6.6.6.6\""], "10.0.0.1"),
            (&[b"for=6.6.6.6, for=\"9.9.9.9"], "10.0.0.1"),
            (&[b"for=6.6.6.6;\xff, for=9.9.9.9"], "9.9.9.9"),
        ];
        for (lines, client) in cases {
            assert_eq!(by_forwarded(lines), client, "{lines:?}");
        }
    }

    #[test]
    fn the_field_that_no_proxy_writes_is_not_believed() {
        let mut both = headers(&X_FORWARDED_FOR, &[b"9.9.9.9"]);
        both.insert(FORWARDED, HeaderValue::from_static("for=6.6.6.6"));
        let peer = "10.0.0.1".parse().unwrap();
        let proxies = proxies(ForwardedField::XForwardedFor);
        assert_eq!(client_address(peer, &both, &proxies).0.to_string(), "9.9.9.9");
        pass_on(&mut both, peer, &proxies, "proto=https");
        assert_eq!(both["x-forwarded-for"], "9.9.9.9, 10.0.0.1");
        assert_eq!(both["forwarded"], "for=9.9.9.9, for=10.0.0.1;proto=https");
    }

    #[test]
    fn the_next_hop_is_not_told_what_a_client_wrote() {
        let lines: &[&[u8]] = &[b"for=6.6.6.6, for=\"[2001:db8::9]:1\";proto=https, for=10.0.0.2"];
        let mut headers = headers(&FORWARDED, lines);
        let proxies = proxies(ForwardedField::Forwarded);
        pass_on(&mut headers, "10.0.0.1".parse().unwrap(), &proxies, "proto=http");
        assert_eq!(headers["x-forwarded-for"], "2001:db8::9, 10.0.0.2, 10.0.0.1");
        let kept = "for=\"[2001:db8::9]:1\";proto=https, for=10.0.0.2, for=10.0.0.1;proto=http";
        assert_eq!(headers["forwarded"], kept);
        let stranger = "8.8.8.8".parse().unwrap();
        pass_on(&mut headers, stranger, &proxies, "proto=http");
        assert_eq!(headers["x-forwarded-for"], "8.8.8.8");
        assert_eq!(headers["forwarded"], "for=8.8.8.8;proto=http");
    }
}
