//! The login guard and its like, and requests refused for any reason.

use std::error::Error;
use std::time::{Duration, Instant};

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Registry};
use tracing::{info, warn};

use super::Metrics;
use super::cells::label_values;
use super::mask::{mask_causes, mask_text};
use super::metrics::{counters, gauge, gauges};
use super::seldom::Seldom;

label_values! {
    /// What became of a demand for a proof of work.
    pub enum ProofOutcome {
        /// The login goes on.
        Accepted => "accepted",
        /// It is none of ours, or another client's.
        Forged => "forged",
        /// Its time is over.
        Late => "late",
        /// None was shown: most clients learn here that they are to.
        Missing => "missing",
        /// It has been shown before.
        Spent => "spent",
        /// It is less work than is demanded.
        TooLittle => "too_little",
    }
}

pub(super) struct LoginFamilies {
    proofs: IntCounterVec,
    spared: IntCounterVec,
    doubted: IntCounterVec,
    seldom: Seldom,
    attempts: IntCounterVec,
    refused: IntCounterVec,
    observed: IntCounterVec,
    account_locks: IntCounterVec,
    guarded: IntCounterVec,
    guard_refused: IntCounterVec,
    guard_observed: IntCounterVec,
    locks: IntCounterVec,
    locked: IntGauge,
    keys: IntGaugeVec,
    keys_max: IntGaugeVec,
    degraded: IntGauge,
    rejected: IntCounterVec,
    signals: IntCounterVec,
    steps: IntCounterVec,
    declines: IntCounterVec,
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

    /// A signal spoke against a login or a payment.
    pub fn login_signal(&self, site: &str, reason: &'static str) {
        self.logins.signals.with_label_values(&[site, reason]).inc();
    }

    /// A suspicious login was made harder, for these reasons.
    pub fn login_suspicious(
        &self,
        site: &str,
        step: &'static str,
        (score, reasons): (u32, &str),
        request_id: &str,
    ) {
        self.logins.steps.with_label_values(&[site, step]).inc();
        let request_id = &*mask_text(request_id);
        warn!(site, step, score, reasons, request_id, "login suspicious");
    }

    /// Cards were refused because one after the other was tried.
    pub fn card_testing_refused(
        &self,
        site: &str,
        reason: &'static str,
        retry_after: Duration,
        request_id: &str,
    ) {
        self.login_signal(site, reason);
        let (request_id, retry_after_s) = (&*mask_text(request_id), retry_after.as_secs());
        warn!(site, reason, retry_after_s, request_id, "card testing refused");
    }

    /// Cards would have been refused if limits did more than observe.
    pub fn card_testing_observed(&self, site: &str, reason: &'static str, request_id: &str) {
        self.login_signal(site, reason);
        let request_id = &*mask_text(request_id);
        warn!(site, reason, request_id, "card testing would be refused");
    }

    /// A provider declined a card whose bringer is known.
    pub fn card_declined(&self, gateway: &str) {
        self.logins.declines.with_label_values(&[gateway]).inc();
    }

    /// A login attempt would have been refused, and went so instead.
    pub fn login_observed(
        &self,
        site: &str,
        (reason, outcome): (&'static str, &'static str),
        request_id: &str,
    ) {
        self.logins.observed.with_label_values(&[site, reason, outcome]).inc();
        let request_id = &*mask_text(request_id);
        warn!(site, reason, outcome, request_id, "login would be refused");
    }

    /// An attempt that a guard counts would have been refused, and went so instead.
    pub fn guard_observed(
        &self,
        (site, guard): (&str, &str),
        (reason, outcome): (&'static str, &'static str),
        request_id: &str,
    ) {
        self.logins.guard_observed.with_label_values(&[site, guard, reason, outcome]).inc();
        let request_id = &*mask_text(request_id);
        warn!(site, guard, reason, outcome, request_id, "attempt would be refused");
    }

