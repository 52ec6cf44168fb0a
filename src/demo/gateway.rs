//! A stand-in for a payment gateway: records what it was sent and answers like a provider would.
//!
//! It echoes the whole card number in its answer, which no provider should; the demo shows with it
//! that answers are tokenized again on their way back.

use std::collections::VecDeque;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::form::Form;
use super::serve::{Handler, Received, Reply, reply};
use crate::card::luhn;

const CHARGES_KEPT: usize = 200;

/// The stand-in and its memory.
#[derive(Default)]
pub(super) struct Gateway {
    charges: Mutex<Charges>,
}

/// One charge as it arrived. Held in memory only: this is the one place where the real card belongs.
#[derive(Clone)]
pub(super) struct Charge {
    pub(super) number: String,
    pub(super) cvc: String,
}

#[derive(Default)]
struct Charges {
    count: usize,
    kept: VecDeque<Charge>,
}

impl Gateway {
    /// The latest charge that arrived.
    pub(super) fn last_charge(&self) -> Option<Charge> {
        self.charges.lock().kept.back().cloned()
    }

    fn charge(&self, body: &[u8]) -> (StatusCode, Value) {
        let form = Form::parse(body);
        let charge = Charge {
            number: form.field("card[number]").to_owned(),
            cvc: form.field("card[cvc]").to_owned(),
        };
        let answer = verdict(&charge, form.field("amount"), form.field("currency"));
        let count = self.record(charge);
        match answer {
            Ok(mut charged) => {
                charged["id"] = json!(format!("ch_demo_{count}"));
                (StatusCode::OK, charged)
            }
            Err(refusal) => (StatusCode::PAYMENT_REQUIRED, refusal),
        }
    }

    fn record(&self, charge: Charge) -> usize {
        let mut charges = self.charges.lock();
        charges.count += 1;
        charges.kept.push_back(charge);
        if charges.kept.len() > CHARGES_KEPT {
            charges.kept.pop_front();
        }
        charges.count
    }
}

impl Handler for Gateway {
    async fn answer(&self, received: Received) -> Reply {
        let (status, body) = match (&received.method, received.path.as_str()) {
            (&Method::POST, "/v1/charges") => self.charge(&received.body),
            _ => {
                (StatusCode::NOT_FOUND, error("invalid_request", "there is only POST /v1/charges"))
            }
        };
        reply(status, "application/json", body.to_string())
    }
}

fn verdict(charge: &Charge, amount: &str, currency: &str) -> Result<Value, Value> {
    let digits: String = charge.number.chars().filter(char::is_ascii_digit).collect();
    if digits.len() < 12 || !luhn::holds(digits.as_bytes()) {
        return Err(error("incorrect_number", "Your card number is incorrect."));
    }
    if !matches!(charge.cvc.len(), 3 | 4) || !charge.cvc.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error("incorrect_cvc", "Your card's security code is incorrect."));
    }
    let Ok(amount) = amount.parse::<u64>() else {
        return Err(error("parameter_invalid_integer", "The amount must be in cents."));
    };
    Ok(json!({
        "object": "charge",
        "status": "succeeded",
        "amount": amount,
        "currency": currency,
        "card": { "number": charge.number, "cvc_check": "pass" },
    }))
}

fn error(code: &str, message: &str) -> Value {
    json!({ "error": { "code": code, "message": message } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::form::encode;

    fn charge(gateway: &Gateway, number: &str, cvc: &str) -> (StatusCode, Value) {
        let fields =
            [("card[number]", number), ("card[cvc]", cvc), ("amount", "1490"), ("currency", "eur")];
        gateway.charge(encode(&fields).as_bytes())
    }

    #[test]
    fn a_good_card_is_charged_recorded_and_echoed() {
        let gateway = Gateway::default();
        let (status, answer) = charge(&gateway, "4111111111111111", "123");
        assert_eq!(status, StatusCode::OK);
        assert_eq!(answer["id"], "ch_demo_1");
        assert_eq!(answer["amount"], 1490);
        assert_eq!(answer["card"]["number"], "4111111111111111");
        let recorded = gateway.last_charge().unwrap();
        assert_eq!((recorded.number.as_str(), recorded.cvc.as_str()), ("4111111111111111", "123"));
    }

    #[test]
    fn a_bad_number_or_code_is_refused_but_recorded() {
        let gateway = Gateway::default();
        for (number, cvc, code) in [
            ("4111111111111112", "123", "incorrect_number"),
            ("", "123", "incorrect_number"),
            ("4111111111111111", "12", "incorrect_cvc"),
        ] {
            let (status, answer) = charge(&gateway, number, cvc);
            assert_eq!(status, StatusCode::PAYMENT_REQUIRED);
            assert_eq!(answer["error"]["code"], code);
            assert_eq!(gateway.last_charge().unwrap().number, number);
        }
    }

    #[test]
    fn only_the_last_charges_are_kept() {
        let gateway = Gateway::default();
        for _ in 0..CHARGES_KEPT + 5 {
            charge(&gateway, "4111111111111111", "123");
        }
        assert_eq!(gateway.charges.lock().kept.len(), CHARGES_KEPT);
    }
}
