//! What each side recorded of the walk, held against the promises.

use std::path::{Path, PathBuf};

use http::StatusCode;
use serde_json::Value;

use super::form::Form;
use super::gateway::{Charge, Gateway};
use super::records::Order;
use super::shop::{OLD_CARD_NUMBER, Shop, digits};
use super::traces::{reveals, reveals_any, search};
use super::walk::{CARD_NUMBER, CVV, Guess, Seen, WalkError};
use crate::card::luhn;

/// What becomes of the old card on a page: first six, last four (PCI DSS 3.4.1).
const OLD_CARD_MASK: &str = "5555 55** **** 4444";

/// What all sides recorded of the purchase, and of the old order.
pub(super) struct Evidence {
    seen: Seen,
    order: Order,
    old_order: Order,
    logged_cvv: String,
    log: String,
    charge: Charge,
    revealing_files: Vec<PathBuf>,
}

/// Something tillgate claims, and whether the evidence bears it out.
pub(super) struct Promise {
    pub(super) claim: &'static str,
    pub(super) kept: bool,
}

/// A line of the side-by-side table: customer sent, shop stored, gateway received, customer saw.
pub(super) struct Row {
    pub(super) label: &'static str,
    pub(super) cells: [String; 4],
}

impl Evidence {
    /// Asks each side what it recorded, and searches every file of the demo.
    pub(super) fn gather(
        seen: Seen,
        shop: &Shop,
        gateway: &Gateway,
        folder: &Path,
    ) -> Result<Self, WalkError> {
        let missing = |side| WalkError::Unrecorded { side };
        let mut orders = shop.orders().into_iter();
        let order = orders.next().ok_or(missing("the shop"))?;
        let old_order = orders.last().ok_or(missing("the shop"))?;
        let charge = gateway.last_charge().ok_or(missing("the gateway"))?;
        let logged = shop.logged();
        let paid = logged.iter().rev().find(|entry| entry.request == "POST /checkout");
        let paid = Form::parse(paid.ok_or(missing("the shop's log"))?.body.as_bytes());
        let mut revealing_files = Vec::new();
        search(folder, &mut revealing_files)?;
        let bodies: Vec<&str> = logged.iter().map(|entry| entry.body.as_str()).collect();
        Ok(Self {
            seen,
            order,
            old_order,
            logged_cvv: paid.field("cvv").to_owned(),
            log: bodies.join("\n"),
            charge,
            revealing_files,
        })
    }

    /// The side-by-side table.
    pub(super) fn rows(&self) -> Vec<Row> {
        let row = |label, cells: [&str; 4]| Row { label, cells: cells.map(str::to_owned) };
        let stored = self.order.card_number.as_str();
        let received = self.charge.number.as_str();
        let old = self.old_order.card_number.as_str();
        let page = |order| self.seen.number_on_page(order);
        let data = |order| self.seen.number_in_data(order);
        vec![
            row("card number", [CARD_NUMBER, stored, received, page(&self.order)]),
            row("  in JSON", ["", &digits(stored), "", &data(&self.order)]),
            row("  in the reply", ["", &self.order.charged_number, received, ""]),
            row("security code", [CVV, &self.logged_cvv, &self.charge.cvc, ""]),
            row("an old order", ["", old, "", page(&self.old_order)]),
            row("  in JSON", ["", &digits(old), "", &data(&self.old_order)]),
        ]
    }

