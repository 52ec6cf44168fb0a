//! Talk to the upstream or the payment gateway.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use http::header::{IF_RANGE, RANGE};
use http::response::Parts;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use super::body::{Body, Source};
use super::exchange::Exchange;
use super::pool::{Lease, Pool, PoolKey};
use super::reject::Rejection;
use crate::policy::{Scheme, Timeouts, Trust, Upstream};
use crate::telemetry::{Metrics, UpstreamMetrics};

/// How much of an answer is buffered before it is read on: large bodies want large reads.
const READ_BUFFER_BYTES_MAX: usize = 256 << 10;
/// How many fields an answer may have.
const ANSWER_FIELDS_MAX: usize = 256;

/// An upstream with what is needed to reach it, prepared when a configuration is loaded.
pub(super) struct Target {
    upstream: Upstream,
    key: PoolKey,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    metrics: Arc<UpstreamMetrics>,
}

/// The upstreams of a site; each request begins with the next.
pub struct Targets {
    all: Vec<Target>,
    next: AtomicUsize,
}

/// What a thread needs to talk to upstreams.
#[derive(Default)]
pub struct Dialer {
    pool: Arc<Pool>,
    /// Owns the tasks that drive upstream connections and upgraded ones.
    pub tasks: TaskTracker,
}

/// An answer whose body is still to come over its connection.
pub struct Answer {
    /// The head, and the body as it arrives.
    pub response: Response<Incoming>,
    /// The connection.
    pub lease: Lease,
}

impl Answer {
    /// The head, and the body with its connection.
    pub fn into_parts(self, exchange: &Arc<Exchange>, idle: Duration) -> (Parts, Source) {
        let (mut head, incoming) = self.response.into_parts();
        // An old server's version is not ours, and its words beside the status are for nobody.
        head.version = Version::HTTP_11;
        head.extensions.clear();
        (head, Source::from_upstream(incoming, Arc::clone(exchange), self.lease, idle))
    }
}

impl Target {
    /// Prepares an upstream.
    ///
    /// # Errors
    /// When TLS is wanted and cannot be set up.
    pub(super) fn new(upstream: &Upstream, metrics: &Metrics) -> Result<Self, TargetError> {
        let (key, tls) = match upstream.scheme {
            Scheme::Http => (upstream.to_string(), None),
            Scheme::Https => {
                let Upstream { trust, pins, client, .. } = upstream;
                let connector = crate::tls::Connector::with(trust, pins, client.as_ref())?;
                let name = ServerName::try_from(upstream.host.clone())?;
                let key = format!("{upstream} {}", trust_digest(upstream, connector.shown()));
                (key, Some((TlsConnector::from(connector.config()), name)))
            }
        };
        let metrics = Arc::new(metrics.upstream(&upstream.to_string()));
        Ok(Self { upstream: upstream.clone(), key: PoolKey(key.into()), tls, metrics })
    }
}

/// Why an upstream cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Its name can be in no certificate.
    #[error("the upstream's name cannot be verified")]
    Name(#[from] rustls_pki_types::InvalidDnsNameError),
    /// Its authorities cannot be used.
    #[error("TLS towards the upstream cannot be set up")]
    Tls(#[from] crate::tls::ConnectError),
}

impl Targets {
    /// Prepares the upstreams of a site.
    ///
    /// # Errors
    /// As for each of them.
    pub(super) fn new(upstreams: &[Upstream], metrics: &Metrics) -> Result<Self, TargetError> {
        let all =
            upstreams.iter().map(|each| Target::new(each, metrics)).collect::<Result<_, _>>()?;
        Ok(Self { all, next: AtomicUsize::new(0) })
    }

    fn in_turn(&self) -> impl Iterator<Item = &Target> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.all.len().max(1);
        self.all.iter().cycle().skip(first).take(self.all.len())
    }
}

impl Dialer {
    /// A connection that is ready: a kept one, or a new one to the first upstream that answers.
    ///
    /// # Errors
    /// When none can be reached in time.
    pub async fn connect(
        &self,
        targets: &Targets,
        timeouts: &Timeouts,
        reuse: Reuse,
    ) -> Result<Connected, Rejection> {
        let mut last = None;
        for target in targets.in_turn() {
            if reuse == Reuse::Allowed
                && let Some(lease) = self.pool.take(&target.key)
            {
                let metrics = Arc::clone(&target.metrics);
                return Ok(Connected { lease, reused: true, metrics });
            }
            match self.open(target, timeouts.connect).await {
                Ok(lease) => {
                    target.metrics.connected();
                    let metrics = Arc::clone(&target.metrics);
                    return Ok(Connected { lease, reused: false, metrics });
                }
                Err(rejection) => {
                    target.metrics.failed(rejection.reason(), &rejection);
                    last = Some(rejection);
                }
            }
        }
        let nowhere = || Rejection::UpstreamConnect(io::Error::from(io::ErrorKind::NotFound));
        Err(last.unwrap_or_else(nowhere))
    }

