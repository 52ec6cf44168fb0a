//! What a configuration will do, in words for `tillgate check`.

use std::fmt::{self, Write};

use super::{ListenAddress, Loaded, SharedStore, VaultStore};
use crate::policy::{
    Access, AccessRules, AcmeAuthority, AcmeCertificate, AcmeChallenge, ForwardPolicy, Gateway,
    LimitMode, Listed, Otherwise, RevealPolicy, Site, Webhook,
};

/// What will be served, how each route treats card numbers, and what to know about it.
#[must_use]
pub fn summary(loaded: &Loaded) -> String {
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = write(&mut text, loaded);
    text
}

fn write(text: &mut String, loaded: &Loaded) -> fmt::Result {
    for listen in &loaded.startup.listens {
        let header = if listen.proxy_protocol { " behind PROXY headers" } else { "" };
        writeln!(text, "listen {} {}{header}", listen.address, role(listen))?;
    }
    writeln!(text, "admin {}", loaded.startup.admin)?;
    for certificate in &loaded.certificates {
        writeln!(text, "certificate {}", certificate.chain.display())?;
    }
    for certificate in &loaded.acme.certificates {
        write_acme(text, certificate)?;
    }
    if loaded.startup.self_signed {
        writeln!(text, "certificate made up at start, for trying things out")?;
    }
    if let VaultStore::Postgres(address) = &loaded.startup.vault.store {
        writeln!(text, "vault in {address}, sslmode {}", address.tls.mode.as_str())?;
    }
    if let SharedStore::Redis(address) = &loaded.startup.vault.cvv_store {
        writeln!(text, "verification codes in {address}, sealed")?;
    }
    if let SharedStore::Redis(address) = &loaded.startup.counters {
        writeln!(text, "counters in {address}")?;
    }
    let networks = loaded.snapshot.networks.count();
    if networks > 0 {
        writeln!(text, "networks allowed or denied: {networks}")?;
    }
    if loaded.snapshot.proof_of_work.always {
        writeln!(text, "every login must show a proof of work")?;
    }
    for site in &loaded.snapshot.sites {
        write_site(text, site)?;
    }
    for gateway in &loaded.snapshot.gateways {
        write_gateway(text, gateway)?;
    }
    for webhook in &loaded.snapshot.webhooks {
        write_webhook(text, webhook)?;
    }
    if let Some(address) = loaded.startup.forward {
        let ForwardPolicy { others, allow, .. } = &loaded.snapshot.forward;
        let allow: String = allow.iter().map(|to| format!("; tunnels to {to}")).collect();
        writeln!(text, "forward proxy on {address}, other hosts: {}{allow}", others.as_str())?;
    }
    for warning in &loaded.warnings {
        writeln!(text, "warning: {warning}")?;
    }
    Ok(())
}

/// Who will be asked for what, and what they will look at.
fn write_acme(text: &mut String, certificate: &AcmeCertificate) -> fmt::Result {
    writeln!(text, "certificate for {}", certificate.names.join(", "))?;
    for authority in &certificate.authorities {
        let AcmeAuthority { name, directory, challenge, .. } = &**authority;
        let how = match challenge {
            AcmeChallenge::Dns01(hook) => {
                format!("dns-01: runs {}", hook.command.join(" "))
            }
            AcmeChallenge::Http01 => "http-01: it must reach us on port 80".to_owned(),
            AcmeChallenge::TlsAlpn01 => "tls-alpn-01: it must reach us on port 443".to_owned(),
        };
        writeln!(text, "  asks {name} ({directory}) by {how}")?;
    }
    Ok(())
}

fn write_site(text: &mut String, site: &Site) -> fmt::Result {
    let upstreams: Vec<_> = site.upstreams.iter().map(ToString::to_string).collect();
    writeln!(text, "site {} to {}", site.name, upstreams.join(", "))?;
    for login in &site.logins {
        writeln!(text, "  login {} {}", login.method, login.path)?;
    }
    if site.logins.is_empty() {
        writeln!(text, "  logins are recognised by their usual signs")?;
    }
    for guard in &site.guards {
        let (name, kind) = (&guard.name, guard.kind.as_str());
        writeln!(text, "  guard {name} ({kind}) {} {}", guard.method, guard.path)?;
    }
    for block in &site.blocks {
        let (name, status) = (&block.name, block.status.as_u16());
        writeln!(text, "  block {name} {status}{}", observed(block.mode))?;
    }
    for route in &site.routes {
        let cards = &route.cards;
        let (requests, responses) = (cards.requests.as_str(), cards.responses.as_str());
        let (path, format) = (&route.path, cards.format.as_str());
        writeln!(text, "  route {path} requests {requests} ({format}), responses {responses}")?;
        if !route.access.is_open() {
            writeln!(text, "    for {}{}", admitted(&route.access), observed(route.access.mode))?;
        }
    }
    Ok(())
}

fn admitted(access: &AccessRules) -> String {
    let networks = match (access.unlisted, access.networks.count()) {
        (Listed::Denied, count) => format!("{count} networks alone"),
        (Listed::Allowed, 0) => "everybody".to_owned(),
        (Listed::Allowed, count) => format!("all but {count} networks"),
    };
    let methods = access.allowed_methods();
    let methods = if methods.is_empty() { String::new() } else { format!(", {methods}") };
    let fields = access.required.len() + access.forbidden.len();
    let fields = if fields == 0 { String::new() } else { format!(", {fields} rules on fields") };
    format!("{networks}{methods}{fields}")
}

fn observed(mode: LimitMode) -> &'static str {
    match mode {
        LimitMode::Enforce => "",
        LimitMode::Observe => " (observed only)",
    }
}

fn write_gateway(text: &mut String, gateway: &Gateway) -> fmt::Result {
    let listen = gateway.listen.map(|address| format!(" on {address}")).unwrap_or_default();
    let hosts: Vec<_> = gateway.hosts.iter().map(ToString::to_string).collect();
    let named = if hosts.is_empty() { String::new() } else { format!(" as {}", hosts.join(", ")) };
    writeln!(text, "gateway {}{listen}{named} to {}", gateway.name, gateway.upstream)?;
    let Access { bearer, clients } = &gateway.access;
    let callers = match (bearer.is_some(), clients.is_some()) {
        (true, true) => "a certificate and a secret",
        (false, true) => "a certificate",
        (true, false) => "a secret",
        (false, false) => "nothing",
    };
    writeln!(text, "  callers show {callers}")?;
    let RevealPolicy { methods, paths, fields, otherwise } = &gateway.reveal;
    let fields = fields.as_ref().map_or("every field".to_owned(), |fields| list(fields));
    let otherwise = match otherwise {
        Otherwise::Keep => "kept",
        Otherwise::Reject => "refused",
    };
    let (methods, paths) = (list(methods), list(paths));
    writeln!(text, "  reveals {fields} in {methods} of {paths}; elsewhere tokens are {otherwise}")
}

fn write_webhook(text: &mut String, webhook: &Webhook) -> fmt::Result {
    let site = webhook.site.as_deref().unwrap_or("every site");
    writeln!(text, "webhook {} at {} of {site}", webhook.name, webhook.path)
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn role(listen: &ListenAddress) -> &'static str {
    match (listen.tls, listen.redirect_to_https) {
        (true, _) => "https",
        (false, true) => "redirect to https",
        (false, false) => "http",
    }
}
