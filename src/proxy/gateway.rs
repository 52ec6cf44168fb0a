//! The way of a request from the shop to the payment gateway: tokens become card numbers.
//!
//! The connection to the gateway stands before the first number is revealed, so that a gateway that
//! cannot be reached costs no verification code its one use. `access` says who may call, `reveal` which
//! tokens are meant, `credentials` what the provider knows the shop by; `watch` remembers over reloads.

mod access;
mod credentials;
mod decline;
mod reveal;
mod watch;

pub(super) use reveal::Reveal;
pub use watch::GatewayWatch;

use std::sync::Arc;
use std::time::SystemTime;

use http::header::{ACCEPT_RANGES, CONTENT_TYPE, EXPECT, HOST, HeaderValue, IF_RANGE, RANGE};
use http::{HeaderMap, Request, Response, StatusCode, Uri, request, response};
use hyper::body::{Body as _, Incoming};

use super::body::{Body, Room, Source};
use super::cards::{self, Action, Editor, Forward, Opaque, Task};
use super::exchange::Exchange;
use super::forward::{Keep, Sending};
use super::generation::{GatewayPlace, Generation};
use super::reject::Rejection;
use super::{Peer, Proxy, admit, headers, request_id};
use crate::policy::InvalidCard;
use crate::scan::Outline;
use crate::telemetry::Direction;

impl Proxy {
    pub(super) async fn gateway(
        &self,
        generation: &Generation,
        place: &GatewayPlace<'_>,
        (peer, exchange): (&Peer, &Arc<Exchange>),
        mut request: Request<Incoming>,
    ) -> Result<Response<Body>, Rejection> {
        self.admit_caller(place, (peer, exchange), request.headers_mut())?;
        let timeouts = &generation.snapshot.timeouts;
        let limits = &place.gateway.limits;
        admit::method(request.method())?;
        admit::names(&request, "")?;
        admit::declared_length(request.body().size_hint().exact(), limits.request_body_bytes_max)?;
        let (mut head, incoming) = request.into_parts();
        // First, so that what is judged is what the provider will see.
        prepare(&mut head, place, exchange);
        let limit_bytes = limits.request_body_bytes_max;
        let room = Room::new(&self.services.held, generation.snapshot.doors.held_bytes_max);
        let source =
            Source::from_client(incoming, Arc::clone(exchange), (limit_bytes, room), timeouts);

        let connected = peer.dialer.connect(place.targets, timeouts).await?;
        self.reveal_query(place, exchange, &mut head).await?;
        let body = if source.is_empty() {
            Body::Empty
        } else {
            let editor = self.reveal_editor(place, exchange, (&head, outline(&head.headers)));
            let rules = &place.gateway.request_rules;
            // Never in part: a charge that is refused must not have begun.
            let task =
                Task { editor, rules, limits, forward: Forward::Whole, opaque: Opaque::Scan };
            cards::rewrite_request(&task, &mut head.headers, source, exchange).await?
        };
        headers::set_length(&head.method, &mut head.headers, body.size_hint().exact());
        if let Some(credentials) = &place.gateway.credentials {
            credentials::put(credentials, &mut head.headers, (&body, SystemTime::now()));
        }
        let request = Request::from_parts(head, body);
        let sending = Sending { timeouts, exchange, keep: Keep::Empty };
        let sent = peer.dialer.send(connected, place.targets, request, sending).await;
        // From here on the card may have been charged.
        let answer = sent.map_err(Rejection::holding_an_answer)?;
        let answer = answer.into_parts(exchange, timeouts.response_body_idle);
        self.tell(place, exchange, answer).await.map_err(Rejection::holding_an_answer)
    }

