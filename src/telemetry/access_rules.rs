//! Requests that a route or a virtual patch does not want.

use prometheus::{IntCounterVec, Registry};
use tracing::warn;

use super::Metrics;
use super::cells::label_values;
use super::mask::mask_text;
use super::metrics::counters;

label_values! {
    /// What became of a request that a block is for.
    pub enum BlockOutcome {
        /// It was refused.
        Blocked => "blocked",
        /// It went on, because the block only observes.
        Observed => "observed",
        /// Its body could not be looked into: refused, or let go on by a block that only observes.
        Unread => "unread",
    }
}

pub(super) struct AccessFamilies {
    refused: IntCounterVec,
    blocks: IntCounterVec,
}

impl Metrics {
    /// A request breached the rules of a route; `observed` is one that went on all the same.
    pub fn access_breached(
        &self,
        (site, route): (&str, &str),
        rule: &'static str,
        observed: bool,
        request_id: &str,
    ) {
        let action = if observed { "observed" } else { "refused" };
        self.access.refused.with_label_values(&[site, route, rule, action]).inc();
        // One that is refused is logged as every refusal is.
        if observed {
            let request_id = &*mask_text(request_id);
            warn!(site, route, rule, request_id, "request would be refused");
        }
    }

    /// There is such a block: its series begin at zero, so that the first match shows.
    pub fn block_known(&self, site: &str, block: &str) {
        for outcome in [BlockOutcome::Blocked, BlockOutcome::Observed] {
            let _ = self.access.blocks.with_label_values(&[site, block, outcome.as_str()]);
        }
    }

    /// A request was one that a block is for.
    pub fn block_met(&self, site: &str, block: &str, outcome: BlockOutcome, request_id: &str) {
        self.access.blocks.with_label_values(&[site, block, outcome.as_str()]).inc();
        let (outcome, request_id) = (outcome.as_str(), &*mask_text(request_id));
        warn!(site, block, outcome, request_id, "request met a block");
    }
}

impl AccessFamilies {
    pub(super) fn register(registry: &Registry) -> Self {
        Self {
            refused: counters(
                registry,
                "tillgate_access_breaches_total",
                "Requests that breach the access rules of a route, refused or only observed.",
                &["site", "route", "rule", "action"],
            ),
            blocks: counters(
                registry,
                "tillgate_block_matches_total",
                "Requests that a configured block is for.",
                &["site", "block", "outcome"],
            ),
        }
    }
}
