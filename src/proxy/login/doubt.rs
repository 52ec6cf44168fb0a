//! Successes that are too good to be true: an account has one password.
//!
//! A legacy shop answers a wrong password too with a redirect and a fresh session, for whoever sends no
//! cookie, or leads back to a page that the client names in its `Referer`. Taken for a success that
//! would make every guess free. So an account that was let in, or at least not turned away, with several
//! passwords one after the other is believed no more for a while: what follows counts as a failure, until
//! the operator tells the signs of his shop. A customer who changes his password, or gets a code by mail
//! instead, is far from that. Passwords are kept as keyed hashes, for half an hour, in memory alone and in a
//! table of a fixed size (two megabytes).

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::claim::Claim;
use super::{Attempt, LoginGuard};
use crate::counters::{CounterKey, Outcome, Scope};
use crate::policy::Site;

/// How long changes are counted.
const WINDOW: Duration = Duration::from_secs(30 * 60);

/// How many changes of the password are believed in a window.
const CHANGES_MAX: u8 = 2;

/// How many accounts are remembered; another takes the place of whichever has the same slot.
const SLOTS: usize = 1 << 15;

/// Which passwords the shop has seemed to take.
pub(super) struct Doubt {
    slots: Mutex<Vec<Option<Seen>>>,
}

#[derive(Clone, Copy)]
struct Seen {
    account: CounterKey,
    password: CounterKey,
    since: Instant,
    changes: u8,
}

impl Doubt {
    pub(super) fn new() -> Self {
        Self { slots: Mutex::new(Vec::new()) }
    }

    /// Notes that the shop seemed to take a password; whether that is too much to be believed.
    pub(super) fn takes(&self, account: CounterKey, password: CounterKey, now: Instant) -> bool {
        let mut slots = self.slots.lock();
        if slots.is_empty() {
            slots.resize(SLOTS, None);
        }
        let Some(slot) = slots.get_mut(slot_of(&account)) else { return false };
        let known = slot.filter(|seen| {
            seen.account == account && now.saturating_duration_since(seen.since) < WINDOW
        });
        let seen = known.unwrap_or(Seen { account, password, since: now, changes: 0 });
        let changed = u8::from(seen.password != password);
        let changes = seen.changes.saturating_add(changed);
        *slot = Some(Seen { password, changes, ..seen });
        changes > CHANGES_MAX
    }
}

impl LoginGuard {
    /// The password of a login by form, to compare it with others.
    pub(super) fn doubted(
        &self,
        site: &Site,
        claim: &Claim<'_>,
    ) -> Option<(CounterKey, Arc<Doubt>)> {
        let compared = claim.guard().is_none() && !claim.secret.is_empty();
        // No guard has this name either.
        let scope = Scope { site: &site.name.0, guard: Some("\0password") };
        compared.then(|| (self.hasher.account(scope, &claim.secret), Arc::clone(&self.doubt)))
    }
}

impl Attempt {
    /// What to think of an outcome that is no failure: one password too many for an account is one.
    #[must_use]
    pub(in crate::proxy) fn doubt(&self, outcome: Outcome) -> Outcome {
        let (Some((password, doubt)), Some((tried, _))) = (&self.doubted, self.place()) else {
            return outcome;
        };
        if outcome == Outcome::Failure {
            return outcome;
        }
        let now = Instant::now();
        // Each name is asked, or a guesser would put another before the one that the shop reads.
        let takes = |account: &CounterKey| doubt.takes(*account, *password, now);
        let unlikely = tried.accounts.iter().filter(|account| takes(account)).count();
        if unlikely > 0 { Outcome::Failure } else { outcome }
    }
}

/// The key is a keyed hash, so that nobody can choose whose slot is taken.
fn slot_of(key: &CounterKey) -> usize {
    let [first, second, ..] = *key.as_bytes();
    usize::from(u16::from_be_bytes([first, second])) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::KeyHasher;

    fn key(name: &str) -> CounterKey {
        KeyHasher::new(&[1; 32]).account(Scope { site: "shop", guard: None }, name)
    }

    #[test]
    fn the_fourth_password_in_half_an_hour_is_not_believed() {
        let (doubt, now) = (Doubt::new(), Instant::now());
        let takes = |password: &str, at| doubt.takes(key("ann"), key(password), at);
        assert!(!["a", "a", "b", "c", "c"].iter().any(|password| takes(password, now)));
        assert!(takes("d", now) && takes("d", now) && takes("a", now));
        assert!(!doubt.takes(key("bob"), key("d"), now), "another account");
        assert!(!takes("e", now + WINDOW));
    }

    #[test]
    fn one_password_is_believed_as_often_as_it_comes() {
        let (doubt, now) = (Doubt::new(), Instant::now());
        assert!((0..1_000).all(|_| !doubt.takes(key("ann"), key("a"), now)));
    }
}
