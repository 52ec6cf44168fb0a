//! Deliveries that came, so that each counts once.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

/// The most deliveries remembered. Only who holds a secret adds one.
const DELIVERIES_MAX: usize = 65_536;

/// Deliveries that may not come again, until when.
#[derive(Default)]
pub struct Deliveries(Mutex<HashMap<DeliveryId, Duration>>);

/// The name of a delivery: the digest of what was signed.
pub type DeliveryId = [u8; 32];

impl Deliveries {
    /// Remembers a delivery; says whether it is new.
    pub(super) fn begin(&self, id: DeliveryId, until: Duration, now: Duration) -> bool {
        let mut known = self.0.lock();
        if known.get(&id).is_some_and(|until| *until >= now) {
            return false;
        }
        if known.len() >= DELIVERIES_MAX {
            known.retain(|_, until| *until >= now);
        }
        if known.len() >= DELIVERIES_MAX {
            // The one that could come again for the shortest time.
            let soonest = known.iter().min_by_key(|(_, until)| **until).map(|(id, _)| *id);
            soonest.and_then(|id| known.remove(&id));
        }
        known.insert(id, until);
        true
    }

    /// Lets a delivery come again.
    pub(super) fn forget(&self, id: &DeliveryId) {
        self.0.lock().remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_492_774_577);

    #[test]
    fn what_is_full_forgets_what_ends_first() {
        let deliveries = Deliveries::default();
        let id = |place: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&place.to_be_bytes());
            id
        };
        let until = |place: usize| NOW + Duration::from_secs(u64::try_from(place).unwrap() + 1);
        for place in 0..=DELIVERIES_MAX {
            assert!(deliveries.begin(id(place), until(place), NOW));
        }
        assert_eq!(deliveries.0.lock().len(), DELIVERIES_MAX);
        assert!(deliveries.begin(id(0), until(0), NOW), "the first is forgotten");
        assert!(!deliveries.begin(id(2), until(2), NOW));
        assert!(deliveries.begin(id(2), until(2), NOW + Duration::from_secs(4)));
    }
}
