//! Connections and handshakes.

use std::net::SocketAddr;
use std::time::Instant;

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tracing::{debug, info, warn};

use super::Metrics;
use super::cells::label_values;
use super::metrics::{counter, counters, gauge, gauges};
use super::seldom::Seldom;

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

label_values! {
    /// Why a connection ended before its PROXY header did.
    pub enum ProxyHeaderFault {
        /// The sender hung up.
        Closed => "closed",
        /// The header took too long.
        Late => "late",
        /// It is no header.
        Malformed => "malformed",
        /// It is longer than any sender's.
        TooLong => "too_long",
        /// The sender is none of the trusted proxies.
        Untrusted => "untrusted",
    }
}

label_values! {
    /// What there is no more room for.
    pub enum Full {
        /// Connections in all.
        Connections => "connections",
        /// Files: the system opens no more.
        Files => "files",
        /// Handshakes.
        Handshakes => "handshakes",
        /// Connections of one network.
        Network => "network",
    }
}

label_values! {
    /// What a client was too slow at.
    pub enum SlowPhase {
        /// Taking in its answer.
        Answer => "answer",
        /// Sending the head of a request.
        Head => "head",
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
    challenges: IntCounter,
    headers_refused: IntCounterVec,
    told: Seldom,
    refused: IntCounterVec,
    cut: IntCounterVec,
    held: IntGauge,
}

impl Metrics {
    /// A client connected.
    pub fn connection_opened(&self, role: ListenerRole) -> ConnectionGuard {
        self.connections.opened.with_label_values(&[role.as_str()]).inc();
        let open = self.connections.open.with_label_values(&[role.as_str()]);
        open.inc();
        ConnectionGuard(open)
    }

    /// A client was not let in.
    pub fn connection_refused(&self, full: Full, client: SocketAddr) {
        let reason = full.as_str();
        self.connections.refused.with_label_values(&[reason]).inc();
        if let Some(untold) = self.connections.told.may_tell(reason, Instant::now()) {
            warn!(reason, %client, untold, "connection refused");
        }
    }

    /// The connection of a slow client was cut.
    pub fn connection_cut(&self, phase: SlowPhase) {
        let phase = phase.as_str();
        self.connections.cut.with_label_values(&[phase]).inc();
        debug!(phase, "slow client cut off");
    }

    /// What is counted of bodies that are read whole.
    pub fn bodies_held(&self, bytes: u64) {
        self.connections.held.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// A TLS handshake ended well; `version` is a literal such as `TLSv1.3`.
    pub fn handshake_done(&self, version: &'static str, resumed: bool) {
        let resumed = if resumed { "yes" } else { "no" };
        self.connections.handshakes.with_label_values(&[version, resumed]).inc();
    }

    /// A certificate authority saw the answer to its question whether a name is ours.
    pub fn challenge_answered(&self) {
        self.connections.challenges.inc();
        info!("challenge of a certificate authority answered");
    }

    /// A client speaks no version of TLS that is spoken here; `reason` as for other failures.
    pub fn version_refused(&self, reason: &'static str, client: SocketAddr) {
        self.connections.handshakes_failed.with_label_values(&[reason]).inc();
        if let Some(untold) = self.connections.told.may_tell(reason, Instant::now()) {
            let remedy =
                "if customers or providers still need TLS 1.2, set `profile = \"intermediate\"`";
            warn!(%client, untold, remedy, "client without TLS 1.3 refused");
        }
    }

    /// A TLS handshake failed.
    pub fn handshake_failed(&self, reason: &'static str) {
        self.connections.handshakes_failed.with_label_values(&[reason]).inc();
        // Scanners cause thousands of these: the metric is for alarms, the line for a search.
        debug!(reason, "handshake failed");
    }

    /// A connection ended before its PROXY header did; `sender` is the other end of the socket.
    pub fn proxy_header_refused(&self, fault: ProxyHeaderFault, sender: SocketAddr) {
        let reason = fault.as_str();
        self.connections.headers_refused.with_label_values(&[reason]).inc();
        if fault == ProxyHeaderFault::Closed {
            // Load balancers look whether we listen, and hang up.
            return debug!(reason, %sender, "PROXY header refused");
        }
        if let Some(untold) = self.connections.told.may_tell(reason, Instant::now()) {
            warn!(reason, %sender, untold, "PROXY header refused");
        }
    }

    /// The sockets of a role are listening at `address`.
    pub fn listening(&self, role: ListenerRole, name: Option<&str>, address: SocketAddr) {
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
            held: gauge(
                registry,
                "tillgate_bodies_held_bytes",
                "Memory counted for request bodies that are read whole; `held` of [limits] bounds it.",
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
            challenges: counter(
                registry,
                "tillgate_tls_challenges_answered_total",
                "Questions of certificate authorities answered in a handshake.",
            ),
            headers_refused: counters(
                registry,
                "tillgate_proxy_headers_refused_total",
                "Connections that ended before their PROXY header did.",
                &["reason"],
            ),
            told: Seldom::default(),
            refused: counters(
                registry,
                "tillgate_connections_refused_total",
                "Connections for which there was no room.",
                &["reason"],
            ),
            cut: counters(
                registry,
                "tillgate_connections_cut_total",
                "Connections of clients that were too slow.",
                &["phase"],
            ),
        }
    }
}
