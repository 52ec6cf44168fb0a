//! Sizes and waits; every number has a unit and none is "unlimited".

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

/// Sizes that a route may choose.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The largest request body, as it arrives (413).
    pub request_body_bytes_max: u64,
    /// The largest decoded size of a compressed body that is scanned (413 in requests, 502 in answers).
    pub decoded_body_bytes_max: u64,
    /// How many times larger than its compressed form a body may become (413, 502).
    pub decoded_ratio_max: u64,
    /// The most card numbers in one request body (413).
    pub cards_per_body_max: usize,
    /// The largest body, decoded, that a block with a pattern for it lets pass (413).
    pub blocks_body_bytes_max: u64,
}

/// How many clients there may be at once, in the whole process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectionLimits {
    /// Connections; more are refused.
    pub connections_max: NonZeroUsize,
    /// Connections of one client network (IPv4 /32, IPv6 /64); more are refused.
    pub per_network_max: NonZeroUsize,
    /// Connections that have not shaken hands yet; more are refused.
    pub handshakes_max: NonZeroUsize,
    /// Requests under way (503).
    pub requests_max: NonZeroUsize,
    /// Bytes in memory of bodies that are read whole before they go on (503).
    pub held_bytes_max: u64,
}

/// The least that a client must send of a body, and take in of an answer, in bytes per second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ByteRate(pub NonZeroU64);

/// Waits that are the same for every route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timeouts {
    /// For a connection to the upstream to stand (504).
    pub connect: Duration,
    /// For the whole TLS handshake of a client.
    pub handshake: Duration,
    /// For the whole head of a request (408).
    pub request_head: Duration,
    /// Between two pieces of a request body (408).
    pub request_body_idle: Duration,
    /// For the head of the upstream's answer (504).
    pub response_head: Duration,
    /// Between two pieces of the upstream's answer; the answer is then cut.
    pub response_body_idle: Duration,
    /// For a client to take in a piece of its answer; its connection is then cut.
    pub client_write: Duration,
    /// What a client must keep up with; it may be behind by `request_body_idle` or `client_write`.
    pub client_rate: ByteRate,
    /// How long an idle client connection is kept.
    pub keep_alive: Duration,
    /// How long an upgraded connection (WebSocket) or a tunnel may be silent.
    pub upgrade_idle: Duration,
    /// How long a shutdown waits for what is in flight.
    pub drain: Duration,
    /// How long a new program may take to show that it can serve.
    pub upgrade: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_body_bytes_max: 16 << 20,
            decoded_body_bytes_max: 64 << 20,
            decoded_ratio_max: 100,
            cards_per_body_max: 1_000,
            blocks_body_bytes_max: 1 << 20,
        }
    }
}

impl ByteRate {
    /// How far a client is behind that was so far behind, kept us waiting and then moved some bytes.
    /// What comes early earns nothing for later, or a fast beginning would pay for a slow end.
    #[must_use]
    pub fn behind(self, before: Duration, waited: Duration, bytes: u64) -> Duration {
        let earned = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.0);
        before.saturating_add(waited).saturating_sub(earned)
    }
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: const { NonZeroUsize::new(10_000).expect("not zero") },
            per_network_max: const { NonZeroUsize::new(200).expect("not zero") },
            handshakes_max: const { NonZeroUsize::new(2_000).expect("not zero") },
            requests_max: const { NonZeroUsize::new(10_000).expect("not zero") },
            held_bytes_max: 256 << 20,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            request_head: Duration::from_secs(15),
            request_body_idle: Duration::from_secs(30),
            response_head: Duration::from_secs(60),
            response_body_idle: Duration::from_secs(60),
            client_write: Duration::from_secs(60),
            client_rate: ByteRate(const { NonZeroU64::new(500).expect("not zero") }),
            keep_alive: Duration::from_secs(75),
            upgrade_idle: Duration::from_secs(3600),
            drain: Duration::from_secs(30),
            upgrade: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_up_is_never_behind_and_who_trickles_is_soon() {
        let rate = ByteRate(NonZeroU64::new(500).unwrap());
        let second = Duration::from_secs(1);
        let steady = (0..1000).fold(Duration::ZERO, |behind, _| rate.behind(behind, second, 500));
        assert_eq!(steady, Duration::ZERO);
        let trickle = (0..3).fold(Duration::ZERO, |behind, _| rate.behind(behind, 10 * second, 1));
        assert_eq!(trickle, Duration::from_millis(29_994));
    }

    #[test]
    fn a_fast_beginning_earns_nothing() {
        let rate = ByteRate(NonZeroU64::new(500).unwrap());
        let begun = rate.behind(Duration::ZERO, Duration::ZERO, u64::MAX);
        assert_eq!(rate.behind(begun, Duration::from_secs(9), 0), Duration::from_secs(9));
    }
}
