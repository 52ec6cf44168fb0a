//! Where in a body a place lies: the names of all that encloses it.
//!
//! A find knows the name before it; whether a number may be revealed there depends on every name
//! around. The body is read once, in order, in any pieces. Nothing is guessed: in a text whose
//! structure is not known, or deeper than is followed, a place has no name at all, and so matches no
//! rule.

mod form;
mod json;
mod multipart;
mod xml;

use super::Carrier;
use form::Form;
use json::Json;
use multipart::Multipart;
use xml::Xml;

/// How deep names are followed.
const DEPTH_MAX: usize = 32;
/// The longest name; a longer one is none.
const NAME_BYTES_MAX: usize = 256;

/// The names around a place that moves through a body.
pub struct Outline(Kind);

enum Kind {
    Form(Form),
    Json(Json),
    Multipart(Multipart),
    /// A text without names.
    Plain,
    Xml(Xml),
}

impl Outline {
    /// Before the first byte of a body with this `Content-Type`.
    #[must_use]
    pub fn of(content_type: &[u8]) -> Self {
        Self(match Carrier::declared(content_type) {
            Carrier::Form => Kind::Form(Form::default()),
            Carrier::Json => Kind::Json(Json::default()),
            Carrier::Multipart => match multipart::boundary(content_type) {
                Some(boundary) => Kind::Multipart(Multipart::new(boundary)),
                None => Kind::Plain,
            },
            Carrier::Xml => Kind::Xml(Xml::default()),
            Carrier::Csv
            | Carrier::EventStream
            | Carrier::Html
            | Carrier::JavaScript
            | Carrier::Text => Kind::Plain,
        })
    }

    /// Before the first byte of the query of a URL.
    #[must_use]
    pub fn of_query() -> Self {
        Self(Kind::Form(Form::default()))
    }

    /// Moves past these bytes.
    pub fn pass(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match &mut self.0 {
                Kind::Form(form) => form.pass(byte),
                Kind::Json(json) => json.pass(byte),
                Kind::Multipart(multipart) => multipart.pass(byte),
                Kind::Plain => return,
                Kind::Xml(xml) => xml.pass(byte),
            }
        }
    }

    /// The names around the place, from the outside in; `None` where they are not known.
    #[must_use]
    pub fn names(&self) -> Option<Vec<String>> {
        match &self.0 {
            Kind::Form(form) => form.names(),
            Kind::Json(json) => json.names(),
            Kind::Multipart(multipart) => multipart.names(),
            Kind::Plain => None,
            Kind::Xml(xml) => xml.names(),
        }
    }
}

/// A name being read; one that is too long is none.
#[derive(Default)]
struct Name(Vec<u8>);

