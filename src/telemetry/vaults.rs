//! Tokens, verification codes and the store behind them.

use std::fmt::Display;
use std::time::Duration;

use prometheus::{HistogramVec, IntCounterVec, IntGauge, Registry};
use tracing::{error, warn};

use super::Metrics;
use super::cells::label_values;
use super::metrics::{WORK_BUCKETS_S, counters, gauge, histograms};

label_values! {
    /// Where the token in a request came from.
    pub enum TokenOrigin {
        /// It was sent to us as a token.
        Already => "already",
        /// A card seen for the first time.
        Created => "created",
        /// A card the vault knew.
        Known => "known",
    }
}

label_values! {
    /// What became of a card verification code.
    pub enum CvvEvent {
        /// Its time ran out.
        Expired => "expired",
        /// A stand-in was made.
        Kept => "kept",
        /// A stand-in was unknown or used before.
        Refused => "refused",
        /// It went to the gateway, once.
        Revealed => "revealed",
    }
}

pub(super) struct VaultFamilies {
    tokens: IntCounterVec,
    collisions: IntCounterVec,
    cvvs: IntCounterVec,
    cvv_store_failing: IntGauge,
    seconds: HistogramVec,
    failures: IntCounterVec,
}

impl Metrics {
    /// Tokens stand in a request.
    pub fn tokens(&self, origin: TokenOrigin, count: u64) {
        self.vaults.tokens.with_label_values(&[origin.as_str()]).inc_by(count);
    }

    /// A card was seen that equals a token issued before.
    pub fn token_collision(&self) {
        self.vaults.collisions.with_label_values::<&str>(&[]).inc();
        warn!("card equals an issued token");
    }

    /// Verification codes came or went.
    pub fn cvv(&self, event: CvvEvent, count: u64) {
        self.vaults.cvvs.with_label_values(&[event.as_str()]).inc_by(count);
    }

    /// Whether the store of verification codes fails now.
    pub fn cvv_store_failing(&self, failing: bool) {
        self.vaults.cvv_store_failing.set(failing.into());
    }

    /// An operation of the vault took this long.
    pub fn vault_latency(&self, operation: &'static str, took: Duration) {
        self.vaults.seconds.with_label_values(&[operation]).observe(took.as_secs_f64());
    }

    /// An operation of the vault failed. An error text never holds a card number: the types that
    /// hold one have no `Display`.
    pub fn vault_failed(&self, operation: &'static str, problem: &dyn Display) {
        self.vaults.failures.with_label_values(&[operation]).inc();
        error!(operation, %problem, "vault failed");
    }
}

impl VaultFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            tokens: counters(
                registry,
                "tillgate_tokens_total",
                "Tokens passed to the shop, by origin.",
                &["origin"],
            ),
            collisions: counters(
                registry,
                "tillgate_token_collisions_total",
                "Cards seen that equal a token issued before.",
                &[],
            ),
            cvvs: counters(
                registry,
                "tillgate_cvv_standins_total",
                "Stand-ins for card verification codes, by what became of them.",
                &["event"],
            ),
            cvv_store_failing: gauge(
                registry,
                "tillgate_cvv_store_failing",
                "1 while the shared store of verification codes fails and their cards are refused.",
            ),
            seconds: histograms(
                registry,
                ("tillgate_vault_operation_duration_seconds", "Time per vault operation."),
                &["operation"],
                WORK_BUCKETS_S,
            ),
            failures: counters(
                registry,
                "tillgate_vault_failures_total",
                "Vault operations that failed.",
                &["operation"],
            ),
        }
    }
}
