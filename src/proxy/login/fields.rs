//! The fields of a login body, in whichever form it comes.
//!
//! Reading is generous: whatever the shop might take for a field is shown, repeated ones each time,
//! because a name that we overlook is a guess that we do not count.

use super::json::leaves;
use super::multipart;
use super::path::{Plus, decode};
use super::xml::{self, Element};

/// How far a body could be read.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Reading {
    /// A shop may find fields where we found none.
    Partly,
    /// To its end.
    Whole,
}

/// Shows every field of a body: its path, and its value as text. Several `Content-Type` fields are
/// each believed, since nobody knows which of them the shop reads.
pub(super) fn each(
    content_types: &[&[u8]],
    body: &[u8],
    see: &mut dyn FnMut(&[String], &str),
) -> Reading {
    let kinds: Vec<_> = content_types.iter().map(|kind| String::from_utf8_lossy(kind)).collect();
    let essences: Vec<_> = kinds.iter().map(|kind| essence(kind)).collect();
    let mut whole = true;
    for kind in kinds.iter().filter(|kind| kind.to_ascii_lowercase().contains("multipart/")) {
        whole &= multipart::parts(kind, body, see) == Reading::Whole;
    }
    // PHP fills its fields from a form whatever parameters follow the type.
    let multipart_alone = essences.iter().all(|kind| kind.starts_with("multipart/"));
    let forms = essences.is_empty() || !multipart_alone;
    if forms {
        form(body, see);
    }
    let typed = essences.iter().any(|kind| kind.contains("json"));
    let wide = wide(body);
    if let Some(text) = wide.as_ref().filter(|_| forms) {
        form(text.as_bytes(), see);
    }
    let text = narrow(wide, body);
    let text = text.trim_start_matches('\u{feff}');
    // A shop may read JSON whatever the type says, with junk before it.
    let begins = |c: char| c.is_alphanumeric() || matches!(c, '{' | '[' | '"' | '-');
    let bare = text.find(begins).and_then(|at| text.get(at..)).unwrap_or_default();
    if text.trim_start().starts_with('<') {
        let (root, reading) = xml::parse(text);
        root.leaves(&mut Vec::new(), see);
        whole &= reading == Reading::Whole;
    } else if typed || bare.starts_with(['{', '[']) {
        whole &= leaves(text, see) == Reading::Whole;
    } else if text.split('=').next().is_some_and(|junk| junk.contains('{')) {
        let _no_json_perhaps = leaves(text, see);
    }
    if whole { Reading::Whole } else { Reading::Partly }
}

/// Reads a body as XML, in any width.
pub(super) fn xml(body: &[u8]) -> (Element, Reading) {
    xml::parse(&narrow(wide(body), body))
}

/// Shows every leaf of a JSON text.
pub(super) fn json(text: &str, see: &mut dyn FnMut(&[String], &str)) {
    let _as_far_as_it_goes = leaves(text, see);
}

/// The type without parameters (RFC 9110 §8.3.1), in lower case.
fn essence(kind: &str) -> String {
    kind.split([';', ',']).next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn narrow(wide: Option<String>, body: &[u8]) -> String {
    wide.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned())
}

