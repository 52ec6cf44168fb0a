//! Which charsets leave names and values where they can be read.
//!
//! Servlet containers, ASP.NET and django decode a form by the charset that the client names. Under one
//! that does not keep ASCII where it is, such as EBCDIC, a body holds a name and a password for the shop
//! and nothing for us; no browser sends one.

use super::fields::wide;
use crate::scan::parameters;

/// Charsets whose ASCII is ASCII, by the beginning of their names in lower case (IANA registry). Under
/// some of them a byte of another letter looks like ASCII; no name of a field has such letters.
const ASCII: [&str; 22] = [
    "ansi_x3.4",
    "ascii",
    "big5",
    "cp125",
    "euc",
    "gb18030",
    "gb2312",
    "gbk",
    "iso-8859",
    "iso8859",
    "iso_8859",
    "koi8",
    "ks_c",
    "latin",
    "mac",
    "ms932",
    "shift",
    "sjis",
    "tis",
    "us-ascii",
    "utf-8",
    "utf8",
];

/// Those that are read by where their zeros stand.
const WIDE: [&str; 5] = ["ucs", "utf-16", "utf-32", "utf16", "utf32"];

/// Whether a body may say something else to the shop than to us.
pub(super) fn hides(content_types: &[&[u8]], body: &[u8]) -> bool {
    let foreign = |kind: &&[u8]| {
        // Most types name none, or the usual one.
        let kind = String::from_utf8_lossy(kind);
        is_foreign(&kind)
            && !(charsets(&kind).all(|name| begins(&name, &WIDE)) && wide(body).is_some())
    };
    !body.is_empty() && content_types.iter().any(foreign)
}

/// Whether a type names a charset that does not keep ASCII where it is.
pub(super) fn is_foreign(content_type: &str) -> bool {
    charsets(content_type)
        .any(|name| !(name.is_empty() || begins(&name, &ASCII) || begins(&name, &["windows-"])))
}

/// Every charset that a type names: servers differ in which of several they take.
fn charsets(content_type: &str) -> impl Iterator<Item = String> {
    let all = parameters(content_type).into_iter().filter(|(name, _)| name.contains("charset"));
    all.map(|(_, value)| value.trim_matches(['"', '\'', ' ']).to_ascii_lowercase())
}

fn begins(name: &str, beginnings: &[&str]) -> bool {
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(charset: &str, body: &[u8]) -> bool {
        let kind = format!("application/x-www-form-urlencoded; {charset}");
        hides(&[b"text/plain", kind.as_bytes()], body)
    }

    #[test]
    fn a_body_in_another_alphabet_is_not_taken_for_one_without_fields() {
        for charset in [
            "charset=ibm037",
            "Charset = \"IBM500\"",
            "charset=utf-8; charset=cp037",
            "charset=utf-7",
            "charset='ibm1047'",
            "charset*=cp500",
        ] {
            assert!(hidden(charset, b"\x85\x94\x81\x89\x93~"), "{charset}");
        }
    }

    #[test]
    fn what_browsers_send_is_read() {
        for charset in ["charset=UTF-8", "charset=\"iso-8859-15\"", "charset=windows-1252", "x=y"] {
            assert!(!hidden(charset, b"email=a"), "{charset}");
        }
        assert!(!hidden("charset=ibm037", b""));
    }

    #[test]
    fn wide_characters_are_read_where_they_show() {
        let wide = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        assert!(!hidden("charset=utf-16le", &wide("email=a")));
        assert!(hidden("charset=utf-16le", &wide("\u{142}=1&email=a")));
    }
}
