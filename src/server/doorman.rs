//! Who may come in: connections in all, per client network, and those that have not shaken hands.
//!
//! What is full refuses newcomers and nobody else. Nearly full, it waits less for whoever has nothing
//! under way, so that silence makes room for customers. One lock guards the networks; it is held for a
//! look-up, twice per connection.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::policy::{ClientNetwork, ConnectionLimits, Timeouts};
use crate::telemetry::Full;

/// Files that are not connections: listeners, databases, logs, the admin page.
const OWN_FILES: u64 = 256;

/// How long no file must have been wanting for that to be over.
const SATED_MILLIS: u64 = 1_000;

/// Under strain, waits are this part of what they are,
const STRAIN_DIVISOR: u32 = 5;
/// but no shorter than this.
const STRAINED_WAIT_MIN: Duration = Duration::from_secs(1);

/// The counts of the whole process.
pub struct Doorman {
    /// As many connections as there are files for: each may need a second one, to the shop.
    files_allow: usize,
    open: AtomicUsize,
    handshaking: AtomicUsize,
    began: Instant,
    /// Milliseconds from `began` to the last time that no file could be opened, plus one; 0 when
    /// that is over.
    hungry_at: AtomicU64,
    networks: Mutex<HashMap<ClientNetwork, usize>>,
}

/// A connection that has been let in; dropping it makes room.
pub(super) struct Place {
    /// `None` for those that are not counted.
    doorman: Option<Arc<Doorman>>,
    limits: ConnectionLimits,
    network: Option<ClientNetwork>,
}

/// A handshake under way.
pub(super) struct Handshake(Option<Arc<Doorman>>);

/// Waits for whoever has nothing under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Waits {
    pub(super) handshake: Duration,
    pub(super) request_head: Duration,
    pub(super) keep_alive: Duration,
}

impl Doorman {
    /// For a process that may open so many files.
    #[must_use]
    pub fn new(files_max: Option<u64>) -> Arc<Self> {
        let files = files_max.unwrap_or(u64::MAX);
        let own = OWN_FILES.min(files / 4);
        let files_allow = usize::try_from((files - own) / 2).unwrap_or(usize::MAX);
        Arc::new(Self {
            files_allow: files_allow.max(1),
            open: AtomicUsize::new(0),
            handshaking: AtomicUsize::new(0),
            began: Instant::now(),
            hungry_at: AtomicU64::new(0),
            networks: Mutex::default(),
        })
    }

    /// How many connections there are files for.
    #[must_use]
    pub fn files_allow(&self) -> usize {
        self.files_allow
    }

    /// The same, where these limits ask for more.
    #[must_use]
    pub fn falls_short(&self, limits: &ConnectionLimits) -> Option<usize> {
        (self.files_allow < limits.connections_max.get()).then_some(self.files_allow)
    }

    /// Lets a connection in, or says what is full.
    pub(super) fn admit(self: &Arc<Self>, limits: ConnectionLimits) -> Result<Place, Full> {
        let most = self.connections_max(&limits);
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        // From here on, dropping the place takes it back.
        let place = Place { doorman: Some(Arc::clone(self)), limits, network: None };
        if before < most { Ok(place) } else { Err(Full::Connections) }
    }

    /// No file could be opened; whether that is news.
    pub(super) fn is_hungry(&self) -> bool {
        self.hungry_at.swap(self.millis().saturating_add(1), Ordering::Relaxed) == 0
    }

    /// A file could be opened; whether it is news that they can be again. One that another thread
    /// closed a moment ago is not.
    pub(super) fn is_fed_again(&self) -> bool {
        let since = self.hungry_at.load(Ordering::Relaxed);
        let over = since > 0 && self.millis().saturating_sub(since) >= SATED_MILLIS;
        let taken = Ordering::Relaxed;
        over && self.hungry_at.compare_exchange(since, 0, taken, taken).is_ok()
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn connections_max(&self, limits: &ConnectionLimits) -> usize {
        limits.connections_max.get().min(self.files_allow)
    }

    fn is_strained(&self, limits: &ConnectionLimits) -> bool {
        let nearly = |count: &AtomicUsize, most: usize| {
            count.load(Ordering::Relaxed) >= most.saturating_sub(most / 4)
        };
        nearly(&self.open, self.connections_max(limits))
            || nearly(&self.handshaking, limits.handshakes_max.get())
            || self.hungry_at.load(Ordering::Relaxed) > 0
    }
}

impl Place {
    /// A connection that no client makes: the shop's own ways out are not closed by a flood.
    pub(super) fn uncounted() -> Self {
        Self { doorman: None, limits: ConnectionLimits::default(), network: None }
    }

    /// Counts it among those of its client's network.
    pub(super) fn come_from(&mut self, client: IpAddr) -> Result<(), Full> {
        let Some(doorman) = &self.doorman else { return Ok(()) };
        let network = ClientNetwork::of(client);
        let mut networks = doorman.networks.lock();
        let count = networks.entry(network).or_default();
        if *count >= self.limits.per_network_max.get() {
            return Err(Full::Network);
        }
        *count += 1;
        self.network = Some(network);
        Ok(())
    }

