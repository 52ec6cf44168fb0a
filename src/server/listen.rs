//! Listening sockets: one per worker and address, sharing the port.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::proxy::Role;

/// Connections that the kernel holds for one socket until they are accepted.
const BACKLOG: i32 = 4096;

/// Why an address cannot be listened on.
#[derive(Debug, Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    /// Which address.
    pub address: SocketAddr,
    source: io::Error,
}

/// An address that is being listened on, with a socket for each worker.
pub struct Bound {
    /// The real address, also where port 0 was asked for.
    pub address: SocketAddr,
    sockets: Vec<TcpListener>,
}

/// What a listener is for, and what comes before a request there.
#[derive(Clone)]
pub struct Kind {
    /// What is done with its requests.
    pub role: Role,
    /// How TLS is spoken, if it is.
    pub tls: Option<Arc<ServerConfig>>,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// One worker's part of a listener.
pub struct Share {
    /// What it is for.
    pub kind: Kind,
    /// The socket.
    pub socket: TcpListener,
}

impl Bound {
    /// Listens with as many sockets as there are workers.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn new(address: SocketAddr, workers: usize) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let first = listen(address).map_err(failed)?;
        let address = first.local_addr().map_err(failed)?;
        let mut sockets = vec![first];
        for _ in 1..workers {
            sockets.push(listen(address).map_err(failed)?);
        }
        Ok(Self { address, sockets })
    }

    /// Listens with one socket, for a page that one thread serves.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn single(address: SocketAddr) -> Result<TcpListener, ListenError> {
        listen(address).map_err(|source| ListenError { address, source })
    }

    /// Takes a worker's socket.
    pub fn share(&mut self, kind: &Kind) -> Option<Share> {
        Some(Share { kind: kind.clone(), socket: self.sockets.pop()? })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // "[::]" and "0.0.0.0" are two listeners, whatever the system's default is.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
