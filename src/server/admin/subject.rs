//! From what an operator types to the keys that the counters know.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use thiserror::Error;

use super::message::Whom;
use crate::counters::{CounterKey, Scope, Tried};
use crate::policy::{Dimension, GuardRule, Site};
use crate::proxy::login::{Account, Client, LoginGuard};

/// Why it is not clear whom an operator means. Never shows an account's name.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(super) enum WhomError {
    #[error("this needs an account or a network; a key is for unlocking")]
    KeyAlone,
    #[error("the key is not as `locked` lists it: account:0123…")]
    Key,
    #[error(
        "the network is neither an address nor one of the sizes that are counted: /32 and /24, /64 and /48"
    )]
    Network,
    #[error("name an account, a network or a key")]
    Nobody,
    #[error("the account's name is empty")]
    NoName,
    #[error("the site has no such guard; it has {}", list(names))]
    NoGuard { names: Vec<String> },
    #[error("say which site: {}", names.join(", "))]
    WhichSite { names: Vec<String> },
    #[error("there is no such site; there are {}", names.join(", "))]
    NoSite { names: Vec<String> },
}

/// Whom an operator means.
pub(super) struct Subjects {
    /// What is counted for an attempt of theirs.
    tried: Tried,
    network: Option<Breadth>,
    key: Option<(Dimension, CounterKey)>,
    address: Option<IpAddr>,
    site: Option<Arc<Site>>,
    guard: Option<Arc<GuardRule>>,
}

/// How much of a network is meant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Breadth {
    /// An address was typed: what it is part of.
    Address,
    Narrow,
    Wide,
}

impl Subjects {
    pub(super) fn of(
        whom: &Whom,
        sites: &[Arc<Site>],
        logins: &LoginGuard,
    ) -> Result<Self, WhomError> {
        let key = whom.key.as_deref().map(key).transpose()?;
        let network = whom.network.as_deref().map(parse_network).transpose()?;
        if key.is_none() && network.is_none() && whom.account.is_none() {
            return Err(WhomError::Nobody);
        }
        let found = site(whom.site.as_deref(), sites);
        // Networks are the same for all sites.
        let any = whom.account.is_none() && whom.guard.is_none() && whom.site.is_none();
        let site = if any { found.ok() } else { Some(found?) };
        let guard = match (&whom.guard, &site) {
            (Some(asked), Some(site)) => Some(guard(asked, site)?),
            _ => None,
        };
        let account = whom.account.as_deref().map(Account::named).unwrap_or_default();
        if whom.account.is_some() && account.names().is_empty() {
            return Err(WhomError::NoName);
        }
        let address = network.map(|(address, _)| address);
        let client =
            Client { address: address.unwrap_or(Ipv4Addr::UNSPECIFIED.into()), device: None };
        let name = site.as_ref().map_or("", |site| &site.name.0);
        let scope = Scope { site: name, guard: guard.as_ref().map(|guard| &*guard.name) };
        let tried = logins.tried(scope, account.names(), client);
        let network = network.map(|(_, breadth)| breadth);
        Ok(Self { tried, network, key, address, site, guard })
    }

    /// The subjects to forget. An account takes its pairs with it.
    pub(super) fn to_unlock(&self) -> Vec<(Dimension, CounterKey)> {
        let accounts = self.tried.accounts.iter().map(|key| (Dimension::Account, *key));
        let narrow = (Dimension::Network, self.tried.network);
        let wide = (Dimension::WideNetwork, self.tried.wide_network);
        let networks = match self.network {
            None => Vec::new(),
            Some(Breadth::Address) => vec![narrow, wide],
            Some(Breadth::Narrow) => vec![narrow],
            Some(Breadth::Wide) => vec![wide],
        };
        accounts.chain(networks).chain(self.key).collect()
    }

    /// The subjects to let in: an address stands for its own network, not for its neighbours.
    pub(super) fn to_allow(&self) -> Result<Vec<(Dimension, CounterKey)>, WhomError> {
        let accounts = self.tried.accounts.iter().map(|key| (Dimension::Account, *key));
        let network = self.network.map(|breadth| match breadth {
            Breadth::Address | Breadth::Narrow => (Dimension::Network, self.tried.network),
            Breadth::Wide => (Dimension::WideNetwork, self.tried.wide_network),
        });
        let found: Vec<_> = accounts.chain(network).collect();
        if found.is_empty() { Err(WhomError::KeyAlone) } else { Ok(found) }
    }

    /// The attempt to explain.
    pub(super) fn tried(&self) -> Result<&Tried, WhomError> {
        let clear = self.network.is_some() || !self.tried.accounts.is_empty();
        clear.then_some(&self.tried).ok_or(WhomError::KeyAlone)
    }

    /// The address that was typed, or the first of the network.
    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The guard that counts the attempt, where it is no login.
    pub(super) fn guard(&self) -> Option<&Arc<GuardRule>> {
        self.guard.as_ref()
    }

    /// The logins that are configured for the site.
    pub(super) fn logins(&self) -> &[Arc<GuardRule>] {
        self.site.as_ref().map(|site| &*site.logins).unwrap_or_default()
    }

