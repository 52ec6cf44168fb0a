//! Connections that leave HTTP (RFC 9110 §7.8).
//!
//! WebSocket messages are looked into where the route looks into bodies. What cannot be looked into
//! is one pipe after 101, and only where the route changes nothing: a protocol nobody here can read
//! would carry card numbers past the guard.

mod bootstrap;

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tracing::debug;

pub(super) use bootstrap::Bootstrap;

use super::body::Body;
use super::exchange::Exchange;
use super::forward::Answer;
use super::generation::Place;
use super::reject::Rejection;
use super::upstreams::Joined;
use super::websocket::{Frames, Look};
use super::{Hold, Peer, Proxy, cards, headers, pipe};
use crate::policy::{CardPolicy, RequestAction, ResponseAction};

/// What a client wants to change to.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Wanted {
    /// WebSocket, whose messages are looked into.
    Frames(HeaderValue),
    /// Nothing else.
    Nothing,
    /// A protocol that passes as it is.
    Pipe(HeaderValue),
}

/// What both sides agreed on.
pub(super) struct Switch {
    pub(super) wanted: Wanted,
    /// The client's connection, once it is handed over.
    pub(super) client: Option<OnUpgrade>,
    /// Where it is one stream of many.
    pub(super) bootstrap: Option<Bootstrap>,
    /// How long both sides may be silent.
    pub(super) idle: Duration,
}

impl Wanted {
    /// What a route makes of what a request asks for.
    ///
    /// # Errors
    /// When the route guards cards and the protocol cannot be looked into.
    pub(super) fn by<B>(
        request: &Request<B>,
        bootstrap: Option<&Bootstrap>,
        cards: &CardPolicy,
    ) -> Result<Self, Rejection> {
        let protocol = match bootstrap {
            Some(_) => Some(Bootstrap::PROTOCOL),
            None => headers::upgrade_wanted(request),
        };
        Self::of(cards, protocol)
    }

    /// What a route makes of a protocol that was asked for.
    ///
    /// # Errors
    /// When the route guards cards and the protocol cannot be looked into.
    fn of(cards: &CardPolicy, protocol: Option<HeaderValue>) -> Result<Self, Rejection> {
        let Some(protocol) = protocol else { return Ok(Self::Nothing) };
        let looks = cards.requests != RequestAction::Off || cards.responses != ResponseAction::Off;
        let changes = match (cards.requests, cards.responses) {
            (RequestAction::Mask | RequestAction::Reject | RequestAction::Tokenize, _)
            | (_, ResponseAction::Mask) => true,
            (
                RequestAction::Observe | RequestAction::Off,
                ResponseAction::Observe | ResponseAction::Off,
            ) => false,
        };
        match is_websocket(&protocol) {
            true if looks => Ok(Self::Frames(protocol)),
            false if changes => Err(Rejection::UpgradeUnknown),
            true | false => Ok(Self::Pipe(protocol)),
        }
    }

    /// Whether the connection may leave HTTP.
    pub(super) fn is_any(&self) -> bool {
        *self != Self::Nothing
    }

    /// Asks the shop for it. Of extensions only what we can read could be let through, and that is
    /// none: compressed messages (RFC 7692) must not be negotiated.
    pub(super) fn ask(&self, headers: &mut HeaderMap) {
        match self {
            Self::Frames(protocol) => {
                headers.remove(SEC_WEBSOCKET_EXTENSIONS);
                headers::ask_upgrade(headers, protocol.clone());
            }
            Self::Nothing => {}
            Self::Pipe(protocol) => headers::ask_upgrade(headers, protocol.clone()),
        }
    }
}

impl Proxy {
    /// Both sides leave HTTP: the answer goes on, and the two connections are joined.
    pub(super) async fn switch(
        &self,
        place: &Place<'_>,
        (peer, exchange): (&Peer, &Arc<Exchange>),
        answer: Answer,
        switch: Switch,
    ) -> Result<Response<Body>, Rejection> {
        let Some(client) = switch.client else { return Err(Rejection::UnaskedUpgrade) };
        let Answer { mut response, lease } = answer;
        let joined = Joined::with(lease.entry());
        let upstream = hyper::upgrade::on(&mut response);
        let (mut head, _empty) = response.into_parts();
        head.headers.remove(CONTENT_LENGTH);
        let hold = match switch.bootstrap {
            None => None,
            Some(bootstrap) if bootstrap.is_accepted(&head.headers) => {
                // RFC 8441 §5: 200 says there what 101 says here.
                head.status = StatusCode::OK;
                bootstrap.into_hold()
            }
            Some(_) => return Err(Rejection::UnaskedUpgrade),
        };
        if let Wanted::Frames(_) = switch.wanted {
            if !head.headers.get(UPGRADE).is_some_and(is_websocket) {
                return Err(Rejection::UnaskedUpgrade);
            }
            // One that was not offered: its frames are then refused.
            head.headers.remove(SEC_WEBSOCKET_EXTENSIONS);
            let frames = self.frames(place, (peer, exchange), switch.idle);
            if let Some(Look { editor, rules }) = &frames.responses {
                cards::rewrite_head(editor, rules, None, &mut head.headers).await?;
            }
            frames.join(peer, (client, hold), (upstream, joined));
        } else {
            join(peer, (client, hold), (upstream, joined), switch.idle);
        }
        if head.status == StatusCode::OK {
            headers::strip_answer(&mut head.headers);
            head.headers.remove(SEC_WEBSOCKET_ACCEPT);
        }
        Ok(Response::from_parts(head, Body::Empty))
    }

