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
mod device;
mod digits;
mod exchange;
mod finish;
mod forward;
pub mod forwarded;
mod gateway;
mod generation;
mod guard;
mod headers;
mod leave;
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
mod spawner;
pub mod spelling;
mod suspicion;
mod testing;
mod upgrade;
mod upstreams;
mod webhook;
pub mod websocket;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, EXPECT, HOST, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode, Uri, request, response};
use hyper::body::{Body as _, Incoming};

use body::{Body, Source};
use cards::{Action, Editor, Forward, Opaque, Task};
use device::Browser;
use exchange::{Asked, Exchange};
use finish::Ending;
use forward::{Answer, Keep, Sending};
use generation::Found;
use headers::{NextHop, Origin};
use login::Attempt;
use reject::{Accept, Rejection};
use request_id::RequestId;
use seats::Seats;
use testing::Payer;
use upgrade::{Bootstrap, Switch, Wanted};
use upstreams::{Entry, Sticky};

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

use crate::policy::{
    ConnectionLimits, Limits, Listed, Live, Pages, RequestAction, ResponseAction, Timeouts,
};
use crate::telemetry::{Direction, RouteMetrics};
use crate::tls::{Admission, Callers};

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

    /// The waits of the current generation, for those who accept connections.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.live.peek().snapshot.timeouts.clone()
    }

    /// Whether the current generation believes this proxy about who came before it.
    #[must_use]
    pub fn trusts(&self, proxy: IpAddr) -> bool {
        self.live.peek().snapshot.trusted_proxies.contain(proxy)
    }

    /// How many clients there may be, and whether this one's network may have any number of them:
    /// proxies before us, and whom the operator allows, stand for many.
    #[must_use]
    pub fn doors(&self, client: IpAddr) -> (ConnectionLimits, bool) {
        let generation = self.live.peek();
        let snapshot = &generation.snapshot;
        let allowed = snapshot.networks.find(client.to_canonical()) == Some(Listed::Allowed);
        (snapshot.doors, allowed || snapshot.trusted_proxies.contain(client))
    }

    /// Whose certificates callers of a gateway must show, by the current generation.
    #[must_use]
    pub fn callers(&self, gateway: &str) -> Option<Callers> {
        self.live.peek().callers(gateway)
    }

    /// Looks after the servers that the current generation names, and never ends.
    pub async fn watch_upstreams(self: Arc<Self>) {
        Arc::clone(&self.services.upstreams).watch(&self.live).await;
    }

    /// What outlives reloads.
    #[must_use]
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Answers one request; every answer has a request id, and is counted and logged when its body
    /// has ended.
    pub async fn handle(&self, peer: &Peer, request: Request<Incoming>) -> Response<Finished> {
        let generation = self.live.load();
        let id = RequestId::of(request.headers());
        let trusted = &generation.snapshot.trusted_proxies;
        let client = forwarded::client_address(peer.address.ip(), request.headers(), trusted);
        let host = admit::framing(request.headers()).and_then(|()| admit::host(&request));
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
            Ok(Found::Proof(text)) => Ok(proof(text)),
            Ok(Found::Redirect(port)) => redirect(&exchange, port),
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

    /// What a certificate authority is to read (RFC 8555 §8.3). Before every rule: it comes from
    /// anywhere, and neither a redirect nor a list of networks may keep it out. What we have not
    /// promised to anyone is for the shop to answer.
    fn proof_of_name<B>(&self, peer: &Peer, request: &Request<B>) -> Option<String> {
        let ours = matches!(peer.role, Role::RedirectToHttps(_) | Role::Site);
        let reads = ours && matches!(*request.method(), Method::GET | Method::HEAD);
        reads.then(|| self.services.answers.to(request.uri().path())).flatten()
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
        place: &generation::Place<'_>,
        (peer, exchange): (&Peer, &Arc<Exchange>),
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Rejection> {
        let timeouts = &generation.snapshot.timeouts;
        let route = place.route;
        let bootstrap = Bootstrap::of(&mut request)?;
        admit::method(request.method())?;
        admit::target(&request)?;
        admit::names(&request, &exchange.asked.host)?;
        let limit_bytes = route.limits.request_body_bytes_max;
        admit::declared_length(request.body().size_hint().exact(), limit_bytes)?;

        if headers::next_hop(&mut request) == NextHop::Nowhere {
            return Ok(reject::capabilities());
        }
        let wanted = match &bootstrap {
            Some(_) => Wanted::of(&route.cards, Some(Bootstrap::PROTOCOL))?,
            None => Wanted::of(&route.cards, headers::upgrade_wanted(&request))?,
        };
        let handed_over = wanted.is_any().then(|| hyper::upgrade::on(&mut request));
        let (mut head, incoming) = request.into_parts();
        headers::join_cookies(&mut head.headers);
        let trusted = &generation.snapshot.trusted_proxies;
        let told = trusted.contain(peer.address.ip());
        let browser = Browser::take(&mut head.headers, peer.tls_version.is_some(), told);
        if let Some(payer) = Payer::of(&generation.snapshot.signals, route, &head.headers) {
            exchange.paid_by(payer);
        }
        let mut source = Source::from_client(incoming, Arc::clone(exchange), limit_bytes, timeouts);

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
        if route.cards.responses != ResponseAction::Off {
            headers::limit_codings(&mut head.headers);
        }
        prepare(&mut head, generation, (peer, exchange), &wanted);
        guard::plain_method(place.site, &mut head);
        if !attempts.is_empty() {
            // The outcome may have to be read in the body.
            guard::plain_answer(&mut head.headers);
            suspicion::tell_shop(&attempts, &mut head.headers);
        }

        headers::set_length(&head.method, &mut head.headers, body.size_hint().exact());
        let request = Request::from_parts(head, body);
        let whole = forward::without_range(&request);
        let way = (peer, exchange, sticky.wished());
        let mut answer = match forward(place, way, request, timeouts).await {
            Ok(answer) => answer,
            Err(rejection) => {
                self.settle_undecided(attempts, (place.site, exchange));
                return Err(rejection);
            }
        };
        if let Some(whole) = whole
            && route.cards.responses == ResponseAction::Mask
            && cards::is_unreadable_part(answer.response.status(), answer.response.headers())
        {
            drop(answer);
            answer = forward(place, way, whole, timeouts).await?;
        }

        if answer.response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let idle = timeouts.upgrade_idle;
            let switch = Switch { wanted, client: handed_over, bootstrap, idle };
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
            .settle_login(attempts, (place.site, exchange), (&browser, trusted), (&head, source))
            .await;
        let body = self.edit_response(place, exchange, (&mut head, source)).await?;
        for cookie in granted.into_iter().chain(led) {
            device::put(&mut head.headers, cookie);
        }
        Ok(Response::from_parts(head, body))
    }

    /// Replaces card numbers on their way to the shop.
    async fn edit_request(
        &self,
        place: &generation::Place<'_>,
        exchange: &Arc<Exchange>,
        (head, source): (&mut request::Parts, Source),
    ) -> Result<Body, Rejection> {
        let Some(editor) = self.request_editor(place, exchange) else { return Ok(pass(source)) };
        let rules = &place.route.cards.request_rules;
        cards::rewrite_head(&editor, rules, Some(&mut head.uri), &mut head.headers).await?;
        if source.is_empty() {
            return Ok(pass(source));
        }
        let limits = &place.route.limits;
        let task =
            Task { editor, rules, limits, forward: Forward::Streaming, opaque: Opaque::Pass };
        cards::rewrite_request(&task, &mut head.headers, source, exchange).await
    }

    /// Masks card numbers on their way to the client.
    async fn edit_response(
        &self,
        place: &generation::Place<'_>,
        exchange: &Arc<Exchange>,
        (head, source): (&mut response::Parts, Source),
    ) -> Result<Body, Rejection> {
        let Some(editor) = self.response_editor(place, exchange) else { return Ok(pass(source)) };
        let headers = &mut head.headers;
        let watched = place.route.cards.responses == ResponseAction::Observe;
        if watched && cards::is_unreadable_part(head.status, headers) {
            return Ok(pass(source));
        }
        let rules = &place.route.cards.response_rules;
        cards::rewrite_head(&editor, rules, None, headers).await?;
        let limits = &place.route.limits;
        let task =
            Task { editor, rules, limits, forward: Forward::Streaming, opaque: Opaque::Pass };
        cards::rewrite_response(&task, headers, source).await
    }

    /// What a route does with what a client sends; nothing where it does not look.
    fn request_editor(
        &self,
        place: &generation::Place<'_>,
        exchange: &Arc<Exchange>,
    ) -> Option<Arc<Editor>> {
        let cards = &place.route.cards;
        let action = match cards.requests {
            RequestAction::Mask => Action::Mask,
            RequestAction::Observe => Action::Observe,
            RequestAction::Off => return None,
            RequestAction::Reject => Action::Reject,
            RequestAction::Tokenize => {
                Action::Tokenize { format: cards.format, invalid: cards.invalid_card }
            }
        };
        let (metrics, limits) = (place.metrics, &place.route.limits);
        Some(self.editor(exchange, metrics, limits, (action, Direction::Request)))
    }

    /// What a route does with what the shop sends.
    fn response_editor(
        &self,
        place: &generation::Place<'_>,
        exchange: &Arc<Exchange>,
    ) -> Option<Arc<Editor>> {
        let action = match place.route.cards.responses {
            ResponseAction::Mask => Action::Mask,
            ResponseAction::Observe => Action::Observe,
            ResponseAction::Off => return None,
        };
        let (metrics, limits) = (place.metrics, &place.route.limits);
        Some(self.editor(exchange, metrics, limits, (action, Direction::Response)))
    }

    fn editor(
        &self,
        exchange: &Arc<Exchange>,
        metrics: &Arc<RouteMetrics>,
        limits: &Limits,
        (action, direction): (Action, Direction),
    ) -> Arc<Editor> {
        Arc::new(Editor {
            services: Arc::clone(&self.services),
            exchange: Arc::clone(exchange),
            metrics: Arc::clone(metrics),
            action,
            direction,
            cards_max: limits.cards_per_body_max,
        })
    }
}

/// Turns the client's head into ours: this hop's fields go, what the upstream needs to know comes.
fn prepare(
    head: &mut request::Parts,
    generation: &Generation,
    (peer, exchange): (&Peer, &Exchange),
    wanted: &Wanted,
) {
    let trailers = headers::trailers_welcome(&head.headers);
    let host = authority(head);
    headers::strip_hop_by_hop(&mut head.headers);
    headers::drop_doubles(&mut head.headers);
    // The client has been told to go on by us, who read its body.
    head.headers.remove(EXPECT);
    if trailers {
        headers::welcome_trailers(&mut head.headers);
    }
    wanted.ask(&mut head.headers);
    proof::strip(&mut head.headers);
    let origin = Origin {
        peer: peer.address.ip().to_canonical(),
        proxies: &generation.snapshot.trusted_proxies,
        host: host.to_str().unwrap_or_default(),
        scheme: if peer.tls_version.is_some() { "https" } else { "http" },
    };
    headers::set_forwarded(&mut head.headers, &origin);
    if let Some(client) = peer.admission.as_ref().and_then(Admission::client) {
        headers::set_client(&mut head.headers, client);
    }
    headers::set_trace(&mut head.headers, &exchange.id);
    head.headers.insert(HOST, host);
    // RFC 9112 §3.2.1: an origin server is sent the origin form.
    let target = head.uri.path_and_query().cloned();
    head.uri = target.map(Uri::from).unwrap_or_default();
    head.version = http::Version::HTTP_11;
}

/// Talks to the shop.
async fn forward(
    place: &generation::Place<'_>,
    (peer, exchange, wished): (&Peer, &Arc<Exchange>, Option<&Arc<Entry>>),
    request: Request<Body>,
    timeouts: &Timeouts,
) -> Result<Answer, Rejection> {
    let sending = Sending { timeouts, exchange, keep: Keep::Small };
    peer.dialer.forward(place.targets, wished, request, sending).await
}

fn authority(head: &request::Parts) -> HeaderValue {
    let line = head.uri.authority().and_then(|name| HeaderValue::from_str(name.as_str()).ok());
    let field = || head.headers.get(HOST).cloned();
    line.or_else(field).unwrap_or_else(|| HeaderValue::from_static("localhost"))
}

fn pass(source: Source) -> Body {
    if source.is_empty() { Body::Empty } else { Body::Passed(Box::new(source)) }
}

/// What an authority for certificates wants to read.
fn proof(text: String) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::from(text)));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// 308 keeps the method and the body (RFC 9110 §15.4.9).
fn redirect(exchange: &Exchange, port: u16) -> Result<Response<Body>, Rejection> {
    let Asked { host, target, .. } = &exchange.asked;
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let location = HeaderValue::try_from(format!("https://{host}{port}{target}"));
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location.map_err(|_| Rejection::HostConflict)?);
    Ok(response)
}
