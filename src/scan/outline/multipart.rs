//! Names of the parts of a multipart body (RFC 2046 §5.1, RFC 7578). Where servers disagree on what a
//! part is or how it is named, it has no name.

use super::Name;

/// The longest boundary (RFC 2046 §5.1.1) and more.
const BOUNDARY_BYTES_MAX: usize = 128;
/// What is read of one part's head.
const HEAD_BYTES_MAX: usize = 8 << 10;

/// The part around a place.
pub(super) struct Multipart {
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    state: State,
    /// Whether the line before ended as lines do (RFC 2046 §4.1.1); the first has none.
    after_crlf: bool,
    line: Name,
    head: Vec<u8>,
    name: Option<String>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    Body,
    Head,
    /// Before the first part.
    Preamble,
    /// After a line that begins a part to some servers and not to others: from here on nothing is known.
    Unclear,
}

impl Multipart {
    pub(super) fn new(boundary: Vec<u8>) -> Self {
        let delimiter = [b"--", boundary.as_slice()].concat();
        let (line, head) = (Name::default(), Vec::new());
        Self { delimiter, state: State::Preamble, after_crlf: true, line, head, name: None }
    }

    pub(super) fn pass(&mut self, byte: u8) {
        if self.state == State::Head && self.head.len() < HEAD_BYTES_MAX {
            self.head.push(byte);
        }
        if byte != b'\n' {
            self.line.push(byte);
            return;
        }
        // One that is too long is no boundary and does not end a head.
        let line = self.line.bytes().unwrap_or(b"?").to_vec();
        self.line.clear();
        self.end_line(&line);
        self.after_crlf = line.ends_with(b"\r");
    }

    fn end_line(&mut self, line: &[u8]) {
        let after = line.strip_prefix(self.delimiter.as_slice());
        match (self.state, after) {
            (State::Head, _) if line == b"\r" && self.after_crlf => {
                self.name = name_in(&self.head);
                self.state = State::Body;
            }
            (State::Head, _) if line.trim_ascii_end().is_empty() => self.state = State::Unclear,
            (State::Head | State::Unclear, _) | (_, None) => {}
            (State::Body | State::Preamble, Some(_)) if !self.after_crlf => {
                self.state = State::Unclear;
            }
            (State::Body | State::Preamble, Some(b"\r")) => {
                self.state = State::Head;
                self.name = None;
                self.head.clear();
            }
            // What follows the last part belongs to none.
            (State::Body | State::Preamble, Some(b"--" | b"--\r")) => self.state = State::Preamble,
            (State::Body | State::Preamble, Some(_)) => self.state = State::Unclear,
        }
    }

    pub(super) fn names(&self) -> Option<Vec<String>> {
        (self.state == State::Body).then(|| self.name.clone().map(|name| vec![name]))?
    }
}

/// The boundary that a `Content-Type` names.
pub(super) fn boundary(content_type: &[u8]) -> Option<Vec<u8>> {
    let boundary = parameter(&String::from_utf8_lossy(content_type), "boundary")?.into_bytes();
    (!boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX).then_some(boundary)
}

/// The name that the one `Content-Disposition` of a part's head gives.
fn name_in(head: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    // Not every server joins folded lines (RFC 5322 §2.2.3), or ends lines at one half of CRLF.
    let odd = |line: &str| line.starts_with([' ', '\t']) || line.contains(['\r', '\n']);
    if text.split("\r\n").any(odd) {
        return None;
    }
    let values = text.lines().filter_map(|line| {
        let (field, value) = line.split_once(':')?;
        field.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    });
    let mut values = values.collect::<Vec<_>>().into_iter();
    // Two of them are read differently by different servers.
    let value = values.next().filter(|_| values.next().is_none())?;
    parameter(value, "name")
}

/// A parameter that is given once: `; name="value"` or `; name=value`. Beside one in the writing of
/// RFC 8187, which not every server prefers, it has no value.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut found = None;
    let mut left = text.split_once(';')?.1;
    loop {
        let (name, rest) = left.split_once('=')?;
        let (value, rest) = value_of(rest)?;
        let name = name.trim();
        let extended = name.get(..wanted.len()).filter(|_| name.get(wanted.len()..) != Some(""));
        if extended.is_some_and(|it| it.eq_ignore_ascii_case(wanted)) && name.contains('*') {
            return None;
        }
        if name.eq_ignore_ascii_case(wanted) && found.replace(value).is_some() {
            return None;
        }
        match rest.split_once(';') {
            Some((_, next)) if next.contains('=') => left = next,
            _ => return found,
        }
    }
}

/// A value, and what follows it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return Some((text.get(..end)?.trim().to_owned(), text.get(end..)?));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(letters.next()?.1),
            _ => value.push(letter),
        }
    }
    None
}
