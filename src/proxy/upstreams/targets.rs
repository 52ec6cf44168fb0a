//! The servers of a site, as one configuration names them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use arc_swap::ArcSwap;
use http::StatusCode;

use super::Site;
use super::choose::{self, Choice, Rules, Servers};
use super::health::{Reason, Standing, millis};
use super::line::NoRoom;
use super::server::Server;
use super::target::{Address, Target};
use crate::policy::{Balance, QueueLimits};
use crate::proxy::reject::Rejection;

/// The servers of a site or of a payment gateway.
pub struct Targets {
    pub(super) upstreams: Vec<Arc<Target>>,
    /// Every address of every upstream.
    pub(super) servers: ArcSwap<Vec<Arc<Entry>>>,
    pub(super) balance: Balance,
    /// What is kept over reloads.
    pub(super) site: Arc<Site>,
    pub(super) epoch: Instant,
}

/// An address of an upstream, and what is known of it.
pub(in crate::proxy) struct Entry {
    pub(in crate::proxy) target: Arc<Target>,
    pub(in crate::proxy) address: Address,
    pub(in crate::proxy) server: Arc<Server>,
}

/// A place among the requests that a server works on; given back when dropped.
pub(in crate::proxy) struct InFlight {
    pub(in crate::proxy) entry: Arc<Entry>,
}

/// A connection to a server that has left HTTP. It takes up none of the places that requests have: it
/// may last for hours, and they would wait for it.
pub(in crate::proxy) struct Joined {
    entry: Arc<Entry>,
}

/// Where one request has failed already.
#[derive(Default)]
pub(in crate::proxy) struct Tried(Vec<u64>);

impl Entry {
    /// It has accepted a connection.
    pub(in crate::proxy) fn reached(&self) {
        self.server.health.reached();
    }
}

impl Joined {
    /// Counts one more.
    pub(in crate::proxy) fn with(entry: &Arc<Entry>) -> Self {
        entry.server.join();
        Self { entry: Arc::clone(entry) }
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.entry.server.part();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.entry.server.leave();
    }
}

impl Tried {
    pub(in crate::proxy) fn note(&mut self, entry: &Entry) {
        self.0.push(entry.server.id);
    }

    fn holds(&self, entry: &Entry) -> bool {
        self.0.contains(&entry.server.id)
    }
}

impl Targets {
    /// A place at a server, the one that is wished for if it can be had; waits for one where the
    /// servers have as much to do as they may.
    ///
    /// # Errors
    /// When there is none to be had. `None` is told when there is no server left to try.
    pub(in crate::proxy) async fn enter(
        &self,
        wished: Option<&Arc<Entry>>,
        tried: &Tried,
        mut dice: impl FnMut() -> u64,
    ) -> Result<Option<InFlight>, Rejection> {
        if let Some(wished) = wished.filter(|wished| !tried.holds(wished))
            && let Some(place) = self.enter_wished(wished)
        {
            return Ok(Some(place));
        }
        match self.try_enter(tried, &mut dice) {
            Place::Taken(place) => return Ok(Some(place)),
            Place::None => return Ok(None),
            Place::Full => {}
        }
        let Some(QueueLimits { waiting, wait, .. }) = self.balance.queue else { return Ok(None) };
        let attempt = || match self.try_enter(tried, &mut dice) {
            Place::Taken(place) => Some(Some(place)),
            Place::None => Some(None),
            Place::Full => None,
        };
        let waited = self.site.line.wait((waiting, wait), attempt).await;
        waited.map_err(|no_room| match no_room {
            NoRoom::Full | NoRoom::Late => Rejection::UpstreamBusy { retry_after: wait },
        })
    }

    fn enter_wished(&self, wished: &Arc<Entry>) -> Option<InFlight> {
        let out = matches!(self.standing(wished, self.now()), Standing::Out(_));
        let entered = !out && wished.server.enter(self.in_flight_max());
        entered.then(|| InFlight { entry: Arc::clone(wished) })
    }

    fn try_enter(&self, tried: &Tried, dice: &mut impl FnMut() -> u64) -> Place {
        let servers = self.servers.load();
        let now = if servers.len() > 1 { self.now() } else { 0 };
        let view = View { targets: self, servers: &servers, tried, now };
        let (in_flight_max, panic_percent) = (self.in_flight_max(), self.balance.panic_percent);
        let rules = Rules { in_flight_max, panic_percent };
        // Another thread may take the last place; not for ever.
        for _ in 0..servers.len() {
            match choose::choose(&view, rules, dice()) {
                Choice::Full => return Place::Full,
                Choice::None => return Place::None,
                Choice::One(index) => {
                    let Some(entry) = servers.get(index) else { return Place::None };
                    if entry.server.enter(in_flight_max) {
                        return Place::Taken(InFlight { entry: Arc::clone(entry) });
                    }
                }
            }
        }
        Place::Full
    }

    fn in_flight_max(&self) -> usize {
        self.balance.queue.map_or(usize::MAX, |queue| queue.in_flight.get())
    }

