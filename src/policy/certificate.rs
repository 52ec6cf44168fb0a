//! Which certificate files are served.

use std::path::PathBuf;

/// A certificate chain and its private key, as files.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CertificateFiles {
    /// PEM: the leaf first, then its issuers.
    pub chain: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
    /// DER: what the authority says of the certificate's standing (OCSP), to be handed on with it.
    pub ocsp: Option<PathBuf>,
    /// Whether we get the pair ourselves, so that it may not be there yet: no reason not to start.
    pub managed: bool,
}

impl CertificateFiles {
    /// A chain and key that somebody else sees to.
    #[must_use]
    pub fn new(chain: PathBuf, key: PathBuf) -> Self {
        Self { chain, key, ocsp: None, managed: false }
    }
}
