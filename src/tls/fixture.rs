//! Certificates made for one test.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair,
    SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::CertificateDer;

use crate::policy::{CertificateFiles, Trust};

pub(super) const YEAR_2040_S: i64 = 2_208_988_800;

/// An authority with one intermediate, as a public one has.
pub(super) struct Authority {
    root: Certificate,
    intermediate: Certificate,
    root_issuer: Issuer<'static, KeyPair>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(super) fn new() -> Self {
        let root_key = KeyPair::generate().unwrap();
        let root_params = authority("test root");
        let root = root_params.self_signed(&root_key).unwrap();
        let (params, key) = (authority("test intermediate"), KeyPair::generate().unwrap());
        let root_issuer = Issuer::new(root_params, root_key);
        let intermediate = params.signed_by(&key, &root_issuer).unwrap();
        Self { root, intermediate, root_issuer, issuer: Issuer::new(params, key) }
    }

    pub(super) fn trust(&self) -> Trust {
        Trust::Anchors(Arc::from([self.root.der().clone()]))
    }

    /// The leaf alone; it ends with the year 2039.
    pub(super) fn leaf(&self, names: &[&str], key: &KeyPair) -> Certificate {
        let mut params = CertificateParams::new(owned(names)).unwrap();
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2040, 1, 1);
        params.signed_by(key, &self.issuer).unwrap()
    }

    /// One that has had its time.
    pub(super) fn expired(&self, names: &[&str], key: &KeyPair) -> Certificate {
        let mut params = CertificateParams::new(owned(names)).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        params.signed_by(key, &self.issuer).unwrap()
    }

    /// A leaf that the root has issued itself.
    pub(super) fn direct(&self, names: &[&str], key: &KeyPair) -> CertificateDer<'static> {
        let params = CertificateParams::new(owned(names)).unwrap();
        params.signed_by(key, &self.root_issuer).unwrap().der().clone()
    }

    /// Writes leaf and intermediate beside the key, under `stem`.
    pub(super) fn issue(&self, folder: &Path, stem: &str, names: &[&str]) -> CertificateFiles {
        let key = KeyPair::generate().unwrap();
        let leaf = self.leaf(names, &key);
        let chain = [leaf.pem(), self.intermediate.pem()].concat();
        write_pair(folder, stem, &chain, &key.serialize_pem())
    }

    pub(super) fn intermediate_pem(&self) -> String {
        self.intermediate.pem()
    }
}

pub(super) fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) fn write_pair(folder: &Path, stem: &str, chain: &str, key: &str) -> CertificateFiles {
    let file = |ending: &str| -> PathBuf { folder.join(format!("{stem}.{ending}")) };
    let files = CertificateFiles::new(file("pem"), file("key"));
    fs::write(&files.chain, chain).unwrap();
    fs::write(&files.key, key).unwrap();
    files
}

pub(super) fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    KeyPair::generate_for(algorithm).unwrap()
}

/// The key inside PKCS#8 (RFC 5208 §5) is PKCS#1 for RSA and SEC1 for ECDSA.
pub(super) fn unwrapped_pem(key: &KeyPair, label: &str) -> String {
    use x509_parser::der_parser::der::parse_der;
    let (_, info) = parse_der(key.serialized_der()).unwrap();
    let inner = info.as_sequence().unwrap()[2].as_slice().unwrap().to_vec();
    let text = STANDARD.encode(inner);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

pub(super) fn first(chain: Option<&[CertificateDer<'_>]>) -> CertificateDer<'static> {
    chain.unwrap()[0].clone().into_owned()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
