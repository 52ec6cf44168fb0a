//! Certificates that are asked of authorities.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounterVec, Registry};
use tracing::{error, info, warn};

use super::Metrics;
use super::metrics::counters;
use super::swapped::SwappedGauges;
use super::timestamp::Rfc3339;

/// How an attempt to get a certificate ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AcmeOutcome {
    /// The authority knows no such account, or demands something of it.
    Account,
    /// A name was not proven.
    Challenge,
    /// The command that changes the DNS failed.
    Hook,
    /// A certificate came, and is in force.
    Issued,
    /// The authority wants fewer requests.
    RateLimited,
    /// The authority will not issue this.
    Refused,
    /// The authority is in trouble.
    ServerError,
    /// Our disk is.
    Storage,
    /// The authority did not decide in time.
    Timeout,
    /// There is no way to the authority.
    Unreachable,
    /// What came cannot be served.
    Unusable,
}

/// An attempt that failed.
#[derive(Debug)]
pub struct AcmeFailed<'a> {
    /// The certificate's first name.
    pub certificate: &'a str,
    /// The authority's configured name.
    pub authority: &'a str,
    /// Why.
    pub outcome: AcmeOutcome,
    /// Why, in words.
    pub problem: &'a str,
    /// When the authority is asked again.
    pub again: SystemTime,
    /// How long the certificate in force still holds, if there is one.
    pub left_s: Option<u64>,
}

pub(super) struct AcmeFamilies {
    attempts: IntCounterVec,
    next: SwappedGauges,
}

impl AcmeOutcome {
    const ALL: [Self; 11] = [
        Self::Account,
        Self::Challenge,
        Self::Hook,
        Self::Issued,
        Self::RateLimited,
        Self::Refused,
        Self::ServerError,
        Self::Storage,
        Self::Timeout,
        Self::Unreachable,
        Self::Unusable,
    ];

    /// The label's value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Challenge => "challenge",
            Self::Hook => "hook",
            Self::Issued => "issued",
            Self::RateLimited => "rate_limited",
            Self::Refused => "refused",
            Self::ServerError => "server_error",
            Self::Storage => "storage",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Unusable => "unusable",
        }
    }
}

impl Metrics {
    /// An authority may be asked: an alarm on a rise needs the zero before the first one.
    pub fn acme_known(&self, authority: &str) {
        for outcome in AcmeOutcome::ALL {
            self.acme.attempts.with_label_values(&[authority, outcome.as_str()]).inc_by(0);
        }
    }

    /// When each certificate is asked for next; those that are no longer wanted are no longer told.
    pub fn acme_next(&self, times: &[(&str, SystemTime)]) {
        self.acme.next.replace(times.iter().map(|(name, at)| ([*name], seconds(*at))));
    }

    /// A certificate was issued, and lies where it is served from.
    pub fn acme_issued(
        &self,
        (certificate, authority): (&str, &str),
        not_after: SystemTime,
        renewal: SystemTime,
    ) {
        self.count(authority, AcmeOutcome::Issued);
        let (not_after, renewal) = (Rfc3339(not_after), Rfc3339(renewal));
        info!(certificate, authority, %not_after, %renewal, "certificate issued");
    }

    /// None was issued; the one in force stays.
    pub fn acme_failed(&self, failed: &AcmeFailed<'_>) {
        self.count(failed.authority, failed.outcome);
        let AcmeFailed { certificate, authority, outcome, problem, again, left_s } = failed;
        let (reason, again) = (outcome.as_str(), Rfc3339(*again));
        if left_s.is_some_and(|left_s| left_s > 0) {
            warn!(certificate, authority, reason, problem, %again, left_s, "certificate not issued");
        } else {
            error!(certificate, authority, reason, problem, %again, "certificate not issued, and none holds");
        }
    }

    fn count(&self, authority: &str, outcome: AcmeOutcome) {
        self.acme.attempts.with_label_values(&[authority, outcome.as_str()]).inc();
    }
}

impl AcmeFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            attempts: counters(
                registry,
                "tillgate_acme_attempts_total",
                "Attempts to get a certificate, by authority and outcome.",
                &["authority", "outcome"],
            ),
            next: SwappedGauges::register(
                registry,
                "tillgate_acme_next_attempt_timestamp_seconds",
                "When a certificate is asked for next.",
                &["name"],
            ),
        }
    }
}

fn seconds(at: SystemTime) -> i64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
