//! How TLS is spoken at the addresses that clients connect to.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateRevocationListDer;

use super::{Secret, Trust};

/// How TLS is spoken with clients.
#[derive(Default)]
pub struct TlsPolicy {
    /// At each address where it is, in the order of the file.
    pub listeners: Vec<ListenerTls>,
    /// What the keys of session tickets are derived from, where instances share them.
    pub ticket_secret: Option<Secret>,
}

/// Names a listener from one generation to the next.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ListenKey {
    /// Its address, as configured.
    pub address: SocketAddr,
    /// How many listeners before it have the same: only those whose port the system chooses.
    pub repeat: usize,
}

/// How TLS is spoken at one address.
#[derive(Clone, Debug)]
pub struct ListenerTls {
    /// Which listener.
    pub key: ListenKey,
    /// Which versions are spoken.
    pub profile: TlsProfile,
    /// Whether a client must ask for a name that a certificate carries.
    pub strict_sni: bool,
    /// Who clients must be, where they are asked.
    pub client_auth: Option<ClientAuth>,
}

/// Which versions and cipher suites are spoken. All of them keep past traffic secret when a key is lost.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TlsProfile {
    /// TLS 1.2 too, with AEAD suites alone.
    Intermediate,
    /// TLS 1.3.
    #[default]
    Modern,
}

/// Whose certificates clients show.
#[derive(Clone, Debug)]
pub struct ClientAuth {
    /// Whether they must.
    pub mode: ClientAuthMode,
    /// The authorities.
    pub trust: Trust,
    /// What those have taken back; nothing is looked up where there is none.
    pub revoked: Arc<[CertificateRevocationListDer<'static>]>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ClientAuthMode {
    /// It may; the shop is told.
    Optional,
    /// It must.
    Required,
}

/// The secret has no mouth.
impl fmt::Debug for TlsPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPolicy").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}
