//! What is suspicious, as people write it.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::Switch;
use crate::config::source::At;

/// How long a browser is trusted that has logged in.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TrustedDeviceSchema {
    /// How long after its last success.
    #[schemars(extend("default" = "30d"))]
    pub(in crate::config) lifetime: Option<At<String>>,
    /// So many failures make it a stranger.
    #[schemars(extend("default" = 5))]
    pub(in crate::config) failures: Option<At<NonZeroU32>>,
    /// Within how long they must fall.
    #[schemars(extend("default" = "15m"))]
    pub(in crate::config) within: Option<At<String>>,
}

/// From which scores on a suspicious login is made harder.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RiskSchema {
    /// The limits of its network are cut to half, or `off`.
    #[schemars(extend("default" = 30))]
    pub(in crate::config) tighten: Option<At<Switch<NonZeroU32>>>,
    /// The answer waits up to three seconds, or `off`.
    #[schemars(extend("default" = 50))]
    pub(in crate::config) delay: Option<At<Switch<NonZeroU32>>>,
    /// The browser must show a proof of work first, or `off`.
    #[schemars(extend("default" = 80))]
    pub(in crate::config) proof: Option<At<Switch<NonZeroU32>>>,
}

/// How many cards and declines are ordinary.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CardTestingSchema {
    /// So many declines of a session or a network stop further cards.
    #[schemars(extend("default" = 3))]
    pub(in crate::config) declines: Option<At<NonZeroU32>>,
    /// Within how long they must fall.
    #[schemars(extend("default" = "10m"))]
    pub(in crate::config) declines_within: Option<At<String>>,
    /// So many different cards a session may bring.
    #[schemars(extend("default" = 5))]
    pub(in crate::config) cards: Option<At<NonZeroU32>>,
    /// In how long.
    #[schemars(extend("default" = "1h"))]
    pub(in crate::config) cards_within: Option<At<String>>,
    /// Names of cookies that are a customer's session, beside the usual ones.
    #[schemars(extend("default" = []))]
    pub(in crate::config) session_cookies: Option<At<Vec<At<String>>>>,
}
