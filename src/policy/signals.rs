//! What is done where somebody behaves like an attacker who no single limit stops.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::{Limit, LimitMode, Lockout, LoginLimits, Quota};

/// The longest lock of a browser that keeps failing.
const DEVICE_CEILING: Duration = Duration::from_secs(24 * 3600);
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
    /// Whether cards are refused, or only said to be.
    pub mode: LimitMode,
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

impl TrustedDevice {
    /// What the counters allow such a browser. Locked, it is a stranger.
    #[must_use]
    pub fn limit(&self) -> Limit {
        let ceiling = DEVICE_CEILING.max(self.within);
        let lockout = Lockout::new(self.failures, self.within, self.within, ceiling);
        Limit { quota: None, lockout: Some(lockout) }
    }
}

/// The limits for a suspicious stranger: half of what his network and the pair are allowed. Not the
/// account's: whoever could make those stricter could lock its owner out sooner.
#[must_use]
pub fn tightened(limits: &LoginLimits) -> LoginLimits {
    let half = |count: NonZeroU32| NonZeroU32::new(count.get() / 2).unwrap_or(NonZeroU32::MIN);
    let tighten = |limit: &Limit| Limit {
        quota: limit.quota.map(|quota| Quota { count: half(quota.count), ..quota }),
        lockout: limit.lockout.map(|lockout| {
            let failures = half(lockout.failures);
            Lockout { failures, accounts_min: lockout.accounts_min.min(failures), ..lockout }
        }),
    };
    LoginLimits { network: tighten(&limits.network), pair: tighten(&limits.pair), ..limits.clone() }
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
            mode: LimitMode::Enforce,
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
    fn the_default_browser_is_allowed_what_the_counters_allow_by_default() {
        assert_eq!(TrustedDevice::default().limit(), LoginLimits::default().device);
    }

    #[test]
    fn tightening_halves_what_a_network_and_a_pair_may_and_leaves_accounts_alone() {
        let (base, tight) = (LoginLimits::default(), tightened(&LoginLimits::default()));
        let failures = |limit: Limit| limit.lockout.unwrap().failures.get();
        assert_eq!((failures(base.network), failures(tight.network)), (20, 10));
        assert_eq!((failures(base.pair), failures(tight.pair)), (5, 2));
        assert_eq!(tight.network.quota.unwrap().count.get(), 10);
        assert_eq!((tight.account, tight.wide_network), (base.account, base.wide_network));
    }

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
