//! Client certificates: of a shop's customers, and of those who call a gateway.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use thiserror::Error as ThisError;
use x509_parser::asn1_rs::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::connect::{ConnectError, roots};
use super::provider;
use crate::policy::{ClientAuth, ClientAuthMode, Trust};

/// Verifies client certificates against some authorities.
#[derive(Clone)]
pub struct Callers(Arc<dyn ClientCertVerifier>);

/// Why clients cannot be asked who they are.
#[derive(Debug, ThisError)]
pub enum ClientAuthError {
    /// The authorities cannot be used.
    #[error(transparent)]
    Authorities(#[from] ConnectError),
    /// A list of what was taken back cannot be used.
    #[error("a list of revoked certificates cannot be used; fetch it again")]
    Revocations(#[source] VerifierBuilderError),
}

impl Callers {
    /// Prepares to verify.
    ///
    /// # Errors
    /// No authority, or a damaged one.
    pub fn new(trust: &Trust) -> Result<Self, ConnectError> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots(trust)?, provider());
        builder.build().map(Self).map_err(|_| ConnectError::NoAnchors)
    }

    /// Prepares to verify the clients of a listener. Where there are lists of revoked certificates,
    /// every certificate of a chain must be covered by one: what cannot be looked up is refused. A list
    /// that is out of date still counts, because the next one would take back more, never less.
    ///
    /// # Errors
    /// No authority, a damaged one, or a damaged list.
    pub(super) fn of(auth: &ClientAuth) -> Result<Self, ClientAuthError> {
        let roots = roots(&auth.trust)?;
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider())
            .with_crls(auth.revoked.iter().cloned());
        let builder = match auth.mode {
            ClientAuthMode::Optional => builder.allow_unauthenticated(),
            ClientAuthMode::Required => builder,
        };
        builder.build().map(Self).map_err(ClientAuthError::Revocations)
    }

    pub(super) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0)
    }

    /// Whether a connection that showed this chain would be let in now.
    pub(super) fn admits(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return !self.0.client_auth_mandatory();
        };
        self.0.verify_client_cert(leaf, intermediates, UnixTime::now()).is_ok()
    }
}

/// When the first of a listener's lists of revoked certificates is out of date, in seconds since 1970.
#[must_use]
pub fn revocations_end_s(auth: &ClientAuth) -> Option<i64> {
    let ends = auth.revoked.iter().filter_map(|der| {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        Some(list.next_update()?.timestamp())
    });
    ends.min()
}

/// Asks for the certificate that the policy in force demands at the moment of the handshake.
pub(super) struct CurrentCallers(pub(super) Box<dyn Fn() -> Option<Callers> + Send + Sync>);

impl ClientCertVerifier for CurrentCallers {
    fn offer_client_auth(&self) -> bool {
        (self.0)().is_some()
    }

    /// No names of authorities are told to strangers; a caller has one certificate for us.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let unknown = Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let Some(Callers(verifier)) = (self.0)() else { return Err(unknown) };
        verifier.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl fmt::Debug for CurrentCallers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CurrentCallers").finish_non_exhaustive()
    }
}
