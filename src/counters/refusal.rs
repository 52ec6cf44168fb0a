//! Why an attempt is refused. The names are a closed set: they are labels of metrics.

use std::time::Duration;

use crate::policy::Dimension;

/// Why an attempt is refused, and for how long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// When the next attempt may be admitted, if nobody else tries before.
    pub retry_after: Duration,
    /// The limit that was met.
    pub reason: RefusalReason,
}

/// The limit that refused an attempt.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct RefusalReason {
    /// Whose.
    pub dimension: Dimension,
    /// Which.
    pub rule: Rule,
}

/// One of the limits of a dimension.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Rule {
    /// Too many failures in a row; it stays until somebody vouches for the account.
    Barred,
    /// The failure before was too short a time ago.
    Delay,
    /// There is no room to count one more, because all that is counted is locked.
    Full,
    /// As many attempts are under way as may still count.
    InFlight,
    /// Too many failures.
    Lockout,
    /// Too many in the quota's time.
    Quota,
}

impl RefusalReason {
    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match (self.dimension, self.rule) {
            (_, Rule::Full) => "counters_full",
            (_, Rule::InFlight) => "in_flight",
            (Dimension::Account, rule) => {
                by_rule(rule, ["account_barred", "account_delay", "locked", "account_limit"])
            }
            (Dimension::Device, rule) => {
                by_rule(rule, ["device_barred", "device_delay", "device_lockout", "device_limit"])
            }
            (Dimension::Nameless, rule) => by_rule(
                rule,
                ["nameless_barred", "nameless_delay", "nameless_lockout", "nameless_limit"],
            ),
            (Dimension::Network, rule) => by_rule(
                rule,
                ["network_barred", "network_delay", "network_lockout", "network_limit"],
            ),
            (Dimension::Pair, rule) => {
                by_rule(rule, ["pair_barred", "pair_delay", "pair_lockout", "pair_limit"])
            }
            (Dimension::Site, rule) => {
                by_rule(rule, ["site_barred", "site_delay", "site_lockout", "site_limit"])
            }
            (Dimension::WideNetwork, rule) => by_rule(
                rule,
                [
                    "wide_network_barred",
                    "wide_network_delay",
                    "wide_network_lockout",
                    "wide_network_limit",
                ],
            ),
        }
    }
}

fn by_rule(rule: Rule, [barred, delay, lockout, limit]: [&'static str; 4]) -> &'static str {
    match rule {
        Rule::Barred => barred,
        Rule::Delay => delay,
        Rule::Full | Rule::InFlight | Rule::Quota => limit,
        Rule::Lockout => lockout,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_of_every_dimension_has_a_name_of_its_own() {
        let rules = [Rule::Barred, Rule::Delay, Rule::Lockout, Rule::Quota];
        let reasons = Dimension::ALL
            .iter()
            .flat_map(|&dimension| rules.map(|rule| RefusalReason { dimension, rule }.as_str()));
        assert_eq!(reasons.collect::<BTreeSet<_>>().len(), 7 * 4);
    }

    #[test]
    fn the_names_that_dashboards_know_stay() {
        let name = |dimension, rule| RefusalReason { dimension, rule }.as_str();
        assert_eq!(name(Dimension::Account, Rule::Quota), "account_limit");
        assert_eq!(name(Dimension::Account, Rule::Lockout), "locked");
        assert_eq!(name(Dimension::Account, Rule::InFlight), "in_flight");
        assert_eq!(name(Dimension::Network, Rule::Quota), "network_limit");
        assert_eq!(name(Dimension::Pair, Rule::Delay), "pair_delay");
    }
}
