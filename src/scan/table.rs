//! The columns of delimited text, named by its first line.

use super::Carrier;
use super::parts::Parts;
use super::view::View;

/// The longest first line that names columns.
const HEADER_MAX: usize = 1024;

/// The beginning of a body: what it turns out to be, and its first line.
#[derive(Default)]
pub(super) struct Table {
    head: Vec<u8>,
    complete: bool,
    parts: Parts,
}

impl Table {
    /// Takes the bytes of the body as they arrive; what was before `passed` is decided.
    pub(super) fn learn(&mut self, chunk: &[u8], carrier: Carrier, passed: usize) {
        if carrier == Carrier::Multipart {
            self.parts.learn(chunk, passed);
        }
        if self.complete {
            return;
        }
        let room = HEADER_MAX - self.head.len();
        let line = chunk.get(..room).unwrap_or(chunk);
        let end = memchr::memchr(b'\n', line);
        self.head.extend_from_slice(line.get(..end.unwrap_or(line.len())).unwrap_or_default());
        self.complete = end.is_some() || chunk.len() > room;
    }

    /// The first byte of the body that is no white space.
    pub(super) fn first_mark(&self) -> Option<u8> {
        self.head.trim_ascii_start().first().copied()
    }

    /// Whether a line far above may name a field.
    pub(super) fn names_columns(&self, carrier: Carrier) -> bool {
        carrier == Carrier::Csv || carrier == Carrier::Multipart && self.parts.any()
    }

    /// The name of the column that holds the byte at `at` of a view that begins at `offset`.
    pub(super) fn column(
        &self,
        view: &View<'_>,
        at: usize,
        (carrier, offset): (Carrier, usize),
    ) -> Option<String> {
        let head = match carrier {
            Carrier::Csv if offset + at > self.head.len() => self.head.as_slice(),
            Carrier::Multipart => self.parts.head(offset + at)?,
            _ => return None,
        };
        let before = view.before(at);
        let line = before.iter().rposition(|&byte| byte == b'\n')?;
        let delimiter = delimiter(head)?;
        let place = count(before.get(line + 1..)?, delimiter);
        let name = split(head, delimiter).nth(place)?;
        let name = name.trim_ascii().trim_suffix_quotes();
        Some(String::from_utf8_lossy(name).into_owned())
    }
}

fn delimiter(head: &[u8]) -> Option<u8> {
    let uses = |byte: u8| head.iter().filter(|&&other| other == byte).count();
    let most = [b',', b';', b'\t', b'|'].into_iter().max_by_key(|&byte| uses(byte));
    most.filter(|&byte| uses(byte) > 0)
}

trait Quotes {
    fn trim_suffix_quotes(&self) -> &Self;
}

impl Quotes for [u8] {
    fn trim_suffix_quotes(&self) -> &Self {
        let inner = self.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        inner.unwrap_or(self)
    }
}

/// Delimiters outside quotes.
fn count(text: &[u8], delimiter: u8) -> usize {
    split(text, delimiter).count().saturating_sub(1)
}

fn split(text: &[u8], delimiter: u8) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    text.split(move |&byte| {
        if byte == b'"' {
            quoted = !quoted;
        }
        byte == delimiter && !quoted
    })
}
