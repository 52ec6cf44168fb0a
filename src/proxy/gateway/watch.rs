//! What is remembered of gateways over every reload: who tried to get in, and how much was revealed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::counters::{Alarm, Paces, Strikes, Surge};
use crate::policy::{Gateway, Quota};

/// Wrong secrets from one network: nobody mistypes what a machine sends, so ten a minute is a script.
const WRONG_SECRETS: Quota =
    Quota { count: NonZeroU32::MIN.saturating_add(9), per: Duration::from_secs(60) };

/// Refusals that are written to the audit log, per gateway or webhook: the rest is only counted, so
/// that a flood of them fills no disk.
const REFUSALS_TOLD: Quota =
    Quota { count: NonZeroU32::MIN.saturating_add(59), per: Duration::from_secs(60) };

/// Rates of every gateway.
pub struct GatewayWatch {
    started: Instant,
    wrong: Strikes,
    reveals: Paces,
    told: Paces,
    surges: Mutex<HashMap<Arc<str>, Surge>>,
}

impl GatewayWatch {
    /// Nothing has happened yet; the key is for the table of networks.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self {
            started: Instant::now(),
            wrong: Strikes::new(key),
            reveals: Paces::default(),
            told: Paces::default(),
            surges: Mutex::default(),
        }
    }

    /// Each gateway's current minute against its usual one, for the metrics page.
    #[must_use]
    pub fn ratios(&self) -> Vec<(Arc<str>, f64)> {
        let now = self.started.elapsed();
        let mut surges = self.surges.lock();
        surges.iter_mut().map(|(name, surge)| (Arc::clone(name), surge.ratio(now))).collect()
    }

    /// Whether a client may show a secret; the error is how long it must wait.
    pub(super) fn may_try(&self, client: IpAddr) -> Result<(), Duration> {
        self.wrong.admits(client, self.started.elapsed(), WRONG_SECRETS)
    }

    /// Notes a wrong secret.
    pub(super) fn was_wrong(&self, client: IpAddr) {
        self.wrong.strike(client, self.started.elapsed(), WRONG_SECRETS);
    }

    /// Takes room for so many reveals; the error is how long there is none.
    pub(in crate::proxy) fn take(&self, gateway: &Gateway, count: u32) -> Result<(), Duration> {
        let Some(quota) = gateway.reveal_limit else { return Ok(()) };
        self.reveals.take(&gateway.name, count, self.started.elapsed(), quota)
    }

    /// Counts reveals; says so when they are far more than usual.
    pub(in crate::proxy) fn note(&self, gateway: &Arc<str>, count: u32) -> Option<Alarm> {
        let now = self.started.elapsed();
        self.surges.lock().entry(Arc::clone(gateway)).or_default().note(count, now)
    }

    /// Whether a refusal may be written to the audit log.
    pub(in crate::proxy) fn may_tell(&self, name: &Arc<str>) -> bool {
        self.told.take(name, 1, self.started.elapsed(), REFUSALS_TOLD).is_ok()
    }
}
