//! Signs of an attack that no single limit stops: stuffing over many accounts, patience from many
//! networks, cards that are tried one after the other.
//!
//! Only failures count, and a success takes its own away again, so that an office or a family of
//! customers who mistype leaves no trace. What is held is bounded in bytes; what shows least
//! goes first. It is of this process alone and ends with it: the counters of failures, which may be
//! shared and are kept, refuse; this only makes them stricter.

mod failures;
mod score;

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use self::failures::FailureRate;
pub use self::score::{Score, Signal};
use super::local::{Entry, Table, Worth};
use super::recent::Recents;
use super::{CounterKey, Outcome, Tried};
use crate::policy::CardTesting;

/// What networks may take, and accounts, and sessions: 40,000 of each that show all they can, and five
/// times as many that show what is usual. Together with the tokens 64 MiB.
const TABLE_BYTES: usize = 20 << 20;
/// What the bringers of tokens may take: some 50,000.
const TOKENS_BYTES: usize = 4 << 20;
/// How long a failed account speaks against a network.
const ACCOUNTS_WITHIN: Duration = Duration::from_secs(3600);
/// How long a network speaks against whoever tries the account: the patient come back all day.
const NETWORKS_WITHIN: Duration = Duration::from_secs(24 * 3600);
/// How long after a card was brought its provider's answer is its bringer's: a checkout, and a
/// customer who thinks about it.
const TOKEN_WITHIN: Duration = Duration::from_secs(3600);

/// What was seen of networks, accounts, sessions and sites.
pub struct Signals {
    networks: Table<Trail>,
    accounts: Table<Recents>,
    sessions: Table<Purse>,
    tokens: Table<Brought>,
    /// As many as the configuration names.
    sites: Mutex<HashMap<CounterKey, FailureRate>>,
}

/// Who brings a card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bringer {
    /// From which network.
    pub network: CounterKey,
    /// In which session of the shop, if in any.
    pub session: Option<CounterKey>,
}

/// Why a card is not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CardRefusal {
    /// What there was too much of.
    pub signal: Signal,
    /// When a card may be taken again.
    pub retry_after: Duration,
}

/// What is known of a network.
#[derive(Default)]
struct Trail {
    /// Accounts that failed from there.
    failed: Recents,
    /// Accounts that got in from there.
    entered: Recents,
    declines: Recents,
}

/// Cards of a session.
#[derive(Default)]
struct Purse {
    cards: Recents,
    declines: Recents,
}

/// Who brought a card, and when.
#[derive(Default)]
struct Brought(Option<(Bringer, Duration)>);

impl Signals {
    /// Nothing seen yet.
    #[must_use]
    pub fn new() -> Self {
        Self::within(TABLE_BYTES, TOKENS_BYTES)
    }

    fn within(table_bytes: usize, tokens_bytes: usize) -> Self {
        Self {
            networks: Table::new(table_bytes),
            accounts: Table::new(table_bytes),
            sessions: Table::new(table_bytes),
            tokens: Table::new(tokens_bytes),
            sites: Mutex::default(),
        }
    }

    /// Notes how a login went.
    pub fn login_went(&self, tried: &Tried, outcome: Outcome, now: Duration) {
        let Tried { site, network, accounts, .. } = tried;
        match outcome {
            Outcome::Neutral | Outcome::Withdrawn => return,
            Outcome::Failure => {
                for account in accounts {
                    self.networks.with(*network, now, |trail| trail.failed.note(account, now));
                    self.accounts.with(*account, now, |recents| recents.note(network, now));
                }
            }
            // Who names several accounts may own one of them: his success says nothing of the others.
            Outcome::Success => {
                if let [account] = accounts.as_slice() {
                    self.networks.with(*network, now, |trail| trail.enter(account, now));
                    self.accounts.update(account, now, |recents| recents.forget(network));
                }
            }
        }
        let failed = outcome == Outcome::Failure;
        self.sites.lock().entry(*site).or_default().note(failed, now);
    }

    /// How suspicious an attempt is.
    #[must_use]
    pub fn score(&self, tried: &Tried, now: Duration) -> Score {
        let Tried { site, network, accounts, .. } = tried;
        let mut score = Score::default();
        let trail = self.networks.look(network, |trail| {
            (trail.suspects(now), trail.declines.count(now, ACCOUNTS_WITHIN))
        });
        let (suspects, declines) = trail.unwrap_or_default();
        score.add(Signal::ManyAccounts, suspects);
        score.add(Signal::ManyDeclines, declines);
        let networks = |account| self.accounts.look(account, |it| it.count(now, NETWORKS_WITHIN));
        score.add(Signal::ManyNetworks, accounts.iter().filter_map(networks).max().unwrap_or(0));
        let mut sites = self.sites.lock();
        let unusual = sites.get_mut(site).is_some_and(|rate| rate.is_unusual(now));
        score.add(Signal::SiteFailures, usize::from(unusual));
        score
    }

    /// Forgets what speaks against an account or a network: an operator vouches for it.
    pub fn forget(&self, key: &CounterKey, now: Duration) {
        self.networks.update(key, now, |trail| *trail = Trail::default());
        self.accounts.update(key, now, |recents| *recents = Recents::default());
    }

