//! Who may ask for what, known holes of the shop, and what browsers are told, as people write them.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::LimitModeSchema;
use crate::config::source::At;

/// Who may ask for what on a route.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RouteAccessSchema {
    /// `enforce`, or `observe` to count and log what would be refused.
    #[schemars(extend("default" = "enforce"))]
    pub(in crate::config) mode: Option<At<LimitModeSchema>>,
    /// Networks, or files of them, that alone are let in; everybody where absent.
    pub(in crate::config) allow: Option<At<Vec<At<String>>>>,
    /// Networks, or files of them, that are not let in (403).
    #[serde(default)]
    pub(in crate::config) deny: Vec<At<String>>,
    /// The methods that are allowed (405); all where absent.
    pub(in crate::config) methods: Option<At<Vec<At<String>>>>,
    /// Fields that must be there, and what all their values must match (403).
    #[serde(default)]
    pub(in crate::config) require: Vec<At<HeaderPatternSchema>>,
    /// Fields that must not be there, or not with a value that matches (403).
    #[serde(default)]
    pub(in crate::config) forbid: Vec<At<HeaderPatternSchema>>,
}

/// A field of a request.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HeaderPatternSchema {
    /// Its name; `*` is any field.
    pub(in crate::config) name: At<String>,
    /// A regular expression on its value; any value where absent.
    pub(in crate::config) value: Option<At<String>>,
}

/// A virtual patch: requests that are refused because the shop has a hole there. What is said must
/// all hold.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct BlockSchema {
    /// For metrics and logs.
    pub(in crate::config) name: At<String>,
    /// `enforce`, or `observe` to count and log what would be refused.
    #[schemars(extend("default" = "enforce"))]
    pub(in crate::config) mode: Option<At<LimitModeSchema>>,
    /// What the client is answered.
    #[schemars(extend("default" = 403))]
    pub(in crate::config) status: Option<At<NonZeroU32>>,
    /// The methods; all where absent.
    pub(in crate::config) methods: Option<At<Vec<At<String>>>>,
    /// The paths; `*` is any run of characters, and every spelling counts.
    pub(in crate::config) path: Option<At<String>>,
    /// A regular expression on the query, as it is written and decoded.
    pub(in crate::config) query: Option<At<String>>,
    /// Fields that must all be there.
    #[serde(default)]
    pub(in crate::config) headers: Vec<At<HeaderPatternSchema>>,
    /// A regular expression on the body, as it is written and decoded.
    pub(in crate::config) body: Option<At<String>>,
}

/// What browsers are told; what the shop says itself stays.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HeadersSchema {
    /// For how long a browser comes over https only, said over TLS; `auto` is 180 days where a
    /// listener redirects to https anyway, and `off`.
    #[schemars(extend("default" = "auto"))]
    pub(in crate::config) hsts: Option<At<String>>,
    /// Whether that holds for every name below the site's, too.
    #[schemars(extend("default" = false))]
    pub(in crate::config) hsts_subdomains: Option<At<bool>>,
    /// Whether browsers may be shipped with it.
    #[schemars(extend("default" = false))]
    pub(in crate::config) hsts_preload: Option<At<bool>>,
    /// Whether browsers believe a `Content-Type` (`X-Content-Type-Options: nosniff`).
    #[schemars(extend("default" = true))]
    pub(in crate::config) nosniff: Option<At<bool>>,
    /// What other sites learn of where a customer comes from (`Referrer-Policy`), or `off`.
    #[schemars(extend("default" = "strict-origin-when-cross-origin"))]
    pub(in crate::config) referrer_policy: Option<At<String>>,
    /// What pages may ask a browser for (`Permissions-Policy`), or `off`.
    #[schemars(extend("default" = "bluetooth=(), hid=(), midi=(), serial=(), usb=()"))]
    pub(in crate::config) permissions_policy: Option<At<String>>,
    /// Who may show a page in a frame: `none`, `self`, or origins; nothing is said where empty.
    #[schemars(extend("default" = []))]
    pub(in crate::config) frame_ancestors: Option<At<Vec<At<String>>>>,
    /// Fields that are taken out of answers.
    #[schemars(extend("default" = []))]
    pub(in crate::config) remove: Option<At<Vec<At<String>>>>,
    /// Whether ours stand in place of what the shop says.
    #[schemars(extend("default" = false))]
    pub(in crate::config) replace: Option<At<bool>>,
}
