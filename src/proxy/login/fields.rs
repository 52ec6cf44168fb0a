//! The fields of a login body, in whichever form it comes.
//!
//! Reading is generous: whatever the shop might take for a field is shown, repeated ones each time,
//! because a name that we overlook is a guess that we do not count.

use std::fmt;

use memchr::memmem;
use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::path::{Plus, decode};

/// The deepest JSON that is looked into.
const JSON_DEPTH_MAX: usize = 32;

/// Shows every field of a body: its path, and its value as text.
pub(super) fn each(content_type: Option<&[u8]>, body: &[u8], see: &mut dyn FnMut(&[String], &str)) {
    let content_type = String::from_utf8_lossy(content_type.unwrap_or_default());
    let kind = content_type.to_ascii_lowercase();
    let parts = kind.trim_start().starts_with("multipart/");
    if parts {
        multipart(&content_type, body, see);
    }
    // A shop may read JSON whatever the type says, and a form whose first key is `{` is a form too.
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if kind.contains("json") || text.starts_with(['{', '[']) {
        json(text, see);
    }
    if !parts && !kind.contains("json") {
        form(body, see);
    }
}

/// Shows every leaf of a JSON text up to where it stops being JSON.
pub(super) fn json(text: &str, see: &mut dyn FnMut(&[String], &str)) {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut path = Vec::new();
    // Broken JSON has shown what could be read of it; some shops' parsers go no further either.
    let _ = Leaves { path: &mut path, see }.deserialize(&mut deserializer);
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

fn multipart(content_type: &str, body: &[u8], see: &mut dyn FnMut(&[String], &str)) {
    let Some(boundary) = parameter(content_type, "boundary") else { return };
    let delimiter = format!("--{boundary}");
    let mut starts = memmem::find_iter(body, delimiter.as_bytes()).peekable();
    while let Some(start) = starts.next() {
        let end = starts.peek().copied().unwrap_or(body.len());
        let part = body.get(start.saturating_add(delimiter.len())..end).unwrap_or_default();
        let Some((head, value)) = split_part(part) else { continue };
        let Some(name) = parameter(&String::from_utf8_lossy(head), "name") else { continue };
        see(&segments(&name), String::from_utf8_lossy(value).trim_end_matches(['\r', '\n']));
    }
}

fn split_part(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let find = |gap: &[u8]| memmem::find(part, gap).map(|at| (at, at.saturating_add(gap.len())));
    let (head, value) = [find(b"\r\n\r\n"), find(b"\n\n")].into_iter().flatten().min()?;
    Some((part.get(..head)?, part.get(value..)?))
}

/// The value of `name=` after a separator, quoted or not (RFC 9110 §5.6.6).
fn parameter(text: &str, name: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let key = format!("{name}=");
    let separated = |at: &usize| {
        let before = at.checked_sub(1).and_then(|at| lower.as_bytes().get(at));
        before.is_some_and(|byte| matches!(byte, b';' | b' ' | b'\t' | b'\n'))
    };
    let at = lower.match_indices(&key).map(|(at, _)| at).find(separated)?;
    let value = text.get(at.saturating_add(key.len())..)?;
    let end = |c: char| matches!(c, ';' | ',' | '\r' | '\n') || c.is_ascii_whitespace();
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split(end).next(),
    };
    value.filter(|value| !value.is_empty()).map(str::to_owned)
}

/// `customer[email]`, `ctl00$User`, `user.email` → their parts.
fn segments(name: &str) -> Vec<String> {
    let parts = name.split(['[', ']', '.', '$', ':']).filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// Walks JSON without building it, so that repeated keys are all seen.
struct Leaves<'a, 's> {
    path: &'a mut Vec<String>,
    see: &'a mut (dyn FnMut(&[String], &str) + 's),
}

impl Leaves<'_, '_> {
    fn leaf<E>(self, value: &str) -> Result<(), E> {
        (self.see)(self.path, value);
        Ok(())
    }

    fn inner<E: Error>(
        &mut self,
        key: String,
        go: impl FnOnce(Leaves<'_, '_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.path.len() >= JSON_DEPTH_MAX {
            return Err(E::custom("too deep"));
        }
        self.path.push(key);
        let result = go(Leaves { path: self.path, see: self.see });
        self.path.pop();
        result
    }
}

impl<'de> DeserializeSeed<'de> for Leaves<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Leaves<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.leaf(if value { "true" } else { "false" })
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.leaf(&value.to_string())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.leaf(&value.to_string())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.leaf(&value.to_string())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.leaf(value)
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.leaf("")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        let mut more = Some(());
        while more.is_some() {
            self.inner(String::new(), |leaves| {
                more = seq.next_element_seed(leaves)?;
                Ok::<_, A::Error>(())
            })?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            self.inner(key, |leaves| map.next_value_seed(leaves))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(content_type: &str, body: &[u8]) -> Vec<String> {
        let mut seen = Vec::new();
        each(Some(content_type.as_bytes()), body, &mut |path, value| {
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
        assert_eq!(
            read(json, b"\xef\xbb\xbf{\"u\":{\"email\":\"a\",\"email\":7},\"l\":[true,null]} x"),
            ["u/email=a", "u/email=7", "l/=true", "l/="]
        );
        assert_eq!(read(json, b"{\"email\":\"a\",oops"), ["email=a"]);
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
    fn json_that_is_too_deep_is_left() {
        let deep = format!("{{\"email\":\"a\",\"x\":{}", "[".repeat(100_000));
        assert_eq!(read("application/json", deep.as_bytes()), ["email=a"]);
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
