//! What a body is to every reader alike.

use crate::scan::Carrier;
use crate::scan::parameters::{parameters, plain};

/// The longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// Charsets in which a byte that looks like an ASCII character is that one, by the beginning of their
/// names: of those with characters of several bytes UTF-8 alone. In UTF-16 two bytes of one
/// ideogram look like a quote and a comma, in GBK and Shift-JIS the second byte may be a backslash, and
/// in UTF-7 letters stand for quotes.
const TRUE: [&str; 10] = [
    "ascii",
    "cp125",
    "iso-8859-",
    "iso8859-",
    "iso_8859-",
    "latin1",
    "us-ascii",
    "utf-8",
    "utf8",
    "windows-125",
];

/// The carrier that a `Content-Type` names, where nothing in it may be read in two ways.
pub(super) fn carrier(content_type: &[u8]) -> Option<Carrier> {
    let text = std::str::from_utf8(content_type).ok()?.to_ascii_lowercase();
    let kind = text.split(';').next().unwrap_or_default();
    plain(kind)?;
    let charsets: Vec<_> =
        parameters(&text).into_iter().filter(|(name, _)| name == "charset").collect();
    let named = text.matches("charset").count();
    let clear = match charsets.as_slice() {
        [] => named == 0,
        [(_, charset)] => named == 1 && is_true(charset),
        [_, _, ..] => false,
    };
    clear.then(|| Carrier::declared(kind.as_bytes()))
}

/// Whether a charset leaves ASCII characters where they seem to stand, and no others.
pub(super) fn is_true(charset: &str) -> bool {
    let charset = charset.to_ascii_lowercase();
    TRUE.iter().any(|beginning| charset.starts_with(beginning))
}

/// The boundary that a `Content-Type` of a form names to every server.
pub(super) fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let (kind, parameters) = plain(std::str::from_utf8(content_type).ok()?)?;
    // PHP takes any parameter with the word in its name.
    let mut boundaries = parameters.iter().filter(|(name, _)| name != "charset");
    let (name, boundary) = boundaries.next().filter(|_| boundaries.next().is_none())?;
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_-./:=".contains(&byte);
    let sound = kind == "multipart/form-data"
        && name == "boundary"
        && boundary.len() <= BOUNDARY_BYTES_MAX
        && boundary.bytes().all(letter);
    sound.then(|| boundary.as_bytes().to_vec())
}
