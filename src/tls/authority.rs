//! The local authority whose certificates the shop accepts for the payment gateways' names.
//!
//! Who holds its key can pose as the payment gateways towards the shop, and as nobody else: its
//! certificate is constrained to their names (RFC 5280 §4.2.1.10), and it signs leaves for these
//! alone. The key is made here, lies in one file that only its owner may read, is never shown, and
//! is wiped from memory. When the names change the certificate is issued anew with the same key: a
//! shop that trusts the one before keeps reaching the names of that one.

mod certificate;
mod key;
mod leaf;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use parking_lot::Mutex;
use rcgen::Issuer;
use rustls::ServerConfig;
use thiserror::Error;

use super::IdentityError;
use certificate::Certified;
use key::Key;
use leaf::Leaf;

/// The most leaves that are kept; configurations name a handful of hosts.
const LEAVES_MAX: usize = 256;

/// Answers handshakes in the names of payment gateways.
pub struct Authority {
    certificate: PathBuf,
    issuer: Issuer<'static, Key>,
    leaves: Mutex<HashMap<String, Leaf>>,
}

/// The authority's certificate, for whoever is to trust it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuthorityCertificate {
    /// The certificate alone.
    pub pem: String,
    /// The names that it may sign for.
    pub hosts: Vec<String>,
    /// When it ends.
    pub not_after: SystemTime,
}

/// Whether those who trust the authority must be given a new certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
#[must_use]
pub enum Coverage {
    /// It has been issued just now, and lies in its file.
    Issued(AuthorityCertificate),
    /// The one that lies there is for these names.
    Kept(AuthorityCertificate),
    /// There are no names, and no certificate is made for none: it would be constrained to nothing.
    Nothing,
}

