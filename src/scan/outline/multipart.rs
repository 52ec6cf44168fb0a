//! Names of the parts of a multipart form (RFC 2046 §5.1, RFC 7578). Where servers disagree on what a
//! part is or how it is named, it has no name.

use super::Name;
use crate::scan::parameters::plain;

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
    /// The last bytes, at least as many as the delimiter has.
    tail: Vec<u8>,
    head: Vec<u8>,
    name: Option<String>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum State {
    Body,
    /// After the last part.
    Epilogue,
    Head,
    /// Before the first part.
    Preamble,
    /// After a line that begins a part to some servers and not to others: from here on nothing is known.
    Unclear,
}

impl Multipart {
    pub(super) fn new(boundary: &[u8]) -> Self {
        Self {
            delimiter: [b"--", boundary].concat(),
            state: State::Preamble,
            after_crlf: true,
            line: Name::default(),
            tail: Vec::new(),
            head: Vec::new(),
            name: None,
        }
    }

    pub(super) fn pass(&mut self, byte: u8) {
        if self.state == State::Unclear {
            return;
        }
        if self.state == State::Head && self.head.len() <= HEAD_BYTES_MAX {
            self.head.push(byte);
        }
        if byte != b'\n' {
            self.line.push(byte);
            self.look_for_delimiter(byte);
            return;
        }
        // One that is too long is no boundary and does not end a head.
        let line = self.line.bytes().unwrap_or(b"?").to_vec();
        self.line.clear();
        self.tail.clear();
        self.end_line(&line);
        self.after_crlf = line.ends_with(b"\r");
    }

    /// Django looks for it anywhere, and Werkzeug after a carriage return too.
    fn look_for_delimiter(&mut self, byte: u8) {
        self.tail.push(byte);
        if self.tail.ends_with(&self.delimiter) {
            let begins = self.after_crlf && self.line.bytes() == Some(self.delimiter.as_slice());
            if !begins || self.state == State::Head {
                self.state = State::Unclear;
            }
        }
        let length = self.delimiter.len();
        if self.tail.len() >= 2 * length {
            self.tail.drain(..length);
        }
    }

    fn end_line(&mut self, line: &[u8]) {
        let after = line.strip_prefix(self.delimiter.as_slice());
        self.state = match (self.state, after) {
            (State::Head, _) if line == b"\r" && self.after_crlf => {
                self.name = name_in(&self.head);
                State::Body
            }
            (State::Head, _) if line.trim_ascii_end().is_empty() => State::Unclear,
            // What comes before the first part may be a text of another kind.
            (State::Preamble, None) if !line.trim_ascii_end().is_empty() => State::Unclear,
            (State::Head | State::Unclear, _) | (_, None) => self.state,
            (State::Body | State::Epilogue | State::Preamble, Some(b"\r")) => {
                self.name = None;
                self.head.clear();
                State::Head
            }
            // What follows the last part belongs to none.
            (State::Body | State::Epilogue | State::Preamble, Some(b"--" | b"--\r")) => {
                State::Epilogue
            }
            (State::Body | State::Epilogue | State::Preamble, Some(_)) => State::Unclear,
        };
    }

    pub(super) fn names(&self) -> Option<Vec<String>> {
        // What stands in a delimiter's own line is of no part.
        let between = self.line.bytes().is_some_and(|line| line.starts_with(&self.delimiter));
        let name = self.name.clone().filter(|_| self.state == State::Body && !between)?;
        Some(vec![name])
    }
}

/// The name that the one `Content-Disposition` of a part's head gives, and gives first: not every
/// server knows where a file's name ends.
fn name_in(head: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(head).ok().filter(|text| text.len() <= HEAD_BYTES_MAX)?;
    let mut dispositions = Vec::new();
    for line in text.split("\r\n").filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(':')?;
        // Not every server joins folded lines (RFC 5322 §2.2.3), or ends lines at one half of CRLF.
        let odd = |c: char| c.is_control() && c != '\t';
        if field.contains(char::is_whitespace) || line.contains(odd) {
            return None;
        }
        if field.eq_ignore_ascii_case("content-disposition") {
            dispositions.push(value);
        }
    }
    // Two of them are read differently by different servers.
    let [disposition] = dispositions.as_slice() else { return None };
    let (kind, parameters) = plain(disposition)?;
    let name = match parameters.as_slice() {
        [(name, value)] if name == "name" => *value,
        [(name, value), (file, _)] if name == "name" && file == "filename" => *value,
        _ => return None,
    };
    (kind == "form-data").then(|| name.to_owned())
}
