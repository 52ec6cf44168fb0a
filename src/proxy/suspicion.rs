//! Who behaves like an attacker, remembered over every reload, and what is done with his logins.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Semaphore;

use super::Proxy;
use super::device::Browser;
use super::exchange::{ClientAddr, Exchange};
use super::generation::Generation;
use super::login::{Attempt, Claim, Client, Expected, Verdict};
use super::reject::Rejection;
use super::services::Services;
use crate::counters::{
    Bringer, CardRefusal, CounterKey, KeyHasher, Outcome, Paces, Score, Signals, Tried, Trust,
};
use crate::policy::{
    CardTesting, LimitMode, Listed, ProofOfWork, Quota, RiskStep, Site, tightened,
};

/// How many logins wait at once. Each holds a connection: what comes beyond is refused for as long as
/// it would have waited, or waiting would be the attacker's weapon.
const DELAYED_MAX: usize = 256;

/// Decisions that are written to the audit log, per site: the rest is only counted, so that an attack
/// fills no disk.
const TOLD: Quota =
    Quota { count: NonZeroU32::MIN.saturating_add(59), per: Duration::from_secs(60) };

/// What the shop is told.
const RISK: HeaderName = HeaderName::from_static("x-tillgate-risk");

/// Who asks, apart from what he asks.
pub(super) struct Caller<'a> {
    pub(super) browser: &'a Browser,
    pub(super) headers: &'a HeaderMap,
    pub(super) listed: Option<Listed>,
    /// Whether the request has shown a proof of work already: each is good for once.
    pub(super) worked: bool,
    /// What speaks against the attempt that was looked at last, as far as that had consequences.
    pub(super) score: Score,
}

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
    #[must_use]
    pub fn score(&self, tried: &Tried) -> Score {
        self.signals.score(tried, self.started.elapsed())
    }

    /// Notes how a login went.
    pub(super) fn login_went(&self, tried: &Tried, outcome: Outcome) {
        self.signals.login_went(tried, outcome, self.started.elapsed());
    }

    /// Forgets what speaks against an account or a network.
    pub(super) fn forget(&self, key: &CounterKey) {
        self.signals.forget(key, self.started.elapsed());
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

    /// Forgets whose card a token stands for: what was to be known of it is.
    pub(super) fn told_of(&self, print: &[u8; 32]) {
        self.signals.told_of(&self.hasher.card(print), self.started.elapsed());
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
    /// Takes a place for an attempt; for a login with more care the more suspicious it is. Known
    /// networks, allowed ones and trusted browsers are spared; so is everybody where limits only
    /// observe, though it is told.
    pub(super) async fn reserve_warily(
        &self,
        generation: &Generation,
        at: (&Site, &Exchange),
        (expected, claim): (&Expected<'_>, &Claim<'_>),
        caller: &mut Caller<'_>,
    ) -> Result<Verdict, Rejection> {
        let (logins, policy) = (&self.services.logins, &generation.snapshot.signals);
        caller.score = Score::default();
        let limits = claim.limits(&generation.snapshot.login);
        let device = policy.trusted_device.as_ref().and_then(|trusted| {
            let clock = (SystemTime::now(), trusted.lifetime);
            logins.device((at.0, claim), &caller.browser.shown, clock)
        });
        let client = Client { address: at.1.client.0, device };
        let verdict = logins.reserve(expected, claim, client, limits).await;
        let Verdict::Admit(mut attempt) = verdict else { return Ok(verdict) };
        let Some((tried, Trust::Stranger)) = attempt.place().filter(|_| claim.guard().is_none())
        else {
            return Ok(Verdict::Admit(attempt));
        };
        let score = logins.signals().score(tried);
        let step = policy.risk.step(score.points());
        self.services.suspect(at, (step, &score));
        let observes = limits.mode == LimitMode::Observe;
        if observes && step == RiskStep::Proof {
            attempt.observe(Rejection::PROOF_WANTED);
        }
        if step == RiskStep::None || observes || caller.listed == Some(Listed::Allowed) {
            attempt.suspect(score);
            return Ok(Verdict::Admit(attempt));
        }
        caller.score = score.clone();
        // The first place showed that this is a stranger; he is given another one, or none.
        attempt.withdraw();
        let limits = Arc::new(tightened(limits));
        match logins.reserve(expected, claim, client, &limits).await {
            Verdict::Admit(mut attempt) => {
                attempt.suspect(score);
                let work = generation.snapshot.proof_of_work;
                self.harden(at, attempt, (step, work), caller).await.map(Verdict::Admit)
            }
            verdict => Ok(verdict),
        }
    }

    /// Asks for work, or for patience.
    async fn harden(
        &self,
        (site, exchange): (&Site, &Exchange),
        attempt: Attempt,
        (step, work): (RiskStep, ProofOfWork),
        caller: &mut Caller<'_>,
    ) -> Result<Attempt, Rejection> {
        match step {
            RiskStep::None | RiskStep::Tighten => Ok(attempt),
            RiskStep::Delay(wait) => self.delay(attempt, wait).await,
            RiskStep::Proof if caller.worked => Ok(attempt),
            RiskStep::Proof => match self.demand_proof((site, exchange), caller.headers, work) {
                Ok(()) => {
                    caller.worked = true;
                    Ok(attempt)
                }
                Err(wanted) => {
                    attempt.withdraw();
                    Err(wanted)
                }
            },
        }
    }

    /// Lets an attempt wait. Hanging up meanwhile counts as a failure.
    async fn delay(&self, attempt: Attempt, wait: Duration) -> Result<Attempt, Rejection> {
        let Ok(_place) = self.services.logins.signals().delayed.try_acquire() else {
            attempt.withdraw();
            return Err(Rejection::Login { reason: "too_many_delayed", retry_after: wait });
        };
        tokio::time::sleep(wait).await;
        Ok(attempt)
    }
}

/// Tells the shop how suspicious a login is, as `50; many_accounts, site_failures`, so that it can ask
/// for its second factor; of several in one request the worst. What a client says of itself in this
/// field has been taken out.
pub(super) fn tell_shop(attempts: &[Attempt], headers: &mut HeaderMap) {
    let logins = attempts.iter().filter(|attempt| attempt.guard().is_none());
    let Some(score) = logins.map(Attempt::score).max_by_key(|score| score.points()) else { return };
    let reasons = score.reasons().iter().map(|reason| reason.as_str()).collect::<Vec<_>>();
    let end = if reasons.is_empty() { "" } else { "; " };
    let text = format!("{}{end}{}", score.points(), reasons.join(", "));
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(RISK, value);
    }
}

impl Services {
    /// Tells what speaks against a login, and what is done.
    fn suspect(&self, (site, exchange): (&Site, &Exchange), (step, score): (RiskStep, &Score)) {
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
