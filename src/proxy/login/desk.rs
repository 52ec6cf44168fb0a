//! What operators ask of the guard and tell it.
//!
//! The counters know keyed hashes only. Which network locked something is remembered here, in memory and
//! for as long as the lock holds, because an operator must be able to tell an office from a botnet;
//! account names are not. What an operator allows is kept here too: it ends by itself and with the process,
//! and what is to last belongs into the configuration.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::counters::{CounterKey, Lock, Tried};
use crate::policy::{Dimension, SiteName};

/// How many locks are remembered with their networks; a flood of them must not fill memory.
const PLACES_MAX: usize = 10_000;
/// How much operators may allow at once.
const ALLOWED_MAX: usize = 10_000;

/// The desk.
#[derive(Default)]
pub struct Desk {
    places: Mutex<HashMap<CounterKey, LockPlace>>,
    allowed: Mutex<HashMap<(Dimension, CounterKey), Instant>>,
    /// Whether there may be any: most often there is none, and logins need not wait for each other.
    allows_any: AtomicBool,
}

/// Where a lock comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LockPlace {
    /// The site whose attempt was the last.
    pub site: SiteName,
    /// Where that came from.
    pub client: IpAddr,
    until: Instant,
}

/// There is too much allowed already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DeskFull;

impl Desk {
    /// Remembers where a lock comes from.
    pub(super) fn note(&self, site: &SiteName, client: IpAddr, lock: &Lock) {
        let now = Instant::now();
        let mut places = self.places.lock();
        if places.len() >= PLACES_MAX {
            places.retain(|_, place| place.until > now);
        }
        if places.len() < PLACES_MAX {
            let until = now + lock.remaining;
            places.insert(lock.key, LockPlace { site: site.clone(), client, until });
        }
    }

    /// Where a lock comes from, if this process began it.
    #[must_use]
    pub fn place(&self, key: &CounterKey) -> Option<LockPlace> {
        let now = Instant::now();
        self.places.lock().get(key).filter(|place| place.until > now).cloned()
    }

    /// Lets a subject in for a time, or no longer where that is zero.
    ///
    /// # Errors
    /// When too many are let in already.
    pub fn allow(
        &self,
        dimension: Dimension,
        key: CounterKey,
        time: Duration,
    ) -> Result<(), DeskFull> {
        let now = Instant::now();
        let mut allowed = self.allowed.lock();
        if allowed.len() >= ALLOWED_MAX {
            allowed.retain(|_, until| *until > now);
        }
        if time.is_zero() {
            allowed.remove(&(dimension, key));
            return Ok(());
        }
        if allowed.len() >= ALLOWED_MAX {
            return Err(DeskFull);
        }
        allowed.insert((dimension, key), now + time);
        self.allows_any.store(true, Ordering::Release);
        Ok(())
    }

    /// What is let in, and for how long yet.
    #[must_use]
    pub fn allowed(&self) -> Vec<(Dimension, CounterKey, Duration)> {
        let now = Instant::now();
        let allowed = self.allowed.lock();
        let left = |until: &Instant| until.saturating_duration_since(now);
        let rows = allowed.iter().map(|((kind, key), until)| (*kind, *key, left(until)));
        let mut rows: Vec<_> = rows.filter(|(_, _, left)| !left.is_zero()).collect();
        rows.sort();
        rows
    }

    /// Whether an attempt is let in. Of several accounts every one must be: a guesser would else name
    /// the allowed one beside his own.
    #[must_use]
    pub fn allows(&self, tried: &Tried) -> bool {
        if !self.allows_any.load(Ordering::Acquire) {
            return false;
        }
        let now = Instant::now();
        let allowed = self.allowed.lock();
        let holds =
            |dimension, key| allowed.get(&(dimension, key)).is_some_and(|until| *until > now);
        holds(Dimension::Network, tried.network)
            || holds(Dimension::WideNetwork, tried.wide_network)
            || (!tried.accounts.is_empty()
                && tried.accounts.iter().all(|account| holds(Dimension::Account, *account)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> CounterKey {
        CounterKey::from_bytes([byte; 16])
    }

    fn tried(network: u8, accounts: &[u8]) -> Tried {
        let accounts = accounts.iter().map(|account| key(*account)).collect();
        let (site, wide_network) = (key(100), key(101));
        Tried { site, network: key(network), wide_network, accounts, device: None }
    }

    #[test]
    fn what_is_allowed_is_let_in_until_it_is_taken_back() {
        let desk = Desk::default();
        let hour = Duration::from_secs(3600);
        assert!(!desk.allows(&tried(1, &[2])));
        desk.allow(Dimension::Account, key(2), hour).unwrap();
        assert!(desk.allows(&tried(1, &[2])) && !desk.allows(&tried(2, &[3])));
        assert!(!desk.allows(&tried(1, &[2, 3])), "an allowed account beside another");
        assert!(!desk.allows(&tried(1, &[])));
        desk.allow(Dimension::Network, key(1), hour).unwrap();
        assert!(desk.allows(&tried(1, &[3])));
        assert_eq!(desk.allowed().len(), 2);
        desk.allow(Dimension::Account, key(2), Duration::ZERO).unwrap();
        assert!(!desk.allows(&tried(9, &[2])));
    }

    #[test]
    fn no_more_is_allowed_than_there_is_room_for() {
        let desk = Desk::default();
        let hour = Duration::from_secs(3600);
        for number in 0..u128::try_from(ALLOWED_MAX).unwrap() {
            let key = CounterKey::from_bytes(number.to_be_bytes());
            desk.allow(Dimension::Account, key, hour).unwrap();
        }
        assert_eq!(desk.allow(Dimension::Account, key(0xff), hour), Err(DeskFull));
    }
}