/// Why there is no authority.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// The certificate's file holds something else.
    #[error("{} is not the authority's certificate; remove it, and start anew", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] IdentityError),
    /// The key's file holds something else.
    #[error(
        "{} is no ECDSA P-256 key in PKCS#8; restore it, or remove it and have the shop trust the \
         new authority",
        path.display()
    )]
    Key {
        /// The file.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error("others may read {0} (mode {mode:04o}); chmod 600 {0}", path.display())]
    KeyMode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// There is none yet.
    #[error("there is no {}; it is made when tillgate first runs with a [forward_proxy]", path.display())]
    Missing {
        /// The certificate's file.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("the system gives no randomness for a key")]
    Random,
    /// TLS refuses what was made.
    #[error("cannot serve a certificate of the local authority")]
    Serve(#[from] rustls::Error),
    /// A certificate cannot be made.
    #[error("cannot make a certificate of the local authority")]
    Sign(#[from] rcgen::Error),
}

impl Authority {
    /// Reads the authority's key in `folder`, or makes one where there is none.
    ///
    /// # Errors
    /// When the key cannot be used, or may be read by others.
    pub fn open(folder: &Path) -> Result<Self, AuthorityError> {
        let key = Key::obtain(&folder.join("forward-ca.key"))?;
        let issuer = Issuer::new(certificate::subject(&key), key);
        Ok(Self { certificate: path(folder), issuer, leaves: Mutex::default() })
    }

    /// Sees to it that the certificate is for exactly these names, and does not end soon.
    ///
    /// # Errors
    /// When it cannot be made or written; the one before is then still there.
    pub fn cover(&self, hosts: &[String], now: SystemTime) -> Result<Coverage, AuthorityError> {
        self.leaves.lock().retain(|host, _| hosts.contains(host));
        if hosts.is_empty() {
            return Ok(Coverage::Nothing);
        }
        if let Ok(kept) = certificate::read(&self.certificate)
            && kept.is_of(self.issuer.key())
            && kept.serves(hosts, now)
        {
            return Ok(Coverage::Kept(kept.told));
        }
        let Certified { told, .. } = certificate::issue(self.issuer.key(), hosts, now)?;
        super::self_signed::write(&self.certificate, told.pem.as_bytes(), 0o644)?;
        Ok(Coverage::Issued(told))
    }

    /// Our side of a handshake in the name of `host`: a leaf that is good for this one name, made
    /// when it is first needed and again before it ends.
    ///
    /// # Errors
    /// When the leaf cannot be made.
    pub fn server(&self, host: &str, now: SystemTime) -> Result<Arc<ServerConfig>, AuthorityError> {
        let mut leaves = self.leaves.lock();
        if let Some(leaf) = leaves.get(host).filter(|leaf| leaf.is_fresh(now)) {
            return Ok(leaf.server());
        }
        let leaf = Leaf::issue(host, &self.issuer, now)?;
        let server = leaf.server();
        if leaves.len() >= LEAVES_MAX {
            leaves.clear();
        }
        leaves.insert(host.to_owned(), leaf);
        Ok(server)
    }

    /// The certificate that lies in `folder`, for whoever is to trust it.
    ///
    /// # Errors
    /// When there is none, or something else.
    pub fn exported(folder: &Path) -> Result<AuthorityCertificate, AuthorityError> {
        Ok(certificate::read(&path(folder))?.told)
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("forward-ca.pem")
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;
    use std::time::Duration;

    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::{CertificateError, RootCertStore};
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
    use tempfile::{TempDir, tempdir};

    use super::super::provider;
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn year_2030() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 365 * 60
    }

    fn hosts(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn made(names: &[&str]) -> (TempDir, Authority, AuthorityCertificate) {
        let folder = tempdir().unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        let Coverage::Issued(told) = authority.cover(&hosts(names), year_2030()).unwrap() else {
            panic!("kept what was not there")
        };
        (folder, authority, told)
    }

    /// What a client that trusts `pem` says of a leaf for `host` when it wants `wanted`.
    fn verdict(pem: &str, leaf: &Leaf, wanted: &str, now: SystemTime) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let name = ServerName::try_from(wanted.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(now.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        let verifier = builder.build().unwrap();
        verifier.verify_server_cert(&leaf.certificate(), &[], &name, &[], at).map(drop)
    }

    #[test]
    fn the_authority_survives_a_restart_and_its_key_is_private() {
        let (folder, _, told) = made(&["pay.example"]);
        let again = Authority::open(folder.path()).unwrap();
        let covered = again.cover(&hosts(&["pay.example"]), year_2030()).unwrap();
        assert_eq!(covered, Coverage::Kept(told.clone()));
        assert_eq!(Authority::exported(folder.path()).unwrap(), told);
        assert_eq!(told.hosts, ["pay.example"]);
        assert!(!told.pem.contains("PRIVATE"));
        let mode = fs::metadata(folder.path().join("forward-ca.key")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_leaf_is_good_for_its_own_name_alone_and_for_thirty_days() {
        let (_folder, authority, told) = made(&["pay.example", "api.bank.example"]);
        let now = year_2030();
        let leaf = Leaf::issue("pay.example", &authority.issuer, now).unwrap();
        assert_eq!(verdict(&told.pem, &leaf, "pay.example", now), Ok(()));
        for other in ["api.bank.example", "www.pay.example", "shop.example"] {
            let refused = verdict(&told.pem, &leaf, other, now).unwrap_err();
            let name = CertificateError::NotValidForNameContext {
                expected: ServerName::try_from(other).unwrap().to_owned(),
                presented: vec!["DnsName(\"pay.example\")".to_owned()],
            };
            assert_eq!(refused, rustls::Error::InvalidCertificate(name));
        }
        assert!(verdict(&told.pem, &leaf, "pay.example", now + DAY * 28).is_ok());
        assert!(verdict(&told.pem, &leaf, "pay.example", now + DAY * 30).is_err());
    }

    #[test]
    fn a_stolen_key_signs_for_no_other_name() {
        let (_folder, authority, told) = made(&["pay.example"]);
        for other in ["shop.example", "192.0.2.1", "2001:db8::1"] {
            let leaf = Leaf::issue(other, &authority.issuer, year_2030()).unwrap();
            let refused = verdict(&told.pem, &leaf, other, year_2030()).unwrap_err();
            let text = format!("{refused:?}");
            assert!(text.contains("NameConstraintViolation"), "{other}: {text}");
        }
    }

    #[test]
    fn other_names_make_a_new_certificate_of_the_same_key() {
        let (_folder, authority, old) = made(&["pay.example"]);
        let wider = hosts(&["bank.example", "pay.example"]);
        let Coverage::Issued(new) = authority.cover(&wider, year_2030()).unwrap() else {
            panic!("kept one for other names")
        };
        assert_eq!(new.hosts, wider);
        let pay = Leaf::issue("pay.example", &authority.issuer, year_2030()).unwrap();
        let bank = Leaf::issue("bank.example", &authority.issuer, year_2030()).unwrap();
        let good = |pem: &str, leaf: &Leaf, name| verdict(pem, leaf, name, year_2030()).is_ok();
        assert!(good(&new.pem, &pay, "pay.example") && good(&new.pem, &bank, "bank.example"));
        assert!(good(&old.pem, &pay, "pay.example") && !good(&old.pem, &bank, "bank.example"));
    }

    #[test]
    fn without_names_no_certificate_is_made() {
        let (folder, authority, told) = made(&["pay.example"]);
        authority.server("pay.example", year_2030()).unwrap();
        assert_eq!(authority.cover(&[], year_2030()).unwrap(), Coverage::Nothing);
        assert_eq!(Authority::exported(folder.path()).unwrap(), told);
        assert!(authority.leaves.lock().is_empty());
    }

    #[test]
    fn a_certificate_that_ends_soon_or_is_damaged_is_replaced() {
        let (folder, authority, first) = made(&["pay.example"]);
        let (names, file) = (hosts(&["pay.example"]), folder.path().join("forward-ca.pem"));
        let ending = first.not_after - DAY * 10;
        let cover = |now| authority.cover(&names, now).unwrap();
        assert!(matches!(cover(year_2030() + DAY * 3_000), Coverage::Kept(_)));
        let Coverage::Issued(second) = cover(ending) else { panic!("kept until its end") };
        assert!(second.not_after > first.not_after);
        fs::write(&file, "damaged").unwrap();
        assert!(matches!(
            Authority::exported(folder.path()),
            Err(AuthorityError::Certificate { .. })
        ));
        assert!(matches!(cover(year_2030()), Coverage::Issued(_)));
        let (_other, stranger, _) = made(&["pay.example"]);
        fs::copy(stranger.certificate, &file).unwrap();
        assert!(matches!(cover(year_2030()), Coverage::Issued(_)));
    }

    #[test]
    fn a_leaf_is_kept_and_renewed_before_it_ends() {
        let (_folder, authority, _) = made(&["pay.example"]);
        let at = |days| authority.server("pay.example", year_2030() + DAY * days).unwrap();
        let first = at(0);
        assert!(Arc::ptr_eq(&first, &at(18)));
        assert!(!Arc::ptr_eq(&first, &at(20)));
        // A clock that was set back must not serve a leaf from its future.
        assert!(!Arc::ptr_eq(&at(20), &at(0)));
        for n in 0..LEAVES_MAX * 2 {
            authority.server(&format!("{n}.example"), year_2030()).unwrap();
        }
        assert!(authority.leaves.lock().len() <= LEAVES_MAX);
    }

    #[test]
    fn a_key_that_others_may_read_or_that_is_none_is_refused_and_left_alone() {
        let (folder, _, _) = made(&["pay.example"]);
        let file = folder.path().join("forward-ca.key");
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let refused = Authority::open(folder.path()).err().unwrap().to_string();
        assert!(refused.contains("0640") && refused.contains("chmod 600"), "{refused}");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        let rsa = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap().serialize_pem();
        for text in ["damaged", rsa.as_str()] {
            fs::write(&file, text).unwrap();
            let refused = Authority::open(folder.path()).err().unwrap();
            assert!(matches!(refused, AuthorityError::Key { .. }), "{refused}");
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }

    #[test]
    fn without_an_authority_there_is_nothing_to_export() {
        let refused = Authority::exported(tempdir().unwrap().path()).err().unwrap();
        assert!(matches!(refused, AuthorityError::Missing { .. }), "{refused}");
    }
}
