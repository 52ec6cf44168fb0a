//! The main ways of a request through the program.

use crate::pages::FORM;

/// How it is asked for.
#[derive(Clone, Copy)]
pub(crate) enum How {
    Http1,
    Http2,
    /// A connection for each, without what the client may remember.
    Handshake,
    /// A connection for each, with the ticket of the one before.
    Resumption,
}

/// One row of the table.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    pub(crate) config: &'static str,
    pub(crate) how: How,
    pub(crate) target: &'static str,
    /// What is posted; a GET without.
    pub(crate) form: Option<&'static str>,
    /// How often it is counted, after as many times that are not.
    pub(crate) times: u32,
}

const PASSING: &str = "[cards]\nrequests = \"off\"\nresponses = \"off\"\n[log]\naccess = \"off\"\n";
const GUARDING: &str =
    "[cards]\nrequests = \"tokenize\"\nresponses = \"mask\"\n[log]\naccess = \"access.log\"\n";

/// A customer who comes back: the card has its token already.
const CARD: &str =
    "first_name=Ada&last_name=Lovelace&card_number=4111+1111+1111+1111&exp=12%2F30&city=London";
const LOGIN: &str = "email=ada%40example.com&password=correct+horse+battery+staple";

/// The rows, in order.
pub(crate) const PATHS: [Path; 12] = [
    Path { config: PASSING, ..Path::get("h1 1 KiB, passing", "/1k.html") },
    Path { how: How::Http2, config: PASSING, ..Path::get("h2 1 KiB, passing", "/1k.html") },
    Path::get("h1 1 KiB", "/1k.html"),
    Path { how: How::Http2, ..Path::get("h2 1 KiB", "/1k.html") },
    Path::get("h1 16 KiB HTML", "/16k.html"),
    Path::get("h1 16 KiB JSON", "/16k.json"),
    Path { times: 100, ..Path::get("h1 100 KiB HTML", "/100k.html") },
    Path::post("POST form, no card", "/checkout", FORM),
    Path::post("POST form, returning card", "/checkout", CARD),
    Path::post("POST login, success", "/login", LOGIN),
    Path { how: How::Handshake, times: 40, ..Path::get("full handshake, ECDSA", "/1k.html") },
    Path { how: How::Resumption, times: 40, ..Path::get("resumed handshake", "/1k.html") },
];

impl Path {
    const fn get(name: &'static str, target: &'static str) -> Self {
        Self { name, config: GUARDING, how: How::Http1, target, form: None, times: 300 }
    }

    const fn post(name: &'static str, target: &'static str, form: &'static str) -> Self {
        Self { form: Some(form), ..Self::get(name, target) }
    }
}
