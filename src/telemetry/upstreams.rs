//! Connections to the shop and the payment gateways, and how the servers behind them are.

use std::error::Error;
use std::fmt::Display;
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tracing::{info, warn};

use super::Metrics;
use super::mask::mask_causes;
use super::metrics::{counters, gauges};

/// The series of one upstream, to be kept with the snapshot it belongs to.
pub struct UpstreamMetrics {
    site: String,
    upstream: String,
    connected: IntCounter,
    failures: IntCounterVec,
    requests: IntCounter,
    repeats: IntCounterVec,
    ejections: IntCounter,
    checks: IntCounterVec,
    servers: [IntGauge; 3],
    in_flight: IntGauge,
    waiting: IntGaugeVec,
}

pub(super) struct UpstreamFamilies {
    connected: IntCounterVec,
    failures: IntCounterVec,
    requests: IntCounterVec,
    repeats: IntCounterVec,
    ejections: IntCounterVec,
    checks: IntCounterVec,
    servers: IntGaugeVec,
    in_flight: IntGaugeVec,
    waiting: IntGaugeVec,
}

impl Metrics {
    /// The series of a configured upstream.
    #[must_use]
    pub fn upstream(&self, site: &str, upstream: &str) -> UpstreamMetrics {
        let families = &self.upstreams;
        let labels = [site, upstream];
        let servers = |state| families.servers.with_label_values(&[site, upstream, state]);
        UpstreamMetrics {
            site: site.to_owned(),
            upstream: upstream.to_owned(),
            connected: families.connected.with_label_values(&[upstream]),
            failures: families.failures.clone(),
            requests: families.requests.with_label_values(&labels),
            repeats: families.repeats.clone(),
            ejections: families.ejections.with_label_values(&labels),
            checks: families.checks.clone(),
            servers: [servers("used"), servers("ejected"), servers("down")],
            in_flight: families.in_flight.with_label_values(&labels),
            waiting: families.waiting.clone(),
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

    /// It is sent a request.
    pub fn asked(&self) {
        self.requests.inc();
    }

    /// How many requests it has been sent.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// A request that failed was sent again, or was not because too many were.
    pub fn repeated(&self, allowed: bool) {
        let outcome = if allowed { "sent" } else { "over_budget" };
        self.repeats.with_label_values(&[&self.site, outcome]).inc();
    }

    /// One of its servers is left alone.
    pub fn ejected(&self, server: &dyn Display, time: Duration) {
        let upstream = &*self.upstream;
        self.ejections.inc();
        warn!(upstream, %server, for_s = time.as_secs_f64(), "server left out");
    }

    /// One of its servers has been asked how it is.
    pub fn checked(&self, healthy: bool) {
        let outcome = if healthy { "healthy" } else { "failed" };
        self.checks.with_label_values(&[&self.site, &self.upstream, outcome]).inc();
    }

    /// The checks have found one of its servers to be up, or down.
    pub fn turned(&self, server: &dyn Display, up: bool) {
        let upstream = &*self.upstream;
        if up {
            info!(upstream, %server, "server is up");
        } else {
            warn!(upstream, %server, "server is down");
        }
    }

    /// Its name has led nowhere, which it did not do before.
    pub fn unresolved(&self, cause: &dyn Error) {
        let upstream = &*self.upstream;
        self.failures.with_label_values(&[upstream, "name"]).inc();
        warn!(upstream, reason = "name", cause = mask_causes(cause), "upstream failed");
    }

    /// Its name leads elsewhere.
    pub fn resolved(&self, count: usize) {
        info!(upstream = &*self.upstream, addresses = count, "upstream's addresses changed");
    }

    /// How many of its servers are used, ejected, and down by the checks.
    pub fn servers(&self, used: usize, ejected: usize, down: usize) {
        for (gauge, count) in self.servers.iter().zip([used, ejected, down]) {
            gauge.set(whole(count));
        }
    }

    /// How many requests its servers work on.
    pub fn in_flight(&self, count: usize) {
        self.in_flight.set(whole(count));
    }

    /// How many requests of its site wait for a server.
    pub fn waiting(&self, count: usize) {
        self.waiting.with_label_values(&[&self.site]).set(whole(count));
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl UpstreamFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let counted = |name, help, labels: &[&str]| counters(registry, name, help, labels);
        let shown = |name, help, labels: &[&str]| gauges(registry, name, help, labels);
        let both = &["site", "upstream"];
        Self {
            connected: counted(
                "tillgate_upstream_connections_total",
                "Connections made to upstreams.",
                &["upstream"],
            ),
            failures: counted(
                "tillgate_upstream_failures_total",
                "Failures of upstreams, by reason.",
                &["upstream", "reason"],
            ),
            requests: counted(
                "tillgate_upstream_requests_total",
                "Requests sent to upstreams.",
                both,
            ),
            repeats: counted(
                "tillgate_upstream_retries_total",
                "Requests that failed and were sent again, or were not because too many were.",
                &["site", "outcome"],
            ),
            ejections: counted(
                "tillgate_upstream_ejections_total",
                "Servers left out for a time because they failed requests.",
                both,
            ),
            checks: counted(
                "tillgate_upstream_health_checks_total",
                "Health checks of servers, by outcome.",
                &["site", "upstream", "outcome"],
            ),
            servers: shown(
                "tillgate_upstream_servers",
                "Addresses of upstreams: used, ejected for a time, or down by the health checks.",
                &["site", "upstream", "state"],
            ),
            in_flight: shown(
                "tillgate_upstream_requests_in_flight",
                "Requests that upstreams work on.",
                both,
            ),
            waiting: shown(
                "tillgate_upstream_requests_waiting",
                "Requests that wait for a server with room for them.",
                &["site"],
            ),
        }
    }
}
