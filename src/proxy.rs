//! The request path: read this file first.
//!
//! [`Proxy::handle`] answers one request of one client; `proxy` is its life as a straight line of
//! stages, and only that function knows their order. A request loads one [`Generation`] and keeps it
//! to its end; what outlives reloads is in [`Services`].

mod access;
mod admit;
mod block;
mod body;
mod cards;
mod connect;
mod cookies;
pub mod device;
mod digits;
mod edit;
mod exchange;
mod finish;
#[cfg(test)]
mod fixture;
mod forward;
pub mod forwarded;
mod gateway;
mod generation;
mod guard;
mod headers;
pub mod host;
mod leave;
mod local;
pub mod login;
mod maintenance;
mod malformed;
mod peer;
mod pipe;
mod pool;
mod proof;
mod reject;
mod request_id;
mod seats;
mod services;
mod shop;
mod spawner;
pub mod spelling;
mod suspicion;
mod terms;
mod testing;
mod upgrade;
mod upstreams;
pub mod webhook;
pub mod websocket;

use std::sync::Arc;

use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::{Body as _, Incoming};

use body::{Body, Room, Source};
use device::Browser;
use exchange::{Asked, Exchange};
use finish::Ending;
use generation::{Found, Place};
use headers::NextHop;
use login::Attempt;
use reject::{Accept, Rejection};
use request_id::RequestId;
use seats::Seats;
use testing::Payer;
use upgrade::{Bootstrap, Switch, Wanted};
use upstreams::Sticky;

pub use body::HeldBodies;
pub use connect::{Connect, Intercept, Onward, Tunnel};
pub use finish::Finished;
pub use forward::Dialer;
pub use gateway::GatewayWatch;
pub use generation::Generation;
pub use leave::Leave;
pub use peer::{Hold, Peer, Presence, Role};
pub use proof::Proofs;
pub use services::{LockTeller, Services};
pub use spawner::Spawner;
pub use suspicion::SignalWatch;
pub use upstreams::{TargetError, Upstreams};
pub use webhook::Deliveries;

use crate::policy::{Live, Pages, Route};

/// Answers requests.
pub struct Proxy {
    live: Arc<Live<Generation>>,
    services: Arc<Services>,
    /// Requests of customers that are under way.
    requests: Seats,
    /// How many of them the system has room for, whatever the configuration says.
    requests_ceiling: usize,
    /// Those of the forward proxy: each holds two descriptors and two buffers of 16 KiB.
    tunnels: Seats,
}

impl Proxy {
    /// Starts with a first generation, where the system has room for so many requests at once.
    #[must_use]
    pub fn new(
        live: Arc<Live<Generation>>,
        services: Arc<Services>,
        requests_ceiling: usize,
    ) -> Self {
        let (requests, tunnels) = (Seats::default(), Seats::default());
        Self { live, services, requests, requests_ceiling, tunnels }
    }

    /// Answers one request; every answer has a request id, and is counted and logged when its body
    /// has ended.
    pub async fn handle(&self, peer: &Peer, request: Request<Incoming>) -> Response<Finished> {
        let generation = self.live.load();
        let id = RequestId::of(request.headers());
        let trusted = &generation.snapshot.trusted_proxies;
        let client = forwarded::client_address(peer.address.ip(), request.headers(), trusted);
        let host = admit::framing(request.headers()).and_then(|()| Ok(host::of(&request)?));
        let asked = Asked::of(&request, host.as_deref().unwrap_or_default().to_owned());
        let exchange = Exchange::new(id, client, asked);
        let accept = Accept::of(request.headers());
        let found = match self.proof_of_name(peer, &request) {
            Some(text) => Ok(Found::Proof(text)),
            None => host.and_then(|host| generation.find(peer, &host, &request)),
        };
        let handles = found.as_ref().ok().and_then(|found| found.metrics().cloned());
        let mut ending = Ending {
            in_flight: handles.as_ref().map(|metrics| metrics.begin()),
            metrics: handles,
            ..Ending::of(&self.services, Arc::clone(&exchange), peer)
        };
        let told = found.as_ref().ok().and_then(Found::response_headers);
        let outcome = match found {
            Ok(Found::Gateway(gateway)) => {
                self.gateway(&generation, &gateway, (peer, &exchange), request).await
            }
            Ok(Found::Proof(text)) => Ok(local::proof(text)),
            Ok(Found::Redirect(port)) => local::redirect(&exchange, port),
            Ok(Found::Site(place)) => {
                let limit = generation.snapshot.doors.requests_max.get();
                ending.seat = self.requests.take(limit.min(self.requests_ceiling));
                match ending.seat {
                    Some(_) => self.proxy(&generation, &place, (peer, &exchange), request).await,
                    None => Err(Rejection::Overloaded),
                }
            }
            Err(rejection) => Err(rejection),
        };
        let pages = generation.snapshot.pages.as_ref();
        let mut response = self.conclude(outcome, (accept, pages), ending);
        if let Some(told) = told.filter(|_| !response.status().is_informational()) {
            told.apply(response.headers_mut(), peer.tls_version.is_some());
        }
        response
    }

