//! Networks of clients and of the proxies before us.

use std::net::IpAddr;

use ipnet::IpNet;

use super::compile::Compiler;
use super::schema::{FileSchema, ForwardedHeaderSchema};
use super::source::At;
use crate::policy::{ForwardedField, TrustedProxies};

impl Compiler<'_> {
    pub(super) fn trusted_proxies(&mut self, file: &FileSchema) -> TrustedProxies {
        let key = "trusted_proxies";
        let mut networks = Vec::new();
        for at in &file.trusted_proxies {
            let Some(network) = network(at.get()) else {
                let message = format!("{} is not a network", self.source.quote(&at.span()));
                self.refuse(&at.span(), key, message, "write it as in \"10.0.0.0/8\"");
                continue;
            };
            if network.prefix_len() == 0 {
                let remedy = "name the networks of your own proxies only";
                self.warn(&at.span(), key, "believes every client about its address", remedy);
            }
            networks.push(network);
        }
        let field = match file.forwarded_header.as_ref().map(At::get) {
            Some(ForwardedHeaderSchema::Forwarded) => ForwardedField::Forwarded,
            Some(ForwardedHeaderSchema::XForwardedFor) | None => ForwardedField::XForwardedFor,
        };
        TrustedProxies { networks, field }
    }
}

/// A network, or an address as the network of one.
fn network(text: &str) -> Option<IpNet> {
    let host = || text.parse::<IpAddr>().map(IpNet::from);
    text.parse::<IpNet>().or_else(|_| host()).ok()
}