    /// An attempt over a limit went on: its network is allowed.
    pub fn login_spared(&self, site: &str, reason: &'static str) {
        self.logins.spared.with_label_values(&[site, reason]).inc();
    }

    /// The shop's answer looked like a success, for one password too many of one account.
    pub fn login_doubted(&self, site: &str) {
        self.logins.doubted.with_label_values(&[site]).inc();
        if let Some(untold) = self.logins.seldom.may_tell("login_doubted", Instant::now()) {
            warn!(
                site,
                untold,
                "several passwords of one account seem to succeed; say in [[site.login]] what a \
                 success is (see: tillgate login learn)"
            );
        }
    }

    /// A login was to show a proof of work.
    pub fn proof_demanded(&self, site: &str, outcome: ProofOutcome) {
        self.logins.proofs.with_label_values(&[site, outcome.as_str()]).inc();
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
    pub fn login_keys(&self, table: &'static str, keys: usize, keys_max: usize) {
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
        let count = |name, help, labels: &[&str]| counters(registry, name, help, labels);
        Self {
            proofs: count(
                "tillgate_login_proofs_total",
                "Login attempts that had to show a proof of work.",
                &["site", "outcome"],
            ),
            spared: count(
                "tillgate_login_refusals_spared_total",
                "Attempts over a limit, of logins and guards, that went on because their network is allowed.",
                &["site", "reason"],
            ),
            doubted: doubted(registry),
            seldom: Seldom::default(),
            attempts: count(
                "tillgate_login_attempts_total",
                "Login attempts that the shop answered.",
                &["site", "outcome"],
            ),
            refused: count(
                "tillgate_login_refusals_total",
                "Login attempts refused before the shop saw them.",
                &["site", "reason"],
            ),
            observed: count(
                "tillgate_login_observed_total",
                "Login attempts that would have been refused if limits did more than observe.",
                &["site", "reason", "outcome"],
            ),
            guarded: count(
                "tillgate_guard_attempts_total",
                "Attempts of guards that the shop answered.",
                &["site", "guard", "outcome"],
            ),
            guard_refused: count(
                "tillgate_guard_refusals_total",
                "Attempts of guards refused before the shop saw them.",
                &["site", "guard", "reason"],
            ),
            guard_observed: count(
                "tillgate_guard_observed_total",
                "Attempts of guards that would have been refused if limits did more than observe.",
                &["site", "guard", "reason", "outcome"],
            ),
            account_locks: count(
                "tillgate_account_locks_total",
                "Accounts locked after too many failures.",
                &["site"],
            ),
            locks: count(
                "tillgate_login_locks_total",
                "Locks after too many failures, by what is locked.",
                &["site", "dimension"],
            ),
            locked: gauge(registry, "tillgate_accounts_locked", "Accounts locked now."),
            keys: gauges(
                registry,
                "tillgate_login_keys",
                "Keys that this process counts under, by table.",
                &["table"],
            ),
            keys_max: gauges(
                registry,
                "tillgate_login_keys_max",
                "The most keys of each table.",
                &["table"],
            ),
            degraded: gauge(
                registry,
                "tillgate_counters_degraded",
                "1 while shared counters fail and each instance holds to its own.",
            ),
            rejected: count(
                "tillgate_requests_rejected_total",
                "Requests refused, by reason.",
                &["site", "reason"],
            ),
            signals: count(
                "tillgate_login_signals_total",
                "Logins and payments that a signal of attack spoke against.",
                &["site", "reason"],
            ),
            steps: count(
                "tillgate_login_suspicious_total",
                "Suspicious logins that were made harder.",
                &["site", "step"],
            ),
            declines: count(
                "tillgate_card_declines_total",
                "Cards that a provider declined and whose bringer is known.",
                &["gateway"],
            ),
        }
    }
}

fn doubted(registry: &Registry) -> IntCounterVec {
    counters(
        registry,
        "tillgate_login_doubted_total",
        "Answers that looked like a success, for one password too many of one account.",
        &["site"],
    )
}
