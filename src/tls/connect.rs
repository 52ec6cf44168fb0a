//! Our side of a handshake as client. The other side is verified, always.

use std::sync::{Arc, OnceLock};

use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use thiserror::Error;

use super::identity::Identity;
use super::pinned::Pinned;
use super::{IdentityError, VERSIONS, provider};
use crate::policy::{CertificateFiles, Pin, Trust};

/// Upstream servers whose sessions are remembered, per connector.
const SESSIONS_MAX: usize = 256;

/// The operating system's authorities, read once: hundreds of files on some systems.
static SYSTEM_ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();

/// Opens verified connections.
pub struct Connector {
    config: Arc<ClientConfig>,
    shown: Vec<CertificateDer<'static>>,
}

/// Why nothing could be verified.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// A configured authority is damaged.
    #[error("certificate {position} of the configured authorities cannot be used; replace it")]
    Anchor {
        /// Counted from 1.
        position: usize,
        /// Why.
        source: rustls::Error,
    },
    /// Our own certificate cannot be shown.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// No authority was given.
    #[error("the configured authorities are empty; the ca file needs at least one certificate")]
    NoAnchors,
    /// The operating system has no authorities.
    #[error(
        "the system has no certificate authorities; install its ca-certificates package, or name a \
         ca file for the upstream"
    )]
    NoSystemRoots {
        /// The first thing that went wrong, if anything did.
        source: Option<rustls_native_certs::Error>,
    },
}

impl Connector {
    /// Prepares to verify against `trust`. Connectors that share system trust share its store.
    ///
    /// # Errors
    ///
    /// No authority, or a damaged one.
    pub fn new(trust: &Trust) -> Result<Self, ConnectError> {
        Self::with(trust, &Arc::default(), None)
    }

    /// The same, where the chain must hold one of these keys too (any, where there are none), and
    /// where we may be asked who we are.
    ///
    /// # Errors
    ///
    /// No authority, a damaged one, or a certificate of ours that cannot be shown.
    pub fn with(
        trust: &Trust,
        pins: &Arc<[Pin]>,
        client: Option<&CertificateFiles>,
    ) -> Result<Self, ConnectError> {
        let roots = roots(trust)?;
        let usual = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), provider());
        let usual = usual.build().map_err(|_| ConnectError::NoAnchors)?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)
            .expect("aws-lc-rs has suites for TLS 1.2 and 1.3");
        let builder = if pins.is_empty() {
            builder.with_webpki_verifier(usual)
        } else {
            // Not less than the usual verification: that, and the pins.
            let pinned = Pinned::new(usual, roots, Arc::clone(pins));
            builder.dangerous().with_custom_certificate_verifier(Arc::new(pinned))
        };
        let mut shown = Vec::new();
        let mut config = match client {
            Some(files) => {
                let certified = Identity::load(files)?.certified;
                shown.clone_from(&certified.cert);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
        Ok(Self { config: Arc::new(config), shown })
    }

    /// What we show an upstream that asks who we are.
    #[must_use]
    pub fn shown(&self) -> &[CertificateDer<'static>] {
        &self.shown
    }

    /// For `tokio_rustls::TlsConnector`.
    #[must_use]
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

pub(super) fn roots(trust: &Trust) -> Result<Arc<RootCertStore>, ConnectError> {
    match trust {
        Trust::Anchors(anchors) => anchored(anchors),
        Trust::System => system_roots(),
    }
}

fn anchored(anchors: &[CertificateDer<'static>]) -> Result<Arc<RootCertStore>, ConnectError> {
    let mut roots = RootCertStore::empty();
    for (index, anchor) in anchors.iter().enumerate() {
        roots
            .add(anchor.clone())
            .map_err(|source| ConnectError::Anchor { position: index + 1, source })?;
    }
    if roots.is_empty() {
        return Err(ConnectError::NoAnchors);
    }
    Ok(Arc::new(roots))
}

/// A failure is not remembered: the next reload may find the package installed.
fn system_roots() -> Result<Arc<RootCertStore>, ConnectError> {
    if let Some(roots) = SYSTEM_ROOTS.get() {
        return Ok(Arc::clone(roots));
    }
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Systems carry an odd certificate or two; those are left out, as every client does.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        return Err(ConnectError::NoSystemRoots { source: found.errors.into_iter().next() });
    }
    Ok(Arc::clone(SYSTEM_ROOTS.get_or_init(|| Arc::new(roots))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_and_nonsense_are_no_authorities() {
        let refused = Connector::new(&Trust::Anchors(Arc::from([]))).err();
        assert!(matches!(refused, Some(ConnectError::NoAnchors)));
        let nonsense = CertificateDer::from(vec![0; 4]);
        let refused = Connector::new(&Trust::Anchors(Arc::from([nonsense]))).err();
        assert!(matches!(refused, Some(ConnectError::Anchor { position: 1, .. })));
    }

    #[test]
    fn the_systems_authorities_are_shared_where_there_are_any() {
        match (system_roots(), system_roots()) {
            (Ok(one), Ok(other)) => assert!(Arc::ptr_eq(&one, &other)),
            (Err(ConnectError::NoSystemRoots { .. }), Err(_)) => {}
            _ => panic!("two looks at one system differ"),
        }
    }
}
