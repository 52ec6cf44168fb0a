//! The authority's key: read or made, and never shown.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use zeroize::Zeroize as _;

use super::super::contents;
use super::super::self_signed;
use super::{AuthorityError, certificate};
use crate::disk::PRIVATE;
use crate::tls::IdentityError;

/// An ECDSA P-256 key. aws-lc wipes what it frees; rcgen's own key pairs would keep a copy that
/// nobody wipes.
pub(super) struct Key(EcdsaKeyPair);

impl Key {
    /// Reads the key, or makes one where there is no file.
    pub(super) fn obtain(path: &Path) -> Result<Self, AuthorityError> {
        match path.metadata() {
            Ok(facts) => Self::read(path, facts.permissions().mode() & 0o777),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::make(path),
            Err(source) => Err(IdentityError::Read { path: path.to_owned(), source }.into()),
        }
    }

    fn read(path: &Path, mode: u32) -> Result<Self, AuthorityError> {
        let path_of = || path.to_owned();
        if mode & 0o077 != 0 {
            return Err(AuthorityError::KeyMode { path: path_of(), mode });
        }
        let text = contents::read(path)?;
        let mut der = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_| AuthorityError::Key { path: path_of() })?;
        // The library's words are dropped on purpose: they may quote what they stumbled over.
        let key = match &der {
            PrivateKeyDer::Pkcs8(bytes) => Self::parse(bytes.secret_pkcs8_der()),
            _ => None,
        };
        der.zeroize();
        key.ok_or_else(|| AuthorityError::Key { path: path_of() })
    }

    fn parse(pkcs8: &[u8]) -> Option<Self> {
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).ok().map(Self)
    }

    fn make(path: &Path) -> Result<Self, AuthorityError> {
        let key = Self::generate()?;
        // Wiped by aws-lc-rs when dropped.
        let der = key.0.to_pkcs8v1().map_err(|_| AuthorityError::Random)?;
        let text = certificate::pem("PRIVATE KEY", der.as_ref());
        self_signed::write(path, text.as_bytes(), PRIVATE)?;
        Ok(key)
    }

    /// A key that lies in no file.
    pub(super) fn generate() -> Result<Self, AuthorityError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        pair.map(Self).map_err(|_| AuthorityError::Random)
    }

    /// The key as rustls signs handshakes with it.
    pub(super) fn signer(
        &self,
    ) -> Result<std::sync::Arc<dyn rustls::sign::SigningKey>, AuthorityError> {
        let der = self.0.to_pkcs8v1().map_err(|_| AuthorityError::Random)?;
        let der = PrivateKeyDer::Pkcs8(der.as_ref().into());
        Ok(rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&der)?)
    }

    /// The point on the curve, as it stands in certificates (RFC 5480 §2.2).
    pub(super) fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        self.public()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(&SystemRandom::new(), message);
        signature.map(|made| made.as_ref().to_vec()).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}
