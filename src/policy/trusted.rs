//! Which proxies before us are believed about a client's address, and in which field they write it.

use std::net::IpAddr;

use ipnet::IpNet;

/// The proxies that the operator runs.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// Where they call from.
    pub networks: Vec<IpNet>,
    /// The field that they write.
    pub field: ForwardedField,
}

/// A field that tells who came before a proxy. Only one is believed: whoever writes the one may pass
/// on what a client wrote into the other.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ForwardedField {
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-For`, which all of them know.
    #[default]
    XForwardedFor,
}

impl TrustedProxies {
    /// Whether a proxy at this address is one of them.
    #[must_use]
    pub fn contain(&self, proxy: IpAddr) -> bool {
        let proxy = proxy.to_canonical();
        self.networks.iter().any(|network| network.contains(&proxy))
    }
}
