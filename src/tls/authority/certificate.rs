//! The authority's certificate: whom it may sign for, and until when.

use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::asn1_rs::FromDer as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::key::Key;
use super::{AuthorityCertificate, AuthorityError};
use crate::tls::IdentityError;
use crate::tls::contents;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Ten years: every new one has to be carried to the shop by hand.
const VALID_DAYS: u32 = 3_650;
/// With fewer days than this to go it is issued anew, so that there is time to carry it over.
const RENEW_DAYS: u32 = 90;
/// So that a shop whose clock is a little slow accepts it.
pub(super) const BACKDATED: Duration = DAY;
/// RFC 7468 §2: what a line of PEM holds.
const PEM_LINE_BYTES: usize = 64;

/// A certificate and the key that it is for.
pub(super) struct Certified {
    pub(super) told: AuthorityCertificate,
    public: Vec<u8>,
}

impl Certified {
    /// Whether it is this key's.
    pub(super) fn is_of(&self, key: &Key) -> bool {
        self.public == key.public()
    }

    /// Whether it is for these names and no other, now and for a while.
    pub(super) fn serves(&self, hosts: &[String], now: SystemTime) -> bool {
        self.told.hosts == hosts && self.told.not_after > now + DAY * RENEW_DAYS
    }
}

/// What the authority is called. The name follows from the key, so that two authorities in one trust
/// store are told apart.
pub(super) fn subject(key: &Key) -> CertificateParams {
    let mut params = CertificateParams::default();
    let print = digest::digest(&digest::SHA256, key.public());
    let short: String = print.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "tillgate");
    params.distinguished_name.push(DnType::CommonName, format!("tillgate forward proxy {short}"));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// Issues it for these names.
pub(super) fn issue(
    key: &Key,
    hosts: &[String],
    now: SystemTime,
) -> Result<Certified, AuthorityError> {
    let mut params = subject(key);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: hosts.iter().cloned().map(GeneralSubtree::DnsName).collect(),
        // RFC 5280 §4.2.1.10: a kind of name that is not mentioned is not constrained.
        excluded_subtrees: vec![
            GeneralSubtree::IpAddress(CidrSubnet::V4([0; 4], [0; 4])),
            GeneralSubtree::IpAddress(CidrSubnet::V6([0; 16], [0; 16])),
        ],
    });
    // Not derived from the key, as rcgen would: two certificates of one key must differ in it.
    let mut serial = [0; 16];
    rand::fill(&mut serial).map_err(|_| AuthorityError::Random)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * VALID_DAYS).into();
    let certificate = params.signed_by(key, &Issuer::from_params(&params, key))?;
    let unlike_ours = || AuthorityError::Sign(rcgen::Error::RemoteKeyError);
    parse(certificate.der()).ok_or_else(unlike_ours)
}

/// Reads it from its file.
pub(super) fn read(path: &Path) -> Result<Certified, AuthorityError> {
    let text = contents::read(path).map_err(|error| match error {
        IdentityError::Read { path, source } if source.kind() == io::ErrorKind::NotFound => {
            AuthorityError::Missing { path }
        }
        error => AuthorityError::File(error),
    })?;
    let der = CertificateDer::from_pem_slice(&text).ok();
    let parsed = der.and_then(|der| parse(&der));
    parsed.ok_or_else(|| AuthorityError::Certificate { path: path.to_owned() })
}

fn parse(der: &CertificateDer<'_>) -> Option<Certified> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    let hosts = permitted(&certificate)?;
    let told = AuthorityCertificate {
        pem: pem("CERTIFICATE", der).to_string(),
        hosts,
        not_after: UNIX_EPOCH + Duration::from_secs(seconds),
    };
    let public = certificate.public_key().subject_public_key.as_ref().to_vec();
    Some(Certified { told, public })
}

/// The names it is constrained to; `None` where it is no authority of ours.
fn permitted(certificate: &X509Certificate<'_>) -> Option<Vec<String>> {
    let constraints = certificate.name_constraints().ok()??.value;
    let trees = constraints.permitted_subtrees.as_ref()?;
    let names = trees.iter().map(|tree| match &tree.base {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    });
    names.collect()
}

/// The text form (RFC 7468). Made with room for all of it at once: a text that grows leaves copies
/// of a key behind.
pub(super) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let encoded = Zeroizing::new(STANDARD.encode(der));
    let lines = encoded.len().div_ceil(PEM_LINE_BYTES);
    let marks = 2 * (label.len() + "-----BEGIN -----\n".len());
    let mut text = Zeroizing::new(String::with_capacity(marks + encoded.len() + lines));
    text.push_str("-----BEGIN ");
    text.push_str(label);
    text.push_str("-----\n");
    for line in encoded.as_bytes().chunks(PEM_LINE_BYTES) {
        text.push_str(std::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}
