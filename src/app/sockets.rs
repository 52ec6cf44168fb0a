//! The addresses we listen on, what each is for, and how TLS is spoken there.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use rustls::ServerConfig;

use super::{Addresses, AppError};
use crate::config::{GatewayAddress, Startup};
use crate::policy::Live;
use crate::proxy::{Proxy, Role};
use crate::server::{Bound, Kind, ListenError, Share};
use crate::telemetry::ListenerRole;
use crate::tls::{Acceptor, Identities};

/// Every listening socket, before it is handed out.
pub(super) struct Sockets {
    pub(super) workers: usize,
    bound: Vec<(Bound, Kind)>,
    pub(super) admin: TcpListener,
    pub(super) addresses: Addresses,
    pub(super) listeners: Vec<(ListenerRole, Option<String>, SocketAddr)>,
}

impl Sockets {
    /// Listens everywhere.
    pub(super) fn bind(
        startup: &Startup,
        (identities, proxy): (&Arc<Live<Identities>>, &Arc<Proxy>),
    ) -> Result<Self, AppError> {
        let cores = std::thread::available_parallelism();
        let workers = startup.workers.map_or_else(|| cores.map_or(1, Into::into), Into::into);
        let admin = Bound::single(startup.admin)?;
        let admin_address = admin.local_addr().map_err(AppError::System)?;
        let mut sockets = Self {
            workers,
            bound: Vec::new(),
            admin,
            addresses: Addresses {
                https: Vec::new(),
                http: Vec::new(),
                admin: admin_address,
                gateways: Vec::new(),
                forward: None,
            },
            listeners: vec![(ListenerRole::Admin, None, admin_address)],
        };
        let https_config = Acceptor::new(Arc::clone(identities)).config();
        // Those with TLS first: a redirect must know where to send people.
        let mut listens = startup.listens.clone();
        listens.sort_by_key(|listen| !listen.tls);
        for listen in listens {
            let https = sockets.addresses.https.first().map_or(443, SocketAddr::port);
            let redirect = listen.redirect_to_https.then_some(Role::RedirectToHttps(https));
            let role = redirect.unwrap_or(Role::Site);
            let tls = listen.tls.then(|| Arc::clone(&https_config));
            let kind = Kind { role, tls, proxy_protocol: listen.proxy_protocol };
            let address = sockets.add(listen.address, kind, None)?;
            match listen.tls {
                true => sockets.addresses.https.push(address),
                false => sockets.addresses.http.push(address),
            }
        }
        for GatewayAddress { name, address, tls } in &startup.gateways {
            let role = Role::Gateway(Arc::clone(name));
            let tls = tls.then(|| gateway_tls(name, identities, proxy));
            let kind = Kind { role, tls, proxy_protocol: false };
            let address = sockets.add(*address, kind, Some(name))?;
            sockets.addresses.gateways.push((name.to_string(), address));
        }
        if let Some(address) = startup.forward {
            let kind = Kind { role: Role::Forward, tls: None, proxy_protocol: false };
            sockets.addresses.forward = Some(sockets.add(address, kind, None)?);
        }
        Ok(sockets)
    }

    fn add(
        &mut self,
        address: SocketAddr,
        kind: Kind,
        name: Option<&Arc<str>>,
    ) -> Result<SocketAddr, ListenError> {
        let bound = Bound::new(address, self.workers)?;
        let address = bound.address;
        let role = kind.role.listener(kind.tls.is_some());
        self.listeners.push((role, name.map(ToString::to_string), address));
        self.bound.push((bound, kind));
        Ok(address)
    }

    /// The next worker's part of every listener.
    pub(super) fn shares(&mut self) -> Vec<Share> {
        self.bound.iter_mut().filter_map(|(bound, kind)| bound.share(kind)).collect()
    }
}

/// How TLS is spoken at a gateway's address, as the policy in force demands at each handshake.
fn gateway_tls(
    name: &Arc<str>,
    identities: &Arc<Live<Identities>>,
    proxy: &Arc<Proxy>,
) -> Arc<ServerConfig> {
    let (name, proxy) = (Arc::clone(name), Arc::clone(proxy));
    Acceptor::of_gateway(Arc::clone(identities), move || proxy.callers(&name)).config()
}
