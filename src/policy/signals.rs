//! What is done where somebody behaves like an attacker who no single limit stops.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// A delay begins so long and grows with each point.
const DELAY_MIN: Duration = Duration::from_secs(1);
/// For each point above the step.
const DELAY_GROWTH: Duration = Duration::from_millis(70);
/// No customer waits longer, and no connection of ours is held for longer.
const DELAY_MAX: Duration = Duration::from_secs(3);

/// The most different things that are told apart for one network, session or account.
pub const COUNTED_MAX: NonZeroU32 = NonZeroU32::MIN.saturating_add(31);

/// How suspicion is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SignalPolicy {
    /// From which scores on a login is made harder.
    pub risk: RiskSteps,
    /// How many cards and declines are ordinary; `None` counts none.
    pub card_testing: Option<Arc<CardTesting>>,
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

/// What is done with a login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum RiskStep {
    /// Its answer waits for so long, and its limits are tightened.
    Delay(Duration),
    /// Nothing.
    None,
    /// The client must show a proof; its limits are tightened.
    Proof,
    /// The limits of its network and of the pair are cut.
    Tighten,
}

/// How many cards and declines are ordinary.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CardTesting {
    /// So many declines of a session or a network stop further cards.
    pub declines: NonZeroU32,
    /// Within how long they must fall.
    pub declines_within: Duration,
    /// So many different cards a session may bring.
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

impl RiskSteps {
    /// What a score leads to: the last step it reaches.
    pub fn step(&self, points: u32) -> RiskStep {
        let reached = |step: Option<NonZeroU32>| step.and_then(|it| points.checked_sub(it.get()));
        if reached(self.proof).is_some() {
            return RiskStep::Proof;
        }
        if let Some(above) = reached(self.delay) {
            return RiskStep::Delay(
                DELAY_GROWTH.saturating_mul(above).saturating_add(DELAY_MIN).min(DELAY_MAX),
            );
        }
        if reached(self.tighten).is_some() { RiskStep::Tighten } else { RiskStep::None }
    }
}

impl RiskStep {
    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delay(_) => "delayed",
            Self::None => "none",
            Self::Proof => "proof",
            Self::Tighten => "tightened",
        }
    }
}

impl Default for SignalPolicy {
    fn default() -> Self {
        Self {
            risk: RiskSteps::default(),
            card_testing: Some(Arc::default()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_leads_to_the_last_step_it_reaches() {
        let steps = RiskSteps::default();
        let millis = |millis| RiskStep::Delay(Duration::from_millis(millis));
        let table = [
            (0, RiskStep::None),
            (29, RiskStep::None),
            (30, RiskStep::Tighten),
            (50, millis(1_000)),
            (60, millis(1_700)),
            (79, millis(3_000)),
            (80, RiskStep::Proof),
            (u32::MAX, RiskStep::Proof),
        ];
        for (points, step) in table {
            assert_eq!(steps.step(points), step, "{points}");
        }
        let no_proof = RiskSteps { proof: None, ..steps };
        assert_eq!(no_proof.step(1_000_000), millis(3_000));
        let only_proof = RiskSteps { tighten: None, delay: None, ..steps };
        assert_eq!([79, 80].map(|it| only_proof.step(it)), [RiskStep::None, RiskStep::Proof]);
    }
}
