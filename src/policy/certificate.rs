//! Which certificate files are served.

use std::path::PathBuf;

/// A certificate chain and its private key, as files.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CertificateFiles {
    /// PEM: the leaf first, then its issuers.
    pub chain: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}
