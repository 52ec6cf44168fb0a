//! A certificate of our own making, for a first start without any.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls_pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::identity::unix_seconds;
use super::{Identities, IdentityError};
use crate::disk::{self, Existing, PRIVATE};
use crate::policy::CertificateFiles;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Browsers refuse certificates that are valid for longer than 398 days.
const VALID_DAYS: u32 = 365;
/// With fewer days than this to go, a start makes a new one.
const RENEW_DAYS: u32 = 30;
/// So that a client whose clock is a little slow accepts a new one.
const BACKDATED: Duration = DAY;
const ALWAYS_NAMED: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// A self-signed certificate in its files.
pub struct SelfSigned {
    /// Ready to serve.
    pub identities: Identities,
    /// What a client may trust to accept it.
    pub certificate: CertificateDer<'static>,
    /// Where it lies.
    pub files: CertificateFiles,
}

impl Identities {
    /// The certificate `self-signed.pem` with `self-signed.key` (mode 0600) in `folder`, which must
    /// exist. It is made where there is none, where it does not carry all of `names`, or where it
    /// is about to end; otherwise it stays, so that a browser's exception outlasts a restart.
    ///
    /// # Errors
    ///
    /// A name that is none, or files that cannot be read or written.
    pub fn self_signed(
        folder: &Path,
        names: &[String],
        now: SystemTime,
    ) -> Result<SelfSigned, IdentityError> {
        let (chain, key) = (folder.join("self-signed.pem"), folder.join("self-signed.key"));
        let files = CertificateFiles::new(chain, key);
        let names = with_own_names(names);
        let identities = match Self::load(std::slice::from_ref(&files)) {
            Ok(kept) if kept.covers(&names) && !kept.ends_before(now + DAY * RENEW_DAYS) => kept,
            // A file that is there and must not be read is the operator's to settle.
            Err(IdentityError::Read { path, source })
                if source.kind() != io::ErrorKind::NotFound =>
            {
                return Err(IdentityError::Read { path, source });
            }
            _ => {
                make(names, now, &files)?;
                Self::load(std::slice::from_ref(&files))?
            }
        };
        let certificate = identities.find(None, &[]).and_then(|found| found.cert.first().cloned());
        let certificate = certificate
            .ok_or_else(|| IdentityError::NoCertificate { path: files.chain.clone() })?;
        Ok(SelfSigned { identities, certificate, files })
    }

    fn ends_before(&self, time: SystemTime) -> bool {
        self.standings().iter().any(|standing| standing.not_after_s < unix_seconds(time))
    }
}

fn with_own_names(names: &[String]) -> Vec<String> {
    let mut all: Vec<String> = ALWAYS_NAMED.map(str::to_owned).to_vec();
    for name in names {
        // An address as the certificate will spell it, or it would never be found there.
        let address = name.parse::<IpAddr>().map(|address| address.to_string());
        let name = address.unwrap_or_else(|_| name.to_ascii_lowercase());
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all
}

fn make(
    names: Vec<String>,
    now: SystemTime,
    files: &CertificateFiles,
) -> Result<(), IdentityError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "tillgate self-signed");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.not_before = (now - BACKDATED).into();
    params.not_after = (now + DAY * VALID_DAYS).into();
    let certificate = params.self_signed(&key)?;
    // A crash between the two leaves a pair that does not match, which the next start replaces.
    write(&files.key, Zeroizing::new(key.serialize_pem()).as_bytes(), PRIVATE)?;
    write(&files.chain, certificate.pem().as_bytes(), 0o644)
}

pub(super) fn write(path: &Path, text: &[u8], mode: u32) -> Result<(), IdentityError> {
    disk::write(path, text, mode, Existing::Replace)
        .map_err(|source| IdentityError::Write { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::tempdir;

    use super::super::fixture::owned;
    use super::*;

    fn year_2030() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 365 * 60
    }

    #[test]
    fn a_restart_keeps_the_certificate() {
        let folder = tempdir().unwrap();
        let names = owned(&["Shop.example", "*.shop.example", "2001:db8:0::1"]);
        let first = Identities::self_signed(folder.path(), &names, year_2030()).unwrap();
        let second = Identities::self_signed(folder.path(), &names, year_2030()).unwrap();
        assert!(first.identities.same_as(&second.identities));
        assert!(first.identities.covers(&owned(&["localhost", "::1", "shop.example"])));
        assert_eq!(first.identities.warnings(year_2030()), []);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&first.files.key), mode(&first.files.chain)), (0o600, 0o644));
    }

    #[test]
    fn another_name_a_near_end_or_a_damaged_file_make_a_new_one() {
        let folder = tempdir().unwrap();
        let make = |names: &[&str], now| {
            Identities::self_signed(folder.path(), &owned(names), now).unwrap()
        };
        let first = make(&[], year_2030());
        let named = make(&["shop.example"], year_2030());
        assert!(!named.identities.same_as(&first.identities));
        let later = make(&["shop.example"], year_2030() + DAY * (VALID_DAYS - RENEW_DAYS + 1));
        assert!(!later.identities.same_as(&named.identities));
        fs::write(&later.files.key, "damaged").unwrap();
        let mended = make(&["shop.example"], year_2030());
        assert!(!mended.identities.same_as(&later.identities));
    }

    #[test]
    fn a_missing_folder_is_refused() {
        let folder = tempdir().unwrap();
        let refused = Identities::self_signed(&folder.path().join("none"), &[], year_2030());
        assert!(matches!(refused.err(), Some(IdentityError::Write { .. })));
    }
}
