//! Who behaves like an attacker, remembered over every reload, and what is done with his logins.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::Semaphore;

use super::Proxy;
use super::device::Browser;
use super::exchange::{ClientAddr, Exchange};
use super::generation::Generation;
use super::login::{Account, Attempt, Client, Expected, Verdict};
use super::reject::Rejection;
use super::services::Services;
use crate::counters::{
    Bringer, CardRefusal, KeyHasher, Outcome, Paces, Score, Signals, Tried, Trust,
};
use crate::policy::{CardTesting, LimitMode, Quota, RiskStep, Site, tightened};

/// How many logins wait at once. Each holds a connection: what comes beyond is refused for as long as
/// it would have waited, or waiting would be the attacker's weapon.
const DELAYED_MAX: usize = 256;

/// Decisions that are written to the audit log, per site: the rest is only counted, so that an attack
/// fills no disk.
const TOLD: Quota =
    Quota { count: NonZeroU32::MIN.saturating_add(59), per: Duration::from_secs(60) };

/// The signals with a clock and the key of names.
pub struct SignalWatch {
    started: Instant,
    signals: Signals,
    hasher: KeyHasher,
    told: Paces,
    delayed: Semaphore,
}

impl SignalWatch {
    /// Nothing has happened yet; the key is that of the names of accounts.
    #[must_use]
    pub fn new(accounts_key: &[u8; 32]) -> Self {
        Self {
            started: Instant::now(),
            signals: Signals::new(),
            hasher: KeyHasher::new(accounts_key),
            told: Paces::default(),
            delayed: Semaphore::new(DELAYED_MAX),
        }
    }

    /// How suspicious an attempt is.
    pub(super) fn score(&self, tried: &Tried) -> Score {
        self.signals.score(tried, self.started.elapsed())
    }

    /// Notes how a login went.
    pub(super) fn login_went(&self, tried: &Tried, outcome: Outcome) {
        self.signals.login_went(tried, outcome, self.started.elapsed());
    }

    /// Who brings a card.
    pub(super) fn bringer(
        &self,
        site: &str,
        client: ClientAddr,
        session: Option<&[u8]>,
    ) -> Bringer {
        let session = session.map(|cookie| self.hasher.session(site, cookie));
        Bringer { network: self.hasher.network(None, client.0), session }
    }

    /// Takes a card, by its fingerprint.
    pub(super) fn bring(
        &self,
        bringer: &Bringer,
        print: &[u8; 32],
        limits: &CardTesting,
    ) -> Result<(), CardRefusal> {
        self.signals.bring(bringer, &self.hasher.card(print), (limits, self.started.elapsed()))
    }

    /// Remembers whose card a token stands for.
    pub(super) fn stands_for(&self, print: &[u8; 32], bringer: Bringer) {
        self.signals.stands_for(&self.hasher.card(print), bringer, self.started.elapsed());
    }

    /// Who brought the card of a token.
    pub(super) fn brought_by(&self, print: &[u8; 32]) -> Option<Bringer> {
        self.signals.brought_by(&self.hasher.card(print), self.started.elapsed())
    }

    /// Notes that a bringer's card was declined.
    pub(super) fn declined(&self, bringer: &Bringer) {
        self.signals.declined(bringer, self.started.elapsed());
    }

    /// Whether a decision may be written to the audit log.
    pub(super) fn may_tell(&self, site: &str) -> bool {
        self.told.take(&Arc::from(site), 1, self.started.elapsed(), TOLD).is_ok()
    }
}

impl Proxy {
    /// Takes a place for a login, with more care the more suspicious it is. Known networks and trusted
    /// browsers are spared; so is everybody where limits only observe, though it is told.
    pub(super) async fn reserve_warily(
        &self,
        generation: &Generation,
        (site, exchange): (&Site, &Exchange),
        (expected, account): (&Expected<'_>, Option<Account>),
        browser: &Browser,
    ) -> Result<Verdict, Rejection> {
        let (logins, policy) = (&self.services.logins, &generation.snapshot.signals);
        let limits = &generation.snapshot.login;
        let device = policy.trusted_device.as_ref().and_then(|trusted| {
            let clock = (SystemTime::now(), trusted.lifetime);
            logins.device((site, account.as_ref()), &browser.shown, clock)
        });
        let client = Client { address: exchange.client.0, device };
        let verdict = logins.reserve(expected, account.clone(), client, limits).await;
        let Verdict::Admit(mut attempt) = verdict else { return Ok(verdict) };
        let Some((tried, Trust::Stranger)) = attempt.place() else {
            return Ok(Verdict::Admit(attempt));
        };
        let score = logins.signals().score(tried);
        let step = policy.risk.step(score.points());
        self.services.suspect(site, exchange, (step, &score));
        if step == RiskStep::None || limits.mode == LimitMode::Observe {
            attempt.suspect(score);
            return Ok(Verdict::Admit(attempt));
        }
        // The first place showed that this is a stranger; he is given another one, or none.
        attempt.settle(Outcome::Neutral);
        let limits = Arc::new(tightened(limits));
        match logins.reserve(expected, account, client, &limits).await {
            Verdict::Admit(mut attempt) => {
                attempt.suspect(score);
                self.delay(attempt, step).await.map(Verdict::Admit)
            }
            verdict => Ok(verdict),
        }
    }

    /// Lets an attempt wait. Hanging up meanwhile counts as a failure.
    async fn delay(&self, attempt: Attempt, step: RiskStep) -> Result<Attempt, Rejection> {
        let RiskStep::Delay(wait) = step else { return Ok(attempt) };
        let Ok(_place) = self.services.logins.signals().delayed.try_acquire() else {
            attempt.settle(Outcome::Neutral);
            return Err(Rejection::Login { reason: "too_many_delayed", retry_after: wait });
        };
        tokio::time::sleep(wait).await;
        Ok(attempt)
    }
}

impl Services {
    /// Tells what speaks against a login, and what is done.
    fn suspect(&self, site: &Site, exchange: &Exchange, (step, score): (RiskStep, &Score)) {
        let name = &site.name.0;
        for reason in score.reasons() {
            self.metrics.login_signal(name, reason.as_str());
        }
        if step != RiskStep::None {
            let why = (score.points(), &*score.names());
            self.metrics.login_suspicious(name, step.as_str(), why, exchange.id.as_str());
        }
    }
}