    fn frames(
        &self,
        place: &Place<'_>,
        (peer, exchange): (&Peer, &Arc<Exchange>),
        idle: Duration,
    ) -> Frames {
        let cards = &place.route.cards;
        let look = |rules: &Arc<_>| {
            let rules = Arc::clone(rules);
            move |editor| Look { editor, rules }
        };
        let (services, exchange) = (Arc::clone(&self.services), Arc::clone(exchange));
        let site = Arc::clone(&place.site.name.0);
        Frames {
            requests: self.request_editor(place, &exchange).map(look(&cards.request_rules)),
            responses: self.response_editor(place, &exchange).map(look(&cards.response_rules)),
            message_bytes_max: place.route.limits.request_body_bytes_max,
            idle,
            leave: peer.leave.clone(),
            refused: Box::new(move |rejection| {
                let (reason, id) = (rejection.reason(), exchange.id.as_str());
                services.metrics.request_rejected(&site, reason, id, rejection);
            }),
        }
    }
}

fn is_websocket(protocol: &HeaderValue) -> bool {
    protocol.as_bytes().trim_ascii().eq_ignore_ascii_case(b"websocket")
}

/// Joins the two connections once both have been handed over.
fn join(
    peer: &Peer,
    (client, hold): (OnUpgrade, Option<Hold>),
    (upstream, joined): (OnUpgrade, Joined),
    idle: Duration,
) {
    let presence = Arc::clone(&peer.presence);
    peer.tasks.spawn(async move {
        let _held = (hold, presence, joined);
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(both) => both,
            Err(error) => return debug!(%error, "upgrade failed"),
        };
        pipe::join(TokioIo::new(client), TokioIo::new(upstream), idle, |_, _| {}).await;
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::TokenFormat;
    use crate::policy::InvalidCard;
    use crate::scan::{FieldRules, Rules};

    fn wanted(
        requests: RequestAction,
        responses: ResponseAction,
        protocol: &'static str,
    ) -> Option<Wanted> {
        let cards = CardPolicy {
            requests,
            responses,
            format: TokenFormat::default(),
            invalid_card: InvalidCard::Pass,
            request_rules: Arc::new(Rules::requests(FieldRules::default())),
            response_rules: Arc::new(Rules::responses(FieldRules::default())),
        };
        Wanted::of(&cards, Some(HeaderValue::from_static(protocol))).ok()
    }

    #[test]
    fn what_cannot_be_looked_into_passes_only_where_nothing_is_changed() {
        use {RequestAction as In, ResponseAction as Out};
        let (web, other) = ("WebSocket", "chat/1.0");
        let frames = Some(Wanted::Frames(HeaderValue::from_static(web)));
        let pipe = |protocol| Some(Wanted::Pipe(HeaderValue::from_static(protocol)));
        let cases =
            [(In::Tokenize, Out::Mask, frames, None), (In::Off, Out::Off, pipe(web), pipe(other))];
        for (requests, responses, for_web, for_other) in cases {
            assert_eq!(wanted(requests, responses, web), for_web);
            assert_eq!(wanted(requests, responses, other), for_other);
        }
        for (requests, responses) in [(In::Observe, Out::Off), (In::Off, Out::Observe)] {
            assert!(matches!(wanted(requests, responses, web), Some(Wanted::Frames(_))));
            assert_eq!(wanted(requests, responses, other), pipe(other));
        }
        for (requests, responses) in
            [(In::Reject, Out::Off), (In::Mask, Out::Observe), (In::Off, Out::Mask)]
        {
            assert_eq!(wanted(requests, responses, other), None);
            assert_eq!(wanted(requests, responses, "websocket, chat/1.0"), None);
        }
    }
}
