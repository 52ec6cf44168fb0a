//! The file as people write it.
//!
//! Every key is optional where it has a default, and texts are still texts: what they mean is
//! decided in `compile`. The JSON Schema made from these types is what `shape` checks a file
//! against, so the two cannot drift.

use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::Deserialize;

use super::source::At;

mod access;
mod acme;
mod clients;
mod gateways;
mod guards;
mod listeners;
mod login_limits;
mod signals;
mod switch;
mod upstreams;

pub(super) use access::{BlockSchema, HeaderPatternSchema, HeadersSchema, RouteAccessSchema};
pub(super) use acme::{AcmeChallengeSchema, AcmeSchema, DnsHookSchema, ExternalAccountSchema};
pub(super) use clients::{ForwardedHeaderSchema, NetworksSchema, PagesSchema, ProofOfWorkSchema};
pub(super) use gateways::{
    AccessSchema, AlgorithmSchema, CredentialsSchema, EncodingSchema, ForwardProxySchema,
    GatewaySchema, HmacSchema, OthersSchema, OtherwiseSchema, PresetSchema, RevealSchema,
    SecretSchema, SignatureSchema, WebhookSchema,
};
pub(super) use guards::{
    CarrierSchema, CountsSchema, HeaderSignSchema, JsonSignSchema, KindSchema, ShopSchema,
    SignsSchema, SiteGuardSchema, SiteLoginSchema, WhenSchema,
};
pub(super) use listeners::{
    AdminSchema, CertificateSchema, ClientAuthModeSchema, ClientAuthSchema, ListenSchema,
    PairSchema, ProfileSchema, TlsSchema,
};
pub(super) use login_limits::{LimitModeSchema, LoginSchema, NetworkLockoutSchema};
pub(super) use signals::{CardTestingSchema, RiskSchema, TrustedDeviceSchema};
pub(super) use switch::Switch;
pub(super) use upstreams::{
    BalanceSchema, HealthSchema, MaintenanceSchema, ServerSchema, UpstreamSchema,
};

/// Configuration of tillgate.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "tillgate configuration")]
pub(super) struct FileSchema {
    /// Where the vault, the master key and the audit file lie. Restart to change.
    #[schemars(extend("default" = "/var/lib/tillgate"))]
    pub(super) data_dir: Option<At<String>>,
    /// Worker threads; as many as there are cores where absent. Restart to change.
    pub(super) workers: Option<At<NonZeroUsize>>,
    /// A file with the number of the process that serves, for who does not use systemd. Restart to
    /// change.
    pub(super) pid_file: Option<At<String>>,
    /// The user to become when started as root: a name of /etc/passwd, or a number. Restart to change.
    pub(super) user: Option<At<String>>,
    /// Its group; the user's own where absent. Restart to change.
    pub(super) group: Option<At<String>>,
    /// What the process may write to. Restart to change.
    #[serde(default)]
    pub(super) sandbox: SandboxSchema,
    /// Networks of proxies that are believed about a client's address.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<At<String>>,
    /// The field in which they tell it; the other one is not believed.
    #[schemars(extend("default" = "x-forwarded-for"))]
    pub(super) forwarded_header: Option<At<ForwardedHeaderSchema>>,
    /// The listener for metrics and health checks.
    #[serde(default)]
    pub(super) admin: AdminSchema,
    /// Addresses that clients connect to.
    #[serde(default)]
    pub(super) listen: Vec<At<ListenSchema>>,
    /// What is the same wherever TLS is spoken.
    #[serde(default)]
    pub(super) tls: TlsSchema,
    /// Certificates, picked by the name the client asks for.
    #[serde(default)]
    pub(super) certificate: Vec<At<CertificateSchema>>,
    /// Certificate authorities that issue certificates by themselves.
    #[serde(default)]
    pub(super) acme: Vec<At<AcmeSchema>>,
    /// The shops.
    #[serde(default)]
    pub(super) site: Vec<At<SiteSchema>>,
    /// What is done with card numbers where a route says nothing else.
    #[serde(default)]
    pub(super) cards: CardsSchema,
    /// What browsers are told where a route says nothing else.
    #[serde(default)]
    pub(super) headers: HeadersSchema,
    /// Sizes where a route says nothing else.
    #[serde(default)]
    pub(super) limits: LimitsSchema,
    /// Waits.
    #[serde(default)]
    pub(super) timeouts: TimeoutsSchema,
    /// How many logins may be tried and fail.
    #[serde(default)]
    pub(super) login: LoginSchema,
    /// Networks that are known.
    #[serde(default)]
    pub(super) networks: NetworksSchema,
    /// What a suspicious client must do first.
    #[serde(default)]
    pub(super) proof_of_work: ProofOfWorkSchema,
    /// What people see when a request is refused.
    #[serde(default)]
    pub(super) pages: PagesSchema,
    /// Payment gateways: where tokens become card numbers again.
    #[serde(default)]
    pub(super) gateway: Vec<At<GatewaySchema>>,
    /// Calls of providers to the shop, which must be signed.
    #[serde(default)]
    pub(super) webhook: Vec<At<WebhookSchema>>,
    /// A proxy for shops whose payment gateway's address is fixed in code.
    pub(super) forward_proxy: Option<At<ForwardProxySchema>>,
    /// Where tokens and sealed card numbers are kept. Restart to change.
    #[serde(default)]
    pub(super) vault: VaultSchema,
    /// Where failed logins are counted. Restart to change.
    #[serde(default)]
    pub(super) counters: CountersSchema,
    /// What is logged. Restart to change.
    #[serde(default)]
    pub(super) log: LogSchema,
}