/// UTF-16 and UTF-32, by their mark or by where the zeros stand (RFC 4627 §3).
pub(super) fn wide(body: &[u8]) -> Option<String> {
    let half = |body: &[u8], unit: fn([u8; 2]) -> u16| {
        let units = body.as_chunks::<2>().0.iter().map(|pair| unit(*pair));
        let chars = char::decode_utf16(units);
        chars.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    let full = |body: &[u8], unit: fn([u8; 4]) -> u32| {
        let units = body.as_chunks::<4>().0.iter().map(|four| unit(*four));
        units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    };
    match body {
        [0xff, 0xfe, 0, 0, rest @ ..] => Some(full(rest, u32::from_le_bytes)),
        [0, 0, 0xfe, 0xff, rest @ ..] => Some(full(rest, u32::from_be_bytes)),
        [0xff, 0xfe, rest @ ..] => Some(half(rest, u16::from_le_bytes)),
        [0xfe, 0xff, rest @ ..] => Some(half(rest, u16::from_be_bytes)),
        [0, 0, 0, (1..), ..] => Some(full(body, u32::from_be_bytes)),
        [(1..), 0, 0, 0, ..] => Some(full(body, u32::from_le_bytes)),
        [0, (1..), 0, ..] => Some(half(body, u16::from_be_bytes)),
        [(1..), 0, (1..), ..] => Some(half(body, u16::from_le_bytes)),
        _ => None,
    }
}

/// Shows every pair of a form or a query.
pub(super) fn form(body: &[u8], see: &mut dyn FnMut(&[String], &str)) {
    for pair in body.split(|byte| *byte == b'&') {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = decode(halves.next().unwrap_or_default(), Plus::Space);
        let value = decode(halves.next().unwrap_or_default(), Plus::Space);
        see(&segments(&name), &value);
    }
}

/// `customer[email]`, `ctl00$User`, `user.email` → their parts. PHP cuts a name at NUL.
pub(super) fn segments(name: &str) -> Vec<String> {
    let name = name.split('\0').next().unwrap_or_default();
    let parts = name.split(['[', ']', '.', '$', ':']).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(content_type: &str, body: &[u8]) -> Vec<String> {
        let mut seen: Vec<String> = Vec::new();
        let _reading = each(&[content_type.as_bytes()], body, &mut |path, value| {
            seen.push(format!("{}={value}", path.join("/")));
        });
        seen
    }

    #[test]
    fn a_form_is_decoded_and_repeated_fields_are_all_seen() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(
            read(form, b"e%6dail=a%40b&email=c+d&customer%5Bemail%5D=x"),
            ["email=a@b", "email=c d", "customer/email=x"]
        );
    }

    #[test]
    fn json_shows_repeated_keys_and_what_stands_before_an_error() {
        let json = "application/json";
        let seen =
            read(json, b"\xef\xbb\xbf{\"u\":{\"email\":\"a\",\"email\":7},\"l\":[true,null]} x");
        assert!(
            seen.ends_with(&["u/email=a", "u/email=7", "l/=true", "l/=", "=x"].map(str::to_owned)),
            "{seen:?}"
        );
        assert!(read(json, b"{\"email\":\"a\",oops").contains(&"email=a".to_owned()));
    }

    #[test]
    fn json_under_another_type_is_seen() {
        for kind in
            ["text/plain", "multipart/form-data; boundary=b", "application/x-www-form-urlencoded"]
        {
            assert!(read(kind, b"{\"email\":\"a\"}").contains(&"email=a".to_owned()), "{kind}");
        }
    }

    #[test]
    fn text_parts_of_multipart_are_seen() {
        let body =
            b"--B\r\nContent-Disposition: form-data; filename=f; name=\"login[user]\"\r\n\r\n\
                     ann\r\n--B\r\ncontent-disposition:form-data;name=password\n\nx\r\n--B--\r\n";
        assert_eq!(
            read("multipart/form-data; boundary=\"B\"", body),
            ["login/user=ann", "password=x"]
        );
    }

    #[test]
    fn a_form_is_read_whatever_its_type_claims() {
        let body = b"email=a&password=b";
        for kind in ["application/x-www-form-urlencoded; a=json", "application/json", "x/y"] {
            assert!(read(kind, body).contains(&"email=a".to_owned()), "{kind}");
        }
        let mut seen = 0;
        let kinds: [&[u8]; 2] = [b"multipart/form-data; boundary=B", b"text/plain"];
        let _reading = each(&kinds, body, &mut |_, _| seen += 1);
        assert_eq!(seen, 2, "read as each of two types");
    }

    #[test]
    fn json_of_wide_characters_is_seen() {
        let text = "{\"email\":\"a\"}";
        let marked = std::iter::once(0xfeff).chain(text.encode_utf16());
        for body in [
            text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
            text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            marked.flat_map(u16::to_le_bytes).collect(),
            text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect(),
            text.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect(),
        ] {
            assert!(read("application/json", &body).contains(&"email=a".to_owned()), "{body:?}");
        }
    }

    #[test]
    fn xml_is_seen_whatever_its_type() {
        let body = "<login><email>a</email></login>";
        let wide: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
        for body in [body.as_bytes(), &wide] {
            assert!(read("text/plain", body).contains(&"login/email=a".to_owned()), "{body:?}");
        }
    }

    #[test]
    fn a_name_ends_at_nul() {
        assert_eq!(read("x", b"email%00x=a"), ["email=a"]);
    }

    proptest! {
        #[test]
        fn no_body_panics(kind in "(multipart/x; boundary=a|application/json|x)?", body: Vec<u8>) {
            read(&kind, &body);
        }

        #[test]
        fn no_text_panics(body in "[-a={}\\[\\]\":,%;&\r\n ]{0,80}") {
            for kind in ["multipart/x; boundary=a", "application/json", "x"] {
                read(kind, body.as_bytes());
            }
        }
    }
}