    /// Turns a refusal into an answer, and sees to it that every answer is told at its end.
    fn conclude(
        &self,
        outcome: Result<Response<Body>, Rejection>,
        (accept, pages): (Accept, Option<&Pages>),
        mut ending: Ending,
    ) -> Response<Finished> {
        let exchange = &ending.exchange;
        let mut response = outcome.unwrap_or_else(|rejection| {
            let site = ending.metrics.as_ref().map_or("none", |metrics| metrics.names().0);
            let (reason, id) = (rejection.reason(), exchange.id.as_str());
            self.services.metrics.request_rejected(site, reason, id, &rejection);
            ending.refused = Some(reason);
            rejection.response(accept, &exchange.id, pages)
        });
        response.headers_mut().insert(request_id::REQUEST_ID, exchange.id.value());
        ending.status = response.status();
        response.map(|body| Finished::new(body, ending))
    }

    /// The way of a request through the guard to the shop and back.
    async fn proxy(
        &self,
        generation: &Generation,
        place: &Place<'_>,
        (peer, exchange): (&Peer, &Arc<Exchange>),
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Rejection> {
        let Place { site, route, .. } = *place;
        let (timeouts, limit_bytes) =
            (&generation.snapshot.timeouts, route.limits.request_body_bytes_max);
        let bootstrap = Bootstrap::of(&mut request)?;
        admit::check(&request, &exchange.asked.host, &route.limits)?;
        if headers::next_hop(&mut request) == NextHop::Nowhere {
            return Ok(reject::capabilities());
        }
        let wanted = Wanted::by(&request, bootstrap.as_ref(), &route.cards)?;
        let client = wanted.is_any().then(|| hyper::upgrade::on(&mut request));
        let (mut head, incoming) = request.into_parts();
        let room = Room::new(&self.services.held, generation.snapshot.doors.held_bytes_max);
        let mut source =
            Source::from_client(incoming, Arc::clone(exchange), (limit_bytes, room), timeouts);
        let browser = recognise(&mut head.headers, generation, route, (peer, exchange));

        maintenance::admit(place, exchange)?;
        self.check_access(place, exchange, &head)?;
        self.check_blocks(place, exchange, (&head, &mut source)).await?;
        let covered = generation.webhook(place, exchange);
        let delivery = self.admit_webhook(covered, exchange, (&head.headers, &mut source)).await?;
        let attempts = self
            .reserve_login(generation, place, (exchange, &browser), (&head, &mut source))
            .await?;
        let sticky = Sticky::take(place.targets, &mut head.headers);
        let body = match self.edit_request(place, exchange, (&mut head, source)).await {
            Ok(body) => body,
            Err(rejection) => {
                // The shop has seen no attempt: a vault that is away must not lock customers out.
                attempts.into_iter().for_each(Attempt::withdraw);
                return Err(rejection);
            }
        };

        shop::prepare(&mut head, (generation, place), (peer, exchange), &wanted);
        shop::prepare_login(&attempts, &mut head.headers);
        headers::set_length(&head.method, &mut head.headers, body.size_hint().exact());
        let way = (peer, exchange, sticky.wished());
        let asked = shop::ask(place, way, Request::from_parts(head, body), timeouts).await;
        let answer = match asked {
            Ok(answer) => answer,
            Err(rejection) => {
                self.settle_undecided(attempts, (site, exchange));
                return Err(rejection);
            }
        };

        if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let switch = Switch { wanted, client, bootstrap, idle: timeouts.upgrade_idle };
            return self.switch(place, (peer, exchange), answer, switch).await;
        }
        if bootstrap.is_some() && answer.response.status().is_success() {
            return Err(Rejection::UpgradeIgnored);
        }
        let led = sticky.cookie(answer.lease.entry(), browser.scheme);
        let (mut head, source) = answer.into_parts(exchange, timeouts.response_body_idle);
        headers::strip_answer(&mut head.headers);
        if let Some(delivery) = delivery {
            delivery.settle(head.status);
        }
        let trusted = generation.snapshot.signals.trusted_device.as_ref();
        let (source, granted) = self
            .settle_login(attempts, (site, exchange), (&browser, trusted), (&head, source))
            .await;
        let body = self.edit_response(place, exchange, (&mut head, source)).await?;
        for cookie in granted.into_iter().chain(led) {
            device::put(&mut head.headers, cookie);
        }
        Ok(Response::from_parts(head, body))
    }
}

/// Who asks, as far as the head tells: the browser, whose cookie is for us alone, and who pays.
fn recognise(
    headers: &mut HeaderMap,
    generation: &Generation,
    route: &Route,
    (peer, exchange): (&Peer, &Exchange),
) -> Browser {
    headers::join_cookies(headers);
    let told = generation.snapshot.trusted_proxies.contain(peer.address.ip());
    let browser = Browser::take(headers, peer.tls_version.is_some(), told);
    if let Some(payer) = Payer::of(&generation.snapshot.signals, route, headers) {
        exchange.paid_by(payer);
    }
    browser
}
