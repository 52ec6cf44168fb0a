//! Proving that names are ours: what an authority comes to look at, for as long as it may look.

use std::sync::Arc;

use instant_acme::{ChallengeHandle, ChallengeType};
use rcgen::{CertificateParams, CustomExtension, KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tracing::warn;

use super::answers::{AnswerGuard, HttpAnswers};
use super::failure::AcmeError;
use super::hook::{self, Action, Record};
use crate::policy::{AcmeChallenge, DnsHook};
use crate::tls::{ChallengeGuard, Challenges};

/// Where proofs are shown.
#[derive(Clone)]
pub(super) struct Places {
    /// On the clear listeners.
    pub(super) answers: Arc<HttpAnswers>,
    /// In handshakes.
    pub(super) challenges: Challenges,
}

/// What is shown during one attempt. Answers and certificates go with it; records of the DNS only when
/// `clear` is called.
pub(super) struct Proofs<'a> {
    places: &'a Places,
    challenge: &'a AcmeChallenge,
    answers: Vec<AnswerGuard>,
    certificates: Vec<ChallengeGuard>,
    records: Vec<Record>,
}

impl<'a> Proofs<'a> {
    pub(super) fn new(places: &'a Places, challenge: &'a AcmeChallenge) -> Self {
        let (answers, certificates, records) = (Vec::new(), Vec::new(), Vec::new());
        Self { places, challenge, answers, certificates, records }
    }

    pub(super) fn as_str(&self) -> &'static str {
        self.challenge.as_str()
    }

    pub(super) fn kind(&self) -> ChallengeType {
        match self.challenge {
            AcmeChallenge::Dns01(_) => ChallengeType::Dns01,
            AcmeChallenge::Http01 => ChallengeType::Http01,
            AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        }
    }

    /// Shows what this challenge asks for; `domain` is without `*.`.
    pub(super) async fn show(
        &mut self,
        domain: &str,
        challenge: &ChallengeHandle<'_>,
    ) -> Result<(), AcmeError> {
        let expected = challenge.key_authorization();
        match self.challenge {
            AcmeChallenge::Dns01(hook) => {
                let name = format!("_acme-challenge.{domain}");
                let record = Record { name, value: expected.dns_value() };
                // Noted first: one that fails halfway may have left something behind.
                self.records.push(record.clone());
                hook::run(hook, Action::Present, &record).await?;
            }
            AcmeChallenge::Http01 => {
                let answers = &self.places.answers;
                self.answers.push(answers.promise(&challenge.token, expected.as_str()));
            }
            AcmeChallenge::TlsAlpn01 => {
                let (certificate, key) = certificate(domain, expected.digest().as_ref())?;
                let guard = self.places.challenges.answer(domain, certificate, &key)?;
                self.certificates.push(guard);
            }
        }
        Ok(())
    }

    /// Waits until what is shown can be seen from everywhere.
    pub(super) async fn settle(&self) {
        if let AcmeChallenge::Dns01(hook) = self.challenge
            && !self.records.is_empty()
        {
            tokio::time::sleep(hook.propagation).await;
        }
    }

    /// Takes everything away again. What cannot be is told: it harms nobody, and proves nothing twice.
    pub(super) async fn clear(self) {
        let Self { challenge, records, .. } = self;
        if let AcmeChallenge::Dns01(hook) = challenge {
            clear_records(hook, &records).await;
        }
    }
}

async fn clear_records(hook: &DnsHook, records: &[Record]) {
    for record in records {
        if let Err(error) = hook::run(hook, Action::Cleanup, record).await {
            let problem = AcmeError::Hook(error).words();
            warn!(record = record.name, problem, "a record of the DNS was not taken away");
        }
    }
}

/// RFC 8737 §3: the one name, and the digest of what is expected in a critical extension.
fn certificate(
    domain: &str,
    digest: &[u8],
) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), AcmeError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new(vec![domain.to_owned()])?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().clone(), PrivateKeyDer::Pkcs8(key.serialize_der().into())))
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;

    #[test]
    fn the_certificate_that_proves_a_name_carries_the_digest_in_a_critical_extension() {
        let (der, _) = certificate("shop.example", &[7; 32]).unwrap();
        let (_, leaf) = X509Certificate::from_der(&der).unwrap();
        let mut extensions = leaf.extensions().iter();
        let proof = extensions.find(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31").unwrap();
        assert!(proof.critical);
        assert_eq!(proof.value, [&[4, 32][..], &[7; 32]].concat());
    }
}
