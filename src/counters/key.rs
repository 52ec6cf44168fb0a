//! Keyed hashes in place of names and addresses.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use aws_lc_rs::hmac;

use super::Tag;
use crate::policy::ClientNetwork;

/// What something is counted under: 128 bits of HMAC-SHA-256. Safe to log and store; without the
/// key nobody can try names against it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct CounterKey([u8; 16]);

/// Makes [`CounterKey`]s.
pub struct KeyHasher {
    key: hmac::Key,
}

/// Whose attempts are counted together.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Scope<'a> {
    /// The site's name.
    pub site: &'a str,
    /// The guard's name; none for logins.
    pub guard: Option<&'a str>,
}

impl<'a> Scope<'a> {
    /// The logins of a site.
    #[must_use]
    pub fn logins(site: &'a str) -> Self {
        Self { site, guard: None }
    }
}

impl KeyHasher {
    /// Starts with the key, which instances that share counters must share too.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The key of an account; the name has been normalised before.
    #[must_use]
    pub fn account(&self, scope: Scope<'_>, name: &str) -> CounterKey {
        self.hash(scope.guard, &[b"account", scope.site.as_bytes(), name.as_bytes()])
    }

    /// The key of a name and password that were shown together.
    #[must_use]
    pub fn guess(&self, site: &str, secret: &str) -> CounterKey {
        self.hash(None, &[b"guess", site.as_bytes(), secret.as_bytes()])
    }

    /// The key of a site.
    #[must_use]
    pub fn site(&self, scope: Scope<'_>) -> CounterKey {
        self.hash(scope.guard, &[b"site", scope.site.as_bytes()])
    }

    /// The key of a client's network: an IPv4 address, or the /64 that one IPv6 customer is given.
    /// Who guesses at one site's logins is no better at another's: only guards are told apart.
    #[must_use]
    pub fn network(&self, guard: Option<&str>, client: IpAddr) -> CounterKey {
        match ClientNetwork::of(client).0 {
            IpAddr::V4(address) => self.hash(guard, &[b"network4", &address.octets()]),
            IpAddr::V6(network) => self.hash(guard, &[b"network6", &network.octets()]),
        }
    }

    /// The key of a card, by the vault's fingerprint of its digits or of its token.
    #[must_use]
    pub fn card(&self, print: &[u8; 32]) -> CounterKey {
        self.hash(None, &[b"card", print])
    }

    /// The key of a trusted browser.
    #[must_use]
    pub fn device(&self, id: &[u8; 16]) -> CounterKey {
        self.hash(None, &[b"device", id])
    }

    /// The key of a session that a site's cookie names.
    #[must_use]
    pub fn session(&self, site: &str, cookie: &[u8]) -> CounterKey {
        self.hash(None, &[b"session", site.as_bytes(), cookie])
    }

    /// The key of a client's network at large: a /24, or the /48 that one IPv6 site is given.
    #[must_use]
    pub fn wide_network(&self, guard: Option<&str>, client: IpAddr) -> CounterKey {
        match client.to_canonical() {
            IpAddr::V4(address) => {
                let network = Ipv4Addr::from_bits(address.to_bits() >> 8 << 8);
                self.hash(guard, &[b"wide4", &network.octets()])
            }
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() >> 80 << 80);
                self.hash(guard, &[b"wide6", &network.octets()])
            }
        }
    }

    /// A guard's own keys begin with its name, and those of logins with what they are of.
    fn hash(&self, guard: Option<&str>, parts: &[&[u8]]) -> CounterKey {
        let mut context = hmac::Context::with_key(&self.key);
        let guard = guard.map(|name| [&b"guard"[..], name.as_bytes()]);
        for part in guard.iter().flatten().chain(parts) {
            // The length keeps ("a", "bc") and ("ab", "c") apart.
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        let tag = context.sign();
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(tag.as_ref()) {
            *to = *from;
        }
        CounterKey(short)
    }
}

impl fmt::Display for CounterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Hash for CounterKey {
    /// As one number: it is spread evenly already.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.spread());
    }
}

impl CounterKey {
    /// One that was taken by [`Self::as_bytes`] before.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The key of an account from a network: half of each, so that all of an account can be found.
    #[must_use]
    pub fn pair(account: Self, network: Self) -> Self {
        let (account, network) = (u128::from_be_bytes(account.0), u128::from_be_bytes(network.0));
        Self((account >> 64 << 64 | network >> 64).to_be_bytes())
    }

    /// Whether it is the pair of this account with some network.
    #[must_use]
    pub fn is_pair_of(&self, account: Self) -> bool {
        u128::from_be_bytes(self.0) >> 64 == u128::from_be_bytes(account.0) >> 64
    }

    /// The bytes, for a table or a shared store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What tells it apart among the failures of another.
    #[must_use]
    pub fn tag(&self) -> Tag {
        let [.., a, b, c, d] = self.0;
        Tag(u32::from_be_bytes([a, b, c, d]))
    }

    /// A number that is evenly spread, also over the pairs of one account.
    pub(super) fn spread(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, low @ ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) ^ u64::from_be_bytes(low).rotate_left(32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> CounterKey {
        KeyHasher::new(&[7; 32]).network(None, text.parse().unwrap())
    }

    #[test]
    fn an_ipv6_network_is_a_64() {
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
    }

    #[test]
    fn an_ipv4_address_is_a_network_and_its_mapped_form_is_the_same() {
        assert_eq!(network("192.0.2.1"), network("::ffff:192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn a_wide_network_is_a_24_or_a_48() {
        let hasher = KeyHasher::new(&[7; 32]);
        let wide = |text: &str| hasher.wide_network(None, text.parse().unwrap());
        assert_eq!(wide("192.0.2.1"), wide("::ffff:192.0.2.255"));
        assert_ne!(wide("192.0.2.1"), wide("192.0.3.1"));
        assert_eq!(wide("2001:db8:1:2::1"), wide("2001:db8:1:ffff::9"));
        assert_ne!(wide("2001:db8:1::"), wide("2001:db8:2::"));
        assert_ne!(wide("192.0.2.0"), network("192.0.2.0"));
    }

    #[test]
    fn keys_differ_by_secret_scope_and_name() {
        let (one, other) = (KeyHasher::new(&[1; 32]), KeyHasher::new(&[2; 32]));
        let scope = |site, guard| Scope { site, guard };
        let shop = scope("shop", None);
        assert_eq!(one.account(shop, "ann"), one.account(shop, "ann"));
        assert_ne!(one.account(shop, "ann"), other.account(shop, "ann"));
        assert_ne!(one.account(shop, "ann"), one.account(scope("shopa", None), "nn"));
        assert_ne!(one.account(shop, "ann"), one.account(scope("shop", Some("reset")), "ann"));
        let client = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert_ne!(one.network(None, client), one.network(Some("reset"), client));
    }

    #[test]
    fn the_pairs_of_an_account_are_its_own_and_lie_apart() {
        let hasher = KeyHasher::new(&[1; 32]);
        let account = |name| hasher.account(Scope::logins("shop"), name);
        let (ann, bob) = (account("ann"), account("bob"));
        let mut shards = std::collections::BTreeSet::new();
        for last in 0..64 {
            let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
            let pair = CounterKey::pair(ann, hasher.network(None, client));
            assert!(pair.is_pair_of(ann) && !pair.is_pair_of(bob));
            shards.insert(pair.spread() % 64);
        }
        assert!(shards.len() > 20, "all in {} of 64 shards", shards.len());
    }
}