/// What the process may write to.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SandboxSchema {
    /// Whether writing is restricted at all.
    #[schemars(extend("default" = true))]
    pub(super) enabled: Option<At<bool>>,
    /// More folders to write to.
    #[schemars(extend("default" = []))]
    pub(super) write: Option<At<Vec<At<String>>>>,
}

/// One shop.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SiteSchema {
    /// Its names, `*.` covers one label; every other host where absent.
    pub(super) hosts: Option<At<Vec<At<String>>>>,
    /// Where its requests go.
    pub(super) upstreams: At<Vec<At<UpstreamSchema>>>,
    /// PEM file of the authorities for `https` upstreams; those of the system where absent.
    pub(super) ca: Option<At<String>>,
    /// How its servers share the work.
    #[serde(default)]
    pub(super) balance: BalanceSchema,
    /// When one of them is left alone.
    #[serde(default)]
    pub(super) health: HealthSchema,
    /// When it is closed.
    #[serde(default)]
    pub(super) maintenance: MaintenanceSchema,
    /// What counts as a login; common ones are recognised where absent.
    #[serde(default)]
    pub(super) login: Vec<At<SiteLoginSchema>>,
    /// What else strangers repeat: resets, registrations, coupons, payments.
    #[serde(default)]
    pub(super) guard: Vec<At<SiteGuardSchema>>,
    /// Requests that are refused because the shop has a hole there.
    #[serde(default)]
    pub(super) block: Vec<At<BlockSchema>>,
    /// Paths that differ from `[cards]`, `[limits]` and `[headers]`; first match wins.
    #[serde(default)]
    pub(super) route: Vec<At<RouteSchema>>,
}

/// What applies to some paths.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteSchema {
    /// Which paths; `*` is any run of characters.
    pub(super) path: At<String>,
    /// Keys of `[cards]` that differ here.
    #[serde(default)]
    pub(super) cards: CardsSchema,
    /// Keys of `[limits]` that differ here.
    #[serde(default)]
    pub(super) limits: LimitsSchema,
    /// Keys of `[headers]` that differ here.
    #[serde(default)]
    pub(super) headers: HeadersSchema,
    /// Who may ask for what here.
    #[serde(default)]
    pub(super) access: RouteAccessSchema,
}

