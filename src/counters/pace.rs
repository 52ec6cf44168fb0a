//! Plain rates, beside those of logins: of things that the configuration names, and of networks.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::KeyHasher;
use super::local::{Bucket, Table};
use crate::policy::Quota;

/// What the networks remembered may take: some 35,000 of them.
const MEMORY_BYTES: usize = 1 << 20;

/// How often each named thing has happened. Names are the configuration's, so they are few.
#[derive(Default)]
pub struct Paces(Mutex<HashMap<Arc<str>, Bucket>>);

impl Paces {
    /// Takes so many at once, or none of them.
    ///
    /// # Errors
    /// How long until there is room.
    pub fn take(
        &self,
        name: &Arc<str>,
        count: u32,
        now: Duration,
        quota: Quota,
    ) -> Result<(), Duration> {
        let mut buckets = self.0.lock();
        let bucket = buckets.entry(Arc::clone(name)).or_default();
        let mut taken = *bucket;
        for _ in 0..count {
            taken.take(now, quota)?;
        }
        *bucket = taken;
        Ok(())
    }
}

/// What networks have done wrong. When the table is full, those with the least to pay for go first.
pub struct Strikes {
    hasher: KeyHasher,
    networks: Table<Bucket>,
}

impl Strikes {
    /// None yet; the key keeps strangers from aiming at a place in the table.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { hasher: KeyHasher::new(key), networks: Table::new(MEMORY_BYTES) }
    }

    /// Whether a network may try.
    ///
    /// # Errors
    /// How long it must wait.
    pub fn admits(&self, client: IpAddr, now: Duration, quota: Quota) -> Result<(), Duration> {
        let key = self.hasher.network(None, client);
        // A copy pays for the question.
        let copy = self.networks.look(&key, |bucket| *bucket);
        copy.unwrap_or_default().take(now, quota)
    }

    /// Notes that it did wrong.
    pub fn strike(&self, client: IpAddr, now: Duration, quota: Quota) {
        let key = self.hasher.network(None, client);
        let _full_or_waiting = self.networks.with(key, now, |bucket| bucket.take(now, quota));
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn quota(count: u32) -> Quota {
        Quota { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(60) }
    }

    #[test]
    fn a_group_passes_whole_or_not_at_all() {
        let (paces, name, now) = (Paces::default(), Arc::from("pay"), Duration::from_secs(9));
        assert_eq!(paces.take(&name, 4, now, quota(6)), Ok(()));
        assert_eq!(paces.take(&name, 3, now, quota(6)), Err(Duration::from_secs(10)));
        assert_eq!(paces.take(&name, 2, now, quota(6)), Ok(()));
        assert_eq!(paces.take(&Arc::from("other"), 6, now, quota(6)), Ok(()));
    }

    #[test]
    fn only_the_network_that_did_wrong_waits() {
        let (strikes, now) = (Strikes::new(&[1; 32]), Duration::from_secs(9));
        let (bad, good) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for _ in 0..3 {
            assert_eq!(strikes.admits(bad, now, quota(3)), Ok(()));
            strikes.strike(bad, now, quota(3));
        }
        assert_eq!(strikes.admits(bad, now, quota(3)), Err(Duration::from_secs(20)));
        assert_eq!(strikes.admits(good, now, quota(3)), Ok(()));
        assert_eq!(strikes.admits(bad, now + Duration::from_secs(20), quota(3)), Ok(()));
    }
}
