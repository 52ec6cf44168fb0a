//! What each side recorded of the walk, held against the promises.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::StatusCode;
use memchr::memmem;
use serde_json::Value;

use super::form::Form;
use super::gateway::{Charge, Gateway};
use super::records::Order;
use super::shop::{Shop, digits};
use super::walk::{CARD_NUMBER, CVV, Guess, Seen, WalkError};

/// Of one file that is searched for the number; the demo writes far less.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// What all sides recorded of the purchase.
pub(super) struct Evidence {
    seen: Seen,
    order: Order,
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
        let order = shop.orders().into_iter().next().ok_or(missing("the shop"))?;
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
        vec![
            row("card number", [CARD_NUMBER, stored, received, self.seen.shown_number()]),
            row("security code", [CVV, &self.logged_cvv, &self.charge.cvc, ""]),
            row("in JSON", ["", &digits(stored), "", &self.seen.number_in_data()]),
            row("in the answer", ["", &self.order.charged_number, received, ""]),
        ]
    }

    /// What is claimed of a purchase.
    pub(super) fn promises(&self) -> Vec<Promise> {
        let promise = |claim, kept| Promise { claim, kept };
        let stored = self.order.card_number.as_str();
        vec![
            promise("the shop's log holds no card number", !reveals(self.log.as_bytes())),
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
                let shown = self.seen.shown_number();
                shown.ends_with("1111") && !reveals(self.seen.page.as_bytes())
            }),
            promise("the JSON is sound and its number is no card", {
                self.seen.number_in_data().len() == digits(CARD_NUMBER).len()
                    && !reveals(self.seen.data.as_bytes())
            }),
            promise("no file of the demo holds the card number", self.revealing_files.is_empty()),
        ]
    }
}

impl Seen {
    fn shown_number(&self) -> &str {
        let (_, after) = self.page.split_once("<td class=\"card-number\">").unwrap_or_default();
        after.split("</td>").next().unwrap_or_default()
    }

    /// The number of `/api/orders` that is a JSON number; empty where it no longer is one.
    fn number_in_data(&self) -> String {
        let data: Value = serde_json::from_str(&self.data).unwrap_or_default();
        let number = data.pointer("/orders/0/card/number").and_then(Value::as_u64);
        number.map(|number| number.to_string()).unwrap_or_default()
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

/// Whether the customer's number stands anywhere, whatever separates its digits.
fn reveals(text: &[u8]) -> bool {
    let separator = |byte: &u8| matches!(byte, b' ' | b'+' | b'-');
    let joined: Vec<u8> = text.iter().copied().filter(|byte| !separator(byte)).collect();
    memmem::find(&joined, digits(CARD_NUMBER).as_bytes()).is_some()
}

fn search(folder: &Path, revealing: &mut Vec<PathBuf>) -> Result<(), WalkError> {
    let failed = |path: &Path, source| WalkError::Search { path: path.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        if path.is_dir() {
            search(&path, revealing)?;
            continue;
        }
        match read(&path) {
            Ok(bytes) if reveals(&bytes) => revealing.push(path),
            Ok(_) => {}
            // A journal of the vault may go while we look.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(&path, error)),
        }
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_whatever_separates_its_digits() {
        for text in ["x4111111111111111y", "4111 1111 1111 1111", "n=4111+1111-1111+1111"] {
            assert!(reveals(text.as_bytes()), "{text}");
        }
        assert!(!reveals(b"4111 11** **** 1111"));
    }

    #[test]
    fn a_token_has_the_numbers_shape_and_is_another() {
        assert!(stands_in("4929 1234 5678 1111"));
        for other in [CARD_NUMBER, "4929123456781111", "4929 1234 5678 1112", ""] {
            assert!(!stands_in(other), "{other}");
        }
    }
}
