//! The forward proxy: what the shop asked it for, and the authority it answers with.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tracing::{info, warn};

use super::Metrics;
use super::cells::{Label as _, label_values};
use super::metrics::{counters, gauge, gauges};

label_values! {
    /// What became of a request for a connection.
    pub enum ConnectOutcome {
        /// Nobody answered there.
        Failed => "failed",
        /// We answer in the payment gateway's name.
        Intercepted => "intercepted",
        /// It may not lead there.
        Refused => "refused",
        /// It leads there as it is.
        Tunnelled => "tunnelled",
    }
}

/// An open tunnel; dropping it counts it as closed.
#[must_use]
pub struct TunnelGuard {
    open: IntGauge,
    to_client: IntCounter,
    to_server: IntCounter,
}

pub(super) struct ForwardFamilies {
    connects: IntCounterVec,
    tunnels: IntGauge,
    tunnel_bytes: IntCounterVec,
    authority_expiry: IntGaugeVec,
}

impl Metrics {
    /// The forward proxy was asked for a connection.
    pub fn connect_asked(&self, outcome: ConnectOutcome) {
        self.forward.connects.with_label_values(&[outcome.as_str()]).inc();
    }

    /// A tunnel stands.
    pub fn tunnel_opened(&self) -> TunnelGuard {
        self.forward.tunnels.inc();
        let bytes = |direction| self.forward.tunnel_bytes.with_label_values(&[direction]);
        TunnelGuard {
            open: self.forward.tunnels.clone(),
            to_client: bytes("to_client"),
            to_server: bytes("to_server"),
        }
    }

    /// The authority that intercepted hosts are signed by.
    pub fn authority_in_force(&self, hosts: &[String], not_after: SystemTime) {
        self.authority_ends(not_after);
        info!(hosts = hosts.join(" "), "forward proxy authority");
    }

    /// It was issued just now: the shop must be given its certificate.
    pub fn authority_issued(&self, hosts: &[String], not_after: SystemTime) {
        self.authority_ends(not_after);
        let remedy = "give the shop what `tillgate gateway ca` prints";
        warn!(hosts = hosts.join(" "), remedy, "forward proxy authority issued");
    }

    /// A client broke off a handshake in a payment gateway's name; nearly always it was not told whom
    /// to trust, and nothing but this line says why its payments fail.
    pub fn interception_failed(&self, host: &str, reason: &'static str) {
        self.handshake_failed(reason);
        let remedy = "have the shop trust what `tillgate gateway ca` prints";
        warn!(host, reason, remedy, "the shop did not accept our certificate");
    }

    fn authority_ends(&self, not_after: SystemTime) {
        let since = not_after.duration_since(UNIX_EPOCH).unwrap_or_default();
        let end = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        self.forward.authority_expiry.with_label_values(&["forward-ca.pem"]).set(end);
    }
}

impl TunnelGuard {
    /// So many bytes went to the client.
    pub fn to_client(&self, count: usize) {
        self.to_client.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }

    /// So many bytes went to the server.
    pub fn to_server(&self, count: usize) {
        self.to_server.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

impl Drop for TunnelGuard {
    fn drop(&mut self) {
        self.open.dec();
    }
}

impl ForwardFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let families = Self {
            connects: counters(
                registry,
                "tillgate_forward_connects_total",
                "Connections that the forward proxy was asked for, by outcome.",
                &["outcome"],
            ),
            tunnels: gauge(
                registry,
                "tillgate_forward_tunnels_open",
                "Tunnels of the forward proxy open now.",
            ),
            tunnel_bytes: counters(
                registry,
                "tillgate_forward_tunnel_bytes_total",
                "Bytes through the tunnels of the forward proxy.",
                &["direction"],
            ),
            // By its file, so that where there is no authority there is no series to alarm about.
            authority_expiry: gauges(
                registry,
                "tillgate_forward_authority_expiry_timestamp_seconds",
                "When the forward proxy's authority expires.",
                &["file"],
            ),
        };
        // An alarm on a rise needs the zero before the first one.
        for outcome in ConnectOutcome::ALL {
            families.connects.with_label_values(&[outcome.as_str()]).inc_by(0);
        }
        families
    }
}
