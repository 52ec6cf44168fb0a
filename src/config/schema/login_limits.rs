//! How many attempts may be made and fail, as it is written.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{CardTestingSchema, RiskSchema, Switch, TrustedDeviceSchema};
use crate::config::source::At;

/// How many logins may be tried and fail.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct LoginSchema {
    /// `enforce`, or `observe` to count and log what would be refused.
    #[schemars(extend("default" = "enforce"))]
    pub(in crate::config) mode: Option<At<LimitModeSchema>>,
    /// Failures per client network (IPv4 /32, IPv6 /64), or `off`.
    #[schemars(extend("default" = "20/min"))]
    pub(in crate::config) per_network: Option<At<String>>,
    /// Failures per client network at large (IPv4 /24, IPv6 /48), or `off`.
    #[schemars(extend("default" = "200/min"))]
    pub(in crate::config) per_wide_network: Option<At<String>>,
    /// Failures per account, or `off`.
    #[schemars(extend("default" = "5/min"))]
    pub(in crate::config) per_account: Option<At<String>>,
    /// Failures per account and client network, or `off`.
    #[schemars(extend("default" = "off"))]
    pub(in crate::config) per_pair: Option<At<String>>,
    /// Failures per site, or `off`.
    #[schemars(extend("default" = "off"))]
    pub(in crate::config) per_site: Option<At<String>>,
    /// Failures that lock an account.
    #[serde(default)]
    pub(in crate::config) lockout: LockoutSchema,
    /// Failures that lock an account for one client network.
    #[serde(default)]
    pub(in crate::config) pair_lockout: PairLockoutSchema,
    /// Failures that lock a client network out.
    #[serde(default)]
    pub(in crate::config) network_lockout: NetworkLockoutSchema,
    /// Failures that lock a client network at large out.
    #[serde(default)]
    pub(in crate::config) wide_network_lockout: NetworkLockoutSchema,
    /// Failures in a row, in whatever time, that lock an account until somebody vouches for it.
    #[schemars(extend("default" = 100))]
    pub(in crate::config) consecutive_failures: Option<At<NonZeroU32>>,
    /// Whether strangers cannot lock an account's owner out of networks that he logged in from.
    #[schemars(extend("default" = true))]
    pub(in crate::config) trusted_networks_bypass: Option<At<bool>>,
    /// How long such a network is known.
    #[schemars(extend("default" = "30d"))]
    pub(in crate::config) known_networks: Option<At<String>>,
    /// How long a browser is trusted that has logged in, or `off`.
    pub(in crate::config) trusted_device: Option<At<Switch<TrustedDeviceSchema>>>,
    /// From which scores on a suspicious login is made harder, or `off`.
    pub(in crate::config) risk: Option<At<Switch<RiskSchema>>>,
    /// How many cards and declines are ordinary, or `off`.
    pub(in crate::config) card_testing: Option<At<Switch<CardTestingSchema>>>,
}

/// Whether limits refuse.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum LimitModeSchema {
    Enforce,
    Observe,
}

/// Failures that lock an account.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct LockoutSchema {
    /// Whether they do.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enabled: Option<At<bool>>,
    /// How many.
    #[schemars(extend("default" = 10))]
    pub(in crate::config) failures: Option<At<NonZeroU32>>,
    /// Within how long they must fall.
    #[schemars(extend("default" = "30m"))]
    pub(in crate::config) within: Option<At<String>>,
    /// For how long the account is then locked.
    #[schemars(extend("default" = "30m"))]
    pub(in crate::config) lock: Option<At<String>>,
    /// The longest lock; one within a day after the last is twice as long.
    #[schemars(extend("default" = "24h"))]
    pub(in crate::config) ceiling: Option<At<String>>,
}

/// Failures that lock an account for one client network.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PairLockoutSchema {
    /// Whether they do.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enabled: Option<At<bool>>,
    /// How many begin the delays; what fails after the longest one locks.
    #[schemars(extend("default" = 5))]
    pub(in crate::config) failures: Option<At<NonZeroU32>>,
    /// Within how long they must fall.
    #[schemars(extend("default" = "15m"))]
    pub(in crate::config) within: Option<At<String>>,
    /// How long they make the next attempt wait; each one more twice as long.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) first_delay: Option<At<String>>,
    /// The longest such wait.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) last_delay: Option<At<String>>,
    /// For how long they are then locked.
    #[schemars(extend("default" = "15m"))]
    pub(in crate::config) lock: Option<At<String>>,
    /// The longest lock; one within a day after the last is twice as long.
    #[schemars(extend("default" = "24h"))]
    pub(in crate::config) ceiling: Option<At<String>>,
}

/// Failures that lock a client network out.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct NetworkLockoutSchema {
    /// Whether they do.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enabled: Option<At<bool>>,
    /// How many.
    pub(in crate::config) failures: Option<At<NonZeroU32>>,
    /// Within how long they must fall.
    #[schemars(extend("default" = "10m"))]
    pub(in crate::config) within: Option<At<String>>,
    /// Over how many different accounts they must be, at least.
    pub(in crate::config) accounts_min: Option<At<NonZeroU32>>,
    /// For how long the network is then locked out.
    #[schemars(extend("default" = "1h"))]
    pub(in crate::config) lock: Option<At<String>>,
    /// The longest lock; one within a day after the last is twice as long.
    #[schemars(extend("default" = "24h"))]
    pub(in crate::config) ceiling: Option<At<String>>,
}
