//! What outlives every reload: the vault, the counts of failed logins, the logs and the metrics.
//!
//! The methods here time and count what they ask of the vault, and turn its errors into refusals.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::exchange::Exchange;
use super::login::{LockWatcher, LoginGuard};
use super::reject::Rejection;
use crate::card::{Cvv, Pan, Token, TokenFormat};
use crate::counters::CounterKey;
use crate::policy::{Lockout, Site, SiteName};
use crate::telemetry::{
    AccessLog, Audit, AuditEvent, CardsSeen, CvvEvent, LastFour, Metrics, RouteMetrics, Sighting,
    TokenOrigin,
};
use crate::vault::{StandInError, Standing, Tokenized, Vault};

/// What outlives every reload.
pub struct Services {
    /// Card numbers and their tokens.
    pub vault: Vault,
    /// Who tried to log in, and how often that failed.
    pub logins: LoginGuard,
    /// One line per request.
    pub access: AccessLog,
    /// What must be provable later.
    pub audit: Arc<Audit>,
    /// What Prometheus sees.
    pub metrics: Arc<Metrics>,
    /// Where card numbers were found.
    pub seen: CardsSeen,
}

/// Tells the log, the metrics and the audit log of locked accounts.
pub struct LockTeller {
    /// The audit log.
    pub audit: Arc<Audit>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
}

impl LockWatcher for LockTeller {
    fn locked(&self, site: &SiteName, account: CounterKey, lockout: &Lockout) {
        self.metrics.account_locked(&site.0, lockout.lock);
        let now = SystemTime::now();
        let event = AuditEvent::AccountLocked {
            site: site.to_string(),
            account: account.to_string(),
            failures: lockout.failures.get(),
            until: now + lockout.lock,
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
            Rejection::Vault(error)
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
    pub(super) async fn standing(&self, numbers: Vec<Pan>) -> Vec<Standing> {
        let count = numbers.len();
        let begun = Instant::now();
        let standing = self.vault.standing(numbers).await;
        self.metrics.vault_latency("standing", begun.elapsed());
        standing.unwrap_or_else(|error| {
            self.metrics.vault_failed("standing", &error);
            std::iter::repeat_with(|| Standing::Unknown).take(count).collect()
        })
    }

    /// The card numbers that tokens stand for; every one is in the audit log, and on its disk, before
    /// it is given out.
    pub(super) async fn reveal(
        &self,
        numbers: Vec<Pan>,
        gateway: &Arc<str>,
        exchange: &Exchange,
    ) -> Result<Vec<Pan>, Rejection> {
        let tokens: Vec<Option<Token>> =
            numbers.iter().map(|number| Token::parse(number.expose()).ok()).collect();
        let begun = Instant::now();
        let revealed = self.vault.reveal(numbers).await;
        self.metrics.vault_latency("reveal", begun.elapsed());
        let revealed = revealed.map_err(|error| {
            self.metrics.vault_failed("reveal", &error);
            Rejection::Vault(error)
        })?;
        let Some(pans) = revealed.into_iter().collect::<Option<Vec<Pan>>>() else {
            return Err(self.reveal_refused(gateway, exchange, Rejection::UnknownToken));
        };
        for (pan, token) in pans.iter().zip(tokens) {
            let Some(token) = token else { continue };
            let event = AuditEvent::CardRevealed {
                gateway: gateway.to_string(),
                request_id: exchange.id.to_string(),
                token,
                last_four: LastFour::of(pan),
            };
            let written = self.audit.record_durable(SystemTime::now(), event).await;
            written.map_err(Rejection::Audit)?;
        }
        self.metrics.cards_revealed(gateway, u64::try_from(pans.len()).unwrap_or(u64::MAX));
        Ok(pans)
    }

    /// Tells of a request that is not sent to the gateway.
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
        self.audit.record(SystemTime::now(), event);
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
        metrics.cards_found(sighting.direction, sighting.carrier, sighting.action, 1);
        self.seen.note(now, sighting);
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

    pub(super) fn login_refused(
        &self,
        site: &Site,
        exchange: &Exchange,
        refusal: crate::counters::Refusal,
    ) -> Rejection {
        let (reason, retry_after) = (refusal.reason.as_str(), refusal.retry_after);
        self.metrics.login_refused(&site.name.0, reason, retry_after, exchange.id.as_str());
        Rejection::Login { reason, retry_after }
    }
}
