//! What is asked for under load.

use crate::entrant::Kind;
use crate::pages::FORM;

/// How clients speak.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// One row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) path: &'static str,
    /// What is posted; a GET without.
    pub(crate) post: Option<Post>,
    /// Whether it is measured with two workers too.
    pub(crate) twice: bool,
}

/// What a customer sends.
pub(crate) struct Post {
    pub(crate) kind: &'static str,
    pub(crate) body: &'static str,
    /// A card number in it.
    pub(crate) card: Option<&'static str>,
}

/// A published test number, known to the vault after the first request: what a returning customer costs.
pub(crate) const CARD: &str = "4242424242424242";

/// What a shop's own script posts: numbers of an order and of articles, and none of a card.
const BASKET: &str = "{\"basket\":\"8f14e45f-ceea-467f-a8b6-2f1d7c9f0a31\",\"order_id\":100000482913,\
    \"items\":[{\"sku\":\"TEA-00017\",\"ean\":\"4006381333931\",\"quantity\":2,\"price\":12.90},\
    {\"sku\":\"MUG-00003\",\"ean\":\"4006381333948\",\"quantity\":1,\"price\":8.50}],\"currency\":\"EUR\",\
    \"customer\":{\"email\":\"ada@example.com\",\"phone\":\"+44 20 7946 0958\",\"newsletter\":false},\
    \"delivery\":{\"method\":\"standard\",\"city\":\"London\",\"postcode\":\"SW1Y 4JH\"}}";

const URLENCODED: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";

/// The rows, in order; the files are made in `folder`.
pub(crate) const CASES: [Case; 12] = [
    Case::get("h1 1 KiB", Protocol::Http1, "/1k.html").twice(),
    Case::get("h2 1 KiB", Protocol::Http2, "/1k.html").twice(),
    Case::get("h1 16 KiB HTML", Protocol::Http1, "/16k.html"),
    Case::get("h1 16 KiB JSON", Protocol::Http1, "/16k.json"),
    Case::get("h1 100 KiB HTML", Protocol::Http1, "/100k.html").twice(),
    Case::get("h1 100 KiB JSON", Protocol::Http1, "/100k.json"),
    Case::get("h2 100 KiB HTML", Protocol::Http2, "/100k.html"),
    Case::get("h1 1 MiB", Protocol::Http1, "/1m.html"),
    Case::post("h1 POST form, no card", URLENCODED, FORM),
    Case::post("h1 POST JSON, no card", JSON, BASKET),
    Case::card(
        "h1 POST form, card",
        URLENCODED,
        "name=Ada+Lovelace&number=4242424242424242&expiry=12%2F30",
    ),
    Case::card(
        "h1 POST JSON, card",
        JSON,
        r#"{"card":{"name":"Ada Lovelace","number":"4242424242424242","expiry":"12/30"},"amount":1290}"#,
    ),
];

impl Case {
    const fn get(name: &'static str, protocol: Protocol, path: &'static str) -> Self {
        Self { name, protocol, path, post: None, twice: false }
    }

    const fn post(name: &'static str, kind: &'static str, body: &'static str) -> Self {
        let post = Some(Post { kind, body, card: None });
        Self { name, protocol: Protocol::Http1, path: "/checkout", post, twice: false }
    }

    const fn card(name: &'static str, kind: &'static str, body: &'static str) -> Self {
        let post = Some(Post { kind, body, card: Some(CARD) });
        Self { name, protocol: Protocol::Http1, path: "/checkout", post, twice: false }
    }

    const fn twice(mut self) -> Self {
        self.twice = true;
        self
    }

    /// The others would hand a card on in clear; Lua is what people mask answers with.
    pub(crate) fn is_for(&self, kind: Kind) -> bool {
        match (&self.post, kind) {
            (Some(Post { card: Some(_), .. }), kind) => kind == Kind::Guarding,
            (Some(_), Kind::Lua) => false,
            (None, Kind::Lua) => self.protocol == Protocol::Http1 && self.path != "/1m.html",
            (Some(_) | None, _) => true,
        }
    }
}
