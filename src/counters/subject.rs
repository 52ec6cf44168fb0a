//! What an attempt is counted under, and which of it may refuse.

use super::CounterKey;
use crate::policy::{Dimension, LoginLimits};

/// Who tries, as keyed hashes. Another guard than the login's hashes its own name with them.
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
        let all = self.accounts.iter().flat_map(|account| self.of_account(*account));
        let rest = self.of_client();
        all.chain(rest)
            .filter(move |subject| {
                let device = subject.dimension == Dimension::Device;
                device == (trust == Trust::Device) && !limits.of(subject.dimension).is_none()
            })
            .map(move |subject| Subject { binds: trust.binds(subject.dimension), ..subject })
    }

    /// The subject of the pair of an account and the client's network.
    #[must_use]
    pub fn pair(&self, account: CounterKey) -> CounterKey {
        CounterKey::pair(account, self.network)
    }

    fn of_account(&self, account: CounterKey) -> [Subject; 2] {
        let tag = self.network.tag();
        [
            Subject { dimension: Dimension::Account, key: account, tag, binds: true },
            Subject { dimension: Dimension::Pair, key: self.pair(account), tag, binds: true },
        ]
    }

    fn of_client(&self) -> impl Iterator<Item = Subject> {
        let first = self.accounts.first();
        // Attempts that name nobody are as one account: how many those are cannot be told.
        let tag = first.map_or(Tag(0), |account| account.tag());
        let subject = move |dimension, key| Subject { dimension, key, tag, binds: true };
        let device = self.device.map(|key| subject(Dimension::Device, key));
        let nameless = first.is_none().then(|| subject(Dimension::Nameless, self.site));
        let rest = [
            subject(Dimension::Network, self.network),
            subject(Dimension::WideNetwork, self.wide_network),
            subject(Dimension::Site, self.site),
        ];
        device.into_iter().chain(nameless).chain(rest)
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
