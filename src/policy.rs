//! Everything a request consults, compiled once and never changed.
//!
//! `config` reads the file and builds a [`Snapshot`]; a request loads one and keeps it to its end.
//! Nothing here knows sockets, files or clocks, and nothing here is optional that a request needs:
//! defaults are filled in before.

mod cards;
mod certificate;
mod gateway;
mod limits;
mod live;
mod login;
mod pattern;
mod postgres;
mod route;
mod upstream;

use std::sync::Arc;

use ipnet::IpNet;

pub use cards::{CardPolicy, InvalidCard, RequestAction, ResponseAction};
pub use certificate::CertificateFiles;
pub use gateway::Gateway;
pub use limits::{Limits, Timeouts};
pub use live::Live;
pub use login::{Lockout, LoginLimits, LoginRule, Quota, Sign};
pub use pattern::{HostPattern, PathPattern};
pub use postgres::{
    Password, PostgresAddress, PostgresAddressError, PostgresHost, PostgresTls, PostgresTlsMode,
};
pub use route::{Route, Site, SiteName};
pub use upstream::{Scheme, Trust, Upstream};

/// One generation of the policy.
#[derive(Debug)]
pub struct Snapshot {
    /// The sites, in the order of the file.
    pub sites: Vec<Arc<Site>>,
    /// The payment gateways, in the order of the file.
    pub gateways: Vec<Arc<Gateway>>,
    /// Networks whose `X-Forwarded-For` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// How many logins may be tried.
    pub login: LoginLimits,
    /// Waits that are the same for every route.
    pub timeouts: Timeouts,
}

impl Snapshot {
    /// The site that serves `host` (lower case, without port): exact names before wildcards, then a
    /// site that names no hosts; with its place in `sites`.
    #[must_use]
    pub fn site(&self, host: &str) -> Option<(usize, &Arc<Site>)> {
        let sites = self.sites.iter().enumerate();
        let matching = sites.filter_map(|(place, site)| Some((site.rank(host)?, (place, site))));
        // The first of equals: `max_by_key` would take the last.
        matching.rev().max_by_key(|(rank, _)| *rank).map(|(_, found)| found)
    }
}
