//! Text from the wire, made fit for a log: no card number, no password.
//!
//! The one detector of the house decides what a card number is. Two readings are made, as a form
//! and as text, because a URL is both: what either shows is masked.

use std::borrow::Cow;
use std::error::Error;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use regex::{Captures, Regex};

use crate::card::{PAN_DIGITS_MIN, Pan, iin, luhn};
use crate::scan::{Carrier, FieldRules, Rules, Stream};

/// Twelve digits in base64 are sixteen characters; a little fewer, for what stands round them.
const ENCODED_RUN_MIN: usize = 14;
/// What stands in the place of a password.
const HIDDEN: &str = "***";

/// Parts of parameter names whose values are secrets.
const SECRET_PARTS: [&str; 13] = [
    "password",
    "passwd",
    "passphrase",
    "passwort",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "credential",
    "securitycode",
];
/// Parameter names whose values are secrets.
const SECRET_NAMES: [&str; 11] = [
    "auth",
    "authorization",
    "csc",
    "cvc",
    "cvc2",
    "cvv",
    "cvv2",
    "otp",
    "pass",
    "pin",
    "security_code",
];

/// In a log, an order number taken for a card harms nobody: no field name vetoes.
static RULES: LazyLock<Arc<Rules>> =
    LazyLock::new(|| Arc::new(Rules::responses(FieldRules::default()).strict()));

static NAMED_FILE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?:^|[^0-9A-Za-z])(?P<digits>[0-9]{12,19})\.[A-Za-z]")
        .expect("the pattern is sound")
});

/// The text with every card number masked, however its digits are written.
#[must_use]
pub fn mask_text(original: &str) -> Cow<'_, str> {
    if !may_hold_card(original) {
        return Cow::Borrowed(original);
    }
    let text = named_files(original);
    let form = scanned(&text, Carrier::Form);
    let both = scanned(form.as_deref().unwrap_or(&text), Carrier::Text);
    both.or(form).map_or(text, Cow::Owned)
}

/// The same for a method or a host. They are passed on as they are, and so refused where they may hold a
/// card number, also between letters: of one with so many digits, none is shown.
pub(super) fn mask_name(name: &str) -> Cow<'_, str> {
    let digits = name.bytes().filter(u8::is_ascii_digit).count();
    let address = || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    if digits < PAN_DIGITS_MIN || address() {
        return mask_text(name);
    }
    Cow::Owned(name.chars().map(|c| if c.is_ascii_digit() { '*' } else { c }).collect())
}

/// Masks numbers that are names of files. The detector leaves `4111….pdf` alone, because renaming a
/// file breaks a shop; a log breaks nothing.
fn named_files(text: &str) -> Cow<'_, str> {
    NAMED_FILE.replace_all(text, |found: &Captures<'_>| {
        let digits = found.name("digits").map_or("", |digits| digits.as_str());
        let card = Pan::from_digits(digits.as_bytes())
            .filter(|pan| luhn::holds(pan.expose()) && iin::issuer(pan.expose()).is_some());
        let whole = found.get(0).map_or("", |whole| whole.as_str());
        card.map_or_else(
            || whole.to_owned(),
            |pan| whole.replace(digits, &pan.masked().to_string()),
        )
    })
}

/// The same for a URL, whose secret parameters are hidden too.
pub(super) fn mask_url(text: &str) -> Cow<'_, str> {
    let Some((path, query)) = text.split_once('?') else { return mask_text(text) };
    if !query.split(['&', ';', '#', '?']).any(is_secret) {
        return mask_text(text);
    }
    let mut hidden = String::with_capacity(text.len());
    hidden.push_str(path);
    hidden.push('?');
    for piece in query.split_inclusive(['&', ';', '#', '?']) {
        hide(piece, &mut hidden);
    }
    Cow::Owned(mask_text(&hidden).into_owned())
}

/// An error and what it came from, in one line, masked.
pub(super) fn mask_causes(error: &dyn Error) -> String {
    let mut causes = error.to_string();
    let mut next = error.source();
    while let Some(deeper) = next {
        causes.push_str(&format!(": {deeper}"));
        next = deeper.source();
    }
    mask_text(&causes).into_owned()
}

fn hide(piece: &str, out: &mut String) {
    let (pair, end) = match piece.char_indices().next_back() {
        Some((at, '&' | ';' | '#' | '?')) => piece.split_at(at),
        _ => (piece, ""),
    };
    match pair.split_once('=') {
        Some((name, _)) if is_secret(pair) => {
            out.push_str(name);
            out.push('=');
            out.push_str(HIDDEN);
        }
        _ => out.push_str(pair),
    }
    out.push_str(end);
}

