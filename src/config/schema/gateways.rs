//! Payment gateways, the forward proxy that leads to them and webhooks, as people write them.

use std::num::NonZeroUsize;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{FormatSchema, PairSchema};
use crate::config::source::At;

/// A payment gateway.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct GatewaySchema {
    /// For metrics, logs and the audit file.
    pub(in crate::config) name: At<String>,
    /// Where the shop calls us.
    pub(in crate::config) listen: Option<At<String>>,
    /// Names that the shop calls through `[forward_proxy]`, with a port where it is not 443; not
    /// together with `access`.
    pub(in crate::config) hosts: Option<At<Vec<At<String>>>>,
    /// Whether TLS is spoken there, with the certificates of this file.
    #[schemars(extend("default" = false))]
    pub(in crate::config) tls: Option<At<bool>>,
    /// Who may call there; whoever can where absent, which only an address of this machine allows.
    pub(in crate::config) access: Option<At<AccessSchema>>,
    /// The provider; verified `https`, or `http` on this machine.
    pub(in crate::config) upstream: At<String>,
    /// PEM file of the authorities for the provider; those of the system where absent.
    pub(in crate::config) ca: Option<At<String>>,
    /// `sha256/` and base64: keys of which the provider's chain must hold one (RFC 7469).
    pub(in crate::config) pin: Option<At<Vec<At<String>>>>,
    /// What we show a provider that asks who calls.
    pub(in crate::config) client_certificate: Option<At<PairSchema>>,
    /// What the provider knows the shop by, added to every request in place of what the shop sent.
    pub(in crate::config) credentials: Option<At<CredentialsSchema>>,
    /// Where tokens become card numbers; everywhere in POST, PUT and PATCH where absent.
    pub(in crate::config) reveal: Option<At<RevealSchema>>,
    /// How many card numbers may be put back; without a limit where absent.
    pub(in crate::config) reveal_limit: Option<At<String>>,
    /// The shape of the tokens in the provider's answers; that of `[cards]` where absent.
    pub(in crate::config) token_format: Option<At<FormatSchema>>,
}

/// Who may call a gateway: `bearer`, `client_ca` or both.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AccessSchema {
    /// Shown as `Proxy-Authorization: Bearer …` or `X-Tillgate-Key: …`.
    pub(in crate::config) bearer: Option<At<SecretSchema>>,
    /// PEM file of the authorities of client certificates; needs `tls`.
    pub(in crate::config) client_ca: Option<At<String>>,
}

/// Where a secret comes from; exactly one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(in crate::config) struct SecretSchema {
    /// A file that holds it; read again with every reload.
    pub(in crate::config) file: Option<At<String>>,
    /// The name of a variable of the environment.
    pub(in crate::config) env: Option<At<String>>,
}

/// What a provider knows the shop by: `header` with `value`, `basic` or `hmac`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CredentialsSchema {
    /// The field of the head that holds `value`.
    pub(in crate::config) header: Option<At<String>>,
    /// The provider's key or password.
    pub(in crate::config) value: Option<At<SecretSchema>>,
    /// What stands before it, such as `Bearer `.
    pub(in crate::config) prefix: Option<At<String>>,
    /// HTTP basic authentication (RFC 7617).
    pub(in crate::config) basic: Option<At<BasicSchema>>,
    /// A signature over the body as it leaves.
    pub(in crate::config) hmac: Option<At<HmacSchema>>,
}

/// HTTP basic authentication (RFC 7617).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct BasicSchema {
    /// The name.
    pub(in crate::config) user: At<String>,
    /// The password.
    pub(in crate::config) password: At<SecretSchema>,
}

