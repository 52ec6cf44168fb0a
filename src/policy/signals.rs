//! What is done where somebody behaves like an attacker who no single limit stops.

use std::num::NonZeroU32;
use std::time::Duration;

/// The most different things that are told apart for one network, session or account.
pub const COUNTED_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);

/// How suspicion is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignalPolicy {
    /// From which scores on a login is made harder.
    pub risk: RiskSteps,
    /// How many cards and declines are ordinary; `None` counts none.
    pub card_testing: Option<CardTesting>,
    /// How long browsers are trusted; `None` trusts none.
    pub trusted_device: Option<TrustedDevice>,
}

/// The score at which each step is taken; `None` never takes it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RiskSteps {
    /// The limits of the network and of the pair are cut.
    pub tighten: Option<NonZeroU32>,
    /// The answer waits.
    pub delay: Option<NonZeroU32>,
    /// The client must show a proof first.
    pub proof: Option<NonZeroU32>,
}

/// How many cards and declines are ordinary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CardTesting {
    /// So many declines of a session or a network stop further cards.
    pub declines: NonZeroU32,
    /// Within how long they must fall.
    pub declines_within: Duration,
    /// So many different cards a session may bring; a client without one is its network.
    pub cards: NonZeroU32,
    /// In how long.
    pub cards_within: Duration,
    /// Cookies that are a customer's session, beside those with the usual names.
    pub session_cookies: Vec<Box<str>>,
}

/// How long a browser is trusted, and how often it may err.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TrustedDevice {
    /// How long after its last success.
    pub lifetime: Duration,
    /// So many failures, and it is a stranger.
    pub failures: NonZeroU32,
    /// Within how long they must fall.
    pub within: Duration,
}

impl Default for SignalPolicy {
    fn default() -> Self {
        Self {
            risk: RiskSteps::default(),
            card_testing: Some(CardTesting::default()),
            trusted_device: Some(TrustedDevice::default()),
        }
    }
}

impl Default for RiskSteps {
    fn default() -> Self {
        let from = |points: u32| NonZeroU32::new(points);
        Self { tighten: from(30), delay: from(50), proof: from(80) }
    }
}

impl Default for CardTesting {
    fn default() -> Self {
        Self {
            declines: NonZeroU32::MIN.saturating_add(2),
            declines_within: Duration::from_secs(10 * 60),
            cards: NonZeroU32::MIN.saturating_add(4),
            cards_within: Duration::from_secs(3600),
            session_cookies: Vec::new(),
        }
    }
}

impl Default for TrustedDevice {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(30 * 24 * 3600),
            failures: NonZeroU32::MIN.saturating_add(4),
            within: Duration::from_secs(15 * 60),
        }
    }
}
