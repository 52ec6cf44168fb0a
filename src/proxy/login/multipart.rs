//! The fields of `multipart/form-data` (RFC 7578), as loosely as shops read it.

use memchr::memmem;

use super::charset;
use super::fields::{Reading, segments};
use super::path::{Plus, decode};
use crate::scan::parameters;

/// Shows every part that has a name. A part without one, or no part at all, may be a field for the
/// shop and is none for us: then the body is not read whole.
pub(super) fn parts(
    content_type: &str,
    body: &[u8],
    see: &mut dyn FnMut(&[String], &str),
) -> Reading {
    let mut reading = Reading::Partly;
    for boundary in boundaries(content_type) {
        let delimiter = format!("--{boundary}");
        let mut starts = memmem::find_iter(body, delimiter.as_bytes()).peekable();
        let mut whole = starts.peek().is_some();
        while let Some(start) = starts.next() {
            let end = starts.peek().copied().unwrap_or(body.len());
            let part = body.get(start.saturating_add(delimiter.len())..end).unwrap_or_default();
            whole &= part.starts_with(b"--") || self::part(part, see) == Reading::Whole;
        }
        if whole {
            reading = Reading::Whole;
        }
    }
    reading
}

fn part(part: &[u8], see: &mut dyn FnMut(&[String], &str)) -> Reading {
    let Some((head, value)) = split_part(part) else { return Reading::Partly };
    let (head, value) = (String::from_utf8_lossy(head), String::from_utf8_lossy(value));
    let mut reading = Reading::Partly;
    if is_recoded(&head) {
        return reading;
    }
    for name in names(&head) {
        see(&segments(&name), value.trim_end_matches(['\r', '\n']));
        reading = Reading::Whole;
    }
    reading
}

fn split_part(part: &[u8]) -> Option<(&[u8], &[u8])> {
    let find = |gap: &[u8]| memmem::find(part, gap).map(|at| (at, at.saturating_add(gap.len())));
    let (head, value) = [find(b"\r\n\r\n"), find(b"\n\n")].into_iter().flatten().min()?;
    Some((part.get(..head)?, part.get(value..)?))
}

/// What may be the boundary: PHP looks for the word anywhere in a parameter's name and keeps blanks,
/// others stop at a blank.
fn boundaries(content_type: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (name, value) in parameters(content_type) {
        let first = value.split_whitespace().next().unwrap_or_default().to_owned();
        for value in [first, value] {
            if name.contains("boundary") && !value.is_empty() && !found.contains(&value) {
                found.push(value);
            }
        }
    }
    found.truncate(4);
    found
}

/// Whether a part's value is written otherwise than as it is: django undoes a transfer coding, which
/// RFC 7578 §4.7 gave up, and others a part's own charset.
fn is_recoded(head: &str) -> bool {
    lines(head).lines().filter_map(|line| line.split_once(':')).any(|(field, value)| {
        let value = value.trim();
        match field.trim().to_ascii_lowercase().as_str() {
            "content-transfer-encoding" => {
                !["7bit", "8bit", "binary"].iter().any(|coding| value.eq_ignore_ascii_case(coding))
            }
            "content-type" => charset::is_foreign(value),
            _ => false,
        }
    })
}

/// A head without folded lines.
fn lines(head: &str) -> String {
    head.replace("\r\n", "\n").replace("\n ", " ").replace("\n\t", " ")
}

/// Every name that a part's `Content-Disposition` gives it; folded lines are one (RFC 9112 §5.2).
fn names(head: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in lines(head).lines() {
        let Some((field, value)) = line.split_once(':') else { continue };
        if !field.trim().eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        for (name, value) in parameters(value) {
            match name.as_str() {
                "name" => found.push(value),
                // RFC 8187 §3.2.1: charset, language and an encoded value.
                "name*" => {
                    let value = value.rsplit('\'').next().unwrap_or_default();
                    found.push(decode(value.as_bytes(), Plus::Literal));
                }
                _ => {}
            }
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, disposition: &str) -> (Vec<String>, Reading) {
        let body = format!("--B\r\nContent-Disposition: {disposition}\r\n\r\nann\r\n--B--\r\n");
        let mut seen = Vec::new();
        let reading = parts(content_type, body.as_bytes(), &mut |path, value| {
            seen.push(format!("{}={value}", path.join("/")));
        });
        (seen, reading)
    }

    #[test]
    fn a_boundary_is_found_however_it_is_spelled() {
        for kind in [
            "multipart/form-data; boundary=B",
            "multipart/form-data; boundary =B",
            "multipart/form-data; Boundary = \"B\"",
            "multipart/form-data,boundary=B",
            "multipart/form-data; x=\"; boundary=C\"; boundary=B",
            "multipart/form-data; boundary=B; boundary=C",
        ] {
            assert_eq!(read(kind, "form-data; name=\"email\"").0, ["email=ann"], "{kind}");
        }
    }

    #[test]
    fn a_name_is_read_outside_quotes_only() {
        for disposition in [
            "form-data; x=\"; name=foo\"; name=\"email\"",
            "form-data; x=\"\\\"; name=foo\"; name=email",
            "form-data;\r\n name = 'email'",
            "form-data; name*=UTF-8''e%6dail",
        ] {
            let read = read("multipart/form-data; boundary=B", disposition);
            assert_eq!(read, (vec!["email=ann".to_owned()], Reading::Whole), "{disposition}");
        }
    }

    #[test]
    fn a_part_that_is_written_otherwise_is_not_read() {
        for field in [
            "Content-Transfer-Encoding: base64",
            "content-transfer-encoding : quoted-printable",
            "Content-Type: text/plain; charset=ibm037",
            "Content-Type: text/plain;\r\n charset=utf-7",
        ] {
            let body = format!(
                "--B\r\nContent-Disposition: form-data; name=email\r\n{field}\r\n\r\nann\r\n--B--"
            );
            let reading = parts("multipart/form-data; boundary=B", body.as_bytes(), &mut |_, _| ());
            assert_eq!(reading, Reading::Partly, "{field}");
        }
    }

    #[test]
    fn parts_that_cannot_be_named_are_not_read() {
        let form = "form-data; name=email";
        assert_eq!(read("multipart/form-data", form).1, Reading::Partly);
        assert_eq!(read("multipart/form-data; boundary=C", form).1, Reading::Partly);
        assert_eq!(read("multipart/form-data; boundary=B", "form-data").1, Reading::Partly);
    }
}
