//! Who behaves like an attacker, remembered over every reload.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::exchange::ClientAddr;
use crate::counters::{Bringer, CardRefusal, KeyHasher, Paces, Signals};
use crate::policy::{CardTesting, Quota};

/// Decisions that are written to the audit log, per site: the rest is only counted, so that an attack
/// fills no disk.
const TOLD: Quota =
    Quota { count: NonZeroU32::MIN.saturating_add(59), per: Duration::from_secs(60) };

/// The signals with a clock and the key of names.
pub struct SignalWatch {
    started: Instant,
    signals: Signals,
    hasher: KeyHasher,
    told: Paces,
}

impl SignalWatch {
    /// Nothing has happened yet; the key is that of the names of accounts.
    #[must_use]
    pub fn new(accounts_key: &[u8; 32]) -> Self {
        Self {
            started: Instant::now(),
            signals: Signals::new(),
            hasher: KeyHasher::new(accounts_key),
            told: Paces::default(),
        }
    }

    /// Who brings a card.
    pub(super) fn bringer(
        &self,
        site: &str,
        client: ClientAddr,
        session: Option<&[u8]>,
    ) -> Bringer {
        let session = session.map(|cookie| self.hasher.session(site, cookie));
        Bringer { network: self.hasher.network(client.0), session }
    }

    /// Takes a card, by its fingerprint.
    pub(super) fn bring(
        &self,
        bringer: &Bringer,
        print: &[u8; 32],
        limits: &CardTesting,
    ) -> Result<(), CardRefusal> {
        self.signals.bring(bringer, &self.hasher.card(print), (limits, self.started.elapsed()))
    }

    /// Remembers whose card a token stands for.
    pub(super) fn stands_for(&self, print: &[u8; 32], bringer: Bringer) {
        self.signals.stands_for(&self.hasher.card(print), bringer, self.started.elapsed());
    }

    /// Who brought the card of a token.
    pub(super) fn brought_by(&self, print: &[u8; 32]) -> Option<Bringer> {
        self.signals.brought_by(&self.hasher.card(print), self.started.elapsed())
    }

    /// Notes that a bringer's card was declined.
    pub(super) fn declined(&self, bringer: &Bringer) {
        self.signals.declined(bringer, self.started.elapsed());
    }

    /// Whether a decision may be written to the audit log.
    pub(super) fn may_tell(&self, site: &str) -> bool {
        self.told.take(&Arc::from(site), 1, self.started.elapsed(), TOLD).is_ok()
    }
}
