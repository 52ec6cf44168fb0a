//! Connections to the shop and the payment gateways.

use std::error::Error;

use prometheus::{IntCounter, IntCounterVec, Registry};
use tracing::warn;

use super::Metrics;
use super::mask::mask_causes;
use super::metrics::counters;

/// The series of one upstream, to be kept with the snapshot it belongs to.
pub struct UpstreamMetrics {
    upstream: String,
    connected: IntCounter,
    failures: IntCounterVec,
}

pub(super) struct UpstreamFamilies {
    connected: IntCounterVec,
    failures: IntCounterVec,
}

impl Metrics {
    /// The series of a configured upstream.
    #[must_use]
    pub fn upstream(&self, upstream: &str) -> UpstreamMetrics {
        UpstreamMetrics {
            upstream: upstream.to_owned(),
            connected: self.upstreams.connected.with_label_values(&[upstream]),
            failures: self.upstreams.failures.clone(),
        }
    }
}

impl UpstreamMetrics {
    /// A new connection stands.
    pub fn connected(&self) {
        self.connected.inc();
    }

    /// It could not be reached, broke off or took too long.
    pub fn failed(&self, reason: &'static str, cause: &dyn Error) {
        let upstream = &*self.upstream;
        self.failures.with_label_values(&[upstream, reason]).inc();
        warn!(upstream, reason, cause = mask_causes(cause), "upstream failed");
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
