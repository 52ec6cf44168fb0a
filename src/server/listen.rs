//! Listening sockets: one per worker and address, sharing the port.
//!
//! Sockets that another process has opened (the service manager, or the process before an upgrade) are
//! taken as they are: whatever their number, each is served by a worker and each worker has one.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;
use tokio::sync::watch;

use crate::policy::Live;
use crate::proxy::{Leave, Role};
use crate::tls::Acceptor;

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

/// An address that is being listened on, with sockets for each worker.
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
    pub tls: Option<Arc<Acceptor>>,
    /// Whether every connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
}

/// One worker's part of a listener.
pub struct Share {
    /// What it is for, as of this moment.
    pub kind: Arc<Live<Kind>>,
    /// When it ends.
    pub leave: Leave,
    /// Whether nobody is accepted for now.
    pub resting: watch::Receiver<bool>,
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

    /// Takes sockets that listen already; at least one, and all at one address.
    ///
    /// # Errors
    /// When one cannot be used.
    pub fn adopt(asked: SocketAddr, sockets: Vec<TcpListener>) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address: asked, source };
        let mut address = asked;
        for socket in &sockets {
            socket.set_nonblocking(true).map_err(failed)?;
            address = socket.local_addr().map_err(failed)?;
        }
        Ok(Self { address, sockets })
    }

    /// Listens with one socket, for a page that one thread serves.
    ///
    /// # Errors
    /// When the address is taken or not ours.
    pub fn single(address: SocketAddr) -> Result<Self, ListenError> {
        Self::new(address, 1)
    }

    /// The sockets of one worker out of so many. None is left out, because clients would wait there
    /// for ever; a socket is shared where there are too few.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn sockets_of(&self, worker: usize, workers: usize) -> io::Result<Vec<TcpListener>> {
        let (sockets, workers) = (self.sockets.len().max(1), workers.max(1));
        let places = (worker..sockets.max(workers)).step_by(workers);
        let chosen = places.filter_map(|place| self.sockets.get(place % sockets));
        chosen.map(TcpListener::try_clone).collect()
    }

    /// All of them.
    #[must_use]
    pub fn sockets(&self) -> &[TcpListener] {
        &self.sockets
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_a_socket_and_every_socket_a_worker() {
        for (sockets, workers) in [(1, 4), (4, 1), (3, 2), (2, 3), (2, 2)] {
            let bound = Bound::new("127.0.0.1:0".parse().unwrap(), sockets).unwrap();
            let held = (0..workers).map(|worker| bound.sockets_of(worker, workers).unwrap().len());
            let held: Vec<_> = held.collect();
            assert!(held.iter().all(|held| *held > 0), "{sockets} for {workers}: {held:?}");
            assert_eq!(held.iter().sum::<usize>(), sockets.max(workers));
        }
    }
}
