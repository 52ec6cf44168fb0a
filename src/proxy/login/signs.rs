//! What an answer shows: configured signs, and the cookies it sets.

use http::HeaderMap;
use http::header::{LOCATION, SET_COOKIE};
use http::response::Parts;
use serde_json::Value;

use crate::policy::Sign;

/// Whether any sign shows in the head of an answer to a client who has these cookies already.
pub(super) fn show_in_head(signs: &[Sign], answer: &Parts, had: &[String]) -> bool {
    signs.iter().any(|sign| shows_in_head(sign, answer, had))
}

/// Whether any sign looks at the body.
pub(super) fn need_body(signs: &[Sign]) -> bool {
    signs.iter().any(|sign| matches!(sign, Sign::Body(_) | Sign::Json(..)))
}

/// Whether any sign shows in a decoded body. One that is no JSON, or is cut, shows nothing by pointer.
pub(super) fn show_in_body(signs: &[Sign], body: &[u8]) -> bool {
    let json = || serde_json::from_slice::<Value>(body).ok();
    let parsed = signs.iter().any(|sign| matches!(sign, Sign::Json(..))).then(json).flatten();
    signs.iter().any(|sign| match sign {
        Sign::Body(text) => text.is_match(body),
        Sign::Json(pointer, text) => {
            let found = parsed.as_ref().and_then(|json| json.pointer(pointer));
            found.filter(|value| !value.is_null()).is_some_and(|value| {
                text.as_ref().is_none_or(|text| text.is_match(text_of(value).as_bytes()))
            })
        }
        Sign::Cookie(_) | Sign::Header(..) | Sign::Location(_) | Sign::Status(_) => false,
    })
}

fn shows_in_head(sign: &Sign, answer: &Parts, had: &[String]) -> bool {
    match sign {
        Sign::Body(_) | Sign::Json(..) => false,
        Sign::Cookie(wanted) => cookies(&answer.headers, had).any(|name| name == wanted),
        Sign::Header(name, text) => answer
            .headers
            .get_all(name)
            .iter()
            .any(|value| text.as_ref().is_none_or(|text| text.is_match(value.as_bytes()))),
        Sign::Location(text) => {
            answer.headers.get(LOCATION).is_some_and(|value| text.is_match(value.as_bytes()))
        }
        Sign::Status(status) => answer.status == *status,
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The names of the cookies that are set to something new and not expired at once (RFC 6265 §5.2).
/// One that the client has already, with this value, tells of a login before this one.
pub(super) fn cookies<'h>(
    headers: &'h HeaderMap,
    had: &'h [String],
) -> impl Iterator<Item = &'h str> {
    headers.get_all(SET_COOKIE).iter().filter_map(|value| {
        let text = value.to_str().ok()?;
        let (pair, attributes) = text.split_once(';').unwrap_or((text, ""));
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        let emptied = value.is_empty() || value.eq_ignore_ascii_case("deleted");
        let known = had.iter().any(|had| had == pair.trim());
        (!emptied && !known && !is_expired(attributes)).then_some(name.trim())
    })
}

fn is_expired(attributes: &str) -> bool {
    let attributes = attributes.to_ascii_lowercase().replace(' ', "");
    attributes.split(';').any(|attribute| {
        let spent = |age: &str| age == "0" || age.starts_with('-');
        attribute.strip_prefix("max-age=").is_some_and(spent)
            || (attribute.starts_with("expires=") && attribute.contains("1970"))
    })
}
