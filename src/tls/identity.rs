//! A certificate chain and its key, checked to belong together.
//!
//! What is returned can be served: the leaf comes first, each certificate is issued by the next, and
//! the key is the leaf's. Being out of date is a warning and not an error, because an expired
//! certificate that serves is less harm than a process that does not start.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::sign::{CertifiedKey, SigningKey};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroize;

use super::contents::Contents;
use super::error::{IdentityError, IdentityWarning};
use super::staple::{self, Word};
use crate::policy::CertificateFiles;

/// How PKCS#8 and, before it, OpenSSL (RFC 1421 §4.6.1.1) mark a key under a passphrase.
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

/// A certificate and its key, ready to serve.
pub(super) struct Identity {
    pub(super) certified: Arc<CertifiedKey>,
    /// The same with its authority's word, until that is out of date.
    stapled: Option<(Arc<CertifiedKey>, i64)>,
    must_staple: bool,
    /// What is wrong with the file of that word.
    staple_fault: Option<IdentityWarning>,
    pub(super) loaded_s: i64,
    /// Of the files' contents.
    pub(super) digest: [u8; 32],
    /// Lower case; DNS names first. IP addresses are kept for display: SNI never carries one.
    pub(super) names: Vec<String>,
    pub(super) not_before_s: i64,
    pub(super) not_after_s: i64,
    pub(super) files: CertificateFiles,
}

impl Identity {
    /// Reads a pair and checks it.
    pub(super) fn load(files: &CertificateFiles) -> Result<Self, IdentityError> {
        Self::of(files, &Contents::read(files)?, SystemTime::now())
    }

    /// Checks what was read.
    pub(super) fn of(
        files: &CertificateFiles,
        contents: &Contents,
        now: SystemTime,
    ) -> Result<Self, IdentityError> {
        let chain = read_chain(&files.chain, &contents.chain)?;
        let key = read_key(&files.key, &contents.key)?;
        check_pair(&chain, &key, files)?;
        check_order(&chain, &files.chain)?;
        let damaged = || IdentityError::Certificate { path: files.chain.clone(), position: 1 };
        let leaf = chain.first().and_then(|leaf| parse(leaf)).ok_or_else(damaged)?;
        let (names, validity) = (names(&leaf), leaf.validity());
        let (not_before_s, not_after_s) =
            (validity.not_before.timestamp(), validity.not_after.timestamp());
        let must_staple = staple::is_demanded(&leaf);
        let (word, staple_fault) = word(files, contents, leaf.raw_serial());
        let stapled = word.map(|(der, until_s)| {
            let mut stapled = CertifiedKey::new(chain.clone(), Arc::clone(&key));
            stapled.ocsp = Some(der);
            (Arc::new(stapled), until_s)
        });
        Ok(Self {
            certified: Arc::new(CertifiedKey::new(chain, key)),
            stapled,
            must_staple,
            staple_fault,
            loaded_s: unix_seconds(now),
            digest: contents.digest(),
            names,
            not_before_s,
            not_after_s,
            files: files.clone(),
        })
    }

    /// What a handshake is answered with: stale word harms more than none.
    pub(super) fn current(&self, now_s: impl FnOnce() -> i64) -> &Arc<CertifiedKey> {
        match &self.stapled {
            Some((stapled, until_s)) if *until_s > now_s() => stapled,
            Some(_) | None => &self.certified,
        }
    }

    /// Until when the authority's word is handed on; 0 where there must be one and is none.
    pub(super) fn staple_until_s(&self) -> Option<i64> {
        let until = self.stapled.as_ref().map(|(_, until_s)| *until_s);
        until.or(self.must_staple.then_some(0))
    }

    /// Whether a certificate that is out of date would take the place of this one, which is not.
    pub(super) fn outlasts(&self, next: &Self, now: SystemTime) -> Option<IdentityError> {
        let now_s = unix_seconds(now);
        let valid = |it: &Self| it.not_before_s <= now_s && now_s <= it.not_after_s;
        if !valid(self) || valid(next) {
            return None;
        }
        let chain = next.files.chain.clone();
        Some(match next.not_after_s < now_s {
            true => IdentityError::Expired { chain },
            false => IdentityError::NotYetValid { chain },
        })
    }

    pub(super) fn warnings(&self, now: SystemTime) -> impl Iterator<Item = IdentityWarning> {
        let now_s = unix_seconds(now);
        let chain = || self.files.chain.clone();
        let stapled = self.staple_until_s().is_none_or(|until_s| until_s > now_s);
        let unstapled = self.must_staple && !stapled;
        let found = [
            self.staple_fault.clone(),
            unstapled.then(|| IdentityWarning::MustStaple { chain: chain() }),
            (self.not_after_s < now_s).then(|| IdentityWarning::Expired { chain: chain() }),
            (now_s < self.not_before_s).then(|| IdentityWarning::NotYetValid { chain: chain() }),
            self.names.is_empty().then(|| IdentityWarning::Nameless { chain: chain() }),
        ];
        found.into_iter().flatten()
    }
}

pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    let elapsed = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

/// The authority's word where it is good, and what is wrong with it where it is not.
fn word(
    files: &CertificateFiles,
    contents: &Contents,
    serial: &[u8],
) -> (Option<(Vec<u8>, i64)>, Option<IdentityWarning>) {
    let (Some(path), Some(der)) = (&files.ocsp, &contents.ocsp) else { return (None, None) };
    let ocsp = path.clone();
    match staple::read(der, serial) {
        Word::Good { until_s } => (Some((der.to_vec(), until_s)), None),
        Word::Revoked => (None, Some(IdentityWarning::Revoked { ocsp })),
        Word::OtherCertificate | Word::Unreadable => {
            (None, Some(IdentityWarning::StapleUnfit { ocsp }))
        }
    }
}

fn read_chain(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let chain = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| IdentityError::Pem { path: path.to_owned(), source })?;
    if chain.is_empty() {
        return Err(IdentityError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

/// The parser's own errors are dropped on purpose: some quote the text they stumbled over.
fn read_key(path: &Path, text: &[u8]) -> Result<Arc<dyn SigningKey>, IdentityError> {
    if ENCRYPTED.iter().any(|sign| memchr::memmem::find(text, sign).is_some()) {
        return Err(IdentityError::EncryptedKey { path: path.to_owned() });
    }
    let mut der = PrivateKeyDer::from_pem_slice(text)
        .map_err(|_| IdentityError::NoKey { path: path.to_owned() })?;
    let key = any_supported_type(&der);
    der.zeroize();
    key.map_err(|_| IdentityError::Key { path: path.to_owned() })
}

fn check_pair(
    chain: &[CertificateDer<'static>],
    key: &Arc<dyn SigningKey>,
    files: &CertificateFiles,
) -> Result<(), IdentityError> {
    // Not `CertifiedKey::keys_match`: it takes an X.509 v1 leaf, which OpenSSL still makes, for a
    // mismatch.
    let public = key.public_key();
    let belongs = |der: &CertificateDer<'static>| match (&public, parse(der)) {
        (Some(public), Some(certificate)) => public.as_ref() == certificate.public_key().raw,
        _ => false,
    };
    let (chain_path, key_path) = (files.chain.clone(), files.key.clone());
    match chain.iter().position(belongs) {
        Some(0) => Ok(()),
        Some(index) => Err(IdentityError::LeafNotFirst {
            chain: chain_path,
            key: key_path,
            position: index + 1,
        }),
        None if chain.first().is_none_or(|leaf| parse(leaf).is_none()) => {
            Err(IdentityError::Certificate { path: chain_path, position: 1 })
        }
        None => Err(IdentityError::Mismatch { chain: chain_path, key: key_path }),
    }
}

/// RFC 8446 §4.4.2 lets a server send any order; clients in the field cope with one only.
fn check_order(chain: &[CertificateDer<'static>], path: &Path) -> Result<(), IdentityError> {
    let mut expected: Option<Vec<u8>> = None;
    for (index, der) in chain.iter().enumerate() {
        let certificate = parse(der).ok_or_else(|| IdentityError::Certificate {
            path: path.to_owned(),
            position: index + 1,
        })?;
        if expected.is_some_and(|issuer| issuer != certificate.subject().as_raw()) {
            return Err(IdentityError::Order { path: path.to_owned(), position: index });
        }
        expected = Some(certificate.issuer().as_raw().to_vec());
    }
    Ok(())
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate)
}

fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = leaf.subject_alternative_name() else {
        return Vec::new();
    };
    let general = &extension.value.general_names;
    let hosts = general.iter().filter_map(|name| match name {
        GeneralName::DNSName(host) => Some(host.trim_end_matches('.').to_ascii_lowercase()),
        _ => None,
    });
    let addresses = general.iter().filter_map(|name| match name {
        GeneralName::IPAddress(bytes) => address(bytes),
        _ => None,
    });
    hosts.chain(addresses).collect()
}

fn address(bytes: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(bytes).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{
        KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    };
    use tempfile::{TempDir, tempdir};

    use super::super::fixture::{Authority, YEAR_2040_S, key, unwrapped_pem, write_pair};
    use super::*;

    fn load(chain: &str, key: &str) -> (TempDir, Result<Identity, IdentityError>) {
        let folder = tempdir().unwrap();
        let loaded = Identity::load(&write_pair(folder.path(), "shop", chain, key));
        (folder, loaded)
    }

    fn refusal(chain: &str, key: &str) -> IdentityError {
        load(chain, key).1.err().unwrap()
    }

    #[test]
    fn every_kind_and_encoding_of_key_is_read() {
        let authority = Authority::new();
        let rsa = key(&PKCS_RSA_SHA256);
        let (p256, p384) = (key(&PKCS_ECDSA_P256_SHA256), key(&PKCS_ECDSA_P384_SHA384));
        let ed25519 = key(&PKCS_ED25519);
        let parameters =
            "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";
        let cases = [
            (&rsa, rsa.serialize_pem()),
            (&rsa, unwrapped_pem(&rsa, "RSA PRIVATE KEY")),
            (&p256, p256.serialize_pem()),
            (&p256, unwrapped_pem(&p256, "EC PRIVATE KEY")),
            (&p256, [parameters, &unwrapped_pem(&p256, "EC PRIVATE KEY")].concat()),
            (&p384, p384.serialize_pem()),
            (&p384, unwrapped_pem(&p384, "EC PRIVATE KEY")),
            (&ed25519, ed25519.serialize_pem()),
        ];
        for (pair, pem) in cases {
            let chain = authority.leaf(&["shop.example"], pair).pem();
            let identity = load(&chain, &pem).1.map_err(|error| error.to_string()).unwrap();
            assert_eq!(identity.names, ["shop.example"]);
            assert_eq!(identity.not_after_s, YEAR_2040_S);
        }
    }

    #[test]
    fn chain_and_key_may_share_one_file() {
        let pair = KeyPair::generate().unwrap();
        let both = [Authority::new().leaf(&["a.example"], &pair).pem(), pair.serialize_pem()];
        assert!(load(&both.concat(), &both.concat()).1.is_ok());
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_naming_both_files() {
        let chain = Authority::new().leaf(&["a.example"], &KeyPair::generate().unwrap()).pem();
        let refused = refusal(&chain, &KeyPair::generate().unwrap().serialize_pem());
        assert!(matches!(refused, IdentityError::Mismatch { .. }));
        let text = refused.to_string();
        assert!(text.contains("shop.pem") && text.contains("shop.key"), "{text}");
    }

    #[test]
    fn a_chain_in_the_wrong_order_is_refused() {
        let (authority, stranger) = (Authority::new(), KeyPair::generate().unwrap());
        let pair = KeyPair::generate().unwrap();
        let (leaf, pem) = (authority.leaf(&["a.example"], &pair).pem(), pair.serialize_pem());
        let upside_down = [authority.intermediate_pem(), leaf.clone()].concat();
        let refused = refusal(&upside_down, &pem);
        assert!(matches!(refused, IdentityError::LeafNotFirst { position: 2, .. }));
        let other = authority.leaf(&["b.example"], &stranger).pem();
        let strange = [leaf, authority.intermediate_pem(), other].concat();
        assert!(matches!(refusal(&strange, &pem), IdentityError::Order { position: 2, .. }));
    }

    #[test]
    fn empty_and_damaged_files_are_refused_each_with_its_reason() {
        let pair = KeyPair::generate().unwrap();
        let (chain, pem) =
            (Authority::new().leaf(&["a.example"], &pair).pem(), pair.serialize_pem());
        let der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let number = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let secret = number.replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert!(matches!(refusal("", &pem), IdentityError::NoCertificate { .. }));
        assert!(matches!(refusal("\0\u{1}noise", &pem), IdentityError::NoCertificate { .. }));
        assert!(matches!(refusal(&chain[..200], &pem), IdentityError::Pem { .. }));
        assert!(matches!(refusal(der, &pem), IdentityError::Certificate { position: 1, .. }));
        assert!(matches!(refusal(&chain, ""), IdentityError::NoKey { .. }));
        assert!(matches!(refusal(&chain, number), IdentityError::Key { .. }));
        assert!(matches!(refusal(&chain, &secret), IdentityError::EncryptedKey { .. }));
        let label = "BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n";
        let secret = number.replace("BEGIN PRIVATE KEY-----\n", label);
        assert!(matches!(refusal(&chain, &secret), IdentityError::EncryptedKey { .. }));
        let huge = " ".repeat(2 * 1024 * 1024);
        assert!(matches!(refusal(&huge, &pem), IdentityError::TooLarge { .. }));
    }

    #[test]
    fn a_missing_file_is_named() {
        let (folder, _) = load("", "");
        let files = write_pair(folder.path(), "shop", "", "");
        fs::remove_file(&files.chain).unwrap();
        let refused = Identity::load(&files).err().unwrap();
        assert!(matches!(&refused, IdentityError::Read { path, .. } if *path == files.chain));
    }

    #[test]
    fn a_certificate_out_of_date_is_served_with_a_warning() {
        let pair = KeyPair::generate().unwrap();
        let chain = Authority::new().leaf(&["a.example"], &pair).pem();
        let identity = load(&chain, &pair.serialize_pem()).1.ok().unwrap();
        let at =
            |s: u64| identity.warnings(UNIX_EPOCH + Duration::from_secs(s)).collect::<Vec<_>>();
        let chain = identity.files.chain.clone();
        assert_eq!(at(1), [IdentityWarning::NotYetValid { chain: chain.clone() }]);
        assert_eq!(at(2_000_000_000), []);
        assert_eq!(at(2_208_988_801), [IdentityWarning::Expired { chain }]);
    }
}
