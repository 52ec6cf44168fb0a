//! Which networks are allowed or denied by name; a hundred thousand of them cost a request nothing
//! that it could notice.
//!
//! The networks of both lists are cut, once, into steps: from this address on, that is said. Finding
//! what is said of an address is then one binary search, in a few cache lines. Of networks that lie
//! in one another the smallest is right, whichever list it stands in; the same network in both lists
//! is denied.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// What a list says of a client's network.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Listed {
    /// No limit refuses it.
    Allowed,
    /// It may not log in, nor whatever else is guarded.
    Denied,
}

impl Listed {
    /// The name that operators see.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
        }
    }
}

/// Both lists.
#[derive(Clone, Debug, Default)]
pub struct NetworkLists {
    four: Steps<u32>,
    six: Steps<u128>,
    count: usize,
}

/// What is said from an address on, up to the next; in the order of the addresses.
#[derive(Clone, Debug)]
struct Steps<A> {
    starts: Vec<A>,
    said: Vec<Option<Listed>>,
}

/// A network and what is said of it.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
struct Range<A> {
    start: A,
    prefix_bits: u8,
    listed: Listed,
    end: A,
}

/// An address as a number.
trait Number: Copy + Ord {
    fn next(self) -> Option<Self>;
}

impl Number for u32 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Number for u128 {
    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl NetworkLists {
    /// Cuts the lists into steps. An IPv4 network in its IPv6 form (RFC 4291 §2.5.5.2) is that IPv4
    /// network, as a client's address is.
    #[must_use]
    pub fn new(listed: impl IntoIterator<Item = (IpNet, Listed)>) -> Self {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for (network, listed) in listed {
            let (start, end) = (network.network(), network.broadcast());
            let prefix_bits = network.prefix_len();
            match (start.to_canonical(), end.to_canonical()) {
                (IpAddr::V4(start), IpAddr::V4(end)) => {
                    // Of the 128 bits, 96 say that it is an IPv4 address.
                    let mapped = if network.addr().is_ipv6() { 96 } else { 0 };
                    let prefix_bits = prefix_bits.saturating_sub(mapped);
                    let (start, end) = (start.to_bits(), end.to_bits());
                    four.push(Range { start, prefix_bits, listed, end });
                }
                (start, end) => {
                    let (start, end) = (bits(start), bits(end));
                    six.push(Range { start, prefix_bits, listed, end });
                }
            }
        }
        let count = four.len() + six.len();
        Self { four: Steps::new(four), six: Steps::new(six), count }
    }

    /// How many networks there are in both.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// What is said of a client.
    #[must_use]
    pub fn find(&self, client: IpAddr) -> Option<Listed> {
        match client.to_canonical() {
            IpAddr::V4(address) => self.four.find(address.to_bits()),
            IpAddr::V6(address) => self.six.find(address.to_bits()),
        }
    }

    /// The steps, address by address, for a digest: equal where a reload would change nothing.
    pub fn steps(&self) -> impl Iterator<Item = ([u8; 16], Option<Listed>)> {
        let four = self.four.starts.iter();
        let four = four.map(|bits| Ipv4Addr::from_bits(*bits).to_ipv6_mapped().octets());
        let six = self.six.starts.iter().map(|bits| bits.to_be_bytes());
        let said = self.four.said.iter().chain(&self.six.said);
        four.chain(six).zip(said.copied())
    }
}

impl<A> Default for Steps<A> {
    fn default() -> Self {
        Self { starts: Vec::new(), said: Vec::new() }
    }
}

impl<A: Number> Steps<A> {
    /// Networks lie in one another or apart, so those around the current one are a stack.
    fn new(mut ranges: Vec<Range<A>>) -> Self {
        // Outer before inner; of equals the last one counts.
        ranges.sort_unstable();
        let mut steps = Self::default();
        let mut around: Vec<Range<A>> = Vec::new();
        for range in ranges {
            steps.leave(&mut around, Some(range.start));
            steps.push(range.start, Some(range.listed));
            around.push(range);
        }
        steps.leave(&mut around, None);
        steps.starts.shrink_to_fit();
        steps.said.shrink_to_fit();
        steps
    }

    /// Ends the networks that lie before an address, or all: behind them, the one around them counts.
    fn leave(&mut self, around: &mut Vec<Range<A>>, before: Option<A>) {
        while let Some(inner) = around.pop_if(|inner| before.is_none_or(|at| inner.end < at)) {
            if let Some(next) = inner.end.next() {
                self.push(next, around.last().map(|outer| outer.listed));
            }
        }
    }

    fn push(&mut self, start: A, listed: Option<Listed>) {
        if self.starts.last() == Some(&start) {
            self.starts.pop();
            self.said.pop();
        }
        if self.said.last().copied().flatten() != listed {
            self.starts.push(start);
            self.said.push(listed);
        }
    }

