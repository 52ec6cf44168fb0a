//! Connections to the shop and the payment gateways.

use prometheus::{IntCounterVec, Registry};
use tracing::warn;

use super::Metrics;
use super::metrics::counters;

pub(super) struct UpstreamFamilies {
    connected: IntCounterVec,
    failures: IntCounterVec,
}

impl Metrics {
    /// A new connection to a configured upstream stands.
    pub fn upstream_connected(&self, upstream: &str) {
        self.upstreams.connected.with_label_values(&[upstream]).inc();
    }

    /// A configured upstream could not be reached, or broke off.
    pub fn upstream_failed(&self, upstream: &str, reason: &'static str) {
        self.upstreams.failures.with_label_values(&[upstream, reason]).inc();
        warn!(upstream, reason, "upstream failed");
    }
}

impl UpstreamFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            connected: counters(
                registry,
                "tillgate_upstream_connections_total",
                "Connections made to upstreams.",
                &["upstream"],
            ),
            failures: counters(
                registry,
                "tillgate_upstream_failures_total",
                "Failures of upstreams, by reason.",
                &["upstream", "reason"],
            ),
        }
    }
}
