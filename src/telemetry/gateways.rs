//! The way to the payment gateways. What every request counts (status, duration, bytes) stands under
//! the site `gateway`, with the gateway's name as its route.

use prometheus::{GaugeVec, IntCounterVec, Opts, Registry};
use tracing::{error, warn};

use super::Metrics;
use super::mask::mask_text;
use super::metrics::{LITERALS, counters, register};

pub(super) struct GatewayFamilies {
    refused: IntCounterVec,
    revealed: IntCounterVec,
    left: IntCounterVec,
    rate_ratio: GaugeVec,
    alarms: IntCounterVec,
    webhooks: IntCounterVec,
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

impl Metrics {
    /// Tokens stood where the gateway's policy reveals none.
    pub fn tokens_left(&self, gateway: &str, count: u64) {
        self.gateways.left.with_label_values(&[gateway]).inc_by(count);
    }

    /// A gateway's current minute of reveals, against its usual one.
    pub fn reveal_rate_ratio(&self, gateway: &str, ratio: f64) {
        self.gateways.rate_ratio.with_label_values(&[gateway]).set(ratio);
    }

    /// A gateway reveals far more than it usually does.
    pub fn reveal_rate_unusual(&self, gateway: &str, (reveals, usual): (u32, f64)) {
        self.gateways.alarms.with_label_values(&[gateway]).inc();
        error!(gateway, reveals, usual_per_minute = usual, "reveal rate far above its usual");
    }

    /// A provider's call was found to be one.
    pub fn webhook_delivered(&self, webhook: &str) {
        self.gateways.webhooks.with_label_values(&[webhook, "accepted"]).inc();
    }

    /// A call to a webhook was refused.
    pub fn webhook_refused(&self, webhook: &str, reason: &'static str, request_id: &str) {
        self.gateways.webhooks.with_label_values(&[webhook, reason]).inc();
        let request_id = &*mask_text(request_id);
        warn!(webhook, reason, request_id, "webhook refused");
    }
}

impl GatewayFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let ratio = Opts::new(
            "tillgate_reveal_rate_ratio",
            "Card numbers put back in this minute, against the usual minute of about a day.",
        );
        let rate_ratio = GaugeVec::new(ratio, &["gateway"]).expect(LITERALS);
        register(registry, rate_ratio.clone());
        Self {
            rate_ratio,
            left: counters(
                registry,
                "tillgate_gateway_tokens_left_total",
                "Tokens that stayed tokens, because the gateway's policy reveals none there.",
                &["gateway"],
            ),
            alarms: counters(
                registry,
                "tillgate_reveal_alarms_total",
                "Minutes in which far more card numbers were put back than usual.",
                &["gateway"],
            ),
            webhooks: counters(
                registry,
                "tillgate_webhook_deliveries_total",
                "Calls to webhooks, by what their signatures were worth.",
                &["webhook", "result"],
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
        }
    }
}