impl Name {
    fn push(&mut self, byte: u8) {
        if self.0.len() <= NAME_BYTES_MAX {
            self.0.push(byte);
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }

    fn bytes(&self) -> Option<&[u8]> {
        (self.0.len() <= NAME_BYTES_MAX).then_some(&self.0)
    }

    fn text(&self) -> Option<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::string::string_regex;

    use super::*;

    /// The names around the first `#` of a body, however it is cut.
    fn around(content_type: &str, body: &str) -> Option<String> {
        let at = body.find('#').unwrap();
        let names = |size: usize| {
            let mut outline = Outline::of(content_type.as_bytes());
            body.as_bytes()[..at].chunks(size).for_each(|piece| outline.pass(piece));
            outline.names().map(|names| names.join("/"))
        };
        let whole = names(body.len());
        assert!([1, 3, 7].iter().all(|size| names(*size) == whole), "{body}");
        whole
    }

    fn is(content_type: &str, table: &[(&str, Option<&str>)]) {
        for (body, expected) in table {
            assert_eq!(around(content_type, body).as_deref(), *expected, "{body}");
        }
    }

    #[test]
    fn a_place_in_json_is_named_by_every_key_around() {
        let deep = format!("{}#", "{\"a\":".repeat(40));
        is(
            "application/json",
            &[
                (r##"{"card":{"number":"#"}}"##, Some("card/number")),
                (r##"{"a":{"b":1},"c":#}"##, Some("c")),
                (r##"{"a":["x",{"n":"#"}]}"##, Some("a/n")),
                (r##"{"a":"{\"card\":","b":"#"}"##, Some("b")),
                (r##"{"a":"\\","b":"#"}"##, Some("b")),
                (r##"{"\u0063ard":"#"}"##, Some("card")),
                (r##"{"note":"card\":{\"number\":\"#"}"##, Some("note")),
                ("{\"a\":1}\n{\"b\":\"#\"}", Some("b")),
                ("\"#\"", Some("")),
                (&deep, None),
            ],
        );
    }

    #[test]
    fn a_place_in_a_form_is_named_by_its_field() {
        is(
            "application/x-www-form-urlencoded; charset=utf-8",
            &[
                ("a=1&source%5Bnumber%5D=4#", Some("source[number]")),
                ("a=b=#", Some("a")),
                ("#", Some("")),
                ("note=card%26number%3D#", Some("note")),
            ],
        );
    }

    #[test]
    fn a_place_in_xml_is_named_by_the_elements_around() {
        is(
            "text/xml",
            &[
                ("<s:Body><p:Pay><Number>#</Number>", Some("Body/Pay/Number")),
                ("<a><b/><c>1</c><d x='>'>#", Some("a/d")),
                ("<a><!-- <card> --><b>#", Some("a/b")),
                ("<?xml version='1.0'?><!DOCTYPE a><a><![CDATA[<b>#]]>", Some("a")),
                ("<Pay number=\"#\"/>", Some("Pay/number")),
                ("<Pay a='1' card:Number='#'>", Some("Pay/Number")),
                ("<a><b></b>#", Some("a")),
                ("<a b = '#'>", None),
            ],
        );
    }

    #[test]
    fn a_place_in_a_multipart_body_is_named_by_its_part() {
        let head =
            "--b\r\ncontent-disposition: form-data; filename=\"x\"; name=\"card[number]\"\r\n\r\n";
        let long = format!("--b\r\nx-long: {}\r\n{}#", "a".repeat(400), &head[5..]);
        let note = "--b\r\nContent-Disposition: form-data; name=note\r\n\r\n";
        is(
            "multipart/form-data; boundary=\"b\"",
            &[
                (&format!("{head}#"), Some("card[number]")),
                (&format!("{head}1\r\n{note}#"), Some("note")),
                // A text that looks like another part is none: only the boundary begins one.
                (&format!("{note}--x\r\n{}#", head.trim_start_matches("--b\r\n")), Some("note")),
                (&long, Some("card[number]")),
                (&format!("{head}1\r\n--b--\r\n#"), None),
                ("#", None),
            ],
        );
        assert_eq!(around("multipart/form-data", &format!("{head}#")), None);
    }

    #[test]
    fn a_part_that_servers_read_differently_has_no_name() {
        let head = "--b\r\nContent-Disposition: form-data; name=\"card\"";
        for body in [
            // RFC 8187 names beside plain ones, and folded lines (RFC 5322 §2.2.3).
            &format!("{head}; name*=utf-8''note\r\n\r\n#"),
            &format!("{head}\r\n ; name=\"note\"\r\n\r\n#"),
            &format!("{head}\n\n#"),
            &format!("{head}\nX: \r\r\n\r\n#"),
            // A boundary of one reader that is content to another.
            "--b\r\nContent-Disposition: form-data; name=note\r\n\r\n1\n\
             --b\r\nContent-Disposition: form-data; name=card\r\n\r\n#",
            "--b\r\nContent-Disposition: form-data; name=note\r\n\r\n1\r\n\
             --b\nContent-Disposition: form-data; name=card\r\n\r\n#",
            "--b\r\nContent-Disposition: form-data; name=note\r\n\r\n1\r\n\
             --b-x\r\nContent-Disposition: form-data; name=card\r\n\r\n#",
        ] {
            assert_eq!(around("multipart/form-data; boundary=b", body), None, "{body}");
        }
        let two = "multipart/form-data; boundary=b; boundary*=utf-8''c";
        assert_eq!(around(two, &format!("{head}\r\n\r\n#")), None);
    }

    proptest! {
        #[test]
        fn no_body_panics_and_no_cut_matters(
            kind in 0..4_usize,
            body in string_regex("[a-z{}:\",\\\\<>/!?=&%;\\[\\]\r\n -]{0,200}").unwrap(),
            cut in 0..200_usize,
        ) {
            let kinds = [
                "application/json",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=b",
                "text/xml",
            ];
            let (mut whole, mut pieces) =
                (Outline::of(kinds[kind].as_bytes()), Outline::of(kinds[kind].as_bytes()));
            whole.pass(body.as_bytes());
            let (head, tail) = body.as_bytes().split_at(cut.min(body.len()));
            pieces.pass(head);
            pieces.pass(tail);
            prop_assert_eq!(whole.names(), pieces.names());
        }
    }

    #[test]
    fn a_place_in_anything_else_has_no_name() {
        assert_eq!(around("text/plain", "number=#"), None);
        assert_eq!(around("", "{\"number\":\"#\"}"), None);
    }
}
