//! Whom a client is counted with.

use std::net::{IpAddr, Ipv6Addr};

/// An IPv4 address, or the /64 that one IPv6 customer is given.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ClientNetwork(pub IpAddr);

impl ClientNetwork {
    /// The network of a client.
    #[must_use]
    pub fn of(client: IpAddr) -> Self {
        Self(match client.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        })
    }
}
