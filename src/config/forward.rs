//! The forward proxy, and the names that payment gateways are called by through it.

use std::collections::HashMap;

use rustls_pki_types::DnsName;

use super::compile::Compiler;
use super::schema::{FileSchema, ForwardProxySchema, GatewaySchema, OthersSchema};
use super::sockets::Sockets;
use super::source::At;
use crate::policy::{Destination, ForwardPolicy, Others};

impl Compiler<'_> {
    /// Where the shop calls us as its proxy.
    pub(super) fn forward_socket(
        &mut self,
        written: &ForwardProxySchema,
        sockets: &mut Sockets,
    ) -> Option<()> {
        let (key, span) = ("forward_proxy.listen", written.listen.span());
        let address = self.address(key, &written.listen)?;
        if !address.ip().is_loopback() {
            let message = "would let everyone on the network have tokens turned into card numbers";
            self.refuse(&span, key, message, "listen on 127.0.0.1 or [::1]");
            return None;
        }
        self.take(key, &span, address, sockets);
        sockets.forward = Some(address);
        Some(())
    }

    /// What the proxy does with hosts of no gateway.
    pub(super) fn forward_policy(&mut self, file: &FileSchema) -> ForwardPolicy {
        let Some(at) = &file.forward_proxy else { return ForwardPolicy::default() };
        let (key, written) = ("forward_proxy.allow", at.get());
        let others = match written.others.as_ref().map(At::get) {
            Some(OthersSchema::Refuse) | None => Others::Refuse,
            Some(OthersSchema::Tunnel) => Others::Tunnel,
        };
        let names_of = |gateway: &GatewaySchema| gateway.hosts.as_ref().map(names);
        let gateways = file.gateway.iter().filter_map(|gateway| names_of(gateway.get()));
        let intercepted: Vec<Destination> = gateways.flatten().collect();
        if file.gateway.iter().all(|gateway| gateway.get().hosts.is_none()) {
            let remedy = "give a [[gateway]] the `hosts` that the shop calls";
            self.refuse(&at.span(), "forward_proxy", "has no gateway to answer for", remedy);
        }
        let mut allow = Vec::new();
        for at in written.allow.iter().flat_map(|at| at.get()) {
            let Some(to) = self.destination(key, at) else { continue };
            if intercepted.contains(&to) {
                let quoted = self.source.quote(&at.span());
                let message = format!("{quoted} is a gateway's, and never tunnelled");
                self.refuse(&at.span(), key, message, "remove it here, or from the gateway");
            }
            allow.push(to);
        }
        let base = ForwardPolicy::default();
        let tunnels_max = written.tunnels.as_ref().map_or(base.tunnels_max, |at| *at.get());
        ForwardPolicy { others, allow, tunnels_max }
    }

    /// The hosts of each gateway, in the order of the file.
    pub(super) fn gateway_hosts(&mut self, file: &FileSchema) -> Vec<Vec<Destination>> {
        let mut taken = HashMap::new();
        let gateways = file.gateway.iter();
        let all = gateways.map(|at| {
            self.demand_a_way(at, file.forward_proxy.is_some());
            self.demand_open_hosts(at.get());
            self.hosts_of(at.get(), &mut taken)
        });
        all.collect()
    }

    /// A gateway that nobody can come to is a slip.
    fn demand_a_way(&mut self, at: &At<GatewaySchema>, proxied: bool) {
        let remedy = "add a [forward_proxy] with `listen`";
        match (&at.get().listen, &at.get().hosts) {
            (None, None) => {
                let remedy = "add `listen`, or `hosts` and a [forward_proxy]";
                self.refuse(&at.span(), "gateway", "cannot be reached by the shop", remedy);
            }
            (None, Some(hosts)) if !proxied => {
                let message = "cannot be reached: nothing listens for them";
                self.refuse(&hosts.span(), "gateway.hosts", message, remedy);
            }
            (Some(_), Some(hosts)) if !proxied => {
                self.warn(&hosts.span(), "gateway.hosts", "has no use yet", remedy);
            }
            (_, _) => {}
        }
        if let (None, Some(tls)) = (&at.get().listen, &at.get().tls) {
            let message = "has no use without `listen`: tunnels always end in TLS";
            self.refuse(&tls.span(), "gateway.tls", message, "remove it");
        }
    }

    /// A rule that only one of two roads keeps would be taken for one of both.
    fn demand_open_hosts(&mut self, written: &GatewaySchema) {
        let (Some(access), Some(_)) = (&written.access, &written.hosts) else { return };
        let message = "cannot be asked of callers of `hosts`: a shop whose code is fixed has no key to \
                       show inside the tunnel, and the forward proxy is for this machine only";
        let remedy = "remove `access`, or give the `hosts` to a [[gateway]] of their own";
        self.refuse(&access.span(), "gateway.access", message, remedy);
    }

    fn hosts_of(
        &mut self,
        written: &GatewaySchema,
        taken: &mut HashMap<Destination, String>,
    ) -> Vec<Destination> {
        let key = "gateway.hosts";
        let Some(hosts) = &written.hosts else { return Vec::new() };
        if hosts.get().is_empty() {
            self.refuse(&hosts.span(), key, "names no host", "name one, or remove the key");
        }
        let mut found = Vec::new();
        for at in hosts.get() {
            let quoted = self.source.quote(&at.span());
            let Some(to) = self.destination(key, at) else { continue };
            if DnsName::try_from(to.host.as_str()).is_err() {
                let message = format!("{quoted} is no name that a certificate can be made for");
                self.refuse(&at.span(), key, message, "write the name that the shop calls");
                continue;
            }
            if let Some(other) = taken.insert(to.clone(), written.name.get().clone()) {
                let message = format!("{quoted} goes to gateway {other:?} already");
                self.refuse(&at.span(), key, message, "leave it in one place");
            }
            found.push(to);
        }
        found
    }

    fn destination(&mut self, key: &str, at: &At<String>) -> Option<Destination> {
        let found = Destination::parse(at.get());
        if found.is_none() {
            let message = format!("{} is not a host", self.source.quote(&at.span()));
            let remedy = "write it as in \"api.pay.example\" or \"api.pay.example:8443\"";
            self.refuse(&at.span(), key, message, remedy);
        }
        found
    }
}

fn names(hosts: &At<Vec<At<String>>>) -> Vec<Destination> {
    hosts.get().iter().filter_map(|at| Destination::parse(at.get())).collect()
}