    /// Sends a request; one that never left, or that is safe to repeat, is sent once more over a new
    /// connection when a kept one turns out to be dead (RFC 9110 §9.2.2).
    ///
    /// # Errors
    /// When the upstream cannot be reached, fails or does not answer in time.
    pub async fn send(
        &self,
        connected: Connected,
        targets: &Targets,
        request: Request<Body>,
        (timeouts, exchange): (&Timeouts, &Exchange),
    ) -> Result<Answer, Rejection> {
        let spare = if connected.reused { repeatable(&request) } else { None };
        let begun = Instant::now();
        let wait = timeouts.response_head;
        let mut metrics = Arc::clone(&connected.metrics);
        let answer = match connected.send(request, wait, exchange).await {
            Err(Unsent { rejection: Rejection::UpstreamFailed(error), request }) => {
                match request.map(|request| *request).or(spare) {
                    Some(again) => {
                        let fresh = self.connect(targets, timeouts, Reuse::Never).await?;
                        metrics = Arc::clone(&fresh.metrics);
                        fresh.send(again, wait, exchange).await
                    }
                    None => Err(Unsent::from(Rejection::UpstreamFailed(error))),
                }
            }
            other => other,
        };
        exchange.tally.upstream_took(begun.elapsed());
        answer.map_err(|Unsent { rejection, .. }| {
            // A body that was refused on its way is the reason for everything that followed.
            exchange.take_refusal().unwrap_or_else(|| {
                metrics.failed(rejection.reason(), &rejection);
                rejection
            })
        })
    }

    async fn open(&self, target: &Target, wait: Duration) -> Result<Lease, Rejection> {
        let opened = timeout(wait, self.handshake(target)).await;
        let late = |_| Rejection::UpstreamTimeout { what: "connect", waited: wait };
        opened.map_err(late)?
    }

    async fn handshake(&self, target: &Target) -> Result<Lease, Rejection> {
        let Upstream { host, port, .. } = &target.upstream;
        let tcp = TcpStream::connect((host.as_str(), *port)).await;
        let tcp = tcp.map_err(Rejection::UpstreamConnect)?;
        tcp.set_nodelay(true).map_err(Rejection::UpstreamConnect)?;
        let sender = match &target.tls {
            None => self.drive(tcp).await?,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), tcp).await;
                self.drive(stream.map_err(Rejection::UpstreamConnect)?).await?
            }
        };
        Ok(self.pool.lease(target.key.clone(), sender))
    }

    async fn drive<S>(&self, stream: S) -> Result<http1::SendRequest<Body>, Rejection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER_BYTES_MAX).max_headers(ANSWER_FIELDS_MAX);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(Rejection::UpstreamFailed)?;
        self.tasks.spawn(async move {
            // How it ends is told to whoever waits for an answer on it.
            let _told = connection.with_upgrades().await;
        });
        Ok(sender)
    }
}

/// A connection that is ready for one request.
pub struct Connected {
    lease: Lease,
    reused: bool,
    metrics: Arc<UpstreamMetrics>,
}

/// Whether a kept connection will do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reuse {
    /// It will.
    Allowed,
    /// A kept one has just failed.
    Never,
}

struct Unsent {
    rejection: Rejection,
    /// The request, where not a byte of it left.
    request: Option<Box<Request<Body>>>,
}

impl From<Rejection> for Unsent {
    fn from(rejection: Rejection) -> Self {
        Self { rejection, request: None }
    }
}

impl Connected {
    async fn send(
        mut self,
        request: Request<Body>,
        wait: Duration,
        exchange: &Exchange,
    ) -> Result<Answer, Unsent> {
        let mut sent = pin!(self.lease.sender().try_send_request(request));
        let outcome = loop {
            match timeout(wait, &mut sent).await {
                Ok(outcome) => break outcome,
                // A slow upload is not a slow answer: only silence from both ends counts.
                Err(_) if exchange.tally.request_moved_within(exchange.started, wait) => {}
                Err(_) => {
                    return Err(Rejection::UpstreamTimeout { what: "answer", waited: wait }.into());
                }
            }
        };
        match outcome {
            Ok(response) => Ok(Answer { response, lease: self.lease }),
            Err(mut error) => {
                let request = error.take_message().map(Box::new);
                Err(Unsent { rejection: Rejection::UpstreamFailed(error.into_error()), request })
            }
        }
    }
}

/// Names what a connection was verified by and what we showed, so that it is not used under anything
/// else.
fn trust_digest(upstream: &Upstream, shown: &[CertificateDer<'_>]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    match &upstream.trust {
        Trust::Anchors(anchors) => anchors.iter().for_each(|anchor| context.update(anchor)),
        Trust::System => context.update(b"system"),
    }
    upstream.pins.iter().for_each(|pin| context.update(pin));
    shown.iter().for_each(|certificate| context.update(certificate));
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A copy of a request for a part that asks for all of it (RFC 9110 §14.2 lets a server do so).
pub(super) fn without_range(request: &Request<Body>) -> Option<Request<Body>> {
    let asks = request.headers().contains_key(RANGE);
    let mut whole = asks.then(|| repeatable(request)).flatten()?;
    whole.headers_mut().remove(RANGE);
    whole.headers_mut().remove(IF_RANGE);
    Some(whole)
}

/// A copy of a request that may be sent twice.
fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let bodiless = matches!(request.body(), Body::Empty);
    (bodiless && request.method().is_idempotent()).then(|| {
        let mut copy = Request::new(Body::Empty);
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        copy.headers_mut().clone_from(request.headers());
        copy
    })
}
