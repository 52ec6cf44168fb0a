//! What is done beside the requests of customers: servers are asked how they are, names are looked
//! up again, flags are looked for and gauges set.
//!
//! One loop on the thread that serves no customer. What may take long is a task of its own, one per
//! server and one per name.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use http::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use http::{Request, Uri};
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::health::{Turn, millis};
use super::targets::{Entry, Targets};
use super::{Resolved, Upstreams, mix};
use crate::policy::{HealthCheck, Live};
use crate::proxy::Generation;
use crate::proxy::body::Body;
use crate::proxy::forward::Dialer;

/// How often flags are looked for and gauges set, and how soon a new configuration is seen.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a look-up may take.
const LOOKUP_WAIT: Duration = Duration::from_secs(5);
/// How long the first look-ups may keep us from being ready.
const FIRST_LOOKUP_WAIT: Duration = Duration::from_secs(2);
/// How many addresses of a name are used.
const ADDRESSES_MAX: usize = 64;
/// Servers are not to be asked by all instances at the same time: up to a tenth sooner or later.
const JITTER_PERMILLE: u64 = 100;
/// A host and a port.
type Name = (String, u16);

/// What a look-up has brought.
enum News {
    Failed(io::Error),
    First,
    Moved(usize),
    None,
}

/// What servers' logs show.
const AGENT: HeaderValue = HeaderValue::from_static("tillgate-health");

impl Upstreams {
    /// Looks after the servers of whatever configuration is in force, and never ends.
    pub(in crate::proxy) async fn watch(self: Arc<Self>, policy: &Live<Generation>) {
        let (dialer, tasks) = (Arc::<Dialer>::default(), TaskTracker::new());
        loop {
            // Not kept while it sleeps: the next configuration may come.
            let next = self.round(&policy.load(), (&dialer, &tasks));
            sleep(next).await;
        }
    }

    /// One round; says when the next is due.
    fn round(
        self: &Arc<Self>,
        generation: &Arc<Generation>,
        (dialer, tasks): (&Arc<Dialer>, &TaskTracker),
    ) -> Duration {
        let mut next = LOOK_EVERY;
        for (site, targets) in generation.targets() {
            if let Some(site) = site {
                self.look_for_flag(targets, &site.maintenance);
            }
            targets.show();
            next = next.min(check(targets, (dialer, tasks)));
        }
        for name in self.due(generation) {
            let (upstreams, generation) = (Arc::clone(self), Arc::clone(generation));
            tasks.spawn(async move { upstreams.resolve(&generation, &name).await });
        }
        next
    }

    /// Looks names up for the first time, for as long as a start may wait for it.
    pub async fn begin(&self, generation: &Generation) {
        let all = async {
            for name in self.due(generation) {
                self.resolve(generation, &name).await;
            }
        };
        let _the_rest_follows = timeout(FIRST_LOOKUP_WAIT, all).await;
    }

    /// The names that are to be looked up now.
    fn due(&self, generation: &Generation) -> Vec<Name> {
        let now = Instant::now();
        let mut known = self.known.lock();
        let (mut wanted, mut due) = (Vec::new(), Vec::new());
        for (_, targets) in generation.targets() {
            for (host, port) in targets.upstreams.iter().filter_map(|target| target.named()) {
                let name = (host.to_owned(), port);
                let found = known.names.entry(name.clone()).or_insert_with(|| Resolved {
                    addresses: Vec::new(),
                    due: now,
                    failing: false,
                });
                if found.due <= now {
                    // Where nothing comes of it, it is due again as soon as that is known.
                    found.due = now + LOOKUP_WAIT;
                    due.push(name.clone());
                }
                wanted.push(name);
            }
        }
        known.names.retain(|name, _| wanted.contains(name));
        due
    }

    async fn resolve(&self, generation: &Generation, name: &Name) {
        let found = timeout(LOOKUP_WAIT, lookup_host((name.0.as_str(), name.1))).await;
        let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
        let found = found.unwrap_or_else(late).map(tidied);
        let named = |targets: &&Targets| {
            targets.upstreams.iter().any(|target| target.named() == Some((&name.0, name.1)))
        };
        let all: Vec<&Targets> =
            generation.targets().map(|(_, targets)| targets).filter(named).collect();
        let every = all.iter().map(|targets| targets.balance.resolve_every).min();
        let news = self.note(name, found, every.unwrap_or(LOOKUP_WAIT));
        let its = all.iter().flat_map(|targets| &targets.upstreams);
        let mut its = its.filter(|target| target.named() == Some((&name.0, name.1)));
        match (&news, its.next()) {
            (News::Moved(count), Some(target)) => target.metrics.resolved(*count),
            (News::Failed(error), Some(target)) => target.metrics.unresolved(error),
            (News::First | News::None | News::Moved(_) | News::Failed(_), _) => {}
        }
        if let News::First | News::Moved(_) = news {
            all.iter().for_each(|targets| self.list(targets));
        }
    }

