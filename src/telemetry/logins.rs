//! The login guard and its like, and requests refused for any reason.

use std::error::Error;
use std::time::Duration;

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tracing::{info, warn};

use super::Metrics;
use super::mask::{mask_causes, mask_text};
use super::metrics::{counters, gauge, gauges};

pub(super) struct LoginFamilies {
    attempts: IntCounterVec,
    refused: IntCounterVec,
    observed: IntCounterVec,
    account_locks: IntCounterVec,
    guarded: IntCounterVec,
    guard_refused: IntCounterVec,
    locks: IntCounterVec,
    locked: IntGauge,
    keys: IntGaugeVec,
    keys_max: IntGaugeVec,
    degraded: IntGauge,
    rejected: IntCounterVec,
}

impl Metrics {
    /// The shop answered a login attempt.
    pub fn login_attempt(&self, site: &str, outcome: &'static str) {
        self.logins.attempts.with_label_values(&[site, outcome]).inc();
    }

    /// A login attempt was refused before the shop saw it.
    pub fn login_refused(
        &self,
        site: &str,
        reason: &'static str,
        retry_after: Duration,
        request_id: &str,
    ) {
        self.logins.refused.with_label_values(&[site, reason]).inc();
        let (request_id, retry_after_s) = (&*mask_text(request_id), retry_after.as_secs());
        warn!(site, reason, retry_after_s, request_id, "login refused");
    }

    /// The shop answered an attempt that a guard counts; its name is a configured one.
    pub fn guard_attempt(&self, site: &str, guard: &str, outcome: &'static str) {
        self.logins.guarded.with_label_values(&[site, guard, outcome]).inc();
    }

    /// An attempt that a guard counts was refused before the shop saw it.
    pub fn guard_refused(
        &self,
        (site, guard): (&str, &str),
        reason: &'static str,
        retry_after: Duration,
        request_id: &str,
    ) {
        self.logins.guard_refused.with_label_values(&[site, guard, reason]).inc();
        let (request_id, retry_after_s) = (&*mask_text(request_id), retry_after.as_secs());
        warn!(site, guard, reason, retry_after_s, request_id, "attempt refused");
    }

    /// A login attempt would have been refused, and went so instead.
    pub fn login_observed(
        &self,
        site: &str,
        reason: &'static str,
        outcome: &'static str,
        request_id: &str,
    ) {
        self.logins.observed.with_label_values(&[site, reason, outcome]).inc();
        let request_id = &*mask_text(request_id);
        warn!(site, reason, outcome, request_id, "login would be refused");
    }

    /// Too many failures locked something; what, only the audit log tells, as a keyed hash.
    pub fn login_locked(&self, site: &str, dimension: &'static str, lock: Duration) {
        self.logins.locks.with_label_values(&[site, dimension]).inc();
        warn!(site, dimension, lock_s = lock.as_secs(), "locked after too many failures");
    }

    /// What was locked is an account.
    pub fn account_locked(&self, site: &str) {
        self.logins.account_locks.with_label_values(&[site]).inc();
    }

    /// How many accounts are locked now.
    pub fn accounts_locked(&self, accounts: usize) {
        self.logins.locked.set(i64::try_from(accounts).unwrap_or(i64::MAX));
    }

    /// How full a table of this process's counters is.
    pub fn counter_keys(&self, table: &'static str, keys: usize, keys_max: usize) {
        let set = |gauges: &IntGaugeVec, count| {
            gauges.with_label_values(&[table]).set(i64::try_from(count).unwrap_or(i64::MAX));
        };
        set(&self.logins.keys, keys);
        set(&self.logins.keys_max, keys_max);
    }

    /// Whether this process counts attempts for itself alone although they should be shared.
    pub fn counters_degraded(&self, degraded: bool) {
        self.logins.degraded.set(degraded.into());
    }

    /// A request was refused by us; `cause` goes to the log only.
    pub fn request_rejected(
        &self,
        site: &str,
        reason: &'static str,
        request_id: &str,
        cause: &dyn Error,
    ) {
        self.logins.rejected.with_label_values(&[site, reason]).inc();
        let (request_id, cause) = (&*mask_text(request_id), mask_causes(cause));
        info!(site, reason, request_id, cause, "request rejected");
    }
}

impl LoginFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            attempts: counters(
                registry,
                "tillgate_login_attempts_total",
                "Login attempts that the shop answered.",
                &["site", "outcome"],
            ),
            refused: counters(
                registry,
                "tillgate_login_refusals_total",
                "Login attempts refused before the shop saw them.",
                &["site", "reason"],
            ),
            guarded: counters(
                registry,
                "tillgate_guard_attempts_total",
                "Attempts of guards that the shop answered.",
                &["site", "guard", "outcome"],
            ),
            guard_refused: counters(
                registry,
                "tillgate_guard_refusals_total",
                "Attempts of guards refused before the shop saw them.",
                &["site", "guard", "reason"],
            ),
            observed: counters(
                registry,
                "tillgate_login_observed_total",
                "Login attempts that would have been refused if limits did more than observe.",
                &["site", "reason", "outcome"],
            ),
            account_locks: counters(
                registry,
                "tillgate_account_locks_total",
                "Accounts locked after too many failures.",
                &["site"],
            ),
            locks: counters(
                registry,
                "tillgate_login_locks_total",
                "Locks after too many failures, by what is locked.",
                &["site", "dimension"],
            ),
            locked: gauge(registry, "tillgate_accounts_locked", "Accounts locked now."),
            keys: gauges(
                registry,
                "tillgate_counter_keys",
                "Keys that this process counts under, by table.",
                &["table"],
            ),
            keys_max: gauges(
                registry,
                "tillgate_counter_keys_max",
                "The most keys of each table.",
                &["table"],
            ),
            degraded: gauge(
                registry,
                "tillgate_counters_degraded",
                "1 while shared counters fail and each instance holds to its own.",
            ),
            rejected: counters(
                registry,
                "tillgate_requests_rejected_total",
                "Requests refused, by reason.",
                &["site", "reason"],
            ),
        }
    }
}