    /// What is claimed of a purchase.
    pub(super) fn promises(&self) -> Vec<Promise> {
        let promise = |claim, kept| Promise { claim, kept };
        let stored = self.order.card_number.as_str();
        vec![
            promise("the shop's log holds no card number", !reveals_any(self.log.as_bytes())),
            promise("the shop's log holds no security code", self.logged_cvv != CVV),
            promise("the shop stored a token of the same shape", stands_in(stored)),
            promise(
                "the gateway received the card number",
                self.charge.number == digits(CARD_NUMBER),
            ),
            promise("the gateway received the security code", self.charge.cvc == CVV),
            promise("the gateway's answer reached the shop as a token", {
                digits(&self.order.charged_number) == digits(stored) && stands_in(stored)
            }),
            promise("the order page shows a token or a mask", {
                let shown = self.seen.number_on_page(&self.order);
                shown.ends_with("1111") && !reveals(self.seen.page.as_bytes(), CARD_NUMBER)
            }),
            promise("the JSON is sound and its number is no card", {
                self.seen.number_in_data(&self.order).len() == digits(CARD_NUMBER).len()
                    && !reveals(self.seen.data.as_bytes(), CARD_NUMBER)
            }),
            promise("an old card number is masked on its way out", self.masks_the_old_card()),
            promise("no file of the demo holds a card number", self.revealing_files.is_empty()),
        ]
    }

    /// A mask with stars in text; as a JSON number, one of as many digits that is no card.
    fn masks_the_old_card(&self) -> bool {
        let number = self.seen.number_in_data(&self.old_order);
        self.old_order.card_number == OLD_CARD_NUMBER
            && self.seen.number_on_page(&self.old_order) == OLD_CARD_MASK
            && self.seen.text_in_data(&self.old_order) == OLD_CARD_MASK
            && number.len() == digits(OLD_CARD_NUMBER).len()
            && !luhn::holds(number.as_bytes())
            && !reveals(self.seen.page.as_bytes(), OLD_CARD_NUMBER)
            && !reveals(self.seen.data.as_bytes(), OLD_CARD_NUMBER)
    }
}

impl Seen {
    /// The card number in the order's row of the order page.
    fn number_on_page(&self, order: &Order) -> &str {
        let row = format!("<tr><td>{}</td>", order.number);
        let (_, row) = self.page.split_once(&row).unwrap_or_default();
        let (_, cell) = row.split_once("<td class=\"card-number\">").unwrap_or_default();
        cell.split("</td>").next().unwrap_or_default()
    }

    /// The number of `/api/orders` that is a JSON number; empty where it no longer is one.
    fn number_in_data(&self, order: &Order) -> String {
        let number = self.in_data(order, "/card/number");
        number.as_u64().map(|number| number.to_string()).unwrap_or_default()
    }

    /// The number of `/api/orders` that is a JSON string.
    fn text_in_data(&self, order: &Order) -> String {
        self.in_data(order, "/card_number").as_str().unwrap_or_default().to_owned()
    }

    fn in_data(&self, order: &Order, pointer: &str) -> Value {
        let data: Value = serde_json::from_str(&self.data).unwrap_or_default();
        let mut orders = data.pointer("/orders").and_then(Value::as_array).into_iter().flatten();
        let found = orders.find(|found| found.pointer("/order") == Some(&order.number.into()));
        found.and_then(|found| found.pointer(pointer)).cloned().unwrap_or_default()
    }
}

/// What the guesses show.
pub(super) fn guessing_promise(guesses: &[Guess]) -> Promise {
    let kept = guesses.last().is_some_and(|last| {
        let waits = last.retry_after.parse::<u32>().is_ok_and(|seconds| seconds > 0);
        last.status == StatusCode::TOO_MANY_REQUESTS && waits
    });
    Promise { claim: "guessing passwords ends in 429 with Retry-After", kept }
}

/// Whether a stored number is another one with the separators and the last four of the real one.
fn stands_in(stored: &str) -> bool {
    let shape = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect()
    };
    shape(stored) == shape(CARD_NUMBER) && stored != CARD_NUMBER && stored.ends_with("1111")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_the_numbers_shape_and_is_another() {
        assert!(stands_in("4929 1234 5678 1111"));
        for other in [CARD_NUMBER, "4929123456781111", "4929 1234 5678 1112", ""] {
            assert!(!stands_in(other), "{other}");
        }
    }
}