    /// Keeps what a name leads to. One that leads nowhere leads where it did before: that resolvers
    /// are away says nothing about servers.
    fn note(&self, name: &Name, found: io::Result<Vec<SocketAddr>>, every: Duration) -> News {
        let mut known = self.known.lock();
        let Some(known) = known.names.get_mut(name) else { return News::None };
        known.due = Instant::now() + every;
        match found {
            Err(error) if known.failing => {
                debug!(%error, name = name.0, "still cannot be looked up");
                News::None
            }
            Err(error) => {
                known.failing = true;
                News::Failed(error)
            }
            Ok(addresses) => {
                known.failing = false;
                if addresses.is_empty() || addresses == known.addresses {
                    return News::None;
                }
                let count = addresses.len();
                let before = std::mem::replace(&mut known.addresses, addresses);
                if before.is_empty() { News::First } else { News::Moved(count) }
            }
        }
    }
}

/// In an order of their own: resolvers turn theirs round.
fn tidied(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Asks each server whose turn it is; says when the next one's is.
fn check(targets: &Targets, (dialer, tasks): (&Arc<Dialer>, &TaskTracker)) -> Duration {
    let servers = targets.servers.load_full();
    let Some(check) = &targets.balance.check else {
        servers.iter().for_each(|entry| entry.server.health.unchecked());
        return LOOK_EVERY;
    };
    let (now, mut next) = (targets.now(), LOOK_EVERY);
    for entry in servers.iter() {
        let server = &entry.server;
        let due = server.check_due.load(Relaxed);
        if due > now {
            next = next.min(Duration::from_millis(due - now));
            continue;
        }
        let wait = jittered(check.interval, mix(now.wrapping_add(server.id)));
        server.check_due.store(now.saturating_add(millis(wait)), Relaxed);
        next = next.min(wait);
        if !server.being_checked.swap(true, Relaxed) {
            let (entry, dialer) = (Arc::clone(entry), Arc::clone(dialer));
            let (check, epoch) = (check.clone(), targets.epoch);
            tasks.spawn(async move { examine(&entry, &dialer, &check, epoch).await });
        }
    }
    next
}

async fn examine(entry: &Entry, dialer: &Dialer, check: &HealthCheck, epoch: Instant) {
    let answered = timeout(check.timeout, ask(entry, dialer, check)).await;
    let healthy = matches!(answered, Ok(Some(true)));
    let (server, metrics) = (&entry.server, &entry.target.metrics);
    metrics.checked(healthy);
    match server.health.checked(healthy, millis(epoch.elapsed()), check) {
        Some(Turn::Down) => metrics.turned(&entry.address, false),
        Some(Turn::Up) => metrics.turned(&entry.address, true),
        None => {}
    }
    server.being_checked.store(false, Relaxed);
}

/// Whether it answers as a healthy server does; nothing where it does not answer.
async fn ask(entry: &Entry, dialer: &Dialer, check: &HealthCheck) -> Option<bool> {
    let mut sender = dialer.open(entry, check.timeout).await.ok()?;
    let host = check.host.as_deref().map(ToOwned::to_owned);
    let host = host.unwrap_or_else(|| entry.target.upstream.authority());
    let mut request = Request::new(Body::Empty);
    *request.uri_mut() = Uri::from(check.path.clone());
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::try_from(host).ok()?);
    headers.insert(USER_AGENT, AGENT);
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = sender.send(request).await.ok()?;
    Some(check.accepts(answer.status()))
}

/// Up to a tenth sooner or later, by a random number.
fn jittered(interval: Duration, dice: u64) -> Duration {
    let permille = 1_000 - JITTER_PERMILLE + dice % (2 * JITTER_PERMILLE + 1);
    let factor = u32::try_from(permille).unwrap_or(1_000);
    interval.saturating_mul(factor) / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_spread_and_never_far_from_their_interval() {
        let second = Duration::from_secs(1);
        let waits: Vec<_> = (0..1_000).map(|dice| jittered(second, mix(dice))).collect();
        assert!(waits.iter().all(|wait| wait.abs_diff(second) <= Duration::from_millis(100)));
        assert!(waits.iter().max() > waits.iter().min());
    }

    #[test]
    fn the_order_of_a_resolver_is_no_change() {
        let list = |texts: [&str; 3]| tidied(texts.into_iter().map(|text| text.parse().unwrap()));
        let one = list(["10.0.0.2:80", "10.0.0.1:80", "10.0.0.2:80"]);
        assert_eq!(one, list(["10.0.0.1:80", "10.0.0.2:80", "10.0.0.1:80"]));
        assert_eq!(one.len(), 2);
    }
}
