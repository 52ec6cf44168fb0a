//! What an attempt is counted under, and which of it may refuse.

use super::CounterKey;
use crate::policy::{Dimension, LoginLimits};

/// Who tries, as keyed hashes. Another guard than the login's hashes its own name with them.
#[derive(Clone, Debug)]
pub struct Tried {
    /// The shop.
    pub site: CounterKey,
    /// The client's network.
    pub network: CounterKey,
    /// The client's network at large.
    pub wide_network: CounterKey,
    /// The accounts named; more than one where a request names several and the shop may take any.
    pub accounts: Vec<CounterKey>,
    /// A device that has logged in to the one account before and proves it.
    pub device: Option<CounterKey>,
}

/// What is thought of who tries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// A device that has logged in before: its own budget alone counts, until that is spent.
    Device,
    /// From a network that the account was logged in from: the pair and the network may refuse, and
    /// strangers who lock the account do not lock its owner out (OWASP ASVS 5.0 6.1.1).
    KnownNetwork,
    /// Nothing.
    Stranger,
}

/// One thing that an attempt is counted under.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Subject {
    /// What kind of thing.
    pub dimension: Dimension,
    /// Which one.
    pub key: CounterKey,
    /// The other side of the attempt.
    pub tag: Tag,
    /// Whether it may refuse; else it only counts.
    pub binds: bool,
}

/// The other side of an attempt, in short: which account a network tried, or from which network an
/// account was tried. It tells failures apart, and a collision costs no more than one count.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Tag(pub u32);

impl Tried {
    /// What the attempt is counted under, the most telling first; only what has a limit.
    pub fn subjects<'a>(
        &'a self,
        trust: Trust,
        limits: &'a LoginLimits,
    ) -> impl Iterator<Item = Subject> + 'a {
        let device = self.device.filter(|_| trust == Trust::Device);
        let others = (trust != Trust::Device).then(|| self.of_accounts().chain(self.of_client()));
        let device = device.map(|key| (Dimension::Device, key, self.account_tag()));
        let all = device.into_iter().chain(others.into_iter().flatten());
        all.filter(|(dimension, ..)| !limits.of(*dimension).is_none()).map(
            move |(dimension, key, tag)| {
                let binds = trust.binds(dimension);
                Subject { dimension, key, tag, binds }
            },
        )
    }

    /// The key of an account from the client's network.
    #[must_use]
    pub fn pair(&self, account: CounterKey) -> CounterKey {
        CounterKey::pair(account, self.network)
    }

    fn of_accounts(&self) -> impl Iterator<Item = (Dimension, CounterKey, Tag)> {
        let tag = self.network.tag();
        let of = move |account: &CounterKey| {
            let pair = self.pair(*account);
            [(Dimension::Account, *account, tag), (Dimension::Pair, pair, tag)]
        };
        self.accounts.iter().flat_map(of)
    }

    fn of_client(&self) -> impl Iterator<Item = (Dimension, CounterKey, Tag)> {
        let tag = self.account_tag();
        let nameless = self.accounts.is_empty();
        let nameless = nameless.then_some((Dimension::Nameless, self.site, tag));
        let rest = [
            (Dimension::Network, self.network, tag),
            (Dimension::WideNetwork, self.wide_network, tag),
            (Dimension::Site, self.site, tag),
        ];
        nameless.into_iter().chain(rest)
    }

    /// Attempts that name nobody are as one account: how many those are cannot be told.
    fn account_tag(&self) -> Tag {
        self.accounts.first().map_or(Tag(0), CounterKey::tag)
    }
}

impl Trust {
    /// Whether a dimension may refuse one so trusted.
    #[must_use]
    pub fn binds(self, dimension: Dimension) -> bool {
        match self {
            Self::Device => dimension == Dimension::Device,
            Self::KnownNetwork => matches!(dimension, Dimension::Network | Dimension::Pair),
            Self::Stranger => true,
        }
    }
}
