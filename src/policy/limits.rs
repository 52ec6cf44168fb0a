//! Sizes and waits; every number has a unit and none is "unlimited".

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
            keep_alive: Duration::from_secs(75),
            upgrade_idle: Duration::from_secs(3600),
            drain: Duration::from_secs(30),
            upgrade: Duration::from_secs(60),
        }
    }
}
