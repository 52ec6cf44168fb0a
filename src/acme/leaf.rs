//! What a certificate says of itself.

use instant_acme::CertificateIdentifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::asn1_rs::FromDer as _;
use x509_parser::certificate::X509Certificate;

/// The first certificate of a chain.
pub(super) struct Leaf {
    der: CertificateDer<'static>,
    pub(super) not_before_s: u64,
    pub(super) not_after_s: u64,
}

impl Leaf {
    /// `None` where the text holds none.
    pub(super) fn of(pem: &[u8]) -> Option<Self> {
        let der = CertificateDer::pem_slice_iter(pem).next()?.ok()?;
        let (_, parsed) = X509Certificate::from_der(&der).ok()?;
        let validity = parsed.validity();
        let not_before_s = u64::try_from(validity.not_before.timestamp()).ok()?;
        let not_after_s = u64::try_from(validity.not_after.timestamp()).ok()?;
        Some(Self { der, not_before_s, not_after_s })
    }

    /// What the authority calls it (RFC 9773 §4.1); `None` where it names no issuer's key.
    pub(super) fn identifier(&self) -> Option<CertificateIdentifier<'static>> {
        CertificateIdentifier::try_from(&self.der).ok().map(CertificateIdentifier::into_owned)
    }
}
