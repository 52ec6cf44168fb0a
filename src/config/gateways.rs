//! The payment gateways: who may call them, what they reveal, and what the provider is shown.

use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderName;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::cards::format_of;
use super::compile::{Compiler, is};
use super::schema::{
    AccessSchema, CredentialsSchema, FileSchema, GatewaySchema, HmacSchema, OtherwiseSchema,
    RevealSchema,
};
use super::secrets::{algorithm, encoding};
use super::sites::{Base, NAME_BYTES_MAX};
use super::source::At;
use crate::coding::base64;
use crate::policy::{
    Access, CertificateFiles, Credentials, Destination, FieldPattern, Gateway, Mac, Otherwise, Pin,
    Quota, RevealPolicy, Scheme, Secret, Upstream,
};

/// A shorter secret could be guessed by a patient script.
const BEARER_BYTES_MIN: usize = 16;

impl Compiler<'_> {
    pub(super) fn gateways(&mut self, file: &FileSchema, base: &Base) -> Vec<Arc<Gateway>> {
        let mut names = HashSet::new();
        let mut hosts = self.gateway_hosts(file).into_iter();
        let mut gateways = Vec::new();
        for at in &file.gateway {
            self.unique_name("gateway", &at.get().name, &mut names);
            let hosts = hosts.next().unwrap_or_default();
            gateways.extend(self.gateway(at.get(), hosts, base).map(Arc::new));
        }
        gateways
    }

    fn gateway(
        &mut self,
        written: &GatewaySchema,
        hosts: Vec<Destination>,
        base: &Base,
    ) -> Option<Gateway> {
        let access = self.access(written);
        let credentials = written.credentials.as_ref().map(|at| self.credentials(at));
        let reveal = self.reveal(written.reveal.as_ref());
        let reveal_limit = self.reveal_limit(written.reveal_limit.as_ref());
        let upstream = self.provider(written)?;
        let key = "gateway.token_format";
        self.warn_of_guesses(key, written.token_format.as_ref());
        let format = written.token_format.as_ref().map(|at| format_of(*at.get()));
        let (request_rules, response_rules) = base.choices.gateway_rules();
        Some(Gateway {
            name: written.name.get().as_str().into(),
            // What is wrong with the address is told with the sockets.
            listen: written.listen.as_ref().and_then(|at| at.get().parse().ok()),
            hosts,
            access: access?,
            upstream,
            credentials: credentials.flatten(),
            reveal,
            reveal_limit,
            request_rules,
            response_rules,
            format: format.unwrap_or_else(|| base.choices.format()),
            limits: base.limits.clone(),
        })
    }

    fn provider(&mut self, written: &GatewaySchema) -> Option<Upstream> {
        let trust = self.trust("gateway.ca", written.ca.as_ref());
        let key = "gateway.upstream";
        let mut upstream = self.upstream(
            key,
            (written.upstream.get(), written.upstream.span()),
            &trust.unwrap_or_default(),
        )?;
        self.demand_verified(key, &written.upstream.span(), &upstream);
        let https = upstream.scheme == Scheme::Https;
        self.warn_of_idle_ca("gateway.ca", written.ca.as_ref(), https);
        upstream.pins = self.pins(written, https);
        if let Some(at) = &written.client_certificate {
            let key = "gateway.client_certificate";
            self.demand_https(key, &at.span(), https);
            let chain = self.readable(&format!("{key}.chain"), &at.get().chain);
            let key = self.readable(&format!("{key}.key"), &at.get().key);
            upstream.client = Some(CertificateFiles::new(chain?, key?));
        }
        Some(upstream)
    }

    fn pins(&mut self, written: &GatewaySchema, https: bool) -> Arc<[Pin]> {
        let (key, Some(list)) = ("gateway.pin", &written.pin) else { return Arc::default() };
        self.demand_https(key, &list.span(), https);
        if list.get().is_empty() {
            let remedy = "name a key, or remove `pin` to accept any";
            self.refuse(&list.span(), key, "names no key", remedy);
        }
        let mut pins = Vec::new();
        for at in list.get() {
            let text = at.get().strip_prefix("sha256/");
            let bytes = text.and_then(base64::decode);
            let pin = bytes.and_then(|bytes| Pin::try_from(bytes).ok());
            if pin.is_none() {
                let message = format!("{} is not a pin", self.source.quote(&at.span()));
                let remedy = "write \"sha256/\" and the base64 of the SHA-256 of a public key";
                self.refuse(&at.span(), key, message, remedy);
            }
            pins.extend(pin);
        }
        pins.into()
    }

    fn demand_https(&mut self, key: &str, span: &std::ops::Range<usize>, https: bool) {
        if !https {
            let message = "has no use: the provider is not spoken to in https";
            self.refuse(span, key, message, "remove it, or write https:// for the upstream");
        }
    }

    /// `None` where what should restrict could not be read: such a gateway must not be open.
    fn access(&mut self, written: &GatewaySchema) -> Option<Access> {
        let Some(at) = &written.access else { return Some(Access::default()) };
        let AccessSchema { bearer, client_ca } = at.get();
        if bearer.is_none() && client_ca.is_none() {
            let remedy = "give `bearer`, `client_ca` or both";
            self.refuse(&at.span(), "gateway.access", "names nobody", remedy);
        }
        let key = "gateway.access.client_ca";
        if let Some(at) = client_ca.as_ref().filter(|_| !is(written.tls.as_ref())) {
            let message = "asks for certificates where no TLS is spoken";
            self.refuse(&at.span(), key, message, "set `tls = true` for this gateway");
        }
        let clients = match client_ca {
            Some(ca) => Some(self.trust(key, Some(ca))?),
            None => None,
        };
        let key = "gateway.access.bearer";
        let Some(at) = bearer else { return Some(Access { bearer: None, clients }) };
        let secret = self.header_secret(key, (at, ""))?;
        if secret.expose().len() < BEARER_BYTES_MIN {
            let message = format!("is shorter than {BEARER_BYTES_MIN} bytes");
            self.refuse(&at.span(), key, message, "make one with: openssl rand -hex 32");
        }
        Some(Access { bearer: Some(secret), clients })
    }

    fn credentials(&mut self, at: &At<CredentialsSchema>) -> Option<Credentials> {
        let table = "gateway.credentials";
        let CredentialsSchema { header, value, prefix, basic, hmac } = at.get();
        match (header, value, basic, hmac) {
            (Some(header), Some(value), None, None) => {
                let name = self.header_name(&format!("{table}.header"), header);
                let prefix = prefix.as_ref().map_or("", |at| at.get().as_str());
                let value = self.header_secret(&format!("{table}.value"), (value, prefix));
                Some(Credentials::Header { name: name?, value: value? })
            }
            (None, None, Some(basic), None) if prefix.is_none() => {
                let (user, password) = (&basic.get().user, &basic.get().password);
                let password = self.secret(&format!("{table}.basic.password"), password)?;
                // RFC 7617 §2: the name ends at the first colon.
                if user.get().contains(':') {
                    let key = format!("{table}.basic.user");
                    self.refuse(&user.span(), &key, "holds a colon", "write the name alone");
                }
                let pair = [user.get().as_bytes(), b":", password.expose()].concat();
                let coded = Zeroizing::new(base64::encode(&Zeroizing::new(pair)));
                let value = [b"Basic ", coded.as_bytes()].concat();
                let value = Secret::new(Zeroizing::new(value));
                Some(Credentials::Header { name: AUTHORIZATION, value })
            }
            (None, None, None, Some(hmac)) if prefix.is_none() => self.signature(hmac.get()),
            _ => {
                let remedy = "give `header` with `value`, or `basic`, or `hmac`";
                self.refuse(&at.span(), table, "is not one kind of credentials", remedy);
                None
            }
        }
    }

    fn signature(&mut self, written: &HmacSchema) -> Option<Credentials> {
        let table = "gateway.credentials.hmac";
        let header = self.header_name(&format!("{table}.header"), &written.header);
        let key = self.secret(&format!("{table}.key"), &written.key);
        let timestamp = self.optional_name(table, written.timestamp_header.as_ref());
        let mac = Mac {
            header: header?,
            algorithm: algorithm(written.algorithm.as_ref()),
            encoding: encoding(written.encoding.as_ref()),
            timestamp,
        };
        Some(Credentials::Signature { mac, key: key? })
    }

    /// A field for the time, where one is named.
    pub(super) fn optional_name(
        &mut self,
        table: &str,
        at: Option<&At<String>>,
    ) -> Option<HeaderName> {
        self.header_name(&format!("{table}.timestamp_header"), at?)
    }

    fn reveal(&mut self, written: Option<&At<RevealSchema>>) -> RevealPolicy {
        let mut policy = RevealPolicy::default();
        let Some(at) = written else { return policy };
        let RevealSchema { methods, paths, fields, otherwise } = at.get();
        let table = "gateway.reveal";
        if let Some(list) = methods {
            let key = format!("{table}.methods");
            policy.methods = self.each(&key, list, |it, at| it.method(&key, at));
        }
        if let Some(list) = paths {
            let key = format!("{table}.paths");
            policy.paths = self.each(&key, list, |it, at| it.path_pattern(&key, at));
        }
        if let Some(list) = fields {
            let key = format!("{table}.fields");
            policy.fields = Some(self.each(&key, list, |it, at| it.field_pattern(&key, at)));
        }
        policy.otherwise = match otherwise.as_ref().map(At::get) {
            Some(OtherwiseSchema::Reject) => Otherwise::Reject,
            Some(OtherwiseSchema::Keep) | None => Otherwise::Keep,
        };
        policy
    }

    /// What a list says, which must say something: an empty one would reveal nothing anywhere.
    fn each<T>(
        &mut self,
        key: &str,
        list: &At<Vec<At<String>>>,
        mut read: impl FnMut(&mut Self, &At<String>) -> Option<T>,
    ) -> Vec<T> {
        if list.get().is_empty() {
            self.refuse(&list.span(), key, "names nothing", "name one, or remove the key");
        }
        list.get().iter().filter_map(|at| read(self, at)).collect()
    }

    fn field_pattern(&mut self, key: &str, at: &At<String>) -> Option<FieldPattern> {
        let pattern = FieldPattern::parse(at.get());
        if pattern.is_none() {
            let remedy = "write it as in \"card[number]\" or \"card.number\"";
            self.refuse(&at.span(), key, "is not the name of a field", remedy);
        }
        pattern
    }

    fn reveal_limit(&mut self, at: Option<&At<String>>) -> Option<Quota> {
        let written = at?;
        let none = Quota { count: std::num::NonZeroU32::MIN, per: std::time::Duration::MAX };
        Some(self.rate("gateway.reveal_limit", Some(written), none))
    }

    /// A name for metrics and logs, which no other of its kind has.
    pub(super) fn unique_name<'n>(
        &mut self,
        table: &str,
        at: &'n At<String>,
        names: &mut HashSet<&'n str>,
    ) {
        let key = format!("{table}.name");
        let quoted = self.source.quote(&at.span());
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = at.get().as_str();
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(sound) {
            let remedy = "use letters, digits, `-`, `_` and `.`";
            self.refuse(&at.span(), &key, format!("{quoted} is not a name"), remedy);
        }
        if !names.insert(name) {
            let message = format!("{quoted} is the name of another {table}");
            self.refuse(&at.span(), &key, message, "give each a name of its own");
        }
    }
}
