//! Where requests go.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::CertificateFiles;

/// One server behind us.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Which HTTP it speaks.
    pub http: HttpVersions,
    /// Where it is.
    pub place: UpstreamPlace,
    /// The name that is asked for in its handshake and must be in its certificate, where that is not
    /// its host.
    pub server_name: Option<String>,
    /// Whose word about its identity counts; looked at for `https` only.
    pub trust: Trust,
    /// Keys of which the chain behind its certificate must hold one; none means any.
    pub pins: Arc<[Pin]>,
    /// What we show it, where it asks who we are.
    pub client: Option<CertificateFiles>,
}

/// The SHA-256 of a key as certificates hold it (SubjectPublicKeyInfo), as in RFC 7469 §2.4.
pub type Pin = [u8; 32];

/// How an upstream is spoken to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Scheme {
    /// Clear text.
    Http,
    /// Verified TLS.
    Https,
}

/// Which HTTP an upstream speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HttpVersions {
    /// HTTP/2 where the server agrees in the handshake (RFC 7301), else HTTP/1.1.
    Agreed,
    /// HTTP/1.1.
    One,
    /// HTTP/2 from the first byte (RFC 9113 §3.3).
    Two,
}

/// Where an upstream is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum UpstreamPlace {
    /// On the network.
    Network {
        /// A name or an address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// A socket of this machine.
    Socket(Arc<Path>),
}

/// The authorities an upstream's certificate is verified against.
#[derive(Clone, Debug, Default)]
pub enum Trust {
    /// These only.
    Anchors(Arc<[CertificateDer<'static>]>),
    /// Those of the operating system.
    #[default]
    System,
}

impl Upstream {
    /// What `Host` says: the name, and the port where it is not the scheme's own.
    #[must_use]
    pub fn authority(&self) -> String {
        match &self.place {
            UpstreamPlace::Network { host, port } => match (self.scheme, port) {
                (Scheme::Http, 80) | (Scheme::Https, 443) => bracketed(host),
                (_, port) => format!("{}:{port}", bracketed(host)),
            },
            UpstreamPlace::Socket(_) => "localhost".to_owned(),
        }
    }

    /// The name that its certificate must hold.
    #[must_use]
    pub fn verified_name(&self) -> &str {
        match (&self.server_name, &self.place) {
            (Some(name), _) => name,
            (None, UpstreamPlace::Network { host, .. }) => host,
            (None, UpstreamPlace::Socket(_)) => "localhost",
        }
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match (self.scheme, self.http) {
            (Scheme::Http, HttpVersions::Agreed | HttpVersions::One) => "http",
            (Scheme::Http, HttpVersions::Two) => "h2c",
            (Scheme::Https, HttpVersions::One) => "https",
            (Scheme::Https, HttpVersions::Agreed | HttpVersions::Two) => "h2",
        };
        match &self.place {
            UpstreamPlace::Network { host, port } => {
                write!(f, "{scheme}://{}:{port}", bracketed(host))
            }
            UpstreamPlace::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