fn is_secret(pair: &str) -> bool {
    let Some((name, _)) = pair.split_once('=') else { return false };
    let name = percent_decoded(name).to_ascii_lowercase();
    SECRET_NAMES.contains(&&*name) || SECRET_PARTS.iter().any(|part| name.contains(part))
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let byte = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = byte.and_then(|pair| std::str::from_utf8(pair).ok());
        let byte = byte.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(byte.unwrap_or(first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    Cow::Owned(String::from_utf8_lossy(&decoded).into_owned())
}

/// Every escape of a digit (`%34`, `&#52;`, `\u0034`) holds an ASCII digit, and a base64 run is
/// long; what has neither is not scanned. Most targets have neither.
fn may_hold_card(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    if digits >= PAN_DIGITS_MIN || !text.is_ascii() {
        return true;
    }
    let glue = |byte: &u8| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_' | b'+');
    text.as_bytes().split(glue).any(|run| run.len() >= ENCODED_RUN_MIN)
}

/// The text with what is found masked; `None` where nothing is.
fn scanned(text: &str, carrier: Carrier) -> Option<String> {
    let mut stream = Stream::new(Arc::clone(&RULES), carrier);
    let mut decided = Vec::new();
    stream.push(Bytes::copy_from_slice(text.as_bytes()), &mut decided);
    stream.finish(&mut decided);
    if decided.iter().all(|run| run.finds.is_empty()) {
        return None;
    }
    let mut masked = Vec::with_capacity(text.len());
    for run in decided {
        let mut bytes = run.bytes.to_vec();
        for find in &run.finds {
            find.mask(&mut bytes);
        }
        masked.extend_from_slice(&bytes);
    }
    Some(String::from_utf8_lossy(&masked).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_a_card_is_lent_back() {
        for text in ["", "/cart?page=2", "/a/b", "curl/8.1", "/überraschung"] {
            assert!(matches!(mask_text(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_card_number_as_the_name_of_a_file_is_masked() {
        assert_eq!(mask_text("/scans/4111111111111111.pdf"), "/scans/411111******1111.pdf");
        let digest = "/a/f4111111111111111.css";
        assert_eq!(mask_text(digest), digest);
    }

    #[test]
    fn no_name_with_the_digits_of_a_card_is_shown() {
        assert_eq!(mask_name("G4111111111111111"), "G****************");
        assert_eq!(mask_name("x4111-1111-1111-1111.example"), "x****-****-****-****.example");
        for name in ["GET", "VERSION-CONTROL", "shop24.example", "192.168.100.100", "[2001:db8::1]"]
        {
            assert_eq!(mask_name(name), name);
        }
    }

    #[test]
    fn secret_parameters_are_hidden_wherever_they_stand() {
        let shown = |url: &str| mask_url(url).into_owned();
        assert_eq!(shown("/l?user=a&password=hunter2&x=1"), "/l?user=a&password=***&x=1");
        assert_eq!(shown("/l?pass%77ord=hunter2"), "/l?pass%77ord=***");
        assert_eq!(shown("/l?user[Password]=a=b#top"), "/l?user[Password]=***#top");
        assert_eq!(shown("/l?a=1?pwd=x;cvv=123"), "/l?a=1?pwd=***;cvv=***");
        assert_eq!(shown("/l?compass=north&opinion=1"), "/l?compass=north&opinion=1");
        assert_eq!(shown("/password=plain/path"), "/password=plain/path");
    }

    #[test]
    fn what_could_hide_a_card_goes_to_the_detector() {
        for text in ["4111 1111 1111 1111", "%34%31%31%31%31%31%31", "NDExMTExMTExMTExMTExMQ"] {
            assert!(may_hold_card(text), "{text}");
        }
        assert!(may_hold_card("４１１１"));
        assert!(!may_hold_card("/basket/add?id=12345"));
    }

    /// How a client may write a test card in a URL or a header.
    const WRITINGS: [&str; 6] = [
        "4111111111111111",
        "4111-1111-1111-1111",
        "4111+1111+1111+1111",
        "4111%201111%201111%201111",
        "%34%31%31%31%31%31%31%31%31%31%31%31%31%31%31%31",
        "４１１１１１１１１１１１１１１１",
    ];

    #[test]
    fn a_card_is_masked_however_it_is_written_and_wherever_it_stands() {
        for card in WRITINGS {
            for place in ["/pay?card=", "/pay/", "/x?order_id=", "agent/1.0 card ", "https://a/?n="]
            {
                let text = format!("{place}{card}");
                for masked in [mask_text(&text), mask_url(&text)] {
                    assert!(masked.starts_with(place), "{masked}");
                    assert!(!masked.contains(card), "{masked}");
                    let hidden =
                        ["**", "%2A%2A", "＊＊"].iter().any(|stars| masked.contains(stars));
                    assert!(hidden, "{masked}");
                }
            }
        }
    }
}
