//! A snapshot with everything that is prepared once for it: upstream targets and metric handles.

use std::borrow::Cow;
use std::sync::Arc;

use http::Request;

use super::exchange::Exchange;
use super::reject::Rejection;
use super::spelling::Paths;
use super::upstreams::{TargetError, Targets, Upstreams};
use super::{Peer, Role, admit, login};
use crate::policy::{Balance, Gateway, ResponseHeaders, Route, Site, Snapshot, Webhook};
use crate::telemetry::{Metrics, RouteMetrics};
use crate::tls::Callers;

/// One generation of the policy, ready to serve.
pub struct Generation {
    /// What applies.
    pub snapshot: Snapshot,
    /// Parallel to `snapshot.sites`.
    sites: Vec<SiteParts>,
    /// Parallel to `snapshot.gateways`.
    gateways: Vec<GatewayParts>,
}

struct SiteParts {
    targets: Targets,
    /// Parallel to the site's routes.
    routes: Vec<Arc<RouteMetrics>>,
}

struct GatewayParts {
    targets: Targets,
    metrics: Arc<RouteMetrics>,
    callers: Option<Callers>,
}

/// What a request is for.
pub(super) enum Found<'g> {
    /// A payment gateway.
    Gateway(GatewayPlace<'g>),
    /// What proves a name to a certificate authority.
    Proof(String),
    /// Nothing here: `https` on this port.
    Redirect(u16),
    /// A route of a site.
    Site(Place<'g>),
}

/// A route of a site.
pub(super) struct Place<'g> {
    pub(super) site: &'g Site,
    pub(super) route: &'g Route,
    pub(super) targets: &'g Targets,
    pub(super) metrics: &'g Arc<RouteMetrics>,
}

/// A payment gateway.
pub(super) struct GatewayPlace<'g> {
    pub(super) gateway: &'g Arc<Gateway>,
    pub(super) targets: &'g Targets,
    pub(super) metrics: &'g Arc<RouteMetrics>,
}

impl Generation {
    /// Prepares a snapshot.
    ///
    /// # Errors
    /// When an upstream cannot be prepared.
    pub fn new(
        snapshot: Snapshot,
        upstreams: &Upstreams,
        metrics: &Metrics,
    ) -> Result<Self, TargetError> {
        let sites = snapshot.sites.iter().map(|site| {
            let handles = |route: &Route| Arc::new(metrics.route(&site.name.0, &route.name));
            let routes = site.routes.iter().map(handles).collect();
            site.blocks.iter().for_each(|block| metrics.block_known(&site.name.0, &block.name));
            let servers = (site.upstreams.as_slice(), &site.balance);
            let targets = upstreams.targets(&site.name.0, servers, metrics)?;
            upstreams.look_for_flag(&targets, &site.maintenance);
            Ok(SiteParts { targets, routes })
        });
        let sites = sites.collect::<Result<_, TargetError>>()?;
        let gateways = snapshot.gateways.iter().map(|gateway| {
            let name = format!("gateway {}", gateway.name);
            let servers = (std::slice::from_ref(&gateway.upstream), &Balance::default());
            let targets = upstreams.targets(&name, servers, metrics)?;
            let callers = gateway.access.clients.as_ref().map(Callers::new).transpose()?;
            let metrics = Arc::new(metrics.route("gateway", &gateway.name));
            Ok(GatewayParts { targets, metrics, callers })
        });
        let gateways = gateways.collect::<Result<_, TargetError>>()?;
        Ok(Self { snapshot, sites, gateways })
    }

    /// The servers of every site, and of every payment gateway, which is no site.
    pub(super) fn targets(&self) -> impl Iterator<Item = (Option<&Site>, &Targets)> {
        let sites = self.snapshot.sites.iter().zip(&self.sites);
        let sites = sites.map(|(site, parts)| (Some(&**site), &parts.targets));
        sites.chain(self.gateways.iter().map(|parts| (None, &parts.targets)))
    }

