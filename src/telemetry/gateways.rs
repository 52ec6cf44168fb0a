//! The way to the payment gateways. What every request counts (status, duration, bytes) stands under
//! the site `gateway`, with the gateway's name as its route.

use prometheus::{IntCounterVec, Registry};
use tracing::warn;

use super::Metrics;
use super::mask::mask_text;
use super::metrics::counters;

pub(super) struct GatewayFamilies {
    refused: IntCounterVec,
    revealed: IntCounterVec,
}

impl Metrics {
    /// Tokens became card numbers on the way to a configured gateway.
    pub fn cards_revealed(&self, gateway: &str, count: u64) {
        self.gateways.revealed.with_label_values(&[gateway]).inc_by(count);
    }

    /// A request to a configured gateway was not sent on.
    pub fn reveal_refused(&self, gateway: &str, reason: &'static str, request_id: &str) {
        self.gateways.refused.with_label_values(&[gateway, reason]).inc();
        let request_id = &*mask_text(request_id);
        warn!(gateway, reason, request_id, "reveal refused");
    }
}

impl GatewayFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
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
        }
    }
}
