//! Talk to the upstream or the payment gateway.
//!
//! A request is sent again where that is safe: one of which no byte left goes to the next server, and
//! one that may be repeated (`again`) as far as the site's budget goes.

mod again;
mod open;
mod sender;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::header::{IF_RANGE, RANGE};
use http::response::Parts;
use http::{Request, Response, Version};
use hyper::body::Incoming;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

pub(super) use again::{Copied, Keep};
pub(super) use sender::Sender;

use super::body::{Body, Source};
use super::exchange::Exchange;
use super::pool::{Lease, Pool};
use super::reject::Rejection;
use super::upstreams::{Entry, InFlight, Targets, Tried, mix};
use crate::policy::Timeouts;
use again::Spare;

/// What a counter of random numbers moves by (SplitMix64's golden gamma).
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
/// How many times the wait for a connection may pass while one server after the other is tried.
const CONNECT_WAITS_MAX: u32 = 2;

/// What a thread needs to talk to upstreams.
pub struct Dialer {
    pool: Arc<Pool>,
    dice: AtomicU64,
    /// Owns the tasks that drive upstream connections and upgraded ones.
    pub tasks: TaskTracker,
}

impl Default for Dialer {
    fn default() -> Self {
        // Threads must not choose alike.
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
        Self { pool: Arc::default(), dice: AtomicU64::new(seed), tasks: TaskTracker::new() }
    }
}

/// An answer whose body is still to come over its connection.
pub(super) struct Answer {
    /// The head, and the body as it arrives.
    pub response: Response<Incoming>,
    /// The connection.
    pub lease: Lease,
}

impl Answer {
    /// The head, and the body with its connection.
    pub(super) fn into_parts(self, exchange: &Arc<Exchange>, idle: Duration) -> (Parts, Source) {
        let (mut head, incoming) = self.response.into_parts();
        // An old server's version is not ours, and its words beside the status are for nobody.
        head.version = Version::HTTP_11;
        head.extensions.clear();
        (head, Source::from_upstream(incoming, Arc::clone(exchange), self.lease, idle))
    }
}

/// How a request is sent.
#[derive(Clone, Copy)]
pub(super) struct Sending<'s> {
    /// The waits.
    pub timeouts: &'s Timeouts,
    /// The request.
    pub exchange: &'s Exchange,
    /// Which bodies may be kept for a second time.
    pub(super) keep: Keep,
}

impl Dialer {
    /// Sends a request to a server of the site.
    ///
    /// # Errors
    /// When none can be reached, or it fails or does not answer in time.
    pub(super) async fn forward(
        &self,
        targets: &Targets,
        wished: Option<&Arc<Entry>>,
        request: Request<Body>,
        sending: Sending<'_>,
    ) -> Result<Answer, Rejection> {
        let mut tried = Tried::default();
        let wait = sending.timeouts.connect;
        let connected = self.find(targets, (wished, Reuse::Allowed), &mut tried, wait).await?;
        self.deliver(connected, targets, (request, tried), sending).await
    }

    /// A connection that is ready: a kept one, or a new one to the first server that accepts it.
    ///
    /// # Errors
    /// When none can be reached in time.
    pub async fn connect(
        &self,
        targets: &Targets,
        timeouts: &Timeouts,
    ) -> Result<Connected, Rejection> {
        let mut tried = Tried::default();
        self.find(targets, (None, Reuse::Allowed), &mut tried, timeouts.connect).await
    }

    /// Sends a request over a connection, and over others where that is safe.
    ///
    /// # Errors
    /// When the upstream cannot be reached, fails or does not answer in time.
    pub(super) async fn send(
        &self,
        connected: Connected,
        targets: &Targets,
        request: Request<Body>,
        sending: Sending<'_>,
    ) -> Result<Answer, Rejection> {
        self.deliver(connected, targets, (request, Tried::default()), sending).await
    }

