//! What is counted for each request, with the series looked up once per snapshot.

use std::time::Duration;

use http::{Method, StatusCode};
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
};
use tracing::debug;

use super::cards::{CardAction, CardPlace, Direction, SkipReason};
use super::cells::{Cells, Label};
use super::metrics::{Metrics, WAIT_BUCKETS_S, WORK_BUCKETS_S, counters, gauges, histograms};
use super::swapped::SwappedGauges;
use crate::coding::DecodeError;
use crate::policy::Snapshot;
use crate::scan::Carrier;

const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "other"];
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];
const CARRIERS: usize = Carrier::ALL.len();
const WAYS: usize = Direction::ALL.len();
const ACTIONS: usize = CardAction::ALL.len();
const PLACES: usize = CardPlace::ALL.len();
const SKIPS: usize = SkipReason::ALL.len();

/// The series of one route. Counting takes no lock and looks no label up after the first time.
pub struct RouteMetrics {
    site: String,
    route: String,
    requests: Cells<{ METHODS.len() * CLASSES.len() }>,
    requests_family: IntCounterVec,
    cards: Cells<{ WAYS * CARRIERS * ACTIONS }>,
    cards_family: IntCounterVec,
    skipped: Cells<{ WAYS * SKIPS }>,
    skipped_family: IntCounterVec,
    unexpected: Cells<{ PLACES }>,
    unexpected_family: IntCounterVec,
    unread_family: IntCounterVec,
    own_seconds: Histogram,
    upstream_seconds: Histogram,
    request_bytes: IntCounter,
    response_bytes: IntCounter,
    in_flight: IntGauge,
}

/// A request that has begun and not ended; dropping it ends it.
#[must_use]
pub struct InFlight(IntGauge);

pub(super) struct RouteFamilies {
    requests: IntCounterVec,
    own_seconds: HistogramVec,
    upstream_seconds: HistogramVec,
    request_bytes: IntCounterVec,
    response_bytes: IntCounterVec,
    in_flight: IntGaugeVec,
    modes: SwappedGauges,
}

impl Metrics {
    /// The series of a route, to be kept with the snapshot it belongs to.
    #[must_use]
    pub fn route(&self, site: &str, route: &str) -> RouteMetrics {
        let families = &self.routes;
        let labels = [site, route];
        RouteMetrics {
            site: site.to_owned(),
            route: route.to_owned(),
            requests: Cells::new(),
            requests_family: families.requests.clone(),
            cards: Cells::new(),
            cards_family: self.cards.found.clone(),
            skipped: Cells::new(),
            skipped_family: self.cards.skipped.clone(),
            unexpected: Cells::new(),
            unexpected_family: self.cards.unexpected.clone(),
            unread_family: self.cards.unread.clone(),
            own_seconds: families.own_seconds.with_label_values(&labels),
            upstream_seconds: families.upstream_seconds.with_label_values(&labels),
            request_bytes: families.request_bytes.with_label_values(&labels),
            response_bytes: families.response_bytes.with_label_values(&labels),
            in_flight: families.in_flight.with_label_values(&labels),
        }
    }

    /// Tells what every route of a generation does with cards; routes that are gone are no longer
    /// told.
    pub fn card_modes(&self, snapshot: &Snapshot) {
        let routes = snapshot
            .sites
            .iter()
            .flat_map(|site| site.routes.iter().map(move |route| (&*site.name.0, route)));
        let modes = routes.flat_map(|(site, route)| {
            let request = (Direction::Request, route.cards.requests.as_str());
            let response = (Direction::Response, route.cards.responses.as_str());
            [request, response].map(|(way, mode)| ([site, &*route.name, way.as_str(), mode], 1))
        });
        self.routes.modes.replace(modes);
    }
}

impl RouteMetrics {
    /// Whose series these are: site and route.
    #[must_use]
    pub fn names(&self) -> (&str, &str) {
        (&self.site, &self.route)
    }

    /// A request was answered. A method that is no standard one is `other`.
    pub fn request(&self, method: &Method, status: StatusCode) {
        let (method_place, method) = listed(&METHODS, method.as_str());
        let (class_place, class) = listed(&CLASSES, class_of(status));
        self.requests.add(method_place * CLASSES.len() + class_place, 1, || {
            self.requests_family.with_label_values(&[&self.site, &self.route, method, class])
        });
    }

    /// What a request took, without the wait for the upstream.
    pub fn duration(&self, own: Duration) {
        self.own_seconds.observe(own.as_secs_f64());
    }

    /// What the upstream took, from the first byte sent to the head of its answer.
    pub fn upstream_duration(&self, waited: Duration) {
        self.upstream_seconds.observe(waited.as_secs_f64());
    }

    /// Body bytes that a client sent.
    pub fn request_bytes(&self, bytes: u64) {
        self.request_bytes.inc_by(bytes);
    }

    /// Body bytes that a client was sent.
    pub fn response_bytes(&self, bytes: u64) {
        self.response_bytes.inc_by(bytes);
    }

    /// A request began.
    pub fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Card numbers were found in a body or head.
    pub fn cards_found(
        &self,
        direction: Direction,
        carrier: Carrier,
        action: CardAction,
        count: u64,
    ) {
        let ways = direction.place() * CARRIERS + carrier_place(carrier);
        self.cards.add(ways * ACTIONS + action.place(), count, || {
            let way = [direction.as_str(), carrier.as_str(), action.as_str()];
            let [direction, carrier, action] = way;
            self.cards_family.with_label_values(&[
                &self.site,
                &self.route,
                direction,
                carrier,
                action,
            ])
        });
    }

