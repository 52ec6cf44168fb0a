//! The way to the payment gateways.

use std::time::Duration;

use http::StatusCode;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry};
use tracing::warn;

use super::Metrics;
use super::mask::mask_text;
use super::metrics::{WAIT_BUCKETS_S, counters, histograms};

/// The series of one gateway, to be kept with the snapshot it belongs to.
pub struct GatewayMetrics {
    name: String,
    requests: IntCounterVec,
    refused: IntCounterVec,
    revealed: IntCounter,
    seconds: Histogram,
}

pub(super) struct GatewayFamilies {
    requests: IntCounterVec,
    refused: IntCounterVec,
    revealed: IntCounterVec,
    seconds: HistogramVec,
}

impl Metrics {
    /// The series of a configured gateway.
    #[must_use]
    pub fn gateway(&self, name: &str) -> GatewayMetrics {
        let families = &self.gateways;
        GatewayMetrics {
            name: name.to_owned(),
            requests: families.requests.clone(),
            refused: families.refused.clone(),
            revealed: families.revealed.with_label_values(&[name]),
            seconds: families.seconds.with_label_values(&[name]),
        }
    }
}

impl GatewayMetrics {
    /// The shop's request was answered.
    pub fn request(&self, status: StatusCode) {
        let class = super::routes::class_of(status);
        self.requests.with_label_values(&[&self.name, class]).inc();
    }

    /// What the gateway took.
    pub fn upstream_duration(&self, waited: Duration) {
        self.seconds.observe(waited.as_secs_f64());
    }

    /// Tokens became card numbers on the way to the gateway.
    pub fn cards_revealed(&self, count: u64) {
        self.revealed.inc_by(count);
    }

    /// A request was not sent on.
    pub fn reveal_refused(&self, reason: &'static str, request_id: &str) {
        self.refused.with_label_values(&[&*self.name, reason]).inc();
        let (gateway, request_id) = (&*self.name, &*mask_text(request_id));
        warn!(gateway, reason, request_id, "reveal refused");
    }
}

impl GatewayFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            requests: counters(
                registry,
                "tillgate_gateway_requests_total",
                "Requests of the shop to a payment gateway.",
                &["gateway", "status_class"],
            ),
            refused: counters(
                registry,
                "tillgate_gateway_refusals_total",
                "Requests not sent on to a payment gateway, by reason.",
                &["gateway", "reason"],
            ),
            revealed: counters(
                registry,
                "tillgate_gateway_cards_revealed_total",
                "Card numbers put back for a payment gateway.",
                &["gateway"],
            ),
            seconds: histograms(
                registry,
                ("tillgate_gateway_duration_seconds", "Time per request spent on the gateway."),
                &["gateway"],
                WAIT_BUCKETS_S,
            ),
        }
    }
}
