//! Client certificates of those who call a gateway.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::connect::{ConnectError, roots};
use super::provider;
use crate::policy::Trust;

/// Verifies client certificates against some authorities.
#[derive(Clone)]
pub struct Callers(Arc<dyn ClientCertVerifier>);

impl Callers {
    /// Prepares to verify.
    ///
    /// # Errors
    /// No authority, or a damaged one.
    pub fn new(trust: &Trust) -> Result<Self, ConnectError> {
        let builder = WebPkiClientVerifier::builder_with_provider(roots(trust)?, provider());
        builder.build().map(Self).map_err(|_| ConnectError::NoAnchors)
    }
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
