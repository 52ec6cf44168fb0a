//! A webhook: a provider that calls the shop, and must prove that it is the provider.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Mac, MacAlgorithm, MacEncoding, PathPattern, Secret};

/// A route of the shop that only a signed request reaches.
pub struct Webhook {
    /// For metrics, logs and the audit file.
    pub name: Arc<str>,
    /// The site, by the name it goes by; every site where absent.
    pub site: Option<Arc<str>>,
    /// Which paths.
    pub path: PathPattern,
    /// Where signatures stand and how they are made.
    pub signature: WebhookSignature,
    /// What they are made with; any of these, so that a secret can be changed without a gap.
    pub secrets: Vec<Secret>,
    /// How far a signature's time may lie from ours. A delivery is remembered for twice that: its time may
    /// be ahead of ours by as much.
    pub tolerance: Duration,
}

/// Where a webhook's signature stands, and how it is made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum WebhookSignature {
    /// A field of its own.
    Field(Mac),
    /// `Stripe-Signature: t=…,v1=…`: HMAC-SHA-256, in hexadecimal, of the time, a dot and the body.
    Stripe,
}

impl WebhookSignature {
    /// The hash, and how the signature is written.
    #[must_use]
    pub fn making(&self) -> (MacAlgorithm, MacEncoding) {
        match self {
            Self::Field(mac) => (mac.algorithm, mac.encoding),
            Self::Stripe => (MacAlgorithm::Sha256, MacEncoding::Hex),
        }
    }
}

impl Webhook {
    /// Whether a request for this site and path is one of the provider's calls.
    #[must_use]
    pub fn covers(&self, site: &str, path: &str) -> bool {
        let here = self.site.as_deref().is_none_or(|name| name == site);
        here && self.path.matches_loosely(path)
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).finish_non_exhaustive()
    }
}
