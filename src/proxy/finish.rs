//! The end of a request: counted, timed and logged once its answer's body has ended.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};

use super::Peer;
use super::body::{Body, BodyError};
use super::exchange::Exchange;
use super::seats::Seat;
use super::services::Services;
use crate::telemetry::{AccessRecord, InFlight, RouteMetrics};

/// The body of an answer; whoever drops it, having read it or not, ends the request.
pub struct Finished {
    body: Body,
    ending: Option<Box<Ending>>,
}

/// What is told when a request has ended.
pub(super) struct Ending {
    pub(super) services: Arc<Services>,
    pub(super) exchange: Arc<Exchange>,
    pub(super) metrics: Option<Arc<RouteMetrics>>,
    pub(super) in_flight: Option<InFlight>,
    pub(super) seat: Option<Seat>,
    pub(super) refused: Option<&'static str>,
    pub(super) tls_version: Option<&'static str>,
    pub(super) status: StatusCode,
}

impl Ending {
    /// Of a request over this connection, for which nothing has been found yet.
    pub(super) fn of(services: &Arc<Services>, exchange: Arc<Exchange>, peer: &Peer) -> Self {
        Self {
            services: Arc::clone(services),
            exchange,
            metrics: None,
            in_flight: None,
            seat: None,
            refused: None,
            tls_version: peer.tls_version,
            status: StatusCode::OK,
        }
    }
}

impl Finished {
    pub(super) fn new(body: Body, ending: Ending) -> Self {
        Self { body, ending: Some(Box::new(ending)) }
    }
}

impl http_body::Body for Finished {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let (Some(data), Some(ending)) = (frame.data_ref(), &self.ending)
        {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            ending.exchange.tally.response_bytes.fetch_add(length, Ordering::Relaxed);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        if let Some(ending) = self.ending.take() {
            ending.tell();
        }
    }
}

impl Ending {
    fn tell(mut self) {
        let tally = &self.exchange.tally;
        let total = self.exchange.started.elapsed();
        let upstream = Duration::from_micros(tally.upstream_micros.load(Ordering::Relaxed));
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        if let Some(metrics) = &self.metrics {
            metrics.request(&self.exchange.asked.method, self.status);
            metrics.duration(total.saturating_sub(upstream));
            if !upstream.is_zero() {
                metrics.upstream_duration(upstream);
            }
            metrics.request_bytes(load(&tally.request_bytes));
            metrics.response_bytes(load(&tally.response_bytes));
        }
        drop(self.in_flight.take());
        // A body that we refused to go on with had no status left to say so.
        if let Some(rejection) = self.exchange.take_refusal() {
            let site = self.metrics.as_ref().map_or("none", |metrics| metrics.names().0);
            let (reason, id) = (rejection.reason(), self.exchange.id.as_str());
            self.services.metrics.request_rejected(site, reason, id, &rejection);
            self.refused = self.refused.or(Some(reason));
        }
        let place = self.metrics.as_ref().map(|metrics| metrics.names());
        let asked = &self.exchange.asked;
        self.services.access.record(&AccessRecord {
            time: self.exchange.time,
            request_id: self.exchange.id.as_str(),
            client: self.exchange.client.0,
            method: &asked.method,
            host: Some(asked.host.as_bytes()),
            target: asked.target.as_bytes(),
            protocol: asked.version,
            status: self.status,
            request_bytes: load(&tally.request_bytes),
            response_bytes: load(&tally.response_bytes),
            duration: total,
            upstream_duration: (!upstream.is_zero()).then_some(upstream),
            site: place.map(|(site, _)| site),
            route: place.map(|(_, route)| route),
            referrer: asked.referrer.as_deref(),
            user_agent: asked.user_agent.as_deref(),
            request_cards: u64::from(tally.cards_in.load(Ordering::Relaxed)),
            response_cards: u64::from(tally.cards_out.load(Ordering::Relaxed)),
            login: self.exchange.login(),
            rejection: self.refused,
            tls: self.tls_version,
        });
    }
}
