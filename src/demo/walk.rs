//! One purchase as a customer makes it, then a burst of wrong passwords.

use std::io;
use std::path::PathBuf;

use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderName, StatusCode};
use thiserror::Error;

use super::client::{Answer, Client, ClientError};
use super::form::encode;
use super::shop::ACCOUNT;

/// What the customer types.
pub(super) const CARD_NUMBER: &str = "4111 1111 1111 1111";
/// Her card's security code.
pub(super) const CVV: &str = "123";
/// Whose password is guessed: not the demo account, which a person may want to use afterwards.
const GUESSED_ACCOUNT: &str = "grace@example.com";
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// More than any sensible limit lets through.
const GUESSES_MAX: usize = 15;

/// Why the walk cannot go on.
#[derive(Debug, Error)]
pub enum WalkError {
    /// A request got no answer.
    #[error("no answer to: {step}")]
    Client {
        /// What the customer did.
        step: &'static str,
        /// Why not.
        source: ClientError,
    },
    /// The folder cannot be searched for the card number.
    #[error("cannot search {}", path.display())]
    Search {
        /// Which file or folder.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// A request got another answer than a shop gives.
    #[error("{step}: answered {status}")]
    Unexpected {
        /// What the customer did.
        step: &'static str,
        /// What came back.
        status: StatusCode,
    },
    /// One side recorded nothing of the walk.
    #[error("{side} recorded nothing of the walk")]
    Unrecorded {
        /// Which side.
        side: &'static str,
    },
}

/// What the customer saw of her purchase.
pub(super) struct Seen {
    /// The order page.
    pub(super) page: String,
    /// `/api/orders`.
    pub(super) data: String,
}

/// How one wrong password was answered.
pub(super) struct Guess {
    pub(super) status: StatusCode,
    pub(super) retry_after: String,
    /// As the access log has it; empty where no sidecar gave one.
    pub(super) request_id: String,
}

/// Buys a mug.
pub(super) async fn buy(browser: &mut Client) -> Result<Seen, WalkError> {
    let login = encode(&[("email", ACCOUNT.0), ("password", ACCOUNT.1)]);
    let purchase = encode(&[
        ("item", "mug"),
        ("name", "Ada Lovelace"),
        ("card_number", CARD_NUMBER),
        ("expiry", "12/30"),
        ("cvv", CVV),
    ]);
    let step = "open the catalogue";
    expect(step, StatusCode::OK, browser.get("/").await)?;
    expect("log in", StatusCode::FOUND, browser.post("/account/login", login).await)?;
    expect("open the checkout", StatusCode::OK, browser.get("/checkout?item=mug").await)?;
    let step = "pay";
    let paid = expect(step, StatusCode::FOUND, browser.post("/checkout", purchase).await)?;
    if paid.header(&LOCATION) != "/account/orders" {
        return Err(WalkError::Unexpected { step, status: paid.status });
    }
    let step = "look at the orders";
    let page = expect(step, StatusCode::OK, browser.get("/account/orders").await)?.text;
    let step = "fetch the orders as data";
    let data = expect(step, StatusCode::OK, browser.get("/api/orders").await)?.text;
    Ok(Seen { page, data })
}

/// Guesses passwords until told to wait.
pub(super) async fn guess(browser: &mut Client) -> Result<Vec<Guess>, WalkError> {
    let mut guesses = Vec::new();
    while guesses.len() < GUESSES_MAX {
        let password = format!("guess {}", guesses.len() + 1);
        let form = encode(&[("email", GUESSED_ACCOUNT), ("password", &password)]);
        let answer = browser.post("/account/login", form).await;
        let answer = answer.map_err(|source| WalkError::Client { step: "guess", source })?;
        let stopped = answer.status == StatusCode::TOO_MANY_REQUESTS;
        let retry_after = answer.header(&RETRY_AFTER).to_owned();
        let request_id = answer.header(&REQUEST_ID).to_owned();
        guesses.push(Guess { status: answer.status, retry_after, request_id });
        if stopped {
            break;
        }
    }
    Ok(guesses)
}

fn expect(
    step: &'static str,
    status: StatusCode,
    answer: Result<Answer, ClientError>,
) -> Result<Answer, WalkError> {
    let answer = answer.map_err(|source| WalkError::Client { step, source })?;
    if answer.status != status {
        return Err(WalkError::Unexpected { step, status: answer.status });
    }
    Ok(answer)
}
