//! Where we listen and the certificates we show, as people write them.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::source::At;

/// The listener for metrics, health checks and the operator's API.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AdminSchema {
    /// Its address. Restart to change.
    #[schemars(extend("default" = "127.0.0.1:9464"))]
    pub(in crate::config) listen: Option<At<String>>,
}

/// An address that clients connect to.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ListenSchema {
    /// IP address and port.
    #[schemars(extend("examples" = ["0.0.0.0:443"]))]
    pub(in crate::config) address: At<String>,
    /// Whether TLS is spoken here.
    #[schemars(extend("default" = false))]
    pub(in crate::config) tls: Option<At<bool>>,
    /// Whether every request is sent on to `https://`.
    #[schemars(extend("default" = false))]
    pub(in crate::config) redirect_to_https: Option<At<bool>>,
    /// Whether every connection begins with a PROXY protocol header (version 1 or 2) of one of
    /// `trusted_proxies`.
    #[schemars(extend("default" = false))]
    pub(in crate::config) proxy_protocol: Option<At<bool>>,
}

/// A certificate chain and its key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CertificateSchema {
    /// PEM file: the leaf first, then its issuers.
    pub(in crate::config) chain: At<String>,
    /// PEM file: PKCS#8, PKCS#1 or SEC1.
    pub(in crate::config) key: At<String>,
}
