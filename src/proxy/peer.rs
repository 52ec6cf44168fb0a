//! Where a request comes from: its connection, and what the listener is for.

use std::any::Any;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::{Dialer, Leave};
use crate::policy::Destination;
use crate::telemetry::ListenerRole;
use crate::tls::Admission;

/// The connection a request came over.
pub struct Peer {
    /// The other end.
    pub address: SocketAddr,
    /// What this listener is for.
    pub role: Role,
    /// The name the client asked for in its TLS handshake.
    pub server_name: Option<String>,
    /// The TLS version, where there is one.
    pub tls_version: Option<&'static str>,
    /// Whether it showed a certificate, which was then verified.
    pub certified: bool,
    /// On what terms its handshake let it in, where there was one.
    pub admission: Option<Admission>,
    /// How its thread talks to upstreams.
    pub dialer: Arc<Dialer>,
    /// Owns what outlives a request: upgraded connections.
    pub tasks: TaskTracker,
    /// Tells when it must end.
    pub leave: Leave,
    /// Held for as long as the connection lasts in any form.
    pub presence: Presence,
}

/// Keeps a connection open as long as it is there: one that carries a WebSocket beside requests
/// (RFC 8441) is not idle for want of those.
#[derive(Clone)]
pub struct Hold(pub Arc<dyn Any + Send + Sync>);

/// Counts a connection as open until it is dropped.
pub type Presence = Arc<dyn Any + Send + Sync>;

/// What a listener does with requests.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Role {
    /// Leads a shop to its payment gateways, and where else it may go.
    Forward,
    /// Puts card numbers back, for the gateway of this name.
    Gateway(Arc<str>),
    /// The same, for the gateway that the shop believes to have called through the forward proxy.
    Intercepted(Destination),
    /// Sends everybody to `https`, on this port.
    RedirectToHttps(u16),
    /// Guards the shops.
    Site,
}

impl Role {
    /// What the listener is called in metrics and logs.
    #[must_use]
    pub fn listener(&self, tls: bool) -> ListenerRole {
        match self {
            Self::Forward | Self::Intercepted(_) => ListenerRole::Forward,
            Self::Gateway(_) => ListenerRole::Gateway,
            Self::RedirectToHttps(_) => ListenerRole::Redirect,
            Self::Site if tls => ListenerRole::Https,
            Self::Site => ListenerRole::Http,
        }
    }
}
