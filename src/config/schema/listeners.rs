//! Where we listen and the certificates we show, as people write them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSchema;
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
    /// `modern` is TLS 1.3; `intermediate` is TLS 1.2 too, with AEAD suites alone.
    #[schemars(extend("default" = "modern"))]
    pub(in crate::config) profile: Option<At<ProfileSchema>>,
    /// Whether a client must ask for a name that a certificate carries; the first one answers for all
    /// others where not.
    #[schemars(extend("default" = false))]
    pub(in crate::config) strict_sni: Option<At<bool>>,
    /// Whose certificates clients show; nobody is asked where absent.
    pub(in crate::config) client_auth: Option<At<ClientAuthSchema>>,
    /// Whether every request is sent on to `https://`.
    #[schemars(extend("default" = false))]
    pub(in crate::config) redirect_to_https: Option<At<bool>>,
    /// Whether every connection begins with a PROXY protocol header (version 1 or 2) of one of
    /// `trusted_proxies`.
    #[schemars(extend("default" = false))]
    pub(in crate::config) proxy_protocol: Option<At<bool>>,
}

/// Which versions of TLS are spoken.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum ProfileSchema {
    Intermediate,
    Modern,
}

/// Whose certificates clients show.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientAuthSchema {
    /// PEM file of their authorities.
    pub(in crate::config) ca: At<String>,
    /// `required`, or `optional`: the shop is told who showed one.
    pub(in crate::config) mode: At<ClientAuthModeSchema>,
    /// PEM or DER file of what those authorities have revoked: a list of each authority in a chain.
    pub(in crate::config) crl: Option<At<String>>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum ClientAuthModeSchema {
    Optional,
    Required,
}

/// What is the same for every listener that speaks TLS.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TlsSchema {
    /// A secret of 32 bytes or more that the keys of session tickets are derived from, so that clients
    /// resume at any instance that has it; made up, and changing, where absent.
    pub(in crate::config) ticket_secret: Option<At<SecretSchema>>,
}

/// A certificate that clients are shown: `chain` and `key`, or `acme` and `names`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CertificateSchema {
    /// PEM file: the leaf first, then its issuers.
    pub(in crate::config) chain: Option<At<String>>,
    /// PEM file: PKCS#8, PKCS#1 or SEC1.
    pub(in crate::config) key: Option<At<String>>,
    /// Names of `[[acme]]` that are asked for it instead, in this order.
    pub(in crate::config) acme: Option<At<Vec<At<String>>>>,
    /// What it is asked for; the first is what it is called in metrics and logs.
    pub(in crate::config) names: Option<At<Vec<At<String>>>>,
    /// DER file: the authority's word that the certificate stands (OCSP), handed on with it while it is
    /// in time. It may come later.
    pub(in crate::config) ocsp: Option<At<String>>,
}

/// A certificate of our own, to be shown to a server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PairSchema {
    /// PEM file: the leaf first, then its issuers.
    pub(in crate::config) chain: At<String>,
    /// PEM file: PKCS#8, PKCS#1 or SEC1.
    pub(in crate::config) key: At<String>,
}
