//! Every metric, in one registry that is a value.
//!
//! Label values are variants of a closed set, literals of the caller's, or configured names; never
//! text from the wire. The events themselves stand in the files named for their subject.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::access_rules::AccessFamilies;
use super::acme::AcmeFamilies;
use super::cards::CardFamilies;
use super::connections::ConnectionFamilies;
use super::forward::ForwardFamilies;
use super::gateways::GatewayFamilies;
use super::lines::DroppedLines;
use super::logins::LoginFamilies;
use super::protections::ProtectionFamilies;
use super::reloads::ReloadFamilies;
use super::routes::RouteFamilies;
use super::upgrades::UpgradeFamilies;
use super::upstreams::UpstreamFamilies;
use super::vaults::VaultFamilies;

/// From a tenth of a millisecond to two minutes: the wait for a shop.
pub(super) const WAIT_BUCKETS_S: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0, 120.0,
];

/// From ten microseconds to ten seconds: our own work.
pub(super) const WORK_BUCKETS_S: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 1.0, 10.0,
];

/// Everything that is counted, and the events that count it.
pub struct Metrics {
    registry: Registry,
    lines_dropped: IntCounterVec,
    pub(super) access: AccessFamilies,
    pub(super) acme: AcmeFamilies,
    pub(super) cards: CardFamilies,
    pub(super) connections: ConnectionFamilies,
    pub(super) forward: ForwardFamilies,
    pub(super) gateways: GatewayFamilies,
    pub(super) logins: LoginFamilies,
    pub(super) protections: ProtectionFamilies,
    pub(super) reloads: ReloadFamilies,
    pub(super) routes: RouteFamilies,
    pub(super) upgrades: UpgradeFamilies,
    pub(super) upstreams: UpstreamFamilies,
    pub(super) vaults: VaultFamilies,
}

impl Metrics {
    /// What `/metrics` must be served as.
    pub const CONTENT_TYPE: &'static str = prometheus::TEXT_FORMAT;

    /// Registers every metric, those of the process and the build among them.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        register(&registry, ProcessCollector::for_self());
        let build =
            gauges(&registry, "tillgate_build_info", "The running build; always 1.", &["version"]);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        Self {
            lines_dropped: counters(
                &registry,
                "tillgate_log_lines_dropped_total",
                "Lines not written because a log could not keep up or failed.",
                &["log"],
            ),
            access: AccessFamilies::register(&registry),
            acme: AcmeFamilies::register(&registry),
            cards: CardFamilies::register(&registry),
            connections: ConnectionFamilies::register(&registry),
            forward: ForwardFamilies::register(&registry),
            gateways: GatewayFamilies::register(&registry),
            logins: LoginFamilies::register(&registry),
            protections: ProtectionFamilies::register(&registry),
            reloads: ReloadFamilies::register(&registry),
            routes: RouteFamilies::register(&registry),
            upgrades: UpgradeFamilies::register(&registry),
            upstreams: UpstreamFamilies::register(&registry),
            vaults: VaultFamilies::register(&registry),
            registry,
        }
    }

    /// The page in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> Vec<u8> {
        let mut page = Vec::with_capacity(16 * 1024);
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut page) {
            tracing::error!(%error, "metrics not rendered");
            page.clear();
        }
        page
    }

    /// Where a log counts the lines it drops; `log` names it.
    #[must_use]
    pub fn lines_dropped(&self, log: &'static str) -> DroppedLines {
        DroppedLines(self.lines_dropped.with_label_values(&[log]))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

pub(super) fn counters(
    registry: &Registry,
    name: &'static str,
    help: &'static str,
    labels: &[&str],
) -> IntCounterVec {
    let vec = IntCounterVec::new(Opts::new(name, help), labels).expect(LITERALS);
    register(registry, vec.clone());
    vec
}

pub(super) fn gauges(
    registry: &Registry,
    name: &'static str,
    help: &'static str,
    labels: &[&str],
) -> IntGaugeVec {
    let vec = IntGaugeVec::new(Opts::new(name, help), labels).expect(LITERALS);
    register(registry, vec.clone());
    vec
}

pub(super) fn counter(registry: &Registry, name: &'static str, help: &'static str) -> IntCounter {
    let counter = IntCounter::new(name, help).expect(LITERALS);
    register(registry, counter.clone());
    counter
}

pub(super) fn gauge(registry: &Registry, name: &'static str, help: &'static str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect(LITERALS);
    register(registry, gauge.clone());
    gauge
}

pub(super) fn histograms(
    registry: &Registry,
    (name, help): (&'static str, &'static str),
    labels: &[&str],
    buckets: &[f64],
) -> HistogramVec {
    let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
    let vec = HistogramVec::new(options, labels).expect(LITERALS);
    register(registry, vec.clone());
    vec
}

pub(super) fn register(registry: &Registry, collector: impl Collector + 'static) {
    registry.register(Box::new(collector)).expect(LITERALS);
}

/// The invariant behind each `expect` above: every caller passes literals, each once.
pub(super) const LITERALS: &str = "metric names are valid, distinct literals";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{Method, StatusCode};

    use super::*;
    use crate::scan::Carrier;
    use crate::telemetry::{CardAction, CvvEvent, Direction, ListenerRole, TokenOrigin};

    fn page(metrics: &Metrics) -> String {
        String::from_utf8(metrics.render()).unwrap()
    }

    fn busy() -> Metrics {
        let metrics = Metrics::new();
        let route = metrics.route("shop.example", "/api/*");
        route.request(&Method::GET, StatusCode::OK);
        route.duration(Duration::from_micros(40));
        route.upstream_duration(Duration::from_millis(3));
        route.cards_found(Direction::Request, Carrier::Json, CardAction::Tokenized, 2);
        let _open = metrics.connection_opened(ListenerRole::Https);
        metrics.handshake_done("TLSv1.3", false);
        metrics.login_attempt("shop.example", "failed");
        metrics.tokens(TokenOrigin::Created, 1);
        metrics.cvv(CvvEvent::Kept, 1);
        metrics.vault_latency("insert", Duration::from_millis(1));
        metrics
    }

    #[test]
    fn every_family_has_help_and_counters_end_in_total() {
        let text = page(&busy());
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            assert!(name.starts_with("tillgate_") || name.starts_with("process_"), "{name}");
            assert!(!name.contains(':'), "{name}");
        }
    }

    #[test]
    fn build_and_process_are_there_from_the_start() {
        let text = page(&Metrics::new());
        let build = concat!("tillgate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1");
        assert!(text.contains(build));
        assert!(text.contains("process_resident_memory_bytes "));
    }

    #[test]
    fn two_registries_do_not_share_counts() {
        let (one, other) = (Metrics::new(), Metrics::new());
        one.login_attempt("shop.example", "failed");
        assert!(page(&one).contains("tillgate_login_attempts_total{"));
        assert!(!page(&other).contains("tillgate_login_attempts_total{"));
    }
}
