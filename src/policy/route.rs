//! Host and path → what applies.

use std::fmt;
use std::sync::Arc;

use super::{
    AccessRules, Balance, BlockRule, CardPolicy, GuardRule, HostPattern, Limits, Maintenance,
    PathPattern, ResponseHeaders, Upstream,
};

/// The name of a site in metrics and logs: its first host, or `default`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SiteName(pub Arc<str>);

/// One shop.
#[derive(Debug)]
pub struct Site {
    /// For metrics and logs.
    pub name: SiteName,
    /// The hosts served; empty means every host that no other site names.
    pub hosts: Vec<HostPattern>,
    /// Where requests go; at least one.
    pub upstreams: Vec<Upstream>,
    /// How they share the work.
    pub balance: Balance,
    /// When it is closed.
    pub maintenance: Maintenance,
    /// What counts as a login; empty means the built-in detection.
    pub logins: Vec<Arc<GuardRule>>,
    /// What else is guarded; a request may be an attempt of several.
    pub guards: Vec<Arc<GuardRule>>,
    /// Requests that are refused because the shop has a hole there.
    pub blocks: Vec<BlockRule>,
    /// First match wins; the last one matches every path.
    pub routes: Vec<Route>,
}

/// What applies to some paths of a site.
#[derive(Debug)]
pub struct Route {
    /// For metrics and logs: the pattern as configured, or `default`.
    pub name: Arc<str>,
    /// Which paths.
    pub path: PathPattern,
    /// What is done with cards.
    pub cards: CardPolicy,
    /// Sizes.
    pub limits: Limits,
    /// Who may ask for what.
    pub access: AccessRules,
    /// What is said to browsers.
    pub headers: ResponseHeaders,
}

/// How closely a site's host patterns match; higher is closer.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Rank {
    Any,
    Wildcard,
    Exact,
}

impl Site {
    /// The route of a path and its place in `routes`.
    #[must_use]
    pub fn route(&self, path: &str) -> Option<(usize, &Route)> {
        self.routes.iter().enumerate().find(|(_, route)| route.path.matches(path))
    }

    pub(super) fn rank(&self, host: &str) -> Option<Rank> {
        if self.hosts.is_empty() {
            return Some(Rank::Any);
        }
        let ranks = self.hosts.iter().filter(|pattern| pattern.matches(host));
        ranks
            .map(|pattern| match pattern {
                HostPattern::Exact(_) => Rank::Exact,
                HostPattern::Wildcard(_) => Rank::Wildcard,
            })
            .max()
    }
}

impl fmt::Display for SiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
