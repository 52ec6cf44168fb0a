//! What a configuration will do, in words for `tillgate check`.

use std::fmt::{self, Write};

use super::{ListenAddress, Loaded, VaultStore};
use crate::policy::{Gateway, Site};

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
        writeln!(text, "listen {} {}", listen.address, role(listen))?;
    }
    writeln!(text, "admin {}", loaded.startup.admin)?;
    for certificate in &loaded.certificates {
        writeln!(text, "certificate {}", certificate.chain.display())?;
    }
    if loaded.startup.self_signed {
        writeln!(text, "certificate made up at start, for trying things out")?;
    }
    if let VaultStore::Postgres(address) = &loaded.startup.vault.store {
        writeln!(text, "vault in {address}, sslmode {}", address.tls.mode.as_str())?;
    }
    for site in &loaded.snapshot.sites {
        write_site(text, site)?;
    }
    for gateway in &loaded.snapshot.gateways {
        write_gateway(text, gateway)?;
    }
    for warning in &loaded.warnings {
        writeln!(text, "warning: {warning}")?;
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
    for route in &site.routes {
        let cards = &route.cards;
        let (requests, responses) = (cards.requests.as_str(), cards.responses.as_str());
        let (path, format) = (&route.path, cards.format.as_str());
        writeln!(text, "  route {path} requests {requests} ({format}), responses {responses}")?;
    }
    Ok(())
}

fn write_gateway(text: &mut String, gateway: &Gateway) -> fmt::Result {
    writeln!(text, "gateway {} on {} to {}", gateway.name, gateway.listen, gateway.upstream)
}

fn role(listen: &ListenAddress) -> &'static str {
    match (listen.tls, listen.redirect_to_https) {
        (true, _) => "https",
        (false, true) => "redirect to https",
        (false, false) => "http",
    }
}
