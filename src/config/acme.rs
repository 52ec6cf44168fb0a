//! Certificates that are asked for: of whom, for which names, and how these are proven.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use http::Uri;
use zeroize::Zeroizing;

use super::compile::{Compiler, is};
use super::master_key::is_variable;
use super::schema::{
    AcmeChallengeSchema, AcmeSchema, CertificateSchema, DnsHookSchema, ExternalAccountSchema,
    FileSchema,
};
use super::source::At;
use crate::policy::{
    AcmeAuthority, AcmeCertificate, AcmeChallenge, AcmePolicy, DnsHook, ExternalAccount, Secret,
};

/// Directories that go by a name.
const KNOWN: [(&str, &str); 4] = [
    ("google", "https://dv.acme-v02.api.pki.goog/directory"),
    ("letsencrypt", "https://acme-v02.api.letsencrypt.org/directory"),
    ("letsencrypt-staging", STAGING),
    ("zerossl", "https://acme.zerossl.com/v2/DV90"),
];
const STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// Four failed tries in the first hour, and Let's Encrypt allows five.
const RETRY: Duration = Duration::from_secs(5 * 60);
const RETRY_MIN: Duration = Duration::from_secs(1);
const HOOK_TIMEOUT: Duration = Duration::from_secs(2 * 60);
const PROPAGATION: Duration = Duration::from_secs(30);

/// What the authorities in the field take.
const NAMES_MAX: usize = 100;
/// RFC 1035 §2.3.4.
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

