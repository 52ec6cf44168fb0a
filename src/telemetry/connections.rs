//! Connections and handshakes.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tracing::{debug, info};

use super::Metrics;
use super::cells::label_values;
use super::metrics::{counters, gauges};

label_values! {
    /// What a listening socket is for.
    pub enum ListenerRole {
        /// Metrics and health.
        Admin => "admin",
        /// The shop's way out, as a proxy.
        Forward => "forward",
        /// The shop's way to a payment gateway.
        Gateway => "gateway",
        /// Clear-text HTTP.
        Http => "http",
        /// HTTP over TLS.
        Https => "https",
        /// Sends clients to `https`.
        Redirect => "redirect",
    }
}

/// An open connection; dropping it counts it as closed.
#[must_use]
pub struct ConnectionGuard(IntGauge);

pub(super) struct ConnectionFamilies {
    opened: IntCounterVec,
    open: IntGaugeVec,
    handshakes: IntCounterVec,
    handshakes_failed: IntCounterVec,
}

impl Metrics {
    /// A client connected.
    pub fn connection_opened(&self, role: ListenerRole) -> ConnectionGuard {
        self.connections.opened.with_label_values(&[role.as_str()]).inc();
        let open = self.connections.open.with_label_values(&[role.as_str()]);
        open.inc();
        ConnectionGuard(open)
    }

    /// A TLS handshake ended well; `version` is a literal such as `TLSv1.3`.
    pub fn handshake_done(&self, version: &'static str, resumed: bool) {
        let resumed = if resumed { "yes" } else { "no" };
        self.connections.handshakes.with_label_values(&[version, resumed]).inc();
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.connections.handshakes_failed.with_label_values(&[reason]).inc();
        // Scanners cause thousands of these: the metric is for alarms, the line for a search.
        debug!(reason, "handshake failed");
    }

    /// The sockets of a role are listening at `address`.
    pub fn listening(&self, role: ListenerRole, name: Option<&str>, address: std::net::SocketAddr) {
        // A role that never had a connection still has its line on the page.
        self.connections.open.with_label_values(&[role.as_str()]).add(0);
        info!(role = role.as_str(), name, %address, "listening");
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl ConnectionFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let role = &["role"];
        Self {
            opened: counters(
                registry,
                "tillgate_connections_opened_total",
                "Connections accepted.",
                role,
            ),
            open: gauges(registry, "tillgate_connections_open", "Connections open now.", role),
            handshakes: counters(
                registry,
                "tillgate_tls_handshakes_total",
                "TLS handshakes completed.",
                &["version", "resumed"],
            ),
            handshakes_failed: counters(
                registry,
                "tillgate_tls_handshake_failures_total",
                "TLS handshakes that failed.",
                &["reason"],
            ),
        }
    }
}
