//! The operator's own page: metrics, health, readiness. It is served by a thread that serves no
//! customer, so that it answers when customers cannot be.

mod api;
mod explain;
pub mod message;
mod subject;
mod token;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::spare::Spare;
use crate::counters::Fill;
use crate::policy::{Live, Secret};
use crate::proxy::{Generation, Services};
use crate::telemetry::{CvvEvent, ListenerRole, Metrics};
use crate::vault::Health;
use api::Api;

pub use token::{TokenError, obtain as obtain_token, read as read_token};

/// How long a scraper may take to ask.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long accepting rests when there are no file descriptors left.
const NO_DESCRIPTORS_REST: Duration = Duration::from_millis(100);

/// Files for a connection, and for what its answer may read.
const SPARE_FILES: usize = 4;

/// The admin listener.
pub struct Admin {
    api: Api,
    services: Arc<Services>,
    closing: CancellationToken,
}

/// Whether customers should be sent here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Readiness {
    /// We are ending.
    Draining,
    /// All parts work.
    Ready,
    /// The vault does not, so requests with cards are refused.
    VaultFailing {
        /// What is wrong with it.
        cause: &'static str,
    },
}

impl Admin {
    /// Prepares the page; who has the token may ask and act.
    #[must_use]
    pub fn new(
        services: Arc<Services>,
        policy: Arc<Live<Generation>>,
        token: Secret,
        closing: CancellationToken,
    ) -> Arc<Self> {
        let api = Api { services: Arc::clone(&services), policy, token };
        Arc::new(Self { api, services, closing })
    }

    /// Serves until the end of the process; while it drains, `/readyz` says so.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        let mut spare = Spare::new(SPARE_FILES);
        loop {
            match listener.accept().await {
                Ok((tcp, _)) => {
                    tasks.spawn(Arc::clone(&self).connection(tcp, true));
                }
                // Out of descriptors: an operator who looks why must be answered all the same.
                Err(_) => {
                    spare.lend();
                    if let Some(Ok((tcp, _))) = listener.accept().now_or_never() {
                        let answering = Arc::clone(&self).connection(tcp, false);
                        let _answered = timeout(HEAD_TIMEOUT, answering).await;
                    }
                    spare.refill();
                    tokio::time::sleep(NO_DESCRIPTORS_REST).await;
                }
            }
        }
    }

    async fn connection(self: Arc<Self>, tcp: TcpStream, keep_alive: bool) {
        let _open = self.services.metrics.connection_opened(ListenerRole::Admin);
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(keep_alive);
        let service = service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(self.answer(request).await)
        });
        let _ended = builder.serve_connection(TokioIo::new(tcp), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path().starts_with(Api::PREFIX) {
            return self.api.answer(request).await;
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/metrics" => self.metrics(),
            "/readyz" => self.ready(),
            "/" => text(StatusCode::OK, "tillgate: /metrics /healthz /readyz\n"),
            _ => text(StatusCode::NOT_FOUND, "not found\n"),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let Services { metrics, logins, counts, vault, gateways, held, .. } = &*self.services;
        metrics.bodies_held(held.bytes());
        for (gateway, ratio) in gateways.ratios() {
            metrics.reveal_rate_ratio(&gateway, ratio);
        }
        metrics.accounts_locked(logins.locked_accounts());
        for Fill { table, keys, keys_max } in counts.fill() {
            metrics.login_keys(table, keys, keys_max);
        }
        metrics.cvv(CvvEvent::Expired, vault.stand_ins().take_expired());
        metrics.counters_degraded(logins.is_degraded());
        metrics.cvv_store_failing(vault.stand_ins().outage().is_some());
        let mut response = Response::new(Full::from(metrics.render()));
        let kind = HeaderValue::from_static(Metrics::CONTENT_TYPE);
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    fn ready(&self) -> Response<Full<Bytes>> {
        match self.readiness() {
            Readiness::Draining => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            Readiness::Ready => text(StatusCode::OK, &format!("ready\n{}", self.shared_outages())),
            Readiness::VaultFailing { cause } => {
                text(StatusCode::SERVICE_UNAVAILABLE, &format!("vault failing: {cause}\n"))
            }
        }
    }

    /// What is wrong with stores that instances share. No reason to send customers elsewhere: there
    /// it is the same, and most of what they ask for needs none of it.
    fn shared_outages(&self) -> String {
        let Services { logins, vault, .. } = &*self.services;
        let codes = vault.stand_ins().outage().map(|why| why.as_str());
        let codes = codes.map(|why| format!("verification codes failing: {why}\n"));
        let counters = logins.is_degraded().then_some("counters degraded\n");
        codes.unwrap_or_default() + counters.unwrap_or_default()
    }

    fn readiness(&self) -> Readiness {
        if self.closing.is_cancelled() {
            return Readiness::Draining;
        }
        match self.services.vault.health() {
            Health::Ready => Readiness::Ready,
            Health::Failing { cause } => Readiness::VaultFailing { cause: cause.as_str() },
        }
    }
}

fn text(status: StatusCode, words: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(words.to_owned()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