    async fn deliver(
        &self,
        mut connected: Connected,
        targets: &Targets,
        (mut request, mut tried): (Request<Body>, Tried),
        sending: Sending<'_>,
    ) -> Result<Answer, Rejection> {
        let Sending { timeouts, exchange, keep } = sending;
        let begun = Instant::now();
        let mut left = targets.attempts_max();
        let spare = if left > 1 { Spare::of(&mut request, keep) } else { None };
        let outcome = loop {
            left = left.saturating_sub(1);
            let (entry, reused) = (Arc::clone(connected.lease.entry()), connected.reused);
            let sent = Instant::now();
            let unsent = match connected.send(request, timeouts.response_head, exchange).await {
                Ok(answer) => {
                    targets.answered(&entry, answer.response.status(), sent);
                    break Ok(answer);
                }
                Err(unsent) => unsent,
            };
            let Unsent { rejection, request: whole } = unsent;
            // A body that was refused on its way is the reason for everything that followed.
            if let Some(refusal) = exchange.take_refusal() {
                break Err(refusal);
            }
            // A kept connection that turns out to be dead says nothing about its server.
            let stale = reused && matches!(rejection, Rejection::UpstreamFailed(_));
            if !stale {
                tried.note(&entry);
                targets.failed(&entry);
                entry.target.metrics.failed(rejection.reason(), &rejection);
            }
            let again = match whole {
                _ if left == 0 || !targets.has_untried(&tried) => None,
                Some(whole) => Some(*whole),
                None => spare.as_ref().and_then(Spare::request).filter(|_| targets.may_repeat()),
            };
            let Some(again) = again else {
                if stale {
                    entry.target.metrics.failed(rejection.reason(), &rejection);
                }
                break Err(rejection);
            };
            request = again;
            let wait = timeouts.connect;
            match self.find(targets, (None, Reuse::Never), &mut tried, wait).await {
                Ok(found) => connected = found,
                Err(nowhere) if stale => break Err(nowhere),
                // What went wrong first is what is to be told.
                Err(_) => break Err(rejection),
            }
        };
        exchange.tally.upstream_took(begun.elapsed());
        outcome
    }

    /// A connection to a server that has not failed this request yet.
    async fn find(
        &self,
        targets: &Targets,
        (wished, reuse): (Option<&Arc<Entry>>, Reuse),
        tried: &mut Tried,
        wait: Duration,
    ) -> Result<Connected, Rejection> {
        let begun = Instant::now();
        let dice = || mix(self.dice.fetch_add(GAMMA, Ordering::Relaxed));
        let mut last = None;
        loop {
            let Some(place) = targets.enter(wished, tried, dice).await? else {
                return Err(last.unwrap_or_else(open::nowhere));
            };
            match self.lease(place, reuse, wait).await {
                Ok(connected) => {
                    connected.lease.entry().target.metrics.asked();
                    return Ok(connected);
                }
                Err((entry, rejection)) => {
                    tried.note(&entry);
                    targets.unreachable(&entry, &rejection);
                    last = Some(rejection);
                }
            }
            if begun.elapsed() >= wait.saturating_mul(CONNECT_WAITS_MAX) {
                return Err(last.unwrap_or_else(open::nowhere));
            }
        }
    }

    async fn lease(
        &self,
        place: InFlight,
        reuse: Reuse,
        wait: Duration,
    ) -> Result<Connected, (Arc<Entry>, Rejection)> {
        let id = place.entry.server.id;
        if reuse == Reuse::Allowed
            && let Some(sender) = self.pool.take(id)
        {
            return Ok(Connected { lease: self.pool.lease(place, sender), reused: true });
        }
        match self.open(&place.entry, wait).await {
            Ok(sender) => {
                place.entry.target.metrics.connected();
                place.entry.reached();
                self.pool.keep_shared(id, &sender);
                Ok(Connected { lease: self.pool.lease(place, sender), reused: false })
            }
            Err(rejection) => Err((Arc::clone(&place.entry), rejection)),
        }
    }
}

/// A connection that is ready for one request.
pub struct Connected {
    lease: Lease,
    reused: bool,
}

/// Whether a kept connection will do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Reuse {
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

impl Connected {
    async fn send(
        mut self,
        request: Request<Body>,
        wait: Duration,
        exchange: &Exchange,
    ) -> Result<Answer, Unsent> {
        let outcome = {
            let mut sent = pin!(self.lease.sender.send(request));
            loop {
                match timeout(wait, &mut sent).await {
                    Ok(outcome) => break outcome,
                    // A slow upload is not a slow answer: only silence from both ends counts.
                    Err(_) if exchange.tally.request_moved_within(exchange.started, wait) => {}
                    Err(_) => {
                        let rejection = Rejection::UpstreamTimeout { what: "answer", waited: wait };
                        return Err(Unsent { rejection, request: None });
                    }
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

/// A copy of a request for a part that asks for all of it (RFC 9110 §14.2 lets a server do so).
pub(super) fn without_range(request: &Request<Body>) -> Option<Request<Body>> {
    let asks = request.headers().contains_key(RANGE);
    let mut whole = asks.then(|| again::repeatable(request)).flatten()?;
    whole.headers_mut().remove(RANGE);
    whole.headers_mut().remove(IF_RANGE);
    Some(whole)
}