    /// Whether a dimension says something about them: without a network, others' say nothing.
    pub(super) fn asks_about(&self, dimension: Dimension) -> bool {
        let (network, account) = (self.network.is_some(), !self.tried.accounts.is_empty());
        match dimension {
            Dimension::Account => account,
            Dimension::Network | Dimension::WideNetwork => network,
            Dimension::Device | Dimension::Pair => network && account,
            Dimension::Nameless => false,
            Dimension::Site => account,
        }
    }
}

/// The network that a lock of this kind stands for.
pub(super) fn network(dimension: Dimension, client: IpAddr) -> Option<String> {
    let client = client.to_canonical();
    let length = match (dimension, client) {
        (Dimension::WideNetwork, IpAddr::V4(_)) => 24,
        (Dimension::WideNetwork, IpAddr::V6(_)) => 48,
        (Dimension::Network | Dimension::Pair, IpAddr::V4(_)) => return Some(client.to_string()),
        (Dimension::Network | Dimension::Pair, IpAddr::V6(_)) => 64,
        (Dimension::Account | Dimension::Device | Dimension::Nameless | Dimension::Site, _) => {
            return None;
        }
    };
    Some(IpNet::new(client, length).ok()?.trunc().to_string())
}

fn parse_network(text: &str) -> Result<(IpAddr, Breadth), WhomError> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok((address.to_canonical(), Breadth::Address));
    }
    let network: IpNet = text.parse().map_err(|_| WhomError::Network)?;
    let breadth = match (network, network.prefix_len()) {
        (IpNet::V4(_), 32) | (IpNet::V6(_), 64) => Breadth::Narrow,
        (IpNet::V4(_), 24) | (IpNet::V6(_), 48) => Breadth::Wide,
        _ => return Err(WhomError::Network),
    };
    Ok((network.addr(), breadth))
}

fn site(asked: Option<&str>, sites: &[Arc<Site>]) -> Result<Arc<Site>, WhomError> {
    let names = || sites.iter().map(|site| site.name.to_string()).collect();
    let Some(asked) = asked else {
        return match sites {
            [only] => Ok(Arc::clone(only)),
            _ => Err(WhomError::WhichSite { names: names() }),
        };
    };
    let found = sites.iter().find(|site| site.name.0.eq_ignore_ascii_case(asked));
    found.map(Arc::clone).ok_or_else(|| WhomError::NoSite { names: names() })
}

fn guard(asked: &str, site: &Site) -> Result<Arc<GuardRule>, WhomError> {
    let found = site.guards.iter().find(|guard| *guard.name == *asked);
    let names = || site.guards.iter().map(|guard| guard.name.to_string()).collect();
    found.map(Arc::clone).ok_or_else(|| WhomError::NoGuard { names: names() })
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// Reads `account:0123…`.
fn key(text: &str) -> Result<(Dimension, CounterKey), WhomError> {
    let (name, digits) = text.split_once(':').ok_or(WhomError::Key)?;
    let dimension = Dimension::ALL.into_iter().find(|dimension| dimension.as_str() == name);
    let whole = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = u128::from_str_radix(digits, 16).ok().filter(|_| whole);
    match (dimension, number) {
        (Some(dimension), Some(number)) => {
            Ok((dimension, CounterKey::from_bytes(number.to_be_bytes())))
        }
        _ => Err(WhomError::Key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_or_of_a_size_that_is_counted() {
        let breadth = |text| parse_network(text).map(|(_, breadth)| breadth);
        assert_eq!(breadth("192.0.2.7"), Ok(Breadth::Address));
        assert_eq!(breadth("::ffff:192.0.2.7"), Ok(Breadth::Address));
        assert_eq!(breadth("192.0.2.7/32"), Ok(Breadth::Narrow));
        assert_eq!(breadth("2001:db8::/48"), Ok(Breadth::Wide));
        for odd in ["192.0.2.0/16", "2001:db8::/32", "shop.example", ""] {
            assert_eq!(breadth(odd), Err(WhomError::Network), "{odd}");
        }
    }

    #[test]
    fn a_key_is_read_as_it_is_listed() {
        let listed = CounterKey::from_bytes([0xa7; 16]);
        let text = format!("wide_network:{listed}");
        assert_eq!(key(&text), Ok((Dimension::WideNetwork, listed)));
        for odd in ["account", "planet:00", "account:0", "account:+0a7a7a7a7a7a7a7a7a7a7a7a7a7a7a7"]
        {
            assert_eq!(key(odd), Err(WhomError::Key), "{odd}");
        }
    }

    #[test]
    fn a_lock_is_shown_with_the_network_it_stands_for() {
        let shown = |dimension, client: &str| network(dimension, client.parse().unwrap());
        assert_eq!(shown(Dimension::Network, "192.0.2.7").unwrap(), "192.0.2.7");
        assert_eq!(shown(Dimension::WideNetwork, "192.0.2.7").unwrap(), "192.0.2.0/24");
        assert_eq!(shown(Dimension::Network, "2001:db8:1:2::9").unwrap(), "2001:db8:1:2::/64");
        assert_eq!(shown(Dimension::Account, "192.0.2.7"), None);
    }
}
