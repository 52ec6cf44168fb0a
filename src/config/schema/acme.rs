//! Certificate authorities that issue by themselves, as people write them.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSchema;
use crate::config::source::At;

/// A certificate authority (RFC 8555).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AcmeSchema {
    /// What `acme` of a certificate calls it; for metrics and logs.
    pub(in crate::config) name: At<String>,
    /// `letsencrypt`, `letsencrypt-staging`, `zerossl`, `google`, or the `https` URL of a directory.
    pub(in crate::config) directory: At<String>,
    /// Whether you agree to the authority's terms of service; it asks for that.
    pub(in crate::config) terms_agreed: At<bool>,
    /// E-mail addresses that the authority may write to.
    #[schemars(extend("default" = []))]
    pub(in crate::config) contact: Option<At<Vec<At<String>>>>,
    /// How names are proven; a wildcard needs `dns-01`.
    #[schemars(extend("default" = "http-01"))]
    pub(in crate::config) challenge: Option<At<AcmeChallengeSchema>>,
    /// What changes the DNS, for `dns-01`.
    pub(in crate::config) hook: Option<At<DnsHookSchema>>,
    /// What binds the account to one that you have with the authority already.
    pub(in crate::config) external_account: Option<At<ExternalAccountSchema>>,
    /// PEM file of the authorities for the directory itself; those of the system where absent.
    pub(in crate::config) ca: Option<At<String>>,
    /// The shortest wait after a failure; it doubles with every further one, up to 6 hours.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) retry: Option<At<String>>,
}

/// How a name is proven.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
pub(in crate::config) enum AcmeChallengeSchema {
    #[serde(rename = "dns-01")]
    Dns01,
    #[serde(rename = "http-01")]
    Http01,
    #[serde(rename = "tls-alpn-01")]
    TlsAlpn01,
}

/// A command that changes the DNS. It is told what to do by `TILLGATE_ACME_ACTION` (`present` or
/// `cleanup`), `TILLGATE_ACME_NAME` (the record) and `TILLGATE_ACME_VALUE` (its text).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct DnsHookSchema {
    /// The program's absolute path and its arguments; no shell reads them.
    pub(in crate::config) command: At<Vec<At<String>>>,
    /// Names of variables of our environment that it may see, beside `PATH` and `HOME`.
    #[schemars(extend("default" = []))]
    pub(in crate::config) environment: Option<At<Vec<At<String>>>>,
    /// How long it may take.
    #[schemars(extend("default" = "2m"))]
    pub(in crate::config) timeout: Option<At<String>>,
    /// How long a record needs to be seen everywhere.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) propagation: Option<At<String>>,
}

/// An account that you have with the authority.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ExternalAccountSchema {
    /// What the authority calls the key.
    pub(in crate::config) key_id: At<String>,
    /// The key as the authority shows it, in base64.
    pub(in crate::config) hmac_key: At<SecretSchema>,
}
