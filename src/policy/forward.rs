//! What the forward proxy may reach: which hosts, and which addresses behind their names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;

use http::uri::Authority;

/// The port of `https`, the only one that is reached without being listed.
const HTTPS_PORT: u16 = 443;

/// Two descriptors and two buffers of 16 KiB each.
const TUNNELS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");

/// A host and port that a client asks the forward proxy for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Destination {
    /// A name, or an address without brackets; lower case, without a dot at the end.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What happens to hosts that are no payment gateway's.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Others {
    /// Refused, unless listed.
    #[default]
    Refuse,
    /// Tunnelled as they are.
    Tunnel,
}

/// What the forward proxy does with hosts that are no payment gateway's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ForwardPolicy {
    /// Those that are not listed.
    pub others: Others,
    /// Those that may always be tunnelled to.
    pub allow: Vec<Destination>,
    /// The most tunnels at once (503).
    pub tunnels_max: NonZeroUsize,
}

impl Destination {
    /// Reads `host`, `host:port` or `[v6]:port`; the port of `https` where there is none. `None` for
    /// anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let authority = text.parse().ok()?;
        let port = Self::port_of(&authority).unwrap_or(Some(HTTPS_PORT))?;
        Self::with_port(&authority, port)
    }

    /// Reads the target of CONNECT, whose port must be there (RFC 9110 §9.3.6).
    #[must_use]
    pub fn of_connect(authority: &Authority) -> Option<Self> {
        Self::with_port(authority, Self::port_of(authority)??)
    }

    /// Whether an authority inside a connection to here names it too; its port may be left out where
    /// it is that of `https`.
    #[must_use]
    pub fn is_named_by(&self, authority: &Authority) -> bool {
        Self::parse(authority.as_str()).is_some_and(|named| named == *self)
    }

    /// The address, where it is named by one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// `None` without a port, `Some(None)` where it is none.
    fn port_of(authority: &Authority) -> Option<Option<u16>> {
        let after = authority.as_str().rsplit(']').next()?.rsplit_once(':')?.1;
        Some(after.parse().ok().filter(|port| *port > 0))
    }

    fn with_port(authority: &Authority, port: u16) -> Option<Self> {
        let host = authority.host();
        if authority.as_str().contains('@') {
            return None;
        }
        if let Some(inner) = host.strip_prefix('[') {
            let ip: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
            return Some(Self { host: ip.to_string(), port });
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let sound = |label: &str| !label.is_empty() && label.chars().all(sound);
        host.split('.').all(sound).then(|| Self { host: host.to_ascii_lowercase(), port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

impl Others {
    /// The name used in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Tunnel => "tunnel",
        }
    }
}

impl Default for ForwardPolicy {
    fn default() -> Self {
        Self { others: Others::default(), allow: Vec::new(), tunnels_max: TUNNELS_MAX }
    }
}

impl ForwardPolicy {
    /// Whether a host may be tunnelled to, wherever its name leads.
    #[must_use]
    pub fn admits(&self, destination: &Destination) -> bool {
        let unlisted = self.others == Others::Tunnel && destination.port == HTTPS_PORT;
        unlisted || self.allow.contains(destination)
    }

    /// Whether a tunnel may end at this address. A name is no reason to trust what it resolves to:
    /// what is not on the Internet is reached only where it is listed by its address.
    #[must_use]
    pub fn reaches(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let listed = |one: &Destination| one.port == address.port() && one.address() == Some(ip);
        is_public(ip) || self.allow.iter().any(listed)
    }
}

/// Whether an address is one of the Internet's, by IANA's special-purpose registries (RFC 6890): not
/// this machine, not its network, and not what a cloud tells its machines their secrets at
/// (169.254.169.254, 100.100.100.200, 192.0.0.192, fd00:ec2::254).
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let special = match ip.octets() {
        [0 | 10 | 127 | 224..=255, ..]
        | [100, 64..=127, ..]
        | [169, 254, ..]
        | [172, 16..=31, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [192, 168, ..]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => true,
        [..] => false,
    };
    !special
}

/// Of 2000::/3 alone, without what embeds an IPv4 address (Teredo, 6to4) and what is for documents.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    match ip.segments() {
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => (0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn destination(host: &str, port: u16) -> Destination {
        Destination { host: host.to_owned(), port }
    }

    #[test]
    fn a_destination_is_a_host_and_a_port() {
        let cases = [
            ("API.Pay.example", Some(("api.pay.example", 443))),
            ("api.pay.example.:8443", Some(("api.pay.example", 8443))),
            ("192.0.2.1", Some(("192.0.2.1", 443))),
            ("[2001:DB8::1]:81", Some(("2001:db8::1", 81))),
            ("[2001:db8::1]", Some(("2001:db8::1", 443))),
            ("", None),
            (".", None),
            ("..", None),
            ("pay..example", None),
            (":443", None),
            ("a:", None),
            ("a:0", None),
            ("a:65536", None),
            ("a b", None),
            ("*.pay.example", None),
            ("user@pay.example", None),
            ("pay.example@pay.example", None),
            ("[]", None),
            ("[pay.example]", None),
            ("[2001:db8:0:0::1]", Some(("2001:db8::1", 443))),
            ("https://pay.example", None),
            ("2001:db8::1", None),
        ];
        for (text, expected) in cases {
            let expected = expected.map(|(host, port)| destination(host, port));
            assert_eq!(Destination::parse(text), expected, "{text}");
        }
        let connect = |text: &str| Destination::of_connect(&text.parse().unwrap());
        assert_eq!(connect("pay.example:443"), Some(destination("pay.example", 443)));
        assert_eq!((connect("pay.example"), connect("a@pay.example:443")), (None, None));
    }

    proptest! {
        #[test]
        fn no_text_panics_and_what_is_read_reads_again(text in any::<String>(), host in "[a-z.:@\\[\\]0-9-]{0,20}") {
            for text in [text, host] {
                let Some(read) = Destination::parse(&text) else { continue };
                prop_assert!(read.port > 0 && !read.host.is_empty());
                prop_assert_eq!(Destination::parse(&read.to_string()), Some(read));
            }
        }
    }

    #[test]
    fn a_request_names_its_destination_with_or_without_the_port_of_https() {
        let names = |to: &Destination, text: &str| to.is_named_by(&text.parse().unwrap());
        let pay = destination("pay.example", 443);
        assert!(names(&pay, "PAY.example") && names(&pay, "pay.example:443"));
        assert!(!names(&pay, "pay.example:8443") && !names(&pay, "a.pay.example"));
        let other = destination("pay.example", 8443);
        assert!(names(&other, "pay.example:8443") && !names(&other, "pay.example"));
    }

    #[test]
    fn only_what_is_listed_or_https_is_admitted() {
        let allow = vec![destination("api.example", 8443)];
        let refuse = ForwardPolicy { allow, ..ForwardPolicy::default() };
        let tunnel = ForwardPolicy { others: Others::Tunnel, ..refuse.clone() };
        let cases = [
            ("api.example", 8443, true, true),
            ("api.example", 443, false, true),
            ("other.example", 443, false, true),
            ("other.example", 25, false, false),
        ];
        for (host, port, refusing, tunnelling) in cases {
            let to = destination(host, port);
            assert_eq!((refuse.admits(&to), tunnel.admits(&to)), (refusing, tunnelling), "{to}");
        }
    }

    #[test]
    fn what_is_not_on_the_internet_is_reached_only_where_its_address_is_listed() {
        let inside = [
            "0.0.0.0",
            "10.1.2.3",
            "100.100.100.200",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.0.0.192",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2001:0:4136:e378::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
        ];
        let none = ForwardPolicy::default();
        for ip in inside {
            let address = SocketAddr::new(ip.parse().unwrap(), 443);
            assert!(!none.reaches(address), "{ip}");
            let listed = Destination::parse(&address.ip().to_canonical().to_string());
            let listed = listed.unwrap_or(destination(ip, 443));
            let some = ForwardPolicy { allow: vec![listed], ..ForwardPolicy::default() };
            assert!(some.reaches(address) && !some.reaches(SocketAddr::new(address.ip(), 444)));
        }
        for ip in ["1.1.1.1", "172.32.0.1", "192.0.1.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(none.reaches(SocketAddr::new(ip.parse().unwrap(), 443)), "{ip}");
        }
    }
}