/// What is done with card numbers.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CardsSchema {
    /// In what clients send.
    #[schemars(extend("default" = "tokenize"))]
    pub(super) requests: Option<At<RequestsSchema>>,
    /// In what the shop answers.
    #[schemars(extend("default" = "mask"))]
    pub(super) responses: Option<At<ResponsesSchema>>,
    /// The shape of tokens; those made before it changed stay valid.
    #[schemars(extend("default" = "brand-four"))]
    pub(super) token_format: Option<At<FormatSchema>>,
    /// What happens to an impossible number in one of `card_fields`.
    #[schemars(extend("default" = "pass"))]
    pub(super) invalid_card: Option<At<InvalidSchema>>,
    /// Whether a field name such as `order_id` no longer protects a number that looks like a card.
    #[schemars(extend("default" = false))]
    pub(super) strict: Option<At<bool>>,
    /// More names of fields that hold a card number.
    #[schemars(extend("default" = []))]
    pub(super) card_fields: Option<At<Vec<At<String>>>>,
    /// More names of fields that hold a verification code.
    #[schemars(extend("default" = []))]
    pub(super) cvv_fields: Option<At<Vec<At<String>>>>,
    /// Names of fields that are never looked at.
    #[schemars(extend("default" = []))]
    pub(super) ignored_fields: Option<At<Vec<At<String>>>>,
}

/// What is done with card numbers that clients send.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RequestsSchema {
    Mask,
    Observe,
    Off,
    Reject,
    Tokenize,
}

/// What is done with card numbers that the shop answers.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ResponsesSchema {
    Mask,
    Observe,
    Off,
}

/// The shape of tokens.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FormatSchema {
    BrandFour,
    Opaque,
    SixFour,
    SixFourInvalid,
}

/// What happens to an impossible number in a card field.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum InvalidSchema {
    Pass,
    Reject,
}

/// Sizes.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LimitsSchema {
    /// The largest request body, as it arrives.
    #[schemars(extend("default" = "16MiB"))]
    pub(super) body: Option<At<String>>,
    /// The largest decoded size of a compressed body.
    #[schemars(extend("default" = "64MiB"))]
    pub(super) decoded: Option<At<String>>,
    /// How many times larger a body may become when decoded.
    #[schemars(extend("default" = 100))]
    pub(super) ratio: Option<At<NonZeroU64>>,
    /// The most card numbers in one request body.
    #[schemars(extend("default" = 1000))]
    pub(super) cards: Option<At<NonZeroUsize>>,
    /// The largest body, decoded, that a block with a `body` lets pass.
    #[schemars(extend("default" = "1MiB"))]
    pub(super) block_body: Option<At<String>>,
    /// The most client connections at once. Not in a route.
    #[schemars(extend("default" = 10000))]
    pub(super) connections: Option<At<NonZeroUsize>>,
    /// The most of one client network (IPv4 /32, IPv6 /64). Not in a route.
    #[schemars(extend("default" = 200))]
    pub(super) connections_per_network: Option<At<NonZeroUsize>>,
    /// The most that have not shaken hands yet. Not in a route.
    #[schemars(extend("default" = 2000))]
    pub(super) handshakes: Option<At<NonZeroUsize>>,
    /// The most requests under way. Not in a route.
    #[schemars(extend("default" = 10000))]
    pub(super) requests: Option<At<NonZeroUsize>>,
    /// The most memory for bodies that are read whole before they go on. Not in a route.
    #[schemars(extend("default" = "256MiB"))]
    pub(super) held: Option<At<String>>,
    /// The least that a client must send of a body, and take in of an answer, per second. Not in a
    /// route.
    #[schemars(extend("default" = "500B"))]
    pub(super) client_rate: Option<At<String>>,
}

