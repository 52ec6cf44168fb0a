//! Card numbers on the way to the shop and back, as the route has it.

use std::sync::Arc;

use http::{request, response};

use super::Proxy;
use super::body::{Body, Source};
use super::cards::{self, Action, Editor, Forward, Opaque, Task};
use super::exchange::Exchange;
use super::generation::Place;
use super::reject::Rejection;
use crate::policy::{Limits, RequestAction, ResponseAction};
use crate::telemetry::{Direction, RouteMetrics};

impl Proxy {
    /// Replaces card numbers on their way to the shop.
    pub(super) async fn edit_request(
        &self,
        place: &Place<'_>,
        exchange: &Arc<Exchange>,
        (head, source): (&mut request::Parts, Source),
    ) -> Result<Body, Rejection> {
        let Some(editor) = self.request_editor(place, exchange) else {
            return Ok(cards::pass(source));
        };
        let rules = &place.route.cards.request_rules;
        cards::rewrite_head(&editor, rules, Some(&mut head.uri), &mut head.headers).await?;
        if source.is_empty() {
            return Ok(cards::pass(source));
        }
        let observes = place.route.cards.requests == RequestAction::Observe;
        let limits = &place.route.limits;
        let task =
            Task { editor, rules, limits, forward: Forward::Streaming, opaque: Opaque::Pass };
        if observes {
            return Ok(cards::observe(&task, &head.headers, source));
        }
        cards::rewrite_request(&task, &mut head.headers, source, exchange).await
    }

    /// Masks card numbers on their way to the client.
    pub(super) async fn edit_response(
        &self,
        place: &Place<'_>,
        exchange: &Arc<Exchange>,
        (head, source): (&mut response::Parts, Source),
    ) -> Result<Body, Rejection> {
        let Some(editor) = self.response_editor(place, exchange) else {
            return Ok(cards::pass(source));
        };
        let headers = &mut head.headers;
        let watched = place.route.cards.responses == ResponseAction::Observe;
        if watched && cards::is_unreadable_part(head.status, headers) {
            return Ok(cards::pass(source));
        }
        let rules = &place.route.cards.response_rules;
        cards::rewrite_head(&editor, rules, None, headers).await?;
        let limits = &place.route.limits;
        let task =
            Task { editor, rules, limits, forward: Forward::Streaming, opaque: Opaque::Pass };
        if watched {
            return Ok(cards::observe(&task, headers, source));
        }
        cards::rewrite_response(&task, headers, source).await
    }

    /// What a route does with what a client sends; nothing where it does not look.
    pub(super) fn request_editor(
        &self,
        place: &Place<'_>,
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
    pub(super) fn response_editor(
        &self,
        place: &Place<'_>,
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

    pub(super) fn editor(
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
