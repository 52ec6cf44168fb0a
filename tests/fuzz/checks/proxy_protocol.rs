//! A PROXY header ends where it ends, is bounded, and names whom the specification says it names.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tillgate::server::proxy_protocol::{
    BLOCK_BYTES_MAX, FIXED_BYTES, LINE_BYTES_MAX, Wanted, source, wanted,
};

/// Section 2.2 of the specification.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Takes the bytes as what a connection begins with.
pub fn check(data: &[u8]) {
    let Some(header) = header(data) else { return };
    let found = source(header);
    if header.starts_with(SIGNATURE) {
        assert!(header.len() <= FIXED_BYTES + usize::from(BLOCK_BYTES_MAX), "a header is too long");
        let length = u16::from_be_bytes([header[14], header[15]]);
        assert_eq!(header.len(), FIXED_BYTES + usize::from(length), "a header ends elsewhere");
        if let Ok(found) = found {
            assert_eq!(found, named_by_two(header), "somebody else is named");
        }
        return;
    }
    assert!(header.len() <= LINE_BYTES_MAX, "a line is too long");
    if let Ok(found) = found {
        assert!(header.ends_with(b"\r\n"), "a line ends in LF alone");
        let line = str::from_utf8(&header[..header.len() - 2]).expect("a line is text");
        assert!(line.starts_with("PROXY "), "another line is taken for a header: {line}");
        assert_eq!(found, named_by_one(line), "somebody else is named: {line}");
    }
}

/// The bytes that are taken, if they are a header's.
fn header(data: &[u8]) -> Option<&[u8]> {
    let mut taken = 0;
    loop {
        let (begun, rest) = data.split_at(taken);
        let more = match wanted(begun).ok()? {
            Wanted::Bytes(length) if length <= rest.len() => length,
            Wanted::Bytes(_) => return None,
            Wanted::Line(most) => {
                let seen = &rest[..most.min(rest.len())];
                let end = seen.iter().position(|byte| *byte == b'\n');
                end.map_or(seen.len(), |at| at + 1)
            }
            Wanted::Nothing => return Some(begun),
        };
        if more == 0 {
            return None;
        }
        taken += more;
    }
}

/// Only the command PROXY, and only TCP, names anybody.
fn named_by_two(header: &[u8]) -> Option<SocketAddr> {
    let port = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (address, port): (IpAddr, _) = match (header[12], header[13]) {
        (0x21, 0x11) => {
            let bytes: [u8; 4] = header[16..20].try_into().expect("four bytes");
            (Ipv4Addr::from(bytes).into(), port(24))
        }
        (0x21, 0x21) => {
            let bytes: [u8; 16] = header[16..32].try_into().expect("sixteen bytes");
            (Ipv6Addr::from(bytes).into(), port(48))
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

fn named_by_one(line: &str) -> Option<SocketAddr> {
    let words: Vec<_> = line.split(' ').collect();
    let address: IpAddr = match words[1] {
        "TCP4" => words[2].parse::<Ipv4Addr>().expect("an address").into(),
        "TCP6" => words[2].parse::<Ipv6Addr>().expect("an address").into(),
        other => {
            assert_eq!(other, "UNKNOWN", "an unknown family names somebody");
            return None;
        }
    };
    assert_eq!(words.len(), 6, "a line has too many words");
    Some(SocketAddr::new(address, words[4].parse().expect("a port")))
}
