//! What outlives every reload: the vault, the counts of failed logins, the logs and the metrics.
//!
//! The methods here time and count what they ask of the vault, and turn its errors into refusals.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::exchange::Exchange;
use super::login::{LockWatcher, LoginGuard};
use super::reject::Rejection;
use super::{Deliveries, GatewayWatch, HeldBodies, Proofs, Upstreams};
use crate::acme::HttpAnswers;
use crate::card::{Cvv, Pan, Token, TokenFormat};
use crate::counters::{CounterFile, Lock};
use crate::policy::{Dimension, Gateway, Otherwise, SiteName};
use crate::telemetry::{
    AccessLog, Audit, AuditEvent, CardDatum, CardsSeen, CvvEvent, LastFour, Metrics, RouteMetrics,
    Sighting, TokenOrigin,
};
use crate::tls::Authority;
use crate::vault::{Presented, StandInError, Standing, Tokenized, Vault};

/// What outlives every reload.
pub struct Services {
    /// Card numbers and their tokens.
    pub vault: Vault,
    /// Who tried to log in, and how often that failed.
    pub logins: LoginGuard,
    /// Where that is written down.
    pub counts: CounterFile,
    /// Proves our names to certificate authorities on our clear listeners.
    pub answers: Arc<HttpAnswers>,
    /// Work that suspicious clients do.
    pub proofs: Proofs,
    /// One line per request.
    pub access: AccessLog,
    /// What must be provable later.
    pub audit: Arc<Audit>,
    /// Signs for the hosts that the forward proxy intercepts, where there is one.
    pub authority: Option<Authority>,
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
    /// Where card numbers were found.
    pub seen: CardsSeen,
    /// Who called gateways, and how much was revealed.
    pub gateways: GatewayWatch,
    /// What providers have told the shop.
    pub deliveries: Deliveries,
    /// What is in memory of bodies that are read whole.
    pub held: Arc<HeldBodies>,
    /// What is known of the servers behind us.
    pub upstreams: Arc<Upstreams>,
}

/// Tells the log, the metrics and the audit log of locks.
pub struct LockTeller {
    /// The audit log.
    pub audit: Arc<Audit>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl LockWatcher for LockTeller {
    fn locked(&self, site: &SiteName, lock: &Lock) {
        let now = SystemTime::now();
        let (dimension, until) = (lock.dimension.as_str(), now + lock.remaining);
        self.metrics.login_locked(&site.0, dimension, lock.remaining);
        let (site, key, failures) = (site.to_string(), lock.key.to_string(), lock.failures);
        let event = if lock.dimension == Dimension::Account {
            self.metrics.account_locked(&site);
            AuditEvent::AccountLocked { site, account: key, failures, until }
        } else {
            AuditEvent::LoginLocked { site, dimension, key, failures, until }
        };
        self.audit.record(now, event);
    }
}

impl Services {
    pub(super) async fn tokenize(
        &self,
        pans: Vec<Pan>,
        format: TokenFormat,
    ) -> Result<Vec<Tokenized>, Rejection> {
        let begun = Instant::now();
        let tokenized = self.vault.tokenize(pans, format).await;
        self.metrics.vault_latency("tokenize", begun.elapsed());
        let tokenized = tokenized.map_err(|error| {
            self.metrics.vault_failed("tokenize", &error);
            Rejection::from(error)
        })?;
        for made in &tokenized {
            let origin = match made {
                Tokenized::AlreadyToken => TokenOrigin::Already,
                Tokenized::Collided => {
                    self.metrics.token_collision();
                    TokenOrigin::Already
                }
                Tokenized::Created(_) => TokenOrigin::Created,
                Tokenized::Known(_) => TokenOrigin::Known,
            };
            self.metrics.tokens(origin, 1);
        }
        Ok(tokenized)
    }

    /// Which numbers are issued tokens. A vault that does not answer knows none: masking too much
    /// harms less than showing a card number.
    pub(super) async fn standing(&self, presented: Vec<Presented>) -> Vec<Standing> {
        let count = presented.len();
        self.issued(presented).await.unwrap_or_else(|_| vec![Standing::Unknown; count])
    }

    /// Which are issued tokens, where not knowing is no answer.
    pub(super) async fn issued(
        &self,
        presented: Vec<Presented>,
    ) -> Result<Vec<Standing>, Rejection> {
        if presented.is_empty() {
            return Ok(Vec::new());
        }
        let begun = Instant::now();
        let standing = self.vault.standing(presented).await;
        self.metrics.vault_latency("standing", begun.elapsed());
        standing.map_err(|error| {
            self.metrics.vault_failed("standing", &error);
            Rejection::from(error)
        })
    }

