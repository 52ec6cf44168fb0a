//! From whom certificates are asked, and how a name is proven (RFC 8555).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{CertificateFiles, Secret, Trust};

/// Every certificate that is asked for; none where the file names none.
#[derive(Debug, Default)]
pub struct AcmePolicy {
    /// In the order of the file.
    pub certificates: Vec<AcmeCertificate>,
}

/// A certificate that is asked for, and renewed.
#[derive(Clone, Debug)]
pub struct AcmeCertificate {
    /// Lower case; the first one is what it is called.
    pub names: Vec<String>,
    /// Who is asked, in this order.
    pub authorities: Vec<Arc<AcmeAuthority>>,
}

/// A certificate authority.
#[derive(Debug)]
pub struct AcmeAuthority {
    /// For metrics and logs.
    pub name: String,
    /// Where its directory is: an `https` URL.
    pub directory: String,
    /// Whose word about its identity counts.
    pub trust: Trust,
    /// `mailto:` URIs.
    pub contact: Vec<String>,
    /// How names are proven to it.
    pub challenge: AcmeChallenge,
    /// What binds our account to one that the operator has there already.
    pub external_account: Option<ExternalAccount>,
    /// The shortest wait after a failure; it doubles with every further one.
    pub retry: Duration,
}

/// How a name is proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AcmeChallenge {
    /// By a record that a command of the operator's puts into the DNS (RFC 8555 §8.4).
    Dns01(DnsHook),
    /// By an answer on port 80 (RFC 8555 §8.3).
    Http01,
    /// By a certificate on port 443 (RFC 8737).
    TlsAlpn01,
}

/// The command that changes the DNS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DnsHook {
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Variables of our environment that it may see; it sees no others but `PATH` and `HOME`.
    pub environment: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// How long a record needs to be seen everywhere.
    pub propagation: Duration,
}

/// An account that the operator has with the authority (RFC 8555 §7.3.4).
pub struct ExternalAccount {
    /// What the authority calls the key.
    pub key_id: String,
    /// The key, decoded.
    pub key: Secret,
}

impl AcmePolicy {
    /// Where each certificate lies once it has been issued: the key and the chain in one file, so that
    /// no reader ever sees one without the other.
    #[must_use]
    pub fn files(&self, data_dir: &Path) -> Vec<CertificateFiles> {
        let paths = self.certificates.iter().map(|certificate| certificate.path(data_dir));
        let files = |path: PathBuf| CertificateFiles {
            managed: true,
            ..CertificateFiles::new(path.clone(), path)
        };
        paths.map(files).collect()
    }
}

impl AcmeCertificate {
    /// What it is called.
    #[must_use]
    pub fn label(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self, data_dir: &Path) -> PathBuf {
        let stem = self.label().replace('*', "_");
        data_dir.join("acme").join("certificates").join(format!("{stem}.pem"))
    }
}

impl AcmeAuthority {
    /// What sets its accounts apart from those of others: the directory, and what they are bound to.
    #[must_use]
    pub fn account_id(&self) -> (&str, &str) {
        let bound = self.external_account.as_ref().map_or("", |account| &account.key_id);
        (&self.directory, bound)
    }
}

impl AcmeChallenge {
    /// As RFC 8555 and RFC 8737 call it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Dns01(_) => "dns-01",
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
        }
    }
}

/// The key has no mouth.
impl fmt::Debug for ExternalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExternalAccount").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_has_a_file_name_without_a_star() {
        let names = vec!["*.shop.example".to_owned(), "shop.example".to_owned()];
        let certificate = AcmeCertificate { names, authorities: Vec::new() };
        let path = certificate.path(Path::new("/data"));
        assert_eq!(path, Path::new("/data/acme/certificates/_.shop.example.pem"));
    }
}
