//! Pins on the keys behind an upstream's certificate, beside the verification that is always done.
//!
//! RFC 7469 §2.6 compares pins with the *validated* chain: whoever holds any valid certificate could
//! send along the pinned one, which proves nothing. So a pinned authority counts only where the leaf
//! verifies again with that authority as its one anchor.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use thiserror::Error;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;

use super::provider;
use crate::coding::base64;
use crate::policy::Pin;

/// Verifies as always, and then that a pinned key is in the chain.
#[derive(Debug)]
pub(super) struct Pinned {
    usual: Arc<WebPkiServerVerifier>,
    roots: Arc<RootCertStore>,
    pins: Arc<[Pin]>,
}

/// No pinned key is behind a certificate that is sound otherwise.
#[derive(Error)]
#[error("none of the pinned keys is in the chain; the certificate's own is sha256/{leaf}")]
struct PinMismatch {
    leaf: String,
}

/// rustls shows a cause of ours by this alone.
impl fmt::Debug for PinMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Pinned {
    pub(super) fn new(
        usual: Arc<WebPkiServerVerifier>,
        roots: Arc<RootCertStore>,
        pins: Arc<[Pin]>,
    ) -> Self {
        Self { usual, roots, pins }
    }

    /// The authorities with a pinned key that this chain may lead through.
    fn anchors(&self, intermediates: &[CertificateDer<'_>]) -> RootCertStore {
        let mut pinned = RootCertStore::empty();
        let sent = intermediates.iter().filter(|der| self.holds(pin_of(der)));
        for der in sent {
            // One that is no authority verifies nothing.
            let _unfit = pinned.add(der.clone().into_owned());
        }
        let roots = self.roots.roots.iter().filter(|root| self.holds(Some(anchor_pin(root))));
        pinned.extend(roots.cloned());
        pinned
    }

    fn holds(&self, pin: Option<Pin>) -> bool {
        pin.is_some_and(|pin| self.pins.contains(&pin))
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let usual = &self.usual;
        let verified =
            usual.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)?;
        let leaf = pin_of(end_entity);
        if self.holds(leaf) {
            return Ok(verified);
        }
        let anchors = self.anchors(intermediates);
        let again = WebPkiServerVerifier::builder_with_provider(Arc::new(anchors), provider());
        if let Ok(again) = again.build() {
            let through =
                again.verify_server_cert(end_entity, intermediates, server_name, &[], now);
            if through.is_ok() {
                return Ok(verified);
            }
        }
        let leaf = leaf.map(|pin| base64::encode(&pin)).unwrap_or_default();
        let mismatch = OtherError(Arc::new(PinMismatch { leaf }));
        Err(Error::InvalidCertificate(CertificateError::Other(mismatch)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.usual.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.usual.supported_verify_schemes()
    }
}

fn pin_of(der: &CertificateDer<'_>) -> Option<Pin> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    digest_of(certificate.public_key().raw)
}

fn digest_of(key: &[u8]) -> Option<Pin> {
    digest::digest(&digest::SHA256, key).as_ref().try_into().ok()
}

/// An anchor holds what is inside the SEQUENCE of its key; pins are taken of the whole.
fn anchor_pin(anchor: &TrustAnchor<'_>) -> Pin {
    let inside = anchor.subject_public_key_info.as_ref();
    let length = inside.len().to_be_bytes();
    let length = length.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>();
    // X.690 §8.1.3: from 128 bytes on, the length is preceded by its own length.
    let long = (inside.len() > 127).then(|| 0x80 | u8::try_from(length.len()).unwrap_or_default());
    let whole = [&[0x30][..], long.as_slice(), &length, inside].concat();
    digest_of(&whole).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_of_an_anchor_is_that_of_its_certificate() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
            let der = params.self_signed(&key).unwrap().der().clone();
            let mut store = RootCertStore::empty();
            store.add(der.clone()).unwrap();
            assert_eq!(Some(anchor_pin(&store.roots[0])), pin_of(&der));
        }
    }
}
