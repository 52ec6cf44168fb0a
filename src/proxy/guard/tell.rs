//! What is told of attempts that are refused, or would be: each once, to the log, the metrics and the
//! audit log together, by the name of its rule.

use std::time::SystemTime;

use crate::counters::{CounterKey, Outcome, Refusal, Scope, Score};
use crate::policy::{GuardRule, Site};
use crate::proxy::exchange::Exchange;
use crate::proxy::login::Client;
use crate::proxy::reject::Rejection;
use crate::proxy::services::Services;
use crate::telemetry::AuditEvent;

/// Whose attempt is refused.
pub(in crate::proxy) struct Refused<'a> {
    pub(in crate::proxy) site: &'a Site,
    /// The guard that counts it, where it is no login.
    pub(in crate::proxy) guard: Option<&'a GuardRule>,
    /// Of the accounts that it names, as far as it has been read.
    pub(in crate::proxy) names: &'a [String],
    /// What speaks against it.
    pub(in crate::proxy) score: &'a Score,
}

impl Services {
    /// Tells of an attempt that is over a limit.
    pub(super) fn over_limit(
        &self,
        refused: &Refused<'_>,
        exchange: &Exchange,
        refusal: Refusal,
    ) -> Rejection {
        let (reason, retry_after) = (refusal.reason.as_str(), refusal.retry_after);
        let rejection = match refused.guard {
            None => Rejection::Login { reason, retry_after },
            Some(_) => Rejection::Guard { reason, retry_after },
        };
        self.attempt_refused(refused, exchange, rejection)
    }

    /// Tells of an attempt that is refused, for whatever reason. Not every one of a flood is in the audit
    /// log; the metrics count them all.
    pub(super) fn attempt_refused(
        &self,
        refused: &Refused<'_>,
        exchange: &Exchange,
        rejection: Rejection,
    ) -> Rejection {
        let (site, id) = (&*refused.site.name.0, exchange.id.as_str());
        let (reason, wait) = (rejection.rule(), rejection.retry_after().unwrap_or_default());
        match refused.guard {
            None => self.metrics.login_refused(site, reason, wait, id),
            Some(guard) => self.metrics.guard_refused((site, &guard.name), reason, wait, id),
        }
        if self.logins.signals().may_tell(site) {
            self.audit.record(SystemTime::now(), self.record_of(refused, exchange, reason));
        }
        rejection
    }

    fn record_of(
        &self,
        refused: &Refused<'_>,
        exchange: &Exchange,
        reason: &'static str,
    ) -> AuditEvent {
        let Refused { site, guard, names, score } = refused;
        let scope = Scope { site: &site.name.0, guard: guard.map(|guard| &*guard.name) };
        let client = Client { address: exchange.client.0, device: None };
        let tried = self.logins.tried(scope, names, client);
        AuditEvent::LoginRefused {
            site: site.name.to_string(),
            guard: scope.guard.map(str::to_owned),
            network: tried.network.to_string(),
            accounts: tried.accounts.iter().map(CounterKey::to_string).collect(),
            reason,
            score: score.points(),
            signals: score.reasons().iter().map(|signal| signal.as_str()).collect(),
            request_id: exchange.id.to_string(),
        }
    }

    /// Tells of an attempt that would have been refused if limits did more than observe.
    pub(super) fn attempt_observed(
        &self,
        (site, guard): (&Site, Option<&GuardRule>),
        exchange: &Exchange,
        (reason, outcome): (&'static str, Outcome),
    ) {
        let (site, outcome, id) = (&*site.name.0, outcome.as_str(), exchange.id.as_str());
        match guard {
            None => self.metrics.login_observed(site, (reason, outcome), id),
            Some(guard) => self.metrics.guard_observed((site, &guard.name), (reason, outcome), id),
        }
    }
}