impl Compiler<'_> {
    /// What is asked of whom.
    pub(super) fn acme(&mut self, file: &FileSchema) -> AcmePolicy {
        let mut names = HashSet::new();
        let mut authorities = Vec::new();
        for at in &file.acme {
            self.unique_name("acme", &at.get().name, &mut names);
            authorities.push((at, self.authority(at, file).map(Arc::new)));
        }
        let mut certificates: Vec<AcmeCertificate> = Vec::new();
        for at in &file.certificate {
            let Some(wanted) = &at.get().acme else { continue };
            let Some(certificate) = self.asked_for(at, wanted, &authorities) else { continue };
            if certificates.iter().any(|other| other.label() == certificate.label()) {
                let message = format!("is the second one that begins with {}", certificate.label());
                let remedy = "put all names into one, or another name first";
                self.refuse(&at.span(), "certificate.names", message, remedy);
            }
            certificates.push(certificate);
        }
        for (at, _) in &authorities {
            let name = at.get().name.get();
            let wants = |at: &At<CertificateSchema>| {
                at.get().acme.iter().any(|all| all.get().iter().any(|one| one.get() == name))
            };
            if !file.certificate.iter().any(wants) {
                let remedy = "name it in `acme` of a [[certificate]], or remove it";
                self.warn(&at.span(), "acme", "is asked for nothing", remedy);
            }
        }
        AcmePolicy { certificates }
    }

    fn authority(&mut self, at: &At<AcmeSchema>, file: &FileSchema) -> Option<AcmeAuthority> {
        let written = at.get();
        let directory = self.directory(&written.directory);
        let trust = self.trust("acme.ca", written.ca.as_ref());
        if !*written.terms_agreed.get() {
            let message = "is false, and no authority issues anything then";
            let remedy = "read its terms of service, and set it to true";
            self.refuse(&written.terms_agreed.span(), "acme.terms_agreed", message, remedy);
        }
        let challenge = self.challenge(at, file);
        let external_account = match &written.external_account {
            Some(at) => Some(self.external_account(at)?),
            None => None,
        };
        let contact = self.contact(written.contact.as_ref());
        let retry = self.duration("acme.retry", written.retry.as_ref(), RETRY);
        if let Some(at) = &written.retry
            && retry < RETRY_MIN
        {
            self.refuse(&at.span(), "acme.retry", "is too short", "write \"1s\" or more");
        }
        Some(AcmeAuthority {
            name: written.name.get().clone(),
            directory: directory?,
            trust: trust?,
            contact,
            challenge: challenge?,
            external_account,
            retry,
        })
    }

    fn directory(&mut self, at: &At<String>) -> Option<String> {
        let key = "acme.directory";
        let text = at.get().as_str();
        let known = KNOWN.iter().find(|(name, _)| *name == text).map(|(_, url)| *url);
        let url = known.unwrap_or(text);
        if url == STAGING {
            let message = "issues certificates for trying out, which no browser trusts";
            self.warn(&at.span(), key, message, "write \"letsencrypt\" once it works");
        }
        let uri = url.parse::<Uri>().ok();
        let sound = uri.filter(|uri| {
            uri.scheme_str() == Some("https")
                && uri.authority().is_some_and(|at| !at.as_str().contains('@'))
        });
        if sound.is_none() {
            let quoted = self.source.quote(&at.span());
            let names = KNOWN.map(|(name, _)| name).join(", ");
            let remedy = format!("write https:// and the rest, or one of {names}");
            self.refuse(&at.span(), key, format!("{quoted} is no directory"), remedy);
        }
        sound.map(|_| url.to_owned())
    }

    fn contact(&mut self, written: Option<&At<Vec<At<String>>>>) -> Vec<String> {
        let mut contact = Vec::new();
        for at in written.into_iter().flat_map(At::get) {
            let address = at.get().strip_prefix("mailto:").unwrap_or(at.get());
            let sound = address.split_once('@').is_some_and(|(user, host)| {
                !user.is_empty() && host.contains('.') && !address.contains([' ', ',', '?', '\n'])
            });
            if !sound {
                let message = format!("{} is no e-mail address", self.source.quote(&at.span()));
                self.refuse(&at.span(), "acme.contact", message, "as in \"ops@shop.example\"");
            }
            contact.push(format!("mailto:{address}"));
        }
        contact
    }

    fn challenge(&mut self, at: &At<AcmeSchema>, file: &FileSchema) -> Option<AcmeChallenge> {
        let written = at.get();
        let chosen = written.challenge.as_ref().map(|at| *at.get());
        let chosen = chosen.unwrap_or(AcmeChallengeSchema::Http01);
        let span = written.challenge.as_ref().map_or(at.span(), At::span);
        if let Some(hook) = &written.hook
            && !matches!(chosen, AcmeChallengeSchema::Dns01)
        {
            let remedy = "remove it, or set `challenge = \"dns-01\"`";
            self.refuse(&hook.span(), "acme.hook", "has a use for dns-01 alone", remedy);
        }
        match (chosen, &written.hook) {
            (AcmeChallengeSchema::Dns01, Some(hook)) => {
                self.dns_hook(hook).map(AcmeChallenge::Dns01)
            }
            (AcmeChallengeSchema::Dns01, None) => {
                let remedy = "add `hook = { command = [\"/usr/local/bin/dns-hook\"] }`";
                self.refuse(
                    &span,
                    "acme.challenge",
                    "needs a command that changes the DNS",
                    remedy,
                );
                None
            }
            (AcmeChallengeSchema::Http01, _) => {
                let reached = |tls: bool, port| !tls && port == 80;
                self.demand_port((&span, 80), file, reached);
                Some(AcmeChallenge::Http01)
            }
            (AcmeChallengeSchema::TlsAlpn01, _) => {
                let reached = |tls: bool, port| tls && port == 443;
                self.demand_port((&span, 443), file, reached);
                Some(AcmeChallenge::TlsAlpn01)
            }
        }
    }

    /// The authority comes to one port alone (RFC 8555 §8.3, RFC 8737 §3).
    fn demand_port(
        &mut self,
        (span, port): (&std::ops::Range<usize>, u16),
        file: &FileSchema,
        reached: impl Fn(bool, u16) -> bool,
    ) {
        let listens = file.listen.iter().map(At::get).any(|listen| {
            let address = listen.address.get().parse::<std::net::SocketAddr>();
            address.is_ok_and(|address| reached(is(listen.tls.as_ref()), address.port()))
        });
        if !listens {
            let message = format!("is asked on port {port}, where nothing listens here");
            let remedy = "add that [[listen]], unless what stands before us leads the port here";
            self.warn(span, "acme.challenge", message, remedy);
        }
    }

    fn dns_hook(&mut self, at: &At<DnsHookSchema>) -> Option<DnsHook> {
        let written = at.get();
        let command: Vec<String> =
            written.command.get().iter().map(|part| part.get().clone()).collect();
        if !command.first().is_some_and(|program| Path::new(program).is_absolute()) {
            let message = "does not begin with the absolute path of a program";
            let remedy =
                "write it as in [\"/usr/local/bin/dns-hook\", \"--zone\", \"shop.example\"]";
            self.refuse(&written.command.span(), "acme.hook.command", message, remedy);
            return None;
        }
        let mut environment = Vec::new();
        for at in written.environment.iter().flat_map(At::get) {
            if !is_variable(at.get()) {
                let message = "is not the name of a variable";
                let remedy = "give the name alone, in letters, digits and `_`";
                self.refuse(&at.span(), "acme.hook.environment", message, remedy);
            }
            environment.push(at.get().clone());
        }
        let timeout = self.duration("acme.hook.timeout", written.timeout.as_ref(), HOOK_TIMEOUT);
        let key = "acme.hook.propagation";
        let propagation = self.duration(key, written.propagation.as_ref(), PROPAGATION);
        Some(DnsHook { command, environment, timeout, propagation })
    }

    fn external_account(&mut self, at: &At<ExternalAccountSchema>) -> Option<ExternalAccount> {
        let ExternalAccountSchema { key_id, hmac_key } = at.get();
        let key = "acme.external_account.hmac_key";
        let written = self.secret(key, hmac_key)?;
        let text = std::str::from_utf8(written.expose()).unwrap_or_default().trim_end_matches('=');
        // RFC 8555 §7.3.4 leaves the form to the authority; these two are what they show.
        let decoded = BASE64_URL_SAFE_NO_PAD.decode(text);
        let Ok(decoded) = decoded.or_else(|_| BASE64_STANDARD_NO_PAD.decode(text)) else {
            let remedy = "copy it again as the authority shows it";
            self.refuse(&hmac_key.span(), key, "is not base64", remedy);
            return None;
        };
        let key = Secret::new(Zeroizing::new(decoded));
        Some(ExternalAccount { key_id: key_id.get().clone(), key })
    }

    fn asked_for(
        &mut self,
        at: &At<CertificateSchema>,
        wanted: &At<Vec<At<String>>>,
        known: &[(&At<AcmeSchema>, Option<Arc<AcmeAuthority>>)],
    ) -> Option<AcmeCertificate> {
        let names = self.certificate_names(at)?;
        let mut authorities = Vec::new();
        for one in wanted.get() {
            let found = known.iter().find(|(at, _)| at.get().name.get() == one.get());
            let Some((_, authority)) = found else {
                let message = format!("{} is no [[acme]]", self.source.quote(&one.span()));
                self.refuse(&one.span(), "certificate.acme", message, "name one of this file");
                continue;
            };
            authorities.extend(authority.clone());
        }
        if wanted.get().is_empty() {
            let remedy = "name an [[acme]], or several in the order they are to be asked";
            self.refuse(&wanted.span(), "certificate.acme", "is empty", remedy);
        }
        let by_name = |one: &&Arc<AcmeAuthority>| !matches!(one.challenge, AcmeChallenge::Dns01(_));
        if let Some(authority) = authorities.iter().find(by_name)
            && let Some(wildcard) = names.iter().find(|name| name.starts_with("*."))
        {
            // RFC 8555 §8.4 and the CA/Browser Forum's Baseline Requirements §3.2.2.4.
            let (name, how) = (&authority.name, authority.challenge.as_str());
            let message = format!("{wildcard} cannot be proven to {name} by {how}");
            let remedy = "use an [[acme]] with `challenge = \"dns-01\"`";
            self.refuse(&at.span(), "certificate.names", message, remedy);
        }
        (!authorities.is_empty()).then_some(AcmeCertificate { names, authorities })
    }

    fn certificate_names(&mut self, at: &At<CertificateSchema>) -> Option<Vec<String>> {
        let key = "certificate.names";
        let Some(written) = at.get().names.as_ref().filter(|names| !names.get().is_empty()) else {
            let remedy = "write `names = [\"shop.example\"]`";
            self.refuse(&at.span(), key, "are missing for a certificate that is asked for", remedy);
            return None;
        };
        let mut names: Vec<String> = Vec::new();
        for one in written.get() {
            let name = one.get().to_ascii_lowercase();
            if !is_dns_name(&name) {
                let message = format!("{} is no DNS name", self.source.quote(&one.span()));
                let remedy = "write it as in \"shop.example\" or \"*.shop.example\"";
                self.refuse(&one.span(), key, message, remedy);
            }
            if !names.contains(&name) {
                names.push(name);
            }
        }
        if names.len() > NAMES_MAX {
            let remedy = "split them among several [[certificate]]";
            self.refuse(&written.span(), key, format!("are more than {NAMES_MAX}"), remedy);
        }
        Some(names)
    }
}

/// A name of at least two labels, or `*.` before one; international ones in their ASCII form.
fn is_dns_name(name: &str) -> bool {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    let label = |label: &str| {
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(inside)
    };
    let address =
        bare.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= NAME_BYTES_MAX && bare.contains('.') && bare.split('.').all(label) && !address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_names_and_no_addresses() {
        for name in ["shop.example", "*.shop.example", "xn--bcher-kva.example", "a-b.c9"] {
            assert!(is_dns_name(name), "{name}");
        }
        for name in
            ["", "localhost", "*", "*.*.example", "a..b", "-a.b", "192.0.2.1", "a_b.c", "a.b/../c"]
        {
            assert!(!is_dns_name(name), "{name}");
        }
    }
}
