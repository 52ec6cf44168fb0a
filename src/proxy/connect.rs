//! CONNECT: what the forward proxy makes of what the shop asks it for.
//!
//! A payment gateway's name is answered by us, and what comes inside is a request to that gateway.
//! Everything else is tunnelled as it is, or refused. Names are resolved here and the address that
//! was looked at is the one that is connected to, so that no name leads inside on second thought.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tracing::debug;

use super::body::Body;
use super::exchange::{Asked, ClientAddr, Exchange};
use super::finish::{Ending, Finished};
use super::pipe::{self, Way};
use super::reject::{Accept, Rejection};
use super::request_id::RequestId;
use super::seats::Seat;
use super::{Generation, Peer, Proxy, admit};
use crate::policy::{Destination, ForwardPolicy};
use crate::telemetry::{ConnectOutcome, TunnelGuard};

/// An answer to CONNECT.
pub struct Connect {
    /// What the client is told.
    pub response: Response<Finished>,
    /// What its connection becomes after that, if it was told yes.
    pub onward: Option<Onward>,
}

/// What a connection becomes once CONNECT has been answered.
pub enum Onward {
    /// Ours, in a payment gateway's name.
    Intercept(Intercept),
    /// A tunnel.
    Tunnel(Tunnel),
}

/// A connection that we answer in a payment gateway's name.
pub struct Intercept {
    /// Whom the client asked for.
    pub destination: Destination,
    /// Our side of its handshake.
    pub tls: Arc<ServerConfig>,
    /// Its connection, once it is handed over.
    pub client: OnUpgrade,
}

/// A connection that is joined to another as it is.
pub struct Tunnel {
    client: OnUpgrade,
    server: TcpStream,
    idle: Duration,
    open: TunnelGuard,
    _seat: Seat,
}

/// What was decided, before the client's connection is there.
enum Decision {
    Intercept(Destination, Arc<ServerConfig>),
    Tunnel(TcpStream, Seat),
}

impl Proxy {
    /// Answers CONNECT (RFC 9110 §9.3.6); the connection goes on as the answer says.
    pub async fn connect(&self, peer: &Peer, mut request: Request<Incoming>) -> Connect {
        let generation = self.live.load();
        // RFC 9112 §3.2.3: the target says where to; what `Host` says beside it counts for nothing.
        let authority = request.uri().authority();
        let target = authority.and_then(Destination::of_connect);
        let host = target.as_ref().map(|target| target.host.clone()).unwrap_or_default();
        let asked = Asked {
            target: authority.map(ToString::to_string).unwrap_or_default(),
            ..Asked::of(&request, host)
        };
        let client = ClientAddr(peer.address.ip().to_canonical());
        let exchange = Exchange::new(RequestId::of(request.headers()), client, asked);
        let accept = Accept::of(request.headers());

        let decided = self.decide(&generation, &request, target).await;
        self.services.metrics.connect_asked(outcome(&decided));
        let (answer, onward) = match decided {
            Ok(decision) => {
                let client = hyper::upgrade::on(&mut request);
                let onward = self.onward(&generation, decision, client);
                (Ok(Response::new(Body::Empty)), Some(onward))
            }
            Err(rejection) => (Err(rejection), None),
        };
        let ending = Ending::of(&self.services, exchange, peer);
        Connect { response: self.conclude(answer, (accept, None), ending), onward }
    }

    async fn decide(
        &self,
        generation: &Generation,
        request: &Request<Incoming>,
        target: Option<Destination>,
    ) -> Result<Decision, Rejection> {
        // RFC 9110 §9.3.6: CONNECT has no content; what looks like it may be the other side's.
        let target = target.filter(|_| request.body().is_end_stream());
        let target = target.ok_or(Rejection::ConnectTarget)?;
        // A name that is looked up is told to strangers.
        admit::names(request, &target.host)?;
        let snapshot = &generation.snapshot;
        let refused = || Rejection::DestinationRefused { destination: target.clone() };
        if snapshot.gateway_called(&target).is_some() {
            // Never a tunnel: tokens in it would be charged as they are.
            let authority = self.services.authority.as_ref().ok_or_else(refused)?;
            let tls = authority.server(&target.host, SystemTime::now());
            let tls = tls.map_err(Rejection::Authority)?;
            return Ok(Decision::Intercept(target, tls));
        }
        if !snapshot.forward.admits(&target) {
            return Err(refused());
        }
        let limit = snapshot.forward.tunnels_max;
        let seat = self.tunnels.take(limit.get()).ok_or(Rejection::TunnelsFull { limit })?;
        let wait = snapshot.timeouts.connect;
        let late = |_| Rejection::UpstreamTimeout { what: "connect", waited: wait };
        let dialled = timeout(wait, dial(&snapshot.forward, &target, wait)).await;
        Ok(Decision::Tunnel(dialled.map_err(late)??, seat))
    }

    fn onward(&self, generation: &Generation, decision: Decision, client: OnUpgrade) -> Onward {
        match decision {
            Decision::Intercept(destination, tls) => {
                Onward::Intercept(Intercept { destination, tls, client })
            }
            Decision::Tunnel(server, seat) => Onward::Tunnel(Tunnel {
                client,
                server,
                idle: generation.snapshot.timeouts.upgrade_idle,
                open: self.services.metrics.tunnel_opened(),
                _seat: seat,
            }),
        }
    }
}

impl Tunnel {
    /// Carries bytes both ways until both sides have ended, or neither has moved for too long.
    pub async fn run(self) {
        let Self { client, server, idle, open, _seat } = self;
        let client = match client.await {
            Ok(client) => TokioIo::new(client),
            Err(error) => return debug!(%error, "the client of a tunnel went away"),
        };
        let count = |way, count| match way {
            Way::Down => open.to_client(count),
            Way::Up => open.to_server(count),
        };
        pipe::join(client, server, idle, count).await;
    }
}

/// Connects to the first address of a destination that answers, of those that may be reached. Each
/// has its share of the time: one that swallows everything must not take that of the next.
async fn dial(
    policy: &ForwardPolicy,
    target: &Destination,
    wait: Duration,
) -> Result<TcpStream, Rejection> {
    let found = lookup_host((target.host.as_str(), target.port)).await;
    let found: Vec<SocketAddr> = found.map_err(Rejection::TunnelFailed)?.collect();
    let reachable: Vec<_> = found.into_iter().filter(|each| policy.reaches(*each)).collect();
    let Some(share) = u32::try_from(reachable.len()).ok().and_then(|n| wait.checked_div(n)) else {
        return Err(Rejection::DestinationInside { destination: target.clone() });
    };
    let mut last = Rejection::UpstreamTimeout { what: "connect", waited: wait };
    for address in reachable {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(server)) => {
                server.set_nodelay(true).map_err(Rejection::TunnelFailed)?;
                return Ok(server);
            }
            Ok(Err(error)) => last = Rejection::TunnelFailed(error),
            Err(_) => last = Rejection::UpstreamTimeout { what: "connect", waited: wait },
        }
    }
    Err(last)
}

fn outcome(decided: &Result<Decision, Rejection>) -> ConnectOutcome {
    match decided {
        Ok(Decision::Intercept(..)) => ConnectOutcome::Intercepted,
        Ok(Decision::Tunnel(..)) => ConnectOutcome::Tunnelled,
        Err(
            Rejection::Authority(_)
            | Rejection::TunnelFailed(_)
            | Rejection::TunnelsFull { .. }
            | Rejection::UpstreamTimeout { .. },
        ) => ConnectOutcome::Failed,
        Err(_) => ConnectOutcome::Refused,
    }
}