/// A signature over a request's body, made by us.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HmacSchema {
    /// The field that holds it.
    pub(in crate::config) header: At<String>,
    /// What it is made with.
    pub(in crate::config) key: At<SecretSchema>,
    /// The hash beneath it.
    #[schemars(extend("default" = "sha256"))]
    pub(in crate::config) algorithm: Option<At<AlgorithmSchema>>,
    /// How it is written.
    #[schemars(extend("default" = "hex"))]
    pub(in crate::config) encoding: Option<At<EncodingSchema>>,
    /// The field that holds the time; it is then signed too, before a dot and the body.
    pub(in crate::config) timestamp_header: Option<At<String>>,
}

/// The hash beneath a signature.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum AlgorithmSchema {
    Sha256,
    Sha512,
}

/// How a signature is written.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum EncodingSchema {
    Base64,
    Hex,
}

/// Where tokens become card numbers.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RevealSchema {
    /// The methods of requests in which they do.
    #[schemars(extend("default" = ["POST", "PUT", "PATCH"]))]
    pub(in crate::config) methods: Option<At<Vec<At<String>>>>,
    /// The paths; `*` is any run of characters.
    #[schemars(extend("default" = ["*"]))]
    pub(in crate::config) paths: Option<At<Vec<At<String>>>>,
    /// The fields, as `card[number]` or `card.number`; all of them where absent.
    pub(in crate::config) fields: Option<At<Vec<At<String>>>>,
    /// What happens to a token that stands elsewhere.
    #[schemars(extend("default" = "keep"))]
    pub(in crate::config) otherwise: Option<At<OtherwiseSchema>>,
}

/// What happens to a token where none becomes a card number.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum OtherwiseSchema {
    Keep,
    Reject,
}

/// A proxy for shops whose payment gateway's address is fixed in code (`HTTPS_PROXY`).
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ForwardProxySchema {
    /// Its address, on this machine. Restart to change.
    pub(in crate::config) listen: At<String>,
    /// Hosts of no gateway: `refuse`, or `tunnel` to those on the Internet, port 443, as they are.
    #[schemars(extend("default" = "refuse"))]
    pub(in crate::config) others: Option<At<OthersSchema>>,
    /// Hosts that are always tunnelled; a port where it is not 443. What is not on the Internet must
    /// be listed by its address too.
    #[schemars(extend("default" = []))]
    pub(in crate::config) allow: Option<At<Vec<At<String>>>>,
    /// The most tunnels at once.
    #[schemars(extend("default" = 1024))]
    pub(in crate::config) tunnels: Option<At<NonZeroUsize>>,
}

/// What happens to hosts of no gateway.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum OthersSchema {
    Refuse,
    Tunnel,
}

/// A path of the shop that a provider calls.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct WebhookSchema {
    /// For metrics, logs and the audit file.
    pub(in crate::config) name: At<String>,
    /// A host of the site; every site where absent.
    pub(in crate::config) site: Option<At<String>>,
    /// Which path; `*` is any run of characters.
    pub(in crate::config) path: At<String>,
    /// How a known provider signs.
    pub(in crate::config) preset: Option<At<PresetSchema>>,
    /// How any other signs.
    pub(in crate::config) hmac: Option<At<SignatureSchema>>,
    /// What signatures are made with; several while one takes another's place.
    pub(in crate::config) secrets: At<Vec<At<SecretSchema>>>,
    /// How far a signature's time may lie from ours; at least so long, a delivery counts once.
    #[schemars(extend("default" = "5m"))]
    pub(in crate::config) tolerance: Option<At<String>>,
}

/// How a known provider signs.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(in crate::config) enum PresetSchema {
    Stripe,
}

/// A signature over a webhook's body, made by the provider.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SignatureSchema {
    /// The field that holds it.
    pub(in crate::config) header: At<String>,
    /// The hash beneath it.
    #[schemars(extend("default" = "sha256"))]
    pub(in crate::config) algorithm: Option<At<AlgorithmSchema>>,
    /// How it is written.
    #[schemars(extend("default" = "hex"))]
    pub(in crate::config) encoding: Option<At<EncodingSchema>>,
    /// The field that holds the time, which is then signed too, before a dot and the body.
    pub(in crate::config) timestamp_header: Option<At<String>>,
}