    fn find(&self, address: A) -> Option<Listed> {
        let after = self.starts.partition_point(|start| *start <= address);
        *self.said.get(after.checked_sub(1)?)?
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => Ipv6Addr::to_bits(address),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};

    use super::*;

    fn lists(allow: &[&str], deny: &[&str]) -> NetworkLists {
        let network = |text: &&str| text.parse::<IpNet>().unwrap();
        let allow = allow.iter().map(network).map(|network| (network, Listed::Allowed));
        NetworkLists::new(allow.chain(deny.iter().map(network).map(|one| (one, Listed::Denied))))
    }

    fn find(lists: &NetworkLists, address: &str) -> Option<Listed> {
        lists.find(address.parse().unwrap())
    }

    #[test]
    fn the_smaller_network_is_right_whichever_list_it_stands_in() {
        let lists = lists(&["10.0.0.0/8", "10.1.2.3/32"], &["10.1.0.0/16", "192.0.2.0/24"]);
        assert_eq!(find(&lists, "10.0.0.1"), Some(Listed::Allowed));
        assert_eq!(find(&lists, "10.1.0.0"), Some(Listed::Denied));
        assert_eq!(find(&lists, "10.1.2.3"), Some(Listed::Allowed));
        assert_eq!(find(&lists, "10.1.2.4"), Some(Listed::Denied));
        assert_eq!(find(&lists, "10.2.0.0"), Some(Listed::Allowed));
        assert_eq!(find(&lists, "11.0.0.0"), None);
        assert_eq!(find(&lists, "192.0.2.255"), Some(Listed::Denied));
        assert_eq!(find(&lists, "192.0.3.0"), None);
    }

    #[test]
    fn the_same_network_in_both_lists_is_denied() {
        let lists = lists(&["192.0.2.0/24"], &["192.0.2.0/24"]);
        assert_eq!(find(&lists, "192.0.2.1"), Some(Listed::Denied));
    }

    #[test]
    fn the_ends_of_the_address_space_are_networks_too() {
        let lists = lists(&["255.255.255.255/32", "::/0"], &["0.0.0.0/0", "ff00::/8"]);
        assert_eq!(find(&lists, "0.0.0.0"), Some(Listed::Denied));
        assert_eq!(find(&lists, "255.255.255.254"), Some(Listed::Denied));
        assert_eq!(find(&lists, "255.255.255.255"), Some(Listed::Allowed));
        assert_eq!(find(&lists, "::"), Some(Listed::Allowed));
        let last = Ipv6Addr::from_bits(u128::MAX);
        assert_eq!(lists.find(last.into()), Some(Listed::Denied));
    }

    #[test]
    fn an_ipv4_address_in_its_ipv6_form_is_the_same_address() {
        let lists = lists(&["::ffff:198.51.100.0/120"], &["192.0.2.0/24"]);
        assert_eq!(find(&lists, "::ffff:192.0.2.9"), Some(Listed::Denied));
        assert_eq!(find(&lists, "198.51.100.7"), Some(Listed::Allowed));
        assert_eq!(find(&lists, "198.51.101.7"), None);
    }

    #[test]
    fn parts_of_one_customers_network_may_differ() {
        let lists = lists(&["2001:db8::8/125"], &["2001:db8::/64", "2001:db8::a/128"]);
        assert_eq!(find(&lists, "2001:db8::7"), Some(Listed::Denied));
        assert_eq!(find(&lists, "2001:db8::9"), Some(Listed::Allowed));
        assert_eq!(find(&lists, "2001:db8::a"), Some(Listed::Denied));
        assert_eq!(find(&lists, "2001:db8::b"), Some(Listed::Allowed));
        assert_eq!(find(&lists, "2001:db8::10"), Some(Listed::Denied));
        assert_eq!(find(&lists, "2001:db8:0:1::"), None);
        assert_eq!(find(&lists, "2001:db7:ffff:ffff::1"), None);
    }

    proptest! {
        #[test]
        fn steps_say_what_a_look_at_every_network_says(
            networks in prop::collection::vec((any::<u8>(), 0_u8..=8, any::<bool>()), 0..40),
        ) {
            // Networks within 192.0.2.0/24, so that they meet.
            let listed = networks.into_iter().map(|(host, bits, denied)| {
                let address = Ipv4Addr::new(192, 0, 2, host);
                let network = IpNet::new(address.into(), 24 + bits).unwrap().trunc();
                (network, if denied { Listed::Denied } else { Listed::Allowed })
            });
            let listed: Vec<_> = listed.collect();
            let lists = NetworkLists::new(listed.clone());
            for host in 0..=255 {
                let address = IpAddr::from([192, 0, 2, host]);
                let around = listed.iter().filter(|(network, _)| network.contains(&address));
                let nearest = around.max_by_key(|(network, listed)| (network.prefix_len(), *listed));
                prop_assert_eq!(lists.find(address), nearest.map(|(_, listed)| *listed));
            }
        }
    }
}
