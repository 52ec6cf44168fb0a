//! The certificate of one intercepted host.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::server::ServerSessionMemoryCache;
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::AuthorityError;
use super::certificate::BACKDATED;
use super::key::Key;
use crate::tls::{VERSIONS, provider};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Thirty days in all, the one it is dated back among them.
const VALID: Duration = Duration::from_secs(29 * 24 * 60 * 60);
/// With less than this to go a new one is made.
const RENEW: Duration = Duration::from_secs(10 * 24 * 60 * 60);
/// TLS 1.2 sessions remembered for clients without tickets.
const SESSIONS_MAX: usize = 256;

/// A leaf and our side of handshakes with it.
pub(super) struct Leaf {
    issued: SystemTime,
    server: Arc<ServerConfig>,
    #[cfg(test)]
    certificate: rustls_pki_types::CertificateDer<'static>,
}

impl Leaf {
    /// Makes one with a key of its own, for this name alone.
    pub(super) fn issue(
        host: &str,
        issuer: &Issuer<'_, Key>,
        now: SystemTime,
    ) -> Result<Self, AuthorityError> {
        let key = Key::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        // The name stands where clients look for it (RFC 9525 §6.3), which is not the subject.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "tillgate");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        params.not_before = (now - BACKDATED).into();
        params.not_after = (now + VALID).into();
        let certificate = params.signed_by(&key, issuer)?;
        let certified = CertifiedKey::new(vec![certificate.der().clone()], key.signer()?);
        Ok(Self {
            issued: now,
            server: Arc::new(server(certified)?),
            #[cfg(test)]
            certificate: certificate.der().clone(),
        })
    }

    /// Whether it holds now, and for a while.
    pub(super) fn is_fresh(&self, now: SystemTime) -> bool {
        now + DAY > self.issued && now < self.issued + (VALID - RENEW)
    }

    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    #[cfg(test)]
    pub(super) fn certificate(&self) -> rustls_pki_types::CertificateDer<'static> {
        self.certificate.clone()
    }
}

fn server(certified: CertifiedKey) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(VERSIONS)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    // Without randomness for ticket keys, resumption falls back to the sessions in memory.
    if let Ok(ticketer) = Ticketer::new() {
        config.ticketer = ticketer;
    }
    Ok(config)
}
