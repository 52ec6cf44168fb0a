//! What those who accept connections ask of the current generation.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Proxy, Services};
use crate::policy::{ConnectionLimits, Listed, Timeouts};
use crate::tls::Callers;

impl Proxy {
    /// The waits of the current generation, for those who accept connections.
    #[must_use]
    pub fn timeouts(&self) -> Timeouts {
        self.live.peek().snapshot.timeouts.clone()
    }

    /// Whether the current generation believes this proxy about who came before it.
    #[must_use]
    pub fn trusts(&self, proxy: IpAddr) -> bool {
        self.live.peek().snapshot.trusted_proxies.contain(proxy)
    }

    /// How many clients there may be, and whether this one's network may have any number of them:
    /// proxies before us, and whom the operator allows, stand for many.
    #[must_use]
    pub fn doors(&self, client: IpAddr) -> (ConnectionLimits, bool) {
        let generation = self.live.peek();
        let snapshot = &generation.snapshot;
        let allowed = snapshot.networks.find(client.to_canonical()) == Some(Listed::Allowed);
        (snapshot.doors, allowed || snapshot.trusted_proxies.contain(client))
    }

    /// Whose certificates callers of a gateway must show, by the current generation.
    #[must_use]
    pub fn callers(&self, gateway: &str) -> Option<Callers> {
        self.live.peek().callers(gateway)
    }

    /// Looks after the servers that the current generation names, and never ends.
    pub async fn watch_upstreams(self: Arc<Self>) {
        Arc::clone(&self.services.upstreams).watch(&self.live).await;
    }

    /// What outlives reloads.
    #[must_use]
    pub fn services(&self) -> &Arc<Services> {
        &self.services
    }
}
