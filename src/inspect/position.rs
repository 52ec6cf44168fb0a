//! Lines and columns, counted as the text goes by.

use super::kind::{self, ByteOrder};

/// A place in a text. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Position {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// Walks through a text, in any pieces. A line ends with LF; the CR before it belongs to the line.
pub(super) struct Cursor {
    at: Position,
    units: Units,
}

/// What the text is made of.
enum Units {
    /// UTF-8: a byte that continues a character is none of its own.
    Utf8,
    /// UTF-16, and the first byte of a pair whose second has not come yet.
    Utf16 { order: ByteOrder, half: Option<u8> },
}

impl Cursor {
    /// Stands at the beginning of a text that begins with these bytes.
    pub(super) fn new(first: &[u8]) -> Self {
        let order = kind::utf16(first);
        let marked = order.is_some() || first.starts_with(b"\xEF\xBB\xBF");
        // The byte order mark will be counted when it goes by; it is no column.
        let column = if marked { 0 } else { 1 };
        let units = order.map_or(Units::Utf8, |order| Units::Utf16 { order, half: None });
        Self { at: Position { line: 1, column }, units }
    }

    /// Goes past these bytes.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        match &mut self.units {
            Units::Utf8 => pass_utf8(&mut self.at, bytes),
            Units::Utf16 { order, half } => {
                for &byte in bytes {
                    let Some(first) = half.take() else {
                        *half = Some(byte);
                        continue;
                    };
                    let unit = match order {
                        ByteOrder::Big => u16::from_be_bytes([first, byte]),
                        ByteOrder::Little => u16::from_le_bytes([first, byte]),
                    };
                    pass_unit(&mut self.at, unit);
                }
            }
        }
    }

    /// The character that begins here, or that this byte belongs to.
    pub(super) fn here(&self) -> Position {
        self.at
    }

    /// The place behind the last character, also when only half of it went by.
    pub(super) fn behind(&self) -> Position {
        let inside = matches!(self.units, Units::Utf16 { half: Some(_), .. });
        Position { column: self.at.column + u64::from(inside), ..self.at }
    }
}

fn pass_utf8(at: &mut Position, bytes: &[u8]) {
    let mut tail = bytes;
    if let Some(last) = memchr::memrchr(b'\n', bytes) {
        at.line += count(memchr::memchr_iter(b'\n', bytes).count());
        at.column = 1;
        tail = bytes.get(last + 1..).unwrap_or_default();
    }
    let begins = |byte: &&u8| !(0x80..0xC0).contains(*byte);
    at.column += count(tail.iter().filter(begins).count());
}

fn pass_unit(at: &mut Position, unit: u16) {
    if unit == u16::from(b'\n') {
        *at = Position { line: at.line + 1, column: 1 };
        return;
    }
    // The second half of a surrogate pair (RFC 2781 §2.1) is no character of its own.
    at.column += u64::from(!(0xDC00..0xE000).contains(&unit));
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the cursor stands before the letter `x`, however the text is cut.
    fn place(text: &[u8]) -> (u64, u64) {
        let end = text.iter().position(|&byte| byte == b'x').unwrap();
        let walk = |piece: usize| {
            let mut cursor = Cursor::new(text);
            text[..end].chunks(piece).for_each(|bytes| cursor.pass(bytes));
            (cursor.here().line, cursor.here().column)
        };
        let whole = walk(text.len());
        for piece in [1, 2, 3] {
            assert_eq!(walk(piece), whole);
        }
        whole
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn lines_end_with_lf_and_columns_are_characters() {
        assert_eq!(place(b"x"), (1, 1));
        assert_eq!(place(b"ab\nabx"), (2, 3));
        assert_eq!(place(b"a\r\n\r\nx"), (3, 1));
        assert_eq!(place("äöü €\u{1F600}x".as_bytes()), (1, 7));
        assert_eq!(place("\u{FEFF}ax".as_bytes()), (1, 2));
    }

    #[test]
    fn utf16_is_counted_in_characters_too() {
        let text = "\u{FEFF}a\u{1F600}\r\n\u{0A0A}bx";
        assert_eq!(place(&utf16(text, u16::to_le_bytes)), (2, 3));
        assert_eq!(place(&utf16(text, u16::to_be_bytes)), (2, 3));
    }
}