/// Waits.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TimeoutsSchema {
    /// For a connection to the upstream to stand.
    #[schemars(extend("default" = "5s"))]
    pub(super) connect: Option<At<String>>,
    /// For the whole TLS handshake of a client.
    #[schemars(extend("default" = "10s"))]
    pub(super) handshake: Option<At<String>>,
    /// For the whole head of a request.
    #[schemars(extend("default" = "15s"))]
    pub(super) request_head: Option<At<String>>,
    /// Between two pieces of a request body.
    #[schemars(extend("default" = "30s"))]
    pub(super) request_body_idle: Option<At<String>>,
    /// For the head of the upstream's answer.
    #[schemars(extend("default" = "60s"))]
    pub(super) response_head: Option<At<String>>,
    /// Between two pieces of the upstream's answer.
    #[schemars(extend("default" = "60s"))]
    pub(super) response_body_idle: Option<At<String>>,
    /// For a client to take in a piece of its answer.
    #[schemars(extend("default" = "60s"))]
    pub(super) client_write: Option<At<String>>,
    /// How long an idle client connection is kept.
    #[schemars(extend("default" = "75s"))]
    pub(super) keep_alive: Option<At<String>>,
    /// How long an upgraded connection or a tunnel may be silent.
    #[schemars(extend("default" = "1h"))]
    pub(super) upgrade_idle: Option<At<String>>,
    /// How long a shutdown waits for what is in flight.
    #[schemars(extend("default" = "30s"))]
    pub(super) drain: Option<At<String>>,
    /// How long a new program may take to show that it can serve (SIGUSR2).
    #[schemars(extend("default" = "60s"))]
    pub(super) upgrade: Option<At<String>>,
}

/// Where tokens and sealed card numbers are kept.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct VaultSchema {
    /// The database: `sqlite`, or `postgres://user@host:5432/database?sslmode=verify-full`.
    #[schemars(extend("default" = "sqlite"))]
    pub(super) store: Option<At<String>>,
    /// Where the master key comes from: a file, a variable of the environment or a PKCS#11 device.
    pub(super) master_key: Option<At<MasterKeySchema>>,
    /// The master key before, for as long as `vault rotate --master` has not replaced it.
    pub(super) previous_master_key: Option<At<MasterKeySchema>>,
    /// Where verification codes wait for the gateway: `memory`, or `redis://host:6379` for
    /// instances that share them, sealed; `rediss://` for TLS.
    #[schemars(extend("default" = "memory"))]
    pub(super) cvv_store: Option<At<String>>,
    /// How long a verification code is held for the gateway.
    #[schemars(extend("default" = "15m"))]
    pub(super) cvv_ttl: Option<At<String>>,
}

/// Where the master key comes from; exactly one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct MasterKeySchema {
    /// A file; made on first start. Without `master_key` it is `master.key` in `data_dir`.
    pub(super) file: Option<At<String>>,
    /// The name of a variable of the environment.
    pub(super) env: Option<At<String>>,
    /// A key that never leaves its device; made there on first start.
    pub(super) pkcs11: Option<At<Pkcs11Schema>>,
}

/// A 256-bit AES key in a PKCS#11 device.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pkcs11Schema {
    /// The vendor's library.
    #[schemars(extend("examples" = ["/usr/lib/softhsm/libsofthsm2.so"]))]
    pub(super) module: At<String>,
    /// The label of the token that holds the key.
    pub(super) token_label: At<String>,
    /// The key's own label.
    pub(super) key_label: At<String>,
    /// Where the PIN of the token's user comes from.
    pub(super) pin: At<PinSchema>,
}

/// Where a PIN comes from; exactly one.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub(super) struct PinSchema {
    /// A file that only its owner may read.
    pub(super) file: Option<At<String>>,
    /// The name of a variable of the environment.
    pub(super) env: Option<At<String>>,
}

/// Where failed logins are counted.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CountersSchema {
    /// `local`, or `redis://host:6379` for instances that share them; `rediss://` for TLS.
    #[schemars(extend("default" = "local"))]
    pub(super) store: Option<At<String>>,
    /// What the counters of this process may take.
    #[schemars(extend("default" = "256MiB"))]
    pub(super) memory: Option<At<String>>,
}

/// What is logged.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogSchema {
    /// Where access lines go: `stdout`, `off` or the path of a file.
    #[schemars(extend("default" = "stdout"))]
    pub(super) access: Option<At<String>>,
    /// The shape of access lines.
    #[schemars(extend("default" = "json"))]
    pub(super) access_format: Option<At<AccessFormatSchema>>,
    /// The least level of the operational log on standard error.
    #[schemars(extend("default" = "info"))]
    pub(super) level: Option<At<LevelSchema>>,
}

/// The shape of access lines.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum AccessFormatSchema {
    Combined,
    Json,
}

/// A level of the operational log.
#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum LevelSchema {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
