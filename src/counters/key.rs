//! Keyed hashes in place of names and addresses.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use aws_lc_rs::hmac;

/// What something is counted under: 128 bits of HMAC-SHA-256. Safe to log and store; without the
/// key nobody can try names against it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CounterKey([u8; 16]);

/// Makes [`CounterKey`]s.
pub struct KeyHasher {
    key: hmac::Key,
}

impl KeyHasher {
    /// Starts with the key, which instances that share counters must share too.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The key of an account of a site; the name has been normalised before.
    #[must_use]
    pub fn account(&self, site: &str, name: &str) -> CounterKey {
        self.hash(&[b"account", site.as_bytes(), name.as_bytes()])
    }

    /// The key of a client's network: an IPv4 address, or the /64 that one IPv6 customer is given.
    #[must_use]
    pub fn network(&self, client: IpAddr) -> CounterKey {
        match client.to_canonical() {
            IpAddr::V4(address) => self.hash(&[b"network4", &address.octets()]),
            IpAddr::V6(address) => {
                let network = Ipv6Addr::from_bits(address.to_bits() >> 64 << 64);
                self.hash(&[b"network6", &network.octets()])
            }
        }
    }

    /// The key of a card, by the vault's fingerprint of its digits or of its token.
    #[must_use]
    pub fn card(&self, print: &[u8; 32]) -> CounterKey {
        self.hash(&[b"card", print])
    }

    /// The key of a trusted browser.
    #[must_use]
    pub fn device(&self, id: &[u8; 16]) -> CounterKey {
        self.hash(&[b"device", id])
    }

    /// The key of a session that a site's cookie names.
    #[must_use]
    pub fn session(&self, site: &str, cookie: &[u8]) -> CounterKey {
        self.hash(&[b"session", site.as_bytes(), cookie])
    }

    fn hash(&self, parts: &[&[u8]]) -> CounterKey {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
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

impl CounterKey {
    /// The bytes, for a table or a shared store.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> CounterKey {
        KeyHasher::new(&[7; 32]).network(text.parse().unwrap())
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
    fn keys_differ_by_secret_site_and_name() {
        let (one, other) = (KeyHasher::new(&[1; 32]), KeyHasher::new(&[2; 32]));
        assert_eq!(one.account("shop", "ann"), one.account("shop", "ann"));
        assert_ne!(one.account("shop", "ann"), other.account("shop", "ann"));
        assert_ne!(one.account("shop", "ann"), one.account("shopa", "nn"));
    }
}