    /// Takes a card from its bringer, before the shop sees it.
    ///
    /// # Errors
    /// When the bringer has had too many declined, or this would be one card too many.
    pub fn bring(
        &self,
        bringer: &Bringer,
        card: &CounterKey,
        (limits, now): (&CardTesting, Duration),
    ) -> Result<(), CardRefusal> {
        let spent = |declines: &Recents| spent(declines, limits, now);
        let network = self.networks.look(&bringer.network, |trail| spent(&trail.declines));
        network.transpose()?;
        // Without a session there is no basket to be paid: what comes so is another machine's, which
        // may have many customers.
        let Some(session) = bringer.session else { return Ok(()) };
        self.sessions.look(&session, |purse| spent(&purse.declines)).transpose()?;
        if self.brought_by(card, now) == Some(*bringer) {
            // The token of a card that is counted already.
            return Ok(());
        }
        let taken = self.sessions.with(session, now, |purse| purse.take(card, limits, now));
        // Nothing here is ever held, so there is always room.
        taken.unwrap_or(Ok(()))
    }

    /// Remembers whose card a token stands for.
    pub fn stands_for(&self, token: &CounterKey, bringer: Bringer, now: Duration) {
        self.tokens.with(*token, now, |brought| *brought = Brought(Some((bringer, now))));
    }

    /// Who brought the card of a token lately.
    #[must_use]
    pub fn brought_by(&self, token: &CounterKey, now: Duration) -> Option<Bringer> {
        let (bringer, at) = self.tokens.look(token, |brought| brought.0)??;
        (now.saturating_sub(at) < TOKEN_WITHIN).then_some(bringer)
    }

    /// Forgets whose card a token stands for: its decline has been counted, and is not to be again by
    /// another sign of the same payment.
    pub fn told_of(&self, token: &CounterKey, now: Duration) {
        self.tokens.update(token, now, |brought| *brought = Brought::default());
    }

    /// Notes that a bringer's card was declined.
    pub fn declined(&self, bringer: &Bringer, now: Duration) {
        let network = bringer.network;
        self.networks.with(network, now, |trail| trail.declines.note_next(now));
        if let Some(session) = bringer.session {
            self.sessions.with(session, now, |purse| purse.declines.note_next(now));
        }
    }
}

impl Default for Signals {
    fn default() -> Self {
        Self::new()
    }
}

impl Trail {
    fn enter(&mut self, account: &CounterKey, now: Duration) {
        self.failed.forget(account);
        self.entered.note(account, now);
    }

    /// Accounts that failed and did not get in. Those that got in stand for customers who gave up, but
    /// for half of them at most: an attacker has accounts of his own too.
    fn suspects(&self, now: Duration) -> usize {
        let failed = self.failed.count(now, ACCOUNTS_WITHIN);
        failed - self.entered.count(now, ACCOUNTS_WITHIN).min(failed / 2)
    }
}

impl Purse {
    /// A card seen before takes no room again.
    fn take(
        &mut self,
        card: &CounterKey,
        limits: &CardTesting,
        now: Duration,
    ) -> Result<(), CardRefusal> {
        let (signal, within) = (Signal::ManyCards, limits.cards_within);
        if !self.cards.holds(card, now, within) {
            let limit = usize::try_from(limits.cards.get()).unwrap_or(usize::MAX);
            let room = self.cards.room(now, within, limit);
            room.map_err(|retry_after| CardRefusal { signal, retry_after })?;
        }
        self.cards.note(card, now);
        Ok(())
    }
}

fn spent(declines: &Recents, limits: &CardTesting, now: Duration) -> Result<(), CardRefusal> {
    let signal = Signal::ManyDeclines;
    let limit = usize::try_from(limits.declines.get()).unwrap_or(usize::MAX);
    let room = declines.room(now, limits.declines_within, limit);
    room.map_err(|retry_after| CardRefusal { signal, retry_after })
}

impl Entry for Recents {
    const HEAP_BYTES: usize = 64;

    fn worth(&self, now: Duration) -> Worth {
        worth(self.len(), self.last(), now)
    }

    fn heap_bytes(&self) -> usize {
        self.heap_bytes()
    }
}

impl Entry for Trail {
    const HEAP_BYTES: usize = 64;

    fn worth(&self, now: Duration) -> Worth {
        let last = self.failed.last().max(self.declines.last());
        worth(self.failed.len() + self.declines.len(), last.max(self.entered.last()), now)
    }

    fn heap_bytes(&self) -> usize {
        self.failed.heap_bytes() + self.entered.heap_bytes() + self.declines.heap_bytes()
    }
}

impl Entry for Purse {
    const HEAP_BYTES: usize = 64;

    fn worth(&self, now: Duration) -> Worth {
        let last = self.cards.last().max(self.declines.last());
        worth(self.cards.len() + self.declines.len(), last, now)
    }

    fn heap_bytes(&self) -> usize {
        self.cards.heap_bytes() + self.declines.heap_bytes()
    }
}

impl Entry for Brought {
    fn worth(&self, now: Duration) -> Worth {
        worth(1, self.0.map(|(_, at)| at), now)
    }
}

/// So many things seen are worth more than fewer, and later ones more than earlier ones.
fn worth(count: usize, last: Option<Duration>, now: Duration) -> Worth {
    let number = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    match last {
        Some(last) if now.saturating_sub(last) < NETWORKS_WITHIN => {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            Worth::Some(number(count), number(last.as_secs()))
        }
        Some(_) | None => Worth::Nothing,
    }
}

#[cfg(test)]
mod tests;
