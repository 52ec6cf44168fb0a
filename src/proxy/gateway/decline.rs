//! Whether a provider declined a card, and whose that was.
//!
//! The customer's request brought the card, the shop's call shows it to the provider: the token leads
//! from one to the other, so that whoever tests cards is known without a word in the configuration.

use std::sync::LazyLock;

use http::StatusCode;
use http::response::Parts;
use regex::bytes::Regex;

use super::super::body::Source;
use super::super::exchange::Exchange;
use super::super::generation::GatewayPlace;
use super::super::login::BODY_LOOK_BYTES;
use super::super::{Proxy, guard};
use crate::coding::Coding;

/// How providers say no, beside 402 (Stripe, Square). In JSON: Adyen (`"resultCode":"Refused"`),
/// Checkout.com (`"status":"Declined"`, `"approved":false`), Braintree (`"PROCESSOR_DECLINED"`), PayPal
/// (`"INSTRUMENT_DECLINED"`), Worldpay (`"outcome":"refused"`), Authorize.Net (`"responseCode":"2"`); in
/// XML: Braintree, Worldpay and Authorize.Net; as a form: NMI (`response=2`). A provider that is not
/// among them and says 200 is not understood: then the session's cards alone count.
const DECLINES: &str = r#"(?ix)
    "[a-z_]*(?:status|code|outcome|result|issue|event|decision|state)" \s* : \s*
        "[a-z_\s]{0,40}(?:declined?|refused)[a-z_\s]{0,40}"
  | "approved" \s* : \s* false
  | "responseCode" \s* : \s* "?2"? \s* [,}]
  | <(?:\w+:)?(?:status|lastEvent)> \s* [a-z_]{0,40}(?:declined|refused) \s* </
  | <(?:\w+:)?responseCode> \s* 2 \s* </
  | (?:\A|&)response=2(?:&|\s|\z)
"#;

#[expect(clippy::expect_used, reason = "the pattern is a constant and every test here compiles it")]
static SAYS_DECLINED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(DECLINES).expect("the pattern is sound"));

impl Proxy {
    /// Notes a declined card for whoever brought it. A call with several cards is a batch, and says
    /// nothing of one of them.
    pub(super) async fn note_decline(
        &self,
        place: &GatewayPlace<'_>,
        exchange: &Exchange,
        (head, mut source): (&Parts, Source),
    ) -> Source {
        let Some(token) = exchange.charged() else { return source };
        let Some(bringer) = self.services.bringer_of(&token) else { return source };
        if !may_decline(head.status) {
            return source;
        }
        let mut declined = head.status == StatusCode::PAYMENT_REQUIRED;
        // An answer that breaks off does so for its next reader too.
        if !declined && let Ok((pieces, reached)) = source.read_up_to(BODY_LOOK_BYTES).await {
            let codings = Coding::of(&head.headers).unwrap_or_default();
            declined = SAYS_DECLINED.is_match(&guard::plain(&pieces, reached, &codings).0);
            source.put_back(pieces);
        }
        if declined {
            self.services.card_declined(&place.gateway.name, &bringer, &token);
        }
        source
    }
}

/// A provider that is down, or does not know the shop, has judged no card.
fn may_decline(status: StatusCode) -> bool {
    !status.is_server_error()
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::TOO_MANY_REQUESTS
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_common_providers_are_known() {
        for answer in [
            r#"{"pspReference":"8","refusalReason":"Refused","resultCode":"Refused"}"#,
            r#"{"id":"pay_1","approved": false,"status":"Declined","response_code":"20005"}"#,
            r#"{"data":{"chargeCreditCard":{"transaction":{"status":"PROCESSOR_DECLINED"}}}}"#,
            r#"{"name":"UNPROCESSABLE_ENTITY","details":[{"issue":"INSTRUMENT_DECLINED"}]}"#,
            r#"{"error":{"code":"card_declined","decline_code":"generic_decline"}}"#,
            r#"{"transactionResponse":{"responseCode":"2","authCode":""}}"#,
            r#"{"outcome":"refused","code":"5"}"#,
            "<transaction><status>processor_declined</status></transaction>",
            "<payment><lastEvent>REFUSED</lastEvent></payment>",
            "response=2&responsetext=DECLINE&authcode=",
        ] {
            assert!(SAYS_DECLINED.is_match(answer.as_bytes()), "{answer}");
        }
    }

    #[test]
    fn what_was_paid_is_not_declined() {
        for answer in [
            r#"{"id":"ch_1","status":"succeeded","failure_code":null,"refunded":false}"#,
            r#"{"resultCode":"Authorised","additionalData":{"refusalReasonRaw":"APPROVED"}}"#,
            r#"{"approved":true,"status":"Authorized","response_code":"10000"}"#,
            r#"{"transactionResponse":{"responseCode":"1"}}"#,
            r#"{"note":"declined an offer","status":"CAPTURED"}"#,
            "<status>submitted_for_settlement</status>",
            "response=1&responsetext=SUCCESS&response_code=200",
            "",
        ] {
            assert!(!SAYS_DECLINED.is_match(answer.as_bytes()), "{answer}");
        }
    }
}
