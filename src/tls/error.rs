//! What can be wrong with a certificate and its key, each with its remedy.

use std::io;
use std::path::PathBuf;

use rustls_pki_types::pem;
use thiserror::Error;

/// The largest file read: a chain of several certificates is a few KiB.
pub(super) const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Why a chain and key cannot be served, and what to do about it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A certificate is not DER.
    #[error("certificate {position} in {} is damaged; copy the file again", path.display())]
    Certificate {
        /// The chain.
        path: PathBuf,
        /// Counted from 1.
        position: usize,
    },
    /// The key needs a passphrase.
    #[error(
        "the key in {0} is encrypted with a passphrase; decrypt it: openssl pkey -in {0} -out FILE",
        path.display()
    )]
    EncryptedKey {
        /// The key.
        path: PathBuf,
    },
    /// It has expired, and the one that is served has not.
    #[error("the new certificate in {} has expired; renew it", chain.display())]
    Expired {
        /// The chain.
        chain: PathBuf,
    },
    /// The rcgen crate could not make a certificate.
    #[error("cannot make a self-signed certificate; check the names given for it")]
    Generate {
        /// Why.
        #[from]
        source: rcgen::Error,
    },
    /// The key's kind or size is not supported.
    #[error(
        "the key in {} cannot be used; use RSA (2048 to 8192 bits), ECDSA (P-256, P-384, P-521) or \
         Ed25519, in PKCS#8, PKCS#1 or SEC1",
        path.display()
    )]
    Key {
        /// The key.
        path: PathBuf,
    },
    /// The key belongs to a later certificate of the chain.
    #[error(
        "the key in {} belongs to certificate {position} in {}; put that certificate first",
        key.display(), chain.display()
    )]
    LeafNotFirst {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// Counted from 1.
        position: usize,
    },
    /// The key belongs to another certificate.
    #[error(
        "the key in {} does not belong to the certificate in {}; replace both files together",
        key.display(), chain.display()
    )]
    Mismatch {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The chain holds nothing.
    #[error(
        "{} holds no certificate; it needs PEM blocks that start with BEGIN CERTIFICATE, the \
         server's own first",
        path.display()
    )]
    NoCertificate {
        /// The chain.
        path: PathBuf,
    },
    /// The key file holds no key.
    #[error("{} holds no private key; it needs a PEM block that starts with BEGIN PRIVATE KEY, \
         BEGIN RSA PRIVATE KEY or BEGIN EC PRIVATE KEY", path.display())]
    NoKey {
        /// The key.
        path: PathBuf,
    },
    /// A certificate is not issued by the one after it.
    #[error(
        "certificate {position} in {} is not issued by the one after it; order the file from the \
         server's own certificate up to the authority, without strangers between",
        path.display()
    )]
    Order {
        /// The chain.
        path: PathBuf,
        /// Counted from 1.
        position: usize,
    },
    /// It is not valid yet, and the one that is served is.
    #[error(
        "the new certificate in {} is not valid yet; check this machine's clock", chain.display()
    )]
    NotYetValid {
        /// The chain.
        chain: PathBuf,
    },
    /// The PEM text is damaged.
    #[error("{} is damaged PEM; copy the file again", path.display())]
    Pem {
        /// The chain.
        path: PathBuf,
        /// Where.
        source: pem::Error,
    },
    /// A file cannot be read.
    #[error("cannot read {}; check the path and who may read it", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is larger than any chain or key.
    #[error("{} is larger than {FILE_BYTES_MAX} bytes; is it the right file?", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write {}; check who may write to its folder", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What is odd about a certificate that is served all the same.
#[derive(Clone, Debug, Eq, Error, Hash, PartialEq)]
#[non_exhaustive]
pub enum IdentityWarning {
    /// What we got ourselves cannot be served.
    #[error(
        "the certificate in {} cannot be used; another is asked for, and until it comes nobody can \
         connect to its names over https", chain.display()
    )]
    AskedAgain {
        /// The chain.
        chain: PathBuf,
    },
    /// We are still to get it.
    #[error(
        "the certificate that is to be in {} has not been issued yet; until it is, nobody can \
         connect to its names over https", chain.display()
    )]
    Awaited {
        /// The chain.
        chain: PathBuf,
    },
    /// Clients refuse it.
    #[error("the certificate in {} has expired; renew it", chain.display())]
    Expired {
        /// The chain.
        chain: PathBuf,
    },
    /// Whoever has an account on this machine may read it (PCI DSS 3.6.1.3), or put another there.
    #[error(
        "the key in {0} is open to everybody (mode {mode:04o}); run: chmod o-rwx {0}", key.display()
    )]
    KeyOpen {
        /// The key.
        key: PathBuf,
        /// Of its file.
        mode: u32,
    },
    /// No client accepts it by name (RFC 9525 §6.3: the common name is not looked at).
    #[error("the certificate in {} names no host; have it issued with DNS names", chain.display())]
    Nameless {
        /// The chain.
        chain: PathBuf,
    },
    /// It asks clients to refuse it without a staple, and there is none that is in time.
    #[error(
        "the certificate in {} must be served with an OCSP staple, and there is none; fetch one for \
         `ocsp`, or have it issued without must-staple", chain.display()
    )]
    MustStaple {
        /// The chain.
        chain: PathBuf,
    },
    /// Clients refuse it for now.
    #[error(
        "the certificate in {} is not valid yet; check this machine's clock", chain.display()
    )]
    NotYetValid {
        /// The chain.
        chain: PathBuf,
    },
    /// What should be stapled is not what an authority says of this certificate.
    #[error("{} is no OCSP response for its certificate; fetch it again", ocsp.display())]
    StapleUnfit {
        /// The file.
        ocsp: PathBuf,
    },
    /// The certificate is not what it was.
    #[error("the authority says in {} that its certificate is revoked; replace it", ocsp.display())]
    Revoked {
        /// The file.
        ocsp: PathBuf,
    },
}