    /// Begins a handshake.
    pub(super) fn shake_hands(&self) -> Result<Handshake, Full> {
        let Some(doorman) = &self.doorman else { return Ok(Handshake::uncounted()) };
        let before = doorman.handshaking.fetch_add(1, Ordering::Relaxed);
        let handshake = Handshake(Some(Arc::clone(doorman)));
        let room = before < self.limits.handshakes_max.get();
        if room { Ok(handshake) } else { Err(Full::Handshakes) }
    }

    /// How long to wait as things are now.
    pub(super) fn waits(&self, timeouts: &Timeouts) -> Waits {
        let strained = self.doorman.as_ref().is_some_and(|door| door.is_strained(&self.limits));
        let cut = |wait: Duration| match strained {
            true => (wait / STRAIN_DIVISOR).max(STRAINED_WAIT_MIN).min(wait),
            false => wait,
        };
        Waits {
            handshake: cut(timeouts.handshake),
            request_head: cut(timeouts.request_head),
            keep_alive: cut(timeouts.keep_alive),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(doorman) = &self.doorman else { return };
        doorman.open.fetch_sub(1, Ordering::Relaxed);
        let Some(network) = self.network else { return };
        let mut networks = doorman.networks.lock();
        let left = networks.get_mut(&network).map(|count| {
            *count -= 1;
            *count
        });
        if left == Some(0) {
            networks.remove(&network);
        }
    }
}

impl Handshake {
    /// One that no client makes.
    pub(super) fn uncounted() -> Self {
        Self(None)
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        if let Some(doorman) = &self.0 {
            doorman.handshaking.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;

    fn count(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).unwrap()
    }

    fn limits() -> ConnectionLimits {
        ConnectionLimits {
            connections_max: count(8),
            per_network_max: count(2),
            handshakes_max: count(1),
            requests_max: count(1),
            ..ConnectionLimits::default()
        }
    }

    fn admit(doorman: &Arc<Doorman>, client: &str) -> Result<Place, Full> {
        let mut place = doorman.admit(limits())?;
        place.come_from(client.parse().unwrap())?;
        Ok(place)
    }

    #[test]
    fn a_network_has_its_share_and_gets_it_back() {
        let doorman = Doorman::new(None);
        let held = [admit(&doorman, "2001:db8::1").ok(), admit(&doorman, "2001:db8::2").ok()];
        assert!(held.iter().all(Option::is_some));
        assert_eq!(admit(&doorman, "2001:db8::3").err(), Some(Full::Network));
        assert!(admit(&doorman, "2001:db8:0:1::1").is_ok(), "another /64");
        drop(held);
        assert!(admit(&doorman, "2001:db8::3").is_ok());
        assert!(doorman.networks.lock().is_empty());
        assert_eq!(doorman.open.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_ipv4_client_is_the_same_one_over_ipv6() {
        let doorman = Doorman::new(None);
        let held = [admit(&doorman, "192.0.2.1").ok(), admit(&doorman, "::ffff:192.0.2.1").ok()];
        assert_eq!(admit(&doorman, "192.0.2.1").err(), Some(Full::Network));
        drop(held);
    }

    #[test]
    fn nobody_is_let_in_beyond_what_there_are_files_for() {
        let doorman = Doorman::new(Some(8));
        assert_eq!(doorman.falls_short(&limits()), Some(3));
        let held: Vec<_> = (0..3).map(|_| doorman.admit(limits()).ok()).collect();
        assert!(held.iter().all(Option::is_some));
        assert_eq!(doorman.admit(limits()).err(), Some(Full::Connections));
        drop(held);
        assert!(doorman.admit(limits()).is_ok());
        assert_eq!(Doorman::new(None).falls_short(&limits()), None);
    }

    #[test]
    fn handshakes_are_bounded_apart() {
        let doorman = Doorman::new(None);
        let place = doorman.admit(limits()).ok().unwrap();
        let first = place.shake_hands();
        assert_eq!(place.shake_hands().err(), Some(Full::Handshakes));
        drop(first);
        assert!(place.shake_hands().is_ok());
    }

    #[test]
    fn silence_is_borne_for_less_time_when_room_is_short() {
        let doorman = Doorman::new(None);
        let timeouts = Timeouts::default();
        let mut held: Vec<_> = (0..5).flat_map(|_| doorman.admit(limits())).collect();
        let waits = held[0].waits(&timeouts);
        assert_eq!(waits.keep_alive, timeouts.keep_alive);
        held.extend(doorman.admit(limits()));
        let waits = held[0].waits(&timeouts);
        assert_eq!(waits.keep_alive, Duration::from_secs(15));
        assert_eq!(waits.request_head, Duration::from_secs(3));
        assert_eq!(Place::uncounted().waits(&timeouts).keep_alive, timeouts.keep_alive);
        let brief = Timeouts { keep_alive: Duration::from_millis(100), ..timeouts };
        assert_eq!(held[0].waits(&brief).keep_alive, Duration::from_millis(100));
    }

    #[test]
    fn hunger_is_news_once_and_so_is_its_end() {
        let doorman = Doorman::new(None);
        assert!(!doorman.is_fed_again());
        assert_eq!([doorman.is_hungry(), doorman.is_hungry()], [true, false]);
        assert!(!doorman.is_fed_again(), "a moment ago there was none");
        let began = doorman.began.checked_sub(Duration::from_secs(2)).unwrap();
        let doorman = Doorman { began, ..Arc::into_inner(doorman).unwrap() };
        assert_eq!([doorman.is_fed_again(), doorman.is_fed_again()], [true, false]);
    }
}
