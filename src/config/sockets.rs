//! The addresses we listen on, and that no two of them are one.

use std::net::SocketAddr;
use std::ops::Range;

use super::compile::{Compiler, is};
use super::schema::{FileSchema, GatewaySchema, ListenSchema};
use super::source::At;
use super::startup::{ADMIN, GatewayAddress, ListenAddress};
use crate::policy::ListenKey;

/// Every socket of the process.
pub(super) struct Sockets {
    pub(super) admin: SocketAddr,
    pub(super) listens: Vec<ListenAddress>,
    pub(super) gateways: Vec<GatewayAddress>,
    pub(super) forward: Option<SocketAddr>,
    taken: Vec<SocketAddr>,
}

impl Compiler<'_> {
    /// `None` when one of the addresses cannot be read.
    pub(super) fn sockets(&mut self, file: &FileSchema) -> Option<Sockets> {
        let mut sockets = Sockets {
            admin: ADMIN,
            listens: Vec::new(),
            gateways: Vec::new(),
            forward: None,
            taken: Vec::new(),
        };
        let mut sound = true;
        for listen in &file.listen {
            self.demand_trust(listen.get(), file);
            sound &= self.listen(listen.get(), &mut sockets).is_some();
        }
        for gateway in &file.gateway {
            sound &= self.gateway_socket(gateway.get(), &mut sockets).is_some();
        }
        if let Some(forward) = &file.forward_proxy {
            sound &= self.forward_socket(forward.get(), &mut sockets).is_some();
        }
        sound &= self.admin(file, &mut sockets).is_some();
        self.warn_of_idle_redirect(file);
        sound.then_some(sockets)
    }

    fn listen(&mut self, written: &ListenSchema, sockets: &mut Sockets) -> Option<()> {
        let span = written.address.span();
        let address = self.address("listen.address", &written.address)?;
        let tls = is(written.tls.as_ref());
        let redirect_to_https = is(written.redirect_to_https.as_ref());
        if let Some(at) = &written.redirect_to_https
            && tls
            && redirect_to_https
        {
            let message = "would send clients from https to https";
            let remedy = "remove it, or set `tls = false`";
            self.refuse(&at.span(), "listen.redirect_to_https", message, remedy);
        }
        if !tls && !redirect_to_https && !address.ip().is_loopback() {
            let message = "takes card numbers and passwords in the clear from the network";
            let remedy = "set `tls = true` or `redirect_to_https = true`";
            self.warn(&span, "listen.address", message, remedy);
        }
        self.take("listen.address", &span, address, sockets);
        let proxy_protocol = is(written.proxy_protocol.as_ref());
        let key = listen_key(address, sockets.listens.iter().map(|listen| listen.address));
        sockets.listens.push(ListenAddress {
            key,
            address,
            tls,
            redirect_to_https,
            proxy_protocol,
        });
        Some(())
    }

    /// A header is believed from trusted proxies only: without any, nobody could connect.
    fn demand_trust(&mut self, written: &ListenSchema, file: &FileSchema) {
        if let Some(at) = &written.proxy_protocol
            && *at.get()
            && file.trusted_proxies.is_empty()
        {
            let message = "is true, but nobody is trusted to send the header";
            let remedy = "name your load balancers in `trusted_proxies`";
            self.refuse(&at.span(), "listen.proxy_protocol", message, remedy);
        }
    }

    fn gateway_socket(&mut self, written: &GatewaySchema, sockets: &mut Sockets) -> Option<()> {
        let Some(listen) = &written.listen else { return Some(()) };
        let (key, span) = ("gateway.listen", listen.span());
        let address = self.address(key, listen)?;
        if !address.ip().is_loopback() {
            self.demand_access(key, &span, written);
        }
        self.take(key, &span, address, sockets);
        let (name, tls) = (written.name.get().as_str().into(), is(written.tls.as_ref()));
        sockets.gateways.push(GatewayAddress { name, address, tls });
        Some(())
    }

    /// Whoever may call a gateway may charge cards: an address that others reach asks who they are.
    fn demand_access(&mut self, key: &str, span: &Range<usize>, written: &GatewaySchema) {
        let access = written.access.as_ref().map(At::get);
        let Some(access) = access else {
            let message = "lets everyone on the network send through this gateway";
            let remedy = "listen on 127.0.0.1, or say who may call with `access`";
            return self.refuse(span, key, message, remedy);
        };
        if let Some(bearer) = &access.bearer
            && !is(written.tls.as_ref())
        {
            let message = "goes over the network in the clear";
            let remedy = "set `tls = true` for this gateway";
            self.warn(&bearer.span(), "gateway.access.bearer", message, remedy);
        }
    }

    fn admin(&mut self, file: &FileSchema, sockets: &mut Sockets) -> Option<()> {
        let key = "admin.listen";
        let Some(at) = &file.admin.listen else {
            // Nothing in the file to point at but the one that took the default's place.
            let clash = file.listen.iter().map(|listen| &listen.get().address);
            let gateways = file.gateway.iter().filter_map(|gateway| gateway.get().listen.as_ref());
            let forward = file.forward_proxy.as_ref().map(|forward| &forward.get().listen);
            let clash = clash.chain(gateways).chain(forward);
            let mut clash =
                clash.filter(|at| at.get().parse().is_ok_and(|other| same(ADMIN, other)));
            let span = clash.next_back().map_or(0..0, At::span);
            self.take(key, &span, ADMIN, sockets);
            return Some(());
        };
        let address = self.address(key, at)?;
        if !address.ip().is_loopback() {
            let message = "shows the metrics to everyone on the network";
            let remedy = "listen on 127.0.0.1, or let a firewall admit the monitoring only";
            self.warn(&at.span(), key, message, remedy);
        }
        self.take(key, &at.span(), address, sockets);
        sockets.admin = address;
        Some(())
    }

    pub(super) fn take(
        &mut self,
        key: &str,
        span: &Range<usize>,
        address: SocketAddr,
        sockets: &mut Sockets,
    ) {
        if let Some(other) = sockets.taken.iter().find(|other| same(**other, address)) {
            let message = format!("{address} clashes with {other}, which is taken already");
            self.refuse(span, key, message, "give each listener a port of its own");
        }
        sockets.taken.push(address);
    }

    fn warn_of_idle_redirect(&mut self, file: &FileSchema) {
        if file.listen.iter().any(|listen| is(listen.get().tls.as_ref())) {
            return;
        }
        let mut redirects = file.listen.iter().filter_map(|at| at.get().redirect_to_https.as_ref());
        if let Some(at) = redirects.find(|at| *at.get()) {
            let message = "sends clients to https, which is not spoken here";
            let remedy = "add a [[listen]] with `tls = true`, unless a proxy before us has it";
            self.warn(&at.span(), "listen.redirect_to_https", message, remedy);
        }
    }
}

/// Names a listener, after those before it in the file.
pub(super) fn listen_key(
    address: SocketAddr,
    before: impl Iterator<Item = SocketAddr>,
) -> ListenKey {
    ListenKey { address, repeat: before.filter(|other| *other == address).count() }
}

/// Whether two addresses cannot both be bound. Those of IPv4 and IPv6 can: `[::]` is bound for IPv6
/// alone.
fn same(one: SocketAddr, other: SocketAddr) -> bool {
    let (a, b) = (one.ip(), other.ip());
    let overlap =
        a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()));
    one.port() == other.port() && one.port() != 0 && overlap
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_includes_each_one_of_its_family() {
        let same = |one: &str, other: &str| same(one.parse().unwrap(), other.parse().unwrap());
        assert!(same("127.0.0.1:80", "127.0.0.1:80"));
        assert!(same("0.0.0.0:80", "127.0.0.1:80"));
        assert!(same("[::1]:80", "[::]:80"));
        assert!(!same("0.0.0.0:80", "[::]:80"));
        assert!(!same("127.0.0.1:80", "127.0.0.2:80"));
        assert!(!same("127.0.0.1:80", "127.0.0.1:81"));
        assert!(!same("127.0.0.1:0", "127.0.0.1:0"));
    }
}