    /// The card numbers that tokens stand for; every one is in the audit log, and on its disk, before
    /// it is given out.
    pub(super) async fn reveal(
        &self,
        presented: Vec<Presented>,
        gateway: &Gateway,
        exchange: &Exchange,
    ) -> Result<Vec<Pan>, Rejection> {
        let count = u32::try_from(presented.len()).unwrap_or(u32::MAX);
        // Before the vault is asked: who guesses tokens pays for each.
        self.gateways.take(gateway, count).map_err(|retry_after| {
            let limit = Rejection::RevealLimit { retry_after };
            self.reveal_refused(&gateway.name, exchange, limit)
        })?;
        let tokens: Vec<Option<Token>> = presented.iter().map(Presented::token).collect();
        let begun = Instant::now();
        let revealed = self.vault.reveal(presented).await;
        self.metrics.vault_latency("reveal", begun.elapsed());
        let revealed = revealed.map_err(|error| {
            self.metrics.vault_failed("reveal", &error);
            Rejection::from(error)
        })?;
        let Some(pans) = revealed.into_iter().collect::<Option<Vec<Pan>>>() else {
            return Err(self.reveal_refused(&gateway.name, exchange, Rejection::UnknownToken));
        };
        for (pan, token) in pans.iter().zip(tokens) {
            let Some(token) = token else { continue };
            exchange.charge(token);
            let event = AuditEvent::CardRevealed {
                gateway: gateway.name.to_string(),
                request_id: exchange.id.to_string(),
                token,
                last_four: LastFour::of(pan),
            };
            let written = self.audit.record_durable(SystemTime::now(), event).await;
            written.map_err(Rejection::Audit)?;
        }
        self.metrics.cards_revealed(&gateway.name, u64::from(count));
        self.watch_rate(&gateway.name, count);
        Ok(pans)
    }

    /// Tells, once a minute, when a gateway reveals far more than it usually does.
    fn watch_rate(&self, gateway: &Arc<str>, count: u32) {
        let Some(alarm) = self.gateways.note(gateway, count) else { return };
        self.metrics.reveal_rate_unusual(gateway, (alarm.count, alarm.usual));
        let event = AuditEvent::RevealRateUnusual {
            gateway: gateway.to_string(),
            reveals: alarm.count,
            usual_per_minute: alarm.usual,
        };
        self.audit.record(SystemTime::now(), event);
    }

    /// Tells of tokens that stood where the policy reveals none, and refuses the request if it says so.
    pub(super) fn tokens_left(
        &self,
        gateway: &Gateway,
        exchange: &Exchange,
        count: usize,
    ) -> Result<(), Rejection> {
        self.metrics.tokens_left(&gateway.name, u64::try_from(count).unwrap_or(u64::MAX));
        let refused = self.reveal_refused(&gateway.name, exchange, Rejection::RevealOutside);
        match gateway.reveal.otherwise {
            Otherwise::Keep => Ok(()),
            Otherwise::Reject => Err(refused),
        }
    }

    /// Tells of a token that is not revealed, most often with the request it is in. Not every one of a
    /// flood is in the audit log; the metric counts them all.
    pub(super) fn reveal_refused(
        &self,
        gateway: &Arc<str>,
        exchange: &Exchange,
        rejection: Rejection,
    ) -> Rejection {
        self.metrics.reveal_refused(gateway, rejection.reason(), exchange.id.as_str());
        let event = AuditEvent::RevealRefused {
            gateway: gateway.to_string(),
            request_id: exchange.id.to_string(),
            reason: rejection.reason(),
        };
        if self.gateways.may_tell(gateway) {
            self.audit.record(SystemTime::now(), event);
        }
        rejection
    }

    pub(super) async fn keep_cvv(&self, cvv: Cvv, tokens: &[Token]) -> Result<Cvv, Rejection> {
        let begun = Instant::now();
        let kept = self.vault.stand_ins().keep(cvv, tokens).await;
        self.metrics.vault_latency("keep_cvv", begun.elapsed());
        let kept = kept.map_err(|error| self.stand_in_failed("keep_cvv", error))?;
        self.metrics.cvv(CvvEvent::Kept, 1);
        Ok(kept)
    }

    pub(super) async fn take_cvv(
        &self,
        stand_in: &Cvv,
        tokens: &[Token],
    ) -> Result<Box<Cvv>, Rejection> {
        let begun = Instant::now();
        let taken = self.vault.stand_ins().take(stand_in, tokens).await;
        self.metrics.vault_latency("take_cvv", begun.elapsed());
        let taken = taken.map_err(|error| self.stand_in_failed("take_cvv", error))?;
        self.metrics.cvv(if taken.is_some() { CvvEvent::Revealed } else { CvvEvent::Refused }, 1);
        taken.ok_or(Rejection::UnknownCvv)
    }

    fn stand_in_failed(&self, operation: &'static str, error: StandInError) -> Rejection {
        self.metrics.vault_failed(operation, &error);
        Rejection::StandIn(error)
    }

    /// Tells of a card number that was found.
    pub(super) fn card_seen(
        &self,
        sighting: &Sighting<'_>,
        metrics: &RouteMetrics,
        exchange: &Exchange,
    ) {
        let now = SystemTime::now();
        self.seen.note(now, sighting);
        match sighting.datum {
            CardDatum::Card => {
                metrics.cards_found(sighting.direction, sighting.carrier, sighting.action, 1);
            }
            CardDatum::Code => return,
        }
        if !sighting.is_unexpected() {
            return;
        }
        metrics.card_unexpected(sighting.place);
        if self.seen.may_tell(now) {
            let event = AuditEvent::UnexpectedCard {
                site: sighting.site.to_owned(),
                route: sighting.route.to_owned(),
                place: sighting.place.as_str(),
                field: sighting.field.to_owned(),
                request_id: exchange.id.to_string(),
            };
            self.audit.record(now, event);
        }
    }
}
