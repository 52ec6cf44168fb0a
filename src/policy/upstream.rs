//! Where requests go.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

use super::CertificateFiles;

/// One server behind us.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Its name or address, without brackets or port.
    pub host: String,
    /// Its port.
    pub port: u16,
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
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        match (self.scheme, self.port) {
            (Scheme::Http, 80) | (Scheme::Https, 443) => format!("{open}{}{close}", self.host),
            (_, port) => format!("{open}{}{close}:{port}", self.host),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{scheme}://{open}{}{close}:{}", self.host, self.port)
    }
}
