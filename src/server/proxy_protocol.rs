//! The PROXY protocol, versions 1 and 2: a load balancer that passes TCP on tells who came to it.
//!
//! Not a byte beyond the header is taken from the socket, so what follows (TLS, HTTP) reads on as if
//! it had been the first. Both the bytes and the time of a header are bounded, and whoever is not
//! allowed to send one is not read from at all. The specification is HAProxy's `proxy-protocol.txt`.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ppp::{v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::telemetry::ProxyHeaderFault;

/// Section 2.1: the longest line of version 1, with its CRLF.
pub const LINE_BYTES_MAX: usize = 107;

/// Section 2.2: what version 2 begins with, to the length of the rest.
pub const FIXED_BYTES: usize = 16;

/// The most that may follow those: two addresses of 216 bytes at most, and what senders add about
/// themselves. The protocol allows 64 KiB, which nobody sends.
pub const BLOCK_BYTES_MAX: u16 = 4096;

/// Version 2 with the command LOCAL: the sender speaks for itself, as in a health check.
const LOCAL: u8 = 0x20;

/// What is still to come of a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// So many bytes.
    Bytes(usize),
    /// The rest of a line, of so many bytes at most.
    Line(usize),
    /// Nothing: it is whole.
    Nothing,
}

/// What is still to come of a header that begins so.
///
/// # Errors
/// When it is none, or longer than any sender's.
pub fn wanted(begun: &[u8]) -> Result<Wanted, ProxyHeaderFault> {
    // Headers of both versions are longer than the signature of the second.
    let signature = v2::PROTOCOL_PREFIX.len();
    if begun.len() < signature {
        return Ok(Wanted::Bytes(signature - begun.len()));
    }
    if begun.starts_with(v2::PROTOCOL_PREFIX) {
        let Some(&[.., high, low]) = begun.get(..FIXED_BYTES) else {
            return Ok(Wanted::Bytes(FIXED_BYTES - begun.len()));
        };
        let length = u16::from_be_bytes([high, low]);
        if length > BLOCK_BYTES_MAX {
            return Err(ProxyHeaderFault::TooLong);
        }
        let whole = FIXED_BYTES + usize::from(length);
        return Ok(match whole.saturating_sub(begun.len()) {
            0 => Wanted::Nothing,
            left => Wanted::Bytes(left),
        });
    }
    if !begun.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return Err(ProxyHeaderFault::Malformed);
    }
    match LINE_BYTES_MAX.saturating_sub(begun.len()) {
        _ if begun.contains(&b'\n') => Ok(Wanted::Nothing),
        0 => Err(ProxyHeaderFault::TooLong),
        left => Ok(Wanted::Line(left)),
    }
}

/// Whom a whole header names; `None` where that is nobody, and the sender's own address stands.
///
/// # Errors
/// When it is not written as the specification has it.
pub fn source(header: &[u8]) -> Result<Option<SocketAddr>, ProxyHeaderFault> {
    if header.starts_with(v2::PROTOCOL_PREFIX) { source_two(header) } else { source_one(header) }
}

fn source_one(line: &[u8]) -> Result<Option<SocketAddr>, ProxyHeaderFault> {
    // The parser takes a blank for the CR.
    let whole = line.ends_with(v1::PROTOCOL_SUFFIX.as_bytes());
    let header = v1::Header::try_from(line).ok().filter(|_| whole);
    let header = header.ok_or(ProxyHeaderFault::Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(found) => named(found.source_address, found.source_port),
        v1::Addresses::Tcp6(found) => named(found.source_address, found.source_port),
        v1::Addresses::Unknown => None,
    })
}

fn source_two(header: &[u8]) -> Result<Option<SocketAddr>, ProxyHeaderFault> {
    if header.get(v2::PROTOCOL_PREFIX.len()) == Some(&LOCAL) {
        // Section 2.2: whatever else it says is to be ignored.
        return Ok(None);
    }
    let header = v2::Header::try_from(header).map_err(|_| ProxyHeaderFault::Malformed)?;
    if header.protocol != v2::Protocol::Stream {
        // Nobody came over TCP: the sender does not know, or speaks of something else.
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(found) => named(found.source_address, found.source_port),
        v2::Addresses::IPv6(found) => named(found.source_address, found.source_port),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

fn named(address: impl Into<IpAddr>, port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.into(), port))
}

/// Reads a header; `None` where the sender names nobody, and its own address stands.
pub(super) async fn read(
    tcp: &mut TcpStream,
    wait: Duration,
) -> Result<Option<SocketAddr>, ProxyHeaderFault> {
    timeout(wait, header(tcp)).await.unwrap_or(Err(ProxyHeaderFault::Late))
}

async fn header(tcp: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyHeaderFault> {
    let mut header = Vec::new();
    loop {
        let length = match wanted(&header)? {
            Wanted::Bytes(length) => length,
            Wanted::Line(most) => of_line(tcp, most).await?,
            Wanted::Nothing => return source(&header),
        };
        let begin = header.len();
        header.resize(begin + length, 0);
        let rest = header.get_mut(begin..).unwrap_or_default();
        tcp.read_exact(rest).await.map_err(|_| ProxyHeaderFault::Closed)?;
    }
}

/// How much of what has come is of the line, which is looked at first: what follows is not ours to
/// take.
async fn of_line(tcp: &TcpStream, most: usize) -> Result<usize, ProxyHeaderFault> {
    let mut ahead = [0; LINE_BYTES_MAX];
    let room = ahead.get_mut(..most).unwrap_or_default();
    let seen = tcp.peek(room).await.map_err(|_| ProxyHeaderFault::Closed)?;
    let seen = room.get(..seen).unwrap_or_default();
    let length = memchr::memchr(b'\n', seen).map_or(seen.len(), |at| at + 1);
    if length == 0 { Err(ProxyHeaderFault::Closed) } else { Ok(length) }
}
