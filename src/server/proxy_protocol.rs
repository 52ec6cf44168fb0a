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
const LINE_BYTES_MAX: usize = 107;

/// The most that may follow the first 16 bytes of version 2: two addresses of 216 bytes at most, and
/// what senders add about themselves. The protocol allows 64 KiB, which nobody sends.
const BLOCK_BYTES_MAX: u16 = 4096;

/// Version 2 with the command LOCAL: the sender speaks for itself, as in a health check.
const LOCAL: u8 = 0x20;

/// Reads a header; `None` where the sender names nobody, and its own address stands.
pub(super) async fn read(
    tcp: &mut TcpStream,
    wait: Duration,
) -> Result<Option<SocketAddr>, ProxyHeaderFault> {
    timeout(wait, header(tcp)).await.unwrap_or(Err(ProxyHeaderFault::Late))
}

async fn header(tcp: &mut TcpStream) -> Result<Option<SocketAddr>, ProxyHeaderFault> {
    // Both versions are longer than the signature of the second.
    let mut bytes = vec![0; v2::PROTOCOL_PREFIX.len()];
    fill(tcp, &mut bytes).await?;
    if bytes == v2::PROTOCOL_PREFIX {
        return version_two(tcp, bytes).await;
    }
    if bytes.starts_with(v1::PROTOCOL_PREFIX.as_bytes()) {
        return version_one(tcp, bytes).await;
    }
    Err(ProxyHeaderFault::Malformed)
}

async fn version_one(
    tcp: &mut TcpStream,
    mut line: Vec<u8>,
) -> Result<Option<SocketAddr>, ProxyHeaderFault> {
    let mut ahead = [0; LINE_BYTES_MAX];
    while !line.contains(&b'\n') {
        let room = ahead.get_mut(line.len()..).filter(|room| !room.is_empty());
        let room = room.ok_or(ProxyHeaderFault::TooLong)?;
        // Looked at first: what follows the line is not ours to take.
        let seen = tcp.peek(room).await.map_err(|_| ProxyHeaderFault::Closed)?;
        let seen = room.get_mut(..seen).unwrap_or_default();
        let end = memchr::memchr(b'\n', seen).map_or(seen.len(), |at| at + 1);
        let piece = seen.get_mut(..end).filter(|piece| !piece.is_empty());
        let piece = piece.ok_or(ProxyHeaderFault::Closed)?;
        fill(tcp, piece).await?;
        line.extend_from_slice(piece);
    }
    let header = v1::Header::try_from(&*line).map_err(|_| ProxyHeaderFault::Malformed)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(found) => named(found.source_address, found.source_port),
        v1::Addresses::Tcp6(found) => named(found.source_address, found.source_port),
        v1::Addresses::Unknown => None,
    })
}

async fn version_two(
    tcp: &mut TcpStream,
    mut bytes: Vec<u8>,
) -> Result<Option<SocketAddr>, ProxyHeaderFault> {
    let mut fixed = [0; 4];
    fill(tcp, &mut fixed).await?;
    let [command, _family, high, low] = fixed;
    let length = u16::from_be_bytes([high, low]);
    if length > BLOCK_BYTES_MAX {
        return Err(ProxyHeaderFault::TooLong);
    }
    bytes.extend_from_slice(&fixed);
    let begin = bytes.len();
    bytes.resize(begin + usize::from(length), 0);
    fill(tcp, bytes.get_mut(begin..).unwrap_or_default()).await?;
    if command == LOCAL {
        // Section 2.2: whatever else it says is to be ignored.
        return Ok(None);
    }
    let header = v2::Header::try_from(&*bytes).map_err(|_| ProxyHeaderFault::Malformed)?;
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

async fn fill(tcp: &mut TcpStream, bytes: &mut [u8]) -> Result<(), ProxyHeaderFault> {
    tcp.read_exact(bytes).await.map(|_| ()).map_err(|_| ProxyHeaderFault::Closed)
}

fn named(address: impl Into<IpAddr>, port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::new(address.into(), port))
}
