//! Clients that are known by where they come from, as people write them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::source::At;

/// Networks whose logins, and whatever else is guarded, are not judged by what they do. Each entry is
/// a network, or the path of a file with one per line. The smaller of two networks is right.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct NetworksSchema {
    /// No limit refuses these.
    #[serde(default)]
    pub(in crate::config) allow: Vec<At<String>>,
    /// These are refused (403).
    #[serde(default)]
    pub(in crate::config) deny: Vec<At<String>>,
}

/// The field in which trusted proxies tell a client's address.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum ForwardedHeaderSchema {
    Forwarded,
    XForwardedFor,
}

/// Work that a client's browser must do before a suspicious login.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ProofOfWorkSchema {
    /// Whether it is asked before every login, and not only before suspicious ones.
    #[schemars(extend("default" = false))]
    pub(in crate::config) always: Option<At<bool>>,
    /// How much: so many zero bits, found by trying twice as often for each more.
    #[schemars(extend("default" = 18))]
    pub(in crate::config) bits: Option<At<u8>>,
    /// How long there is time for it, and for the login after it.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) lifetime: Option<At<String>>,
}

/// The pages that people see when a request is refused.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PagesSchema {
    /// A folder with `error.html`, and pages for single statuses such as `429.html`.
    pub(in crate::config) folder: Option<At<String>>,
}
