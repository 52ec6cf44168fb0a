//! The servers behind us: which of them a request goes to, and what is known of each.
//!
//! A [`Targets`] is the servers of one site, as one configuration names them; what is known of a
//! server (its load, its failures, when it came back) is in [`Upstreams`] and outlives reloads: a
//! reload must not send customers to a server that is down. Each address of a name is a server.
//! `choose` picks one of two taken at random, `health` says which are left out, `watch` asks them
//! beside the requests of customers and looks their names up again.

mod budget;
mod choose;
mod health;
mod line;
mod server;
mod sticky;
mod target;
mod targets;
mod watch;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::time::Instant;

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use parking_lot::Mutex;

pub(super) use choose::mix;
pub(super) use sticky::Sticky;
pub(super) use target::Address;
pub use target::TargetError;
pub(super) use targets::Targets;
pub(super) use targets::{Entry, InFlight, Joined, Tried};

use crate::coding::base64;
use crate::policy::{Balance, Maintenance, Upstream};
use crate::telemetry::Metrics;
use budget::Budget;
use line::Line;
use server::Server;
use target::Target;

/// What the key of the tags is derived with.
const KEY_LABEL: &[u8] = b"sticky servers v1";
/// Enough that nobody finds another server's tag.
const TAG_BYTES: usize = 16;

/// What is known of servers. Outlives reloads.
pub struct Upstreams {
    epoch: Instant,
    key: hmac::Key,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// By site, upstream and address.
    servers: HashMap<(String, String, Address), Weak<Server>>,
    sites: HashMap<String, Weak<Site>>,
    names: HashMap<(String, u16), Resolved>,
    last_id: u64,
}

/// What a name leads to.
struct Resolved {
    addresses: Vec<SocketAddr>,
    due: Instant,
    failing: bool,
}

/// What is kept of a site's servers together.
pub(super) struct Site {
    name: String,
    line: Arc<Line>,
    budget: Budget,
    /// Whether the file that closes it is there.
    flagged: AtomicBool,
}

impl Upstreams {
    /// Knows nothing yet. The key is that of the accounts, which instances with one vault share, so
    /// that a client is led to the same server by all of them.
    #[must_use]
    pub fn new(accounts_key: &[u8; 32]) -> Self {
        let accounts = hmac::Key::new(hmac::HMAC_SHA256, accounts_key);
        let derived = hmac::sign(&accounts, KEY_LABEL);
        let key = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        Self { epoch: Instant::now(), key, known: Mutex::default() }
    }

    /// The servers of a site, as a configuration names them.
    ///
    /// # Errors
    /// When one of them cannot be prepared.
    pub(super) fn targets(
        &self,
        site: &str,
        (upstreams, balance): (&[Upstream], &Balance),
        metrics: &Metrics,
    ) -> Result<Targets, TargetError> {
        let target = |upstream: &Upstream| {
            let metrics = metrics.upstream(site, &upstream.to_string());
            Target::new(upstream, metrics).map(Arc::new)
        };
        let upstreams = upstreams.iter().map(target).collect::<Result<Vec<_>, _>>()?;
        let targets = Targets {
            upstreams,
            servers: ArcSwap::default(),
            balance: balance.clone(),
            site: self.site(site),
            epoch: self.epoch,
        };
        self.list(&targets);
        Ok(targets)
    }

    /// Whether the file that closes a site is there, as of now.
    pub(super) fn look_for_flag(&self, targets: &Targets, maintenance: &Maintenance) {
        let flagged = maintenance.flag.as_ref().is_some_and(|flag| flag.exists());
        targets.site.flagged.store(flagged, Relaxed);
    }

    /// Lists every address of every upstream, as far as names have been looked up.
    fn list(&self, targets: &Targets) {
        let site = &targets.site;
        let mut known = self.known.lock();
        let mut servers = Vec::new();
        for target in &targets.upstreams {
            for address in known.addresses(target) {
                let server = known.server(self, (&site.name, target, &address), &site.line);
                let target = Arc::clone(target);
                servers.push(Arc::new(Entry { target, address, server }));
            }
        }
        targets.servers.store(Arc::new(servers));
    }

    fn site(&self, name: &str) -> Arc<Site> {
        let mut known = self.known.lock();
        known.sites.retain(|_, site| site.strong_count() > 0);
        if let Some(site) = known.sites.get(name).and_then(Weak::upgrade) {
            return site;
        }
        let site = Arc::new(Site {
            name: name.to_owned(),
            line: Arc::default(),
            budget: Budget::new(0),
            flagged: AtomicBool::new(false),
        });
        known.sites.insert(name.to_owned(), Arc::downgrade(&site));
        site
    }

    /// Opaque, and no other than ours: a client learns neither the address nor another one's tag.
    fn tag(&self, (site, target, address): (&str, &Target, &Address)) -> String {
        let text = format!("{site}\n{}\n{address}", target.upstream);
        let tag = hmac::sign(&self.key, text.as_bytes());
        base64::encode(tag.as_ref().get(..TAG_BYTES).unwrap_or_default())
    }
}

impl Known {
    fn addresses(&self, target: &Target) -> Vec<Address> {
        if let Some(fixed) = target.fixed() {
            return vec![fixed];
        }
        let Some((host, port)) = target.named() else { return Vec::new() };
        let resolved = self.names.get(&(host.to_owned(), port));
        match resolved.filter(|resolved| !resolved.addresses.is_empty()) {
            Some(resolved) => resolved.addresses.iter().copied().map(Address::At).collect(),
            None => vec![Address::Named(host.to_owned(), port)],
        }
    }

    fn server(
        &mut self,
        upstreams: &Upstreams,
        (site, target, address): (&str, &Target, &Address),
        line: &Arc<Line>,
    ) -> Arc<Server> {
        let key = (site.to_owned(), target.key.clone(), address.clone());
        if let Some(server) = self.servers.get(&key).and_then(Weak::upgrade) {
            return server;
        }
        self.servers.retain(|_, server| server.strong_count() > 0);
        self.last_id += 1;
        let tag = upstreams.tag((site, target, address));
        let server = Arc::new(Server::new(self.last_id, tag, Arc::clone(line)));
        self.servers.insert(key, Arc::downgrade(&server));
        server
    }
}
