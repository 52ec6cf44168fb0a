//! A call is a provider's only if a secret made the signature of this very body at about this time.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tillgate::policy::{
    Mac, MacAlgorithm, MacEncoding, PathPattern, Secret, Webhook, WebhookSignature,
};
use tillgate::proxy::webhook::signature::verify;

const NOW: u64 = 1_492_774_577;
const TOLERANCE: u64 = 300;
const STRIPE: HeaderName = HeaderName::from_static("stripe-signature");
const PLAIN: HeaderName = HeaderName::from_static("x-signature");
const TIME: HeaderName = HeaderName::from_static("x-time");

/// Takes four bytes for the time, then lines: what stands before the signature and behind it, another
/// value of the field, and the body.
pub fn check(data: &[u8]) {
    let Some((time, rest)) = data.split_first_chunk::<4>() else { return };
    let mut lines = rest.splitn(4, |byte| *byte == b'\n');
    let mut next = || lines.next().unwrap_or_default();
    let (before, behind, second, body) = (next(), next(), next(), next());
    let time = NOW.wrapping_add_signed(i64::from(i32::from_be_bytes(*time)) >> 16);
    let Some(second) = HeaderValue::from_bytes(second).ok() else { return };

    let plain = Mac {
        header: PLAIN,
        algorithm: MacAlgorithm::Sha512,
        encoding: MacEncoding::Base64,
        timestamp: Some(TIME),
    };
    for (signature, field) in
        [(WebhookSignature::Stripe, STRIPE), (WebhookSignature::Field(plain), PLAIN)]
    {
        let hook = hook(signature);
        let mut headers: HeaderMap = [(field.clone(), second.clone())].into_iter().collect();
        headers.insert(TIME, HeaderValue::from(time));
        assert!(known(&hook, &headers, body).is_none(), "nobody signed this");
        let Some(signed) = signed(&hook, (time, body), (before, behind)) else { continue };
        headers.insert(field.clone(), signed);
        if let Some(id) = known(&hook, &headers, body) {
            assert!(time.abs_diff(NOW) <= TOLERANCE, "a call of another time is believed");
            assert_eq!(known(&hook, &headers, body), Some(id), "a delivery has two names");
            let other = [body, b"."].concat();
            assert!(known(&hook, &headers, &other).is_none(), "another body is believed");
        } else {
            let alone = before.is_empty() && behind.is_empty();
            assert!(!alone || time.abs_diff(NOW) > TOLERANCE, "the provider is not believed");
        }
        headers.append(field, second.clone());
        assert!(known(&hook, &headers, body).is_none(), "one of two fields is believed");
    }
}

fn hook(signature: WebhookSignature) -> Webhook {
    Webhook {
        name: "pay".into(),
        site: None,
        path: PathPattern::parse("/hook").expect("a path"),
        signature,
        secrets: vec![Secret::new(b"before".to_vec().into()), Secret::new(b"key".to_vec().into())],
        tolerance: Duration::from_secs(TOLERANCE),
    }
}

fn known(hook: &Webhook, headers: &HeaderMap, body: &[u8]) -> Option<[u8; 32]> {
    verify(hook, headers, body, Duration::from_secs(NOW)).ok()
}

/// What the provider would send, among other text.
fn signed(
    hook: &Webhook,
    (time, body): (u64, &[u8]),
    (before, behind): (&[u8], &[u8]),
) -> Option<HeaderValue> {
    let (algorithm, encoding) = hook.signature.making();
    let mac = encoding.write(&algorithm.sign(&hook.secrets[1], Some(&time.to_string()), body));
    let own = match hook.signature {
        WebhookSignature::Field(_) => mac,
        WebhookSignature::Stripe => format!("t={time},v1={mac}"),
    };
    HeaderValue::from_bytes(&[before, own.as_bytes(), behind].concat()).ok()
}