    /// What the shop is told of the provider's answer.
    async fn tell(
        &self,
        place: &GatewayPlace<'_>,
        exchange: &Arc<Exchange>,
        (mut head, source): (response::Parts, Source),
    ) -> Result<Response<Body>, Rejection> {
        match head.status {
            // No request to a provider asks for another protocol, or for a part of something: nobody would
            // see a card number that its edges cut in two.
            StatusCode::SWITCHING_PROTOCOLS => return Err(Rejection::UnaskedUpgrade),
            StatusCode::PARTIAL_CONTENT => return Err(Rejection::UnaskedPart),
            _ => {}
        }
        headers::strip_answer(&mut head.headers);
        head.headers.remove(ACCEPT_RANGES);
        let source = self.note_decline(place, exchange, (&head, source)).await;
        let body = self.tokenize_answer(place, exchange, (&mut head.headers, source)).await?;
        Ok(Response::from_parts(head, body))
    }

    /// A short answer is edited before its head is sent, so that the shop learns why it has none. A
    /// longer one that cannot be edited to its end is cut off there: nothing of it was whole.
    async fn tokenize_answer(
        &self,
        place: &GatewayPlace<'_>,
        exchange: &Arc<Exchange>,
        (headers, source): (&mut HeaderMap, Source),
    ) -> Result<Body, Rejection> {
        let limits = &place.gateway.limits;
        // Whatever card number the provider tells, the shop sees its token only.
        let format = place.gateway.format;
        let tokenize = Action::Tokenize { format, invalid: InvalidCard::Pass };
        let editor = self.editor(exchange, place.metrics, limits, (tokenize, Direction::Response));
        let rules = &place.gateway.response_rules;
        cards::rewrite_head(&editor, rules, None, headers).await?;
        let task = Task { editor, rules, limits, forward: Forward::Whole, opaque: Opaque::Scan };
        cards::rewrite_response(&task, headers, source).await
    }

    /// Tokens in the query; those in a path have no field, and are left.
    async fn reveal_query(
        &self,
        place: &GatewayPlace<'_>,
        exchange: &Arc<Exchange>,
        head: &mut request::Parts,
    ) -> Result<(), Rejection> {
        let editor = self.reveal_editor(place, exchange, (head, Outline::of_query()));
        cards::rewrite_query(&editor, &place.gateway.request_rules, &mut head.uri).await
    }

    fn reveal_editor(
        &self,
        place: &GatewayPlace<'_>,
        exchange: &Arc<Exchange>,
        (head, outline): (&request::Parts, Outline),
    ) -> Arc<Editor> {
        let reveal = Action::Reveal(Reveal::new(place.gateway, head, outline));
        let limits = &place.gateway.limits;
        self.editor(exchange, place.metrics, limits, (reveal, Direction::Request))
    }
}

/// Names in a body are as its type says. Of two types the provider may believe the other one: then no
/// place has a name.
fn outline(headers: &HeaderMap) -> Outline {
    let mut types = headers.get_all(CONTENT_TYPE).into_iter().map(HeaderValue::as_bytes);
    let kind = types.next().filter(|_| types.next().is_none());
    Outline::of(kind.unwrap_or_default())
}

/// The provider sees a request to its own name, and nothing of ours. It is asked for all of an answer,
/// in a coding that can be looked into.
fn prepare(head: &mut request::Parts, place: &GatewayPlace<'_>, exchange: &Exchange) {
    headers::strip_hop_by_hop(&mut head.headers);
    headers::drop_doubles(&mut head.headers);
    headers::drop_never(&mut head.headers);
    headers::limit_codings(&mut head.headers);
    for name in [EXPECT, IF_RANGE, RANGE] {
        head.headers.remove(name);
    }
    head.headers.insert(request_id::REQUEST_ID, exchange.id.value());
    if let Ok(host) = HeaderValue::from_str(&place.gateway.upstream.authority()) {
        head.headers.insert(HOST, host);
    }
    let target = head.uri.path_and_query().cloned();
    head.uri = target.map(Uri::from).unwrap_or_default();
    head.version = http::Version::HTTP_11;
}
