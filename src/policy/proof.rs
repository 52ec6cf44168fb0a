//! How much work a client is asked for.

use std::time::Duration;

/// A proof of work, as it is demanded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProofOfWork {
    /// Whether every login needs one, and not only a suspicious one.
    pub always: bool,
    /// How many zero bits a hash must begin with.
    pub bits: u8,
    /// How long a challenge, and what solves it, is good for.
    pub lifetime: Duration,
}

impl Default for ProofOfWork {
    /// Some 260,000 hashes: half a second of a browser on a desk, two on a small phone.
    fn default() -> Self {
        Self { always: false, bits: 18, lifetime: Duration::from_secs(5 * 60) }
    }
}