    /// What a request is for, by the listener it came to, its host (as admitted) and its path.
    pub(super) fn find<B>(
        &self,
        peer: &Peer,
        host: &str,
        request: &Request<B>,
    ) -> Result<Found<'_>, Rejection> {
        match &peer.role {
            Role::Forward => Err(Rejection::ConnectOnly),
            Role::Gateway(name) => {
                self.gateway(name).map(Found::Gateway).ok_or(Rejection::HostUnknown)
            }
            Role::Intercepted(destination) => {
                admit::called(peer.server_name.as_deref(), request, destination)?;
                let gateway = self.snapshot.gateway_called(destination);
                let place = gateway.and_then(|gateway| self.gateway(&gateway.name));
                place.map(Found::Gateway).ok_or(Rejection::HostUnknown)
            }
            Role::RedirectToHttps(port) => Ok(Found::Redirect(*port)),
            Role::Site => {
                let place = self.place(host, request.uri().path()).ok_or(Rejection::HostUnknown)?;
                self.belongs(peer, &place)?;
                Ok(Found::Site(place))
            }
        }
    }

    /// RFC 9110 §15.5.20 and RFC 6066 §3: a connection that was opened for one site, or for a name that
    /// no site has, is not used for another, whose limits may differ; nor is one that would not be let
    /// in today.
    fn belongs(&self, peer: &Peer, place: &Place<'_>) -> Result<(), Rejection> {
        if peer.admission.as_ref().is_some_and(|admission| !admission.stands()) {
            return Err(Rejection::Misdirected);
        }
        let Some(name) = &peer.server_name else { return Ok(()) };
        match self.snapshot.site(name.trim_end_matches('.')) {
            Some((_, site)) if std::ptr::eq(&**site, place.site) => Ok(()),
            Some(_) | None => Err(Rejection::Misdirected),
        }
    }

    fn place(&self, host: &str, path: &str) -> Option<Place<'_>> {
        let (index, site) = self.snapshot.site(host)?;
        let (route_index, route) = strictest(site, path)?;
        let parts = self.sites.get(index)?;
        let metrics = parts.routes.get(route_index)?;
        Some(Place { site, route, targets: &parts.targets, metrics })
    }

    /// The webhook that a request may be. Every path that the shop may act on counts, whatever its
    /// spelling: nobody is to get round the signature.
    pub(super) fn webhook(&self, place: &Place<'_>, exchange: &Exchange) -> Option<&Arc<Webhook>> {
        let target = &exchange.asked.target;
        let paths = Paths::of(target.split('?').next().unwrap_or_default());
        let site = &place.site.name.0;
        let views = || paths.iter().flat_map(login::guarded_views);
        let covers = |webhook: &&Arc<Webhook>| views().any(|path| webhook.covers(site, path));
        self.snapshot.webhooks.iter().find(covers)
    }

    /// Whose certificates callers of a gateway must show.
    pub(super) fn callers(&self, name: &str) -> Option<Callers> {
        let mut pairs = self.snapshot.gateways.iter().zip(&self.gateways);
        pairs.find(|(gateway, _)| &*gateway.name == name)?.1.callers.clone()
    }

    fn gateway(&self, name: &str) -> Option<GatewayPlace<'_>> {
        let mut pairs = self.snapshot.gateways.iter().zip(&self.gateways);
        let (gateway, parts) = pairs.find(|(gateway, _)| &*gateway.name == name)?;
        Some(GatewayPlace { gateway, targets: &parts.targets, metrics: &parts.metrics })
    }
}

/// The route by the path as a server will read it. Where the path as it is written leads to another
/// one that is stricter, that one: a way round a route must not be a way round its rules.
fn strictest<'s>(site: &'s Site, path: &str) -> Option<(usize, &'s Route)> {
    let written = site.route(path);
    let Cow::Owned(read) = login::normalise(path) else { return written };
    let strictness = |found: &(usize, &Route)| found.1.cards.strictness();
    // Of equals the last: the limits are those of the path as it is read.
    [written, site.route(&read)].into_iter().flatten().max_by_key(strictness)
}

impl<'g> Found<'g> {
    /// What the answer tells browsers.
    pub(super) fn response_headers(&self) -> Option<&'g ResponseHeaders> {
        match self {
            Self::Gateway(_) | Self::Proof(_) | Self::Redirect(_) => None,
            Self::Site(place) => Some(&place.route.headers),
        }
    }

    /// The counters of what was found.
    pub(super) fn metrics(&self) -> Option<&Arc<RouteMetrics>> {
        match self {
            Self::Gateway(place) => Some(place.metrics),
            Self::Proof(_) | Self::Redirect(_) => None,
            Self::Site(place) => Some(place.metrics),
        }
    }
}
