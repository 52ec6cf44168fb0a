//! The program replaced while it serves.

use prometheus::{IntCounterVec, Registry};
use tracing::{error, info};

use super::Metrics;
use super::metrics::counters;

pub(super) struct UpgradeFamilies {
    upgrades: IntCounterVec,
}

impl Metrics {
    /// Another process has our place.
    pub fn upgraded(&self, process: u32) {
        info!(process, "upgraded");
    }

    /// We have taken the place of another process; it is we who are asked from now on.
    pub fn took_over(&self) {
        self.upgrades.upgrades.with_label_values(&["accepted"]).inc();
    }

    /// A new process could not take our place, and we go on; `result` is a literal of the caller's.
    pub fn upgrade_refused(&self, result: &'static str, problem: &str) {
        self.upgrades.upgrades.with_label_values(&[result]).inc();
        error!(problem, "upgrade refused");
    }
}

impl UpgradeFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        let upgrades = counters(
            registry,
            "tillgate_upgrades_total",
            "Upgrades of the program, by result; whoever took over counts it as accepted.",
            &["result"],
        );
        // An alarm on a rise needs the zero before the first one.
        let results = [
            "accepted",
            "broken",
            "ending",
            "exited",
            "first_process",
            "not_started",
            "refused",
            "stalled",
        ];
        for result in results {
            upgrades.with_label_values(&[result]).inc_by(0);
        }
        Self { upgrades }
    }
}
