//! What a call says of its own signature, and whether a secret made it.

use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use http::{HeaderMap, HeaderName};
use thiserror::Error;

use super::super::headers::only;
use super::deliveries::DeliveryId;
use crate::policy::{Mac, Webhook, WebhookSignature};

/// The most signatures that one request may offer (one per secret, while secrets change).
const SIGNATURES_MAX: usize = 8;

/// Why a call is not the provider's.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum WebhookFault {
    /// It came before.
    #[error("this delivery came before")]
    Replayed,
    /// No secret makes such a signature of this body.
    #[error("the signature does not fit the body")]
    Signature,
    /// Its time is too far from ours.
    #[error("the time of the signature is too far from ours")]
    Time,
    /// There is no signature, or none that can be read.
    #[error("there is no signature that can be read")]
    Unsigned,
}

impl WebhookFault {
    /// The name used in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replayed => "replayed",
            Self::Signature => "signature",
            Self::Time => "time",
            Self::Unsigned => "unsigned",
        }
    }
}

/// What a request says of its own signature.
#[derive(Default)]
struct Claim {
    timestamp: Option<String>,
    signatures: Vec<String>,
}

/// The delivery that a request is, if a secret made its signature at about this time.
///
/// # Errors
/// When there is no signature, or none that fits, or its time is too far from ours.
pub fn verify(
    webhook: &Webhook,
    headers: &HeaderMap,
    body: &[u8],
    now: Duration,
) -> Result<DeliveryId, WebhookFault> {
    let claim = match &webhook.signature {
        WebhookSignature::Field(mac) => claim_of_fields(mac, headers),
        WebhookSignature::Stripe => claim_of_stripe(headers),
    };
    let claim = claim.ok_or(WebhookFault::Unsigned)?;
    let timestamp = claim.timestamp.as_deref();
    let (algorithm, encoding) = webhook.signature.making();
    let fits = webhook.secrets.iter().any(|secret| {
        let expected = encoding.write(&algorithm.sign(secret, timestamp, body));
        // Every one is compared whole: the time it takes tells nothing of a signature.
        let same = |shown: &String| {
            let shown = encoding.normalise(shown);
            verify_slices_are_equal(expected.as_bytes(), shown.as_bytes()).is_ok()
        };
        claim.signatures.iter().any(same)
    });
    if !fits {
        return Err(WebhookFault::Signature);
    }
    // After the signature: before it, the time is anybody's word.
    if let Some(timestamp) = timestamp {
        let then: u64 = timestamp.parse().map_err(|_| WebhookFault::Unsigned)?;
        if Duration::from_secs(then).abs_diff(now) > webhook.tolerance {
            return Err(WebhookFault::Time);
        }
    }
    Ok(id(webhook, timestamp, body))
}

fn claim_of_fields(mac: &Mac, headers: &HeaderMap) -> Option<Claim> {
    let signature = text(headers, &mac.header)?;
    // As others write it too: `sha256=…`.
    let bare = signature.strip_prefix("sha256=").or(signature.strip_prefix("sha512="));
    let signature = bare.unwrap_or(signature);
    let timestamp = match &mac.timestamp {
        Some(name) => Some(text(headers, name)?.to_owned()),
        None => None,
    };
    Some(Claim { timestamp, signatures: vec![signature.to_owned()] })
}

/// `t=1492774577,v1=…,v1=…,v0=…`: schemes other than `v1` are not signatures.
fn claim_of_stripe(headers: &HeaderMap) -> Option<Claim> {
    let mut claim = Claim::default();
    for pair in text(headers, &HeaderName::from_static("stripe-signature"))?.split(',') {
        match pair.trim().split_once('=')? {
            ("t", _) if claim.timestamp.is_some() => return None,
            ("t", time) => claim.timestamp = Some(time.to_owned()),
            ("v1", signature) if claim.signatures.len() < SIGNATURES_MAX => {
                claim.signatures.push(signature.to_owned());
            }
            _ => {}
        }
    }
    (claim.timestamp.is_some() && !claim.signatures.is_empty()).then_some(claim)
}

/// The text of a field that stands once.
fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    only(headers, name)?.to_str().ok()
}

/// Of what was signed, not of the signature: one text may have several.
fn id(webhook: &Webhook, timestamp: Option<&str>, body: &[u8]) -> DeliveryId {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [webhook.name.as_bytes(), timestamp.unwrap_or_default().as_bytes(), body] {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use zeroize::Zeroizing;

    use super::*;
    use crate::policy::{MacAlgorithm, MacEncoding, PathPattern, Secret};

    const NOW: Duration = Duration::from_secs(1_492_774_577);

    fn webhook(signature: WebhookSignature, secrets: &[&str]) -> Webhook {
        let secret = |text: &&str| Secret::new(Zeroizing::new(text.as_bytes().to_vec()));
        Webhook {
            name: "pay".into(),
            site: None,
            path: PathPattern::parse("/hook").unwrap(),
            signature,
            secrets: secrets.iter().map(secret).collect(),
            tolerance: Duration::from_secs(300),
        }
    }

    fn stripe(time: u64, secret: &str, body: &[u8]) -> HeaderMap {
        let key = Secret::new(Zeroizing::new(secret.as_bytes().to_vec()));
        let signature = MacAlgorithm::Sha256.sign(&key, Some(&time.to_string()), body);
        let value = format!("t={time},v1={},v0=00", MacEncoding::Hex.write(&signature));
        HeaderMap::from_iter([(
            HeaderName::from_static("stripe-signature"),
            HeaderValue::try_from(value).unwrap(),
        )])
    }

    #[test]
    fn any_of_the_secrets_will_do_and_no_other() {
        let hook = webhook(WebhookSignature::Stripe, &["new", "old"]);
        let now = NOW.as_secs();
        for secret in ["new", "old"] {
            assert!(verify(&hook, &stripe(now, secret, b"{}"), b"{}", NOW).is_ok(), "{secret}");
        }
        let verdict = |secret, body: &[u8]| verify(&hook, &stripe(now, secret, b"{}"), body, NOW);
        assert_eq!(verdict("other", b"{}"), Err(WebhookFault::Signature));
        assert_eq!(verdict("new", b"{ }"), Err(WebhookFault::Signature));
        assert_eq!(verify(&hook, &HeaderMap::new(), b"{}", NOW), Err(WebhookFault::Unsigned));
    }

    #[test]
    fn a_time_too_far_on_either_side_is_refused() {
        let hook = webhook(WebhookSignature::Stripe, &["key"]);
        let at = |time| verify(&hook, &stripe(time, "key", b"x"), b"x", NOW).err();
        assert_eq!(at(NOW.as_secs() - 300), None);
        assert_eq!(at(NOW.as_secs() + 300), None);
        assert_eq!(at(NOW.as_secs() - 301), Some(WebhookFault::Time));
        assert_eq!(at(NOW.as_secs() + 301), Some(WebhookFault::Time));
    }
}
