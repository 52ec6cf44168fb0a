//! Everything a request consults, compiled once and never changed.
//!
//! `config` reads the file and builds a [`Snapshot`]; a request loads one and keeps it to its end.
//! Nothing here knows sockets, files or clocks, and nothing here is optional that a request needs:
//! defaults are filled in before.

mod access;
mod acme;
mod balance;
mod cards;
mod certificate;
mod client_network;
mod field;
mod forward;
mod gateway;
mod guard;
mod limits;
mod listener;
mod live;
mod login;
mod mac;
mod networks;
mod pages;
mod pattern;
mod postgres;
mod proof;
mod redis;
mod response_headers;
mod route;
mod secret;
mod signals;
mod trusted;
mod upstream;
mod webhook;

use std::sync::Arc;

pub use access::{AccessRules, BlockRule, Breach, HeaderPattern};
pub use acme::{
    AcmeAuthority, AcmeCertificate, AcmeChallenge, AcmePolicy, DnsHook, ExternalAccount,
};
pub use balance::{Balance, Ejection, HealthCheck, Maintenance, QueueLimits, RetryBudget};
pub use cards::{CardPolicy, InvalidCard, RequestAction, ResponseAction};
pub use certificate::CertificateFiles;
pub use client_network::ClientNetwork;
pub use field::{FieldPattern, enclosing, join_names, name_parts, own_name};
pub use forward::{Destination, ForwardPolicy, Others};
pub use gateway::{Access, Credentials, Gateway, Otherwise, RevealPolicy};
pub use guard::{
    Carrier, Condition, FieldPath, GuardKind, GuardRule, LOGIN, Place, Sign, ValuePattern, squeeze,
};
pub use limits::{ByteRate, ConnectionLimits, Limits, Timeouts};
pub use listener::{ClientAuth, ClientAuthMode, ListenKey, ListenerTls, TlsPolicy, TlsProfile};
pub use live::Live;
pub use login::{Counted, Delays, Dimension, Limit, LimitMode, Lockout, LoginLimits, Quota};
pub use mac::{Mac, MacAlgorithm, MacEncoding};
pub use networks::{Listed, NetworkLists};
pub use pages::{PageError, PageFacts, Pages};
pub use pattern::{HostPattern, PathPattern};
pub use postgres::{
    Password, PostgresAddress, PostgresAddressError, PostgresHost, PostgresTls, PostgresTlsMode,
};
pub use proof::ProofOfWork;
pub use redis::{RedisAddress, RedisAddressError, RedisHost, RedisPlace, RedisTls};
pub use response_headers::{Framing, ResponseHeaders};
pub use route::{Route, Site, SiteName};
pub use secret::Secret;
pub use signals::{
    COUNTED_MAX, CardTesting, RiskStep, RiskSteps, SignalPolicy, TrustedDevice, tightened,
};
pub use trusted::{ForwardedField, TrustedProxies};
pub use upstream::{HttpVersions, Pin, Scheme, Trust, Upstream, UpstreamPlace};
pub use webhook::{Webhook, WebhookSignature};

/// One generation of the policy.
#[derive(Debug)]
pub struct Snapshot {
    /// The sites, in the order of the file.
    pub sites: Vec<Arc<Site>>,
    /// The payment gateways, in the order of the file.
    pub gateways: Vec<Arc<Gateway>>,
    /// The webhooks, in the order of the file.
    pub webhooks: Vec<Arc<Webhook>>,
    /// Where the forward proxy leads beside them.
    pub forward: ForwardPolicy,
    /// Who is believed about a client's address.
    pub trusted_proxies: TrustedProxies,
    /// How many logins may be tried.
    pub login: Arc<LoginLimits>,
    /// How suspicion is answered.
    pub signals: SignalPolicy,
    /// Networks that are known.
    pub networks: NetworkLists,
    /// What a suspicious client must do first.
    pub proof_of_work: ProofOfWork,
    /// The operator's own pages, where there are any.
    pub pages: Option<Pages>,
    /// Waits that are the same for every route.
    pub timeouts: Timeouts,
    /// How many clients there may be at once.
    pub doors: ConnectionLimits,
    /// How TLS is spoken with clients.
    pub tls: TlsPolicy,
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

    /// The payment gateway that a client of the forward proxy believes to call.
    #[must_use]
    pub fn gateway_called(&self, destination: &Destination) -> Option<&Arc<Gateway>> {
        self.gateways.iter().find(|gateway| gateway.hosts.contains(destination))
    }

    /// The names that the forward proxy answers for, in the payment gateways' place.
    #[must_use]
    pub fn intercepted_hosts(&self) -> Vec<String> {
        let hosts = self.gateways.iter().flat_map(|gateway| &gateway.hosts);
        let mut names: Vec<String> = hosts.map(|destination| destination.host.clone()).collect();
        names.sort();
        names.dedup();
        names
    }
}
