//! Who is let in: what a connection is counted for, and what it may cost the system.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::connection::{Context, serve};
use super::doorman::Place;
use super::listen::Kind;
use crate::proxy::{Leave, Role};
use crate::telemetry::{ConnectionGuard, Full};

/// What the system holds of an answer before it leaves. More would be memory that a client who does
/// not read costs, and a slow one would seem not to read at all while this much drains.
const UNSENT_BYTES_MAX: u32 = 128 << 10;
/// Finds out that a client has vanished while a connection says nothing, as a WebSocket may for hours.
const PROBE_AFTER: Duration = Duration::from_secs(60);
const PROBE_EVERY: Duration = Duration::from_secs(15);

const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 5\r\n\
    connection: close\r\n\r\n";

/// A connection that was let in, for as long as it lasts in any form.
pub(super) struct Guest {
    pub(super) place: Place,
    _open: ConnectionGuard,
}

impl Guest {
    pub(super) fn new(place: Place, open: ConnectionGuard) -> Self {
        Self { place, _open: open }
    }
}

impl Context {
    /// Serves a connection, where there is room for it.
    pub(super) fn take_in(
        self: &Arc<Self>,
        (tcp, address): (TcpStream, SocketAddr),
        kind: &Kind,
        leave: &Leave,
    ) {
        match self.place(address, kind) {
            Ok(place) => {
                let (context, kind, leave) = (Arc::clone(self), kind.clone(), leave.clone());
                self.tasks.spawn(serve(context, (tcp, address), kind, leave, place));
            }
            Err(full) => {
                if kind.tls.is_none() && !kind.proxy_protocol {
                    let _best_effort = tcp.try_write(BUSY);
                }
                self.proxy.services().metrics.connection_refused(full, address);
            }
        }
    }

    fn place(&self, address: SocketAddr, kind: &Kind) -> Result<Place, Full> {
        if !matches!(kind.role, Role::RedirectToHttps(_) | Role::Site) {
            return Ok(Place::uncounted());
        }
        let (limits, _) = self.proxy.doors(address.ip());
        let mut place = self.doorman.admit(limits)?;
        self.name(&mut place, address)?;
        Ok(place)
    }

    /// Counts it for its client's network, unless that may have any number.
    pub(super) fn name(&self, place: &mut Place, client: SocketAddr) -> Result<(), Full> {
        let (_, unbounded) = self.proxy.doors(client.ip());
        if unbounded { Ok(()) } else { place.come_from(client.ip()) }
    }
}

/// Bounds what the system keeps for a client, and how long it believes that it is there.
pub(super) fn tune(tcp: &TcpStream) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let socket = SockRef::from(tcp);
    let probes = TcpKeepalive::new().with_time(PROBE_AFTER).with_interval(PROBE_EVERY);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX)
}