    pub(super) fn standing(&self, entry: &Entry, now: u64) -> Standing {
        entry.server.health.standing(now, self.balance.slow_start)
    }

    /// Milliseconds since the process began.
    pub(in crate::proxy) fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    fn at(&self, instant: Instant) -> u64 {
        millis(instant.saturating_duration_since(self.epoch))
    }

    /// The server that a client had before, by what it shows.
    pub(in crate::proxy) fn tagged(&self, tag: &str) -> Option<Arc<Entry>> {
        let servers = self.servers.load();
        servers.iter().find(|entry| entry.server.tag == tag).map(Arc::clone)
    }

    /// The name of the cookie that leads a client back.
    pub(in crate::proxy) fn sticky(&self) -> Option<&Arc<str>> {
        self.balance.sticky.as_ref()
    }

    /// Whether there is a server that a request has not failed at.
    pub(in crate::proxy) fn has_untried(&self, tried: &Tried) -> bool {
        self.servers.load().iter().any(|entry| !tried.holds(entry))
    }

    /// How often one request is sent, in all.
    pub(in crate::proxy) fn attempts_max(&self) -> u32 {
        self.balance.retry.attempts.get()
    }

    /// Whether one more request may be sent again.
    pub(in crate::proxy) fn may_repeat(&self) -> bool {
        let requests = self.upstreams.iter().map(|target| target.metrics.requests()).sum();
        let allowed = self.site.budget.take(self.now(), requests, self.balance.retry);
        let first = self.upstreams.first();
        first.inspect(|target| target.metrics.repeated(allowed));
        allowed
    }

    /// A server has answered.
    pub(in crate::proxy) fn answered(&self, entry: &Entry, status: StatusCode, begun: Instant) {
        if self.balance.ejection.statuses.contains(&status) {
            return self.failed(entry);
        }
        entry.server.health.succeeded(self.at(begun), self.now());
    }

    /// A server has failed a request.
    pub(in crate::proxy) fn failed(&self, entry: &Entry) {
        // The only one is asked all the same.
        if self.servers.load().len() < 2 {
            return;
        }
        if let Some(time) = entry.server.health.failed(self.now(), &self.balance.ejection) {
            entry.target.metrics.ejected(&entry.address, time);
        }
    }

    /// A server cannot be reached. An address of a name that has never answered while another one has
    /// is no news: many names have an IPv6 address where nobody listens.
    pub(in crate::proxy) fn unreachable(&self, entry: &Entry, rejection: &Rejection) {
        let servers = self.servers.load();
        let spoken_for = |other: &Arc<Entry>| {
            Arc::ptr_eq(&other.target, &entry.target) && other.server.id != entry.server.id
        };
        if entry.server.health.is_unproven() && servers.iter().any(spoken_for) {
            return entry.server.health.leave(self.now(), self.balance.ejection.time_max);
        }
        entry.target.metrics.failed(rejection.reason(), rejection);
        self.failed(entry);
    }

    /// What the operator sees of it now.
    pub(super) fn show(&self) {
        let (servers, now) = (self.servers.load(), self.now());
        for target in &self.upstreams {
            let own = || servers.iter().filter(|entry| Arc::ptr_eq(&entry.target, target));
            let counted = |wanted: fn(Standing) -> bool| {
                own().filter(|entry| wanted(self.standing(entry, now))).count()
            };
            target.metrics.servers(
                counted(|standing| matches!(standing, Standing::Full | Standing::Warming(_))),
                counted(|standing| standing == Standing::Out(Reason::Ejected)),
                counted(|standing| standing == Standing::Out(Reason::Checks)),
            );
            target.metrics.in_flight(own().map(|entry| entry.server.requests()).sum());
        }
        if self.balance.queue.is_some() {
            let first = self.upstreams.first();
            first.inspect(|target| target.metrics.waiting(self.site.line.len()));
        }
    }

    /// Whether the site is closed by its flag.
    pub(in crate::proxy) fn is_flagged(&self) -> bool {
        self.site.flagged.load(Relaxed)
    }
}

enum Place {
    Full,
    None,
    Taken(InFlight),
}

/// The servers, as one request sees them.
struct View<'v> {
    targets: &'v Targets,
    servers: &'v [Arc<Entry>],
    tried: &'v Tried,
    now: u64,
}

impl Servers for View<'_> {
    fn count(&self) -> usize {
        self.servers.len()
    }

    fn standing(&self, index: usize) -> Standing {
        let entry = self.servers.get(index);
        entry.map_or(Standing::Full, |entry| self.targets.standing(entry, self.now))
    }

    fn in_flight(&self, index: usize) -> usize {
        self.servers.get(index).map_or(usize::MAX, |entry| entry.server.requests())
    }

    fn load(&self, index: usize) -> usize {
        self.servers.get(index).map_or(usize::MAX, |entry| entry.server.load())
    }

    fn was_tried(&self, index: usize) -> bool {
        self.servers.get(index).is_some_and(|entry| self.tried.holds(entry))
    }
}