    /// A number of a card's form was left alone.
    pub fn card_skipped(&self, direction: Direction, reason: SkipReason) {
        self.skipped.add(direction.place() * SKIPS + reason.place(), 1, || {
            let labels = [&*self.site, &*self.route, direction.as_str(), reason.as_str()];
            self.skipped_family.with_label_values(&labels)
        });
    }

    /// A body that is only looked at could not be read.
    pub fn body_unread(&self, direction: Direction, error: &DecodeError) {
        let (site, route, direction) = (&*self.site, &*self.route, direction.as_str());
        self.unread_family.with_label_values(&[site, route, direction]).inc();
        debug!(site, route, direction, %error, "body not read");
    }

    /// A card number was found where none belongs.
    pub fn card_unexpected(&self, place: CardPlace) {
        self.unexpected.add(place.place(), 1, || {
            self.unexpected_family.with_label_values(&[&*self.site, &*self.route, place.as_str()])
        });
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl RouteFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let route = &["site", "route"];
        Self {
            requests: counters(
                registry,
                "tillgate_requests_total",
                "Requests answered.",
                &["site", "route", "method", "status_class"],
            ),
            own_seconds: histograms(
                registry,
                ("tillgate_request_own_duration_seconds", "Time per request without the upstream."),
                route,
                WORK_BUCKETS_S,
            ),
            upstream_seconds: histograms(
                registry,
                (
                    "tillgate_upstream_duration_seconds",
                    "Time from sending a request to the upstream until the head of its answer.",
                ),
                route,
                WAIT_BUCKETS_S,
            ),
            request_bytes: counters(
                registry,
                "tillgate_request_body_bytes_total",
                "Body bytes received from clients.",
                route,
            ),
            response_bytes: counters(
                registry,
                "tillgate_response_body_bytes_total",
                "Body bytes sent to clients.",
                route,
            ),
            in_flight: gauges(
                registry,
                "tillgate_requests_in_flight",
                "Requests begun and not ended.",
                route,
            ),
            modes: SwappedGauges::register(
                registry,
                "tillgate_route_cards_mode",
                "What a route does with card numbers; always 1.",
                &["site", "route", "direction", "mode"],
            ),
        }
    }
}

/// The place and the text of a value; the last of the set stands for all others.
fn listed(set: &'static [&'static str], value: &str) -> (usize, &'static str) {
    let last = set.len().saturating_sub(1);
    let place = set.iter().position(|&each| each == value).unwrap_or(last);
    (place, set.get(place).copied().unwrap_or("other"))
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        500..=599 => "5xx",
        _ => "other",
    }
}

fn carrier_place(carrier: Carrier) -> usize {
    match carrier {
        Carrier::Csv => 0,
        Carrier::EventStream => 1,
        Carrier::Form => 2,
        Carrier::Html => 3,
        Carrier::JavaScript => 4,
        Carrier::Json => 5,
        Carrier::Multipart => 6,
        Carrier::Text => 7,
        Carrier::Xml => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render()).unwrap()
    }

    #[test]
    fn an_invented_method_is_other() {
        let metrics = Metrics::new();
        let route = metrics.route("shop.example", "/*");
        for name in ["GET", "BREW", "4111111111111111"] {
            route.request(&Method::from_bytes(name.as_bytes()).unwrap(), StatusCode::NOT_FOUND);
        }
        let text = page(&metrics);
        let line = |method: &str| {
            format!(
                "tillgate_requests_total{{method=\"{method}\",route=\"/*\",\
                 site=\"shop.example\",status_class=\"4xx\"}}"
            )
        };
        assert!(text.contains(&format!("{} 1\n", line("GET"))));
        assert!(text.contains(&format!("{} 2\n", line("other"))));
        assert!(!text.contains("BREW") && !text.contains("4111"));
    }

    #[test]
    fn every_combination_of_card_labels_is_a_series_of_its_own() {
        let metrics = Metrics::new();
        let route = metrics.route("shop.example", "/*");
        let actions = [
            CardAction::Kept,
            CardAction::Masked,
            CardAction::Observed,
            CardAction::Rejected,
            CardAction::Tokenized,
        ];
        for direction in [Direction::Request, Direction::Response] {
            for carrier in Carrier::ALL {
                for action in actions {
                    route.cards_found(direction, carrier, action, 1);
                }
            }
        }
        let text = page(&metrics);
        let lines = text.lines().filter(|line| line.starts_with("tillgate_cards_found_total{"));
        let ones = lines.filter(|line| line.ends_with("} 1")).count();
        assert_eq!(ones, 2 * CARRIERS * actions.len());
    }

    #[test]
    fn a_request_is_in_flight_until_its_guard_is_dropped() {
        let metrics = Metrics::new();
        let route = metrics.route("shop.example", "/*");
        let begun = route.begin();
        let gauge = "tillgate_requests_in_flight{route=\"/*\",site=\"shop.example\"}";
        assert!(page(&metrics).contains(&format!("{gauge} 1")));
        drop(begun);
        assert!(page(&metrics).contains(&format!("{gauge} 0")));
    }
}
