//! An authority for the tests, and identities in every key encoding an operator may have.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, SerialNumber, date_time_ymd,
};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

/// How a private key is made and written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KeyKind {
    EcdsaPkcs8,
    EcdsaSec1,
    RsaPkcs1,
    RsaPkcs8,
}

/// A chain and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Identity {
    /// Issued by the tests' authority for these names.
    pub(crate) fn new(names: &[&str]) -> Self {
        Self::with_key(names, KeyKind::EcdsaPkcs8)
    }

    pub(crate) fn with_key(names: &[&str], kind: KeyKind) -> Self {
        let algorithm = match kind {
            KeyKind::EcdsaPkcs8 | KeyKind::EcdsaSec1 => &rcgen::PKCS_ECDSA_P256_SHA256,
            KeyKind::RsaPkcs1 | KeyKind::RsaPkcs8 => &rcgen::PKCS_RSA_SHA256,
        };
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "tillgate test leaf");
        let leaf = params.signed_by(&pair, &authority().issuer).unwrap();
        let key = match kind {
            KeyKind::EcdsaPkcs8 | KeyKind::RsaPkcs8 => pair.serialize_pem(),
            KeyKind::EcdsaSec1 => openssl(&["ec"], &pair.serialize_pem()),
            KeyKind::RsaPkcs1 => openssl(&["rsa", "-traditional"], &pair.serialize_pem()),
        };
        Self { chain: leaf.pem() + &authority().pem, key }
    }

    /// Writes `name.pem` and `name.key`; the files are replaced in place.
    pub(crate) fn write(&self, folder: &Path, name: &str) -> (PathBuf, PathBuf) {
        std::fs::create_dir_all(folder).unwrap();
        let (chain, key) = (folder.join(format!("{name}.pem")), folder.join(format!("{name}.key")));
        std::fs::write(&chain, &self.chain).unwrap();
        std::fs::write(&key, &self.key).unwrap();
        (chain, key)
    }

    /// The leaf, to be compared with what a handshake showed.
    pub(crate) fn leaf(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.chain.as_bytes()).unwrap()
    }

    /// A server's side of TLS with this identity.
    pub(crate) fn server(&self) -> Arc<rustls::ServerConfig> {
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.certificates(), self.private_key())
            .unwrap();
        Arc::new(config)
    }

    /// The same, for clients that show a certificate of the tests' authority.
    pub(crate) fn strict_server(&self) -> Arc<rustls::ServerConfig> {
        let roots = Arc::new(roots_of(authority_pem()));
        let clients = WebPkiClientVerifier::builder_with_provider(roots, provider());
        let config = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(self.certificates(), self.private_key())
            .unwrap();
        Arc::new(config)
    }

    pub(crate) fn certificates(&self) -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(self.chain.as_bytes()).map(Result::unwrap).collect()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }
}

/// The PEM of the authority that issues every identity here.
pub(crate) fn authority_pem() -> &'static str {
    &authority().pem
}

/// The list in which the tests' authority takes these back.
pub(crate) fn revoking(identities: &[&Identity]) -> String {
    revoking_until(identities, 2040)
}

/// The same, good until that year begins.
pub(crate) fn revoking_until(identities: &[&Identity], year: i32) -> String {
    let revoked = identities.iter().map(|identity| {
        let leaf = identity.leaf();
        let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
        rcgen::RevokedCertParams {
            serial_number: SerialNumber::from(leaf.raw_serial().to_vec()),
            revocation_time: date_time_ymd(2025, 1, 1),
            reason_code: None,
            invalidity_date: None,
        }
    });
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(year, 1, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    list.signed_by(&authority().issuer).unwrap().pem().unwrap()
}

/// The authority's word that a certificate stands (RFC 6960), as `openssl ocsp` gives it.
pub(crate) fn staple(identity: &Identity) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (_, leaf) = (identity.write(folder.path(), "leaf"), identity.leaf());
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    let serial: String = leaf.raw_serial().iter().map(|byte| format!("{byte:02X}")).collect();
    std::fs::write(
        folder.path().join("index"),
        format!("V\t401231235959Z\t\t{serial}\tunknown\t/CN=leaf\n"),
    )
    .unwrap();
    std::fs::write(folder.path().join("ca.pem"), &authority().pem).unwrap();
    std::fs::write(folder.path().join("ca.key"), authority().issuer.key().serialize_pem()).unwrap();
    let made = "openssl ocsp -issuer ca.pem -cert leaf.pem -no_nonce -reqout request >&2 && openssl ocsp \
                -index index -rsigner ca.pem -rkey ca.key -CA ca.pem -ndays 7 -reqin request -respout \
                word >&2";
    let output = Command::new("sh").args(["-c", made]).current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(folder.path().join("word")).unwrap()
}

/// The pin of a certificate's key (RFC 7469 §2.4), as `openssl` makes it.
pub(crate) fn pin(pem: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("leaf.pem");
    std::fs::write(&path, pem).unwrap();
    let made = "openssl x509 -in \"$0\" -pubkey -noout | openssl pkey -pubin -outform der | \
                openssl dgst -sha256 -binary | openssl base64";
    let output = Command::new("sh").args(["-c", made]).arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    format!("sha256/{}", String::from_utf8(output.stdout).unwrap().trim())
}

/// The PEM of an authority that issued nothing.
pub(crate) fn stranger_pem() -> String {
    Authority::new().pem
}

/// Trust in one authority alone.
pub(crate) fn roots_of(pem: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
    roots
}

pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "tillgate test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }
}

fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::new)
}

fn openssl(arguments: &[&str], pem: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    std::fs::write(&path, pem).unwrap();
    let output = Command::new("openssl").args(arguments).arg("-in").arg(&path).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
