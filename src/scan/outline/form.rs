//! Names in a form, and in the query of a URL.

use super::Name;
use crate::scan::glyph;

/// `name=value&…`
#[derive(Default)]
pub(super) struct Form {
    name: Name,
    place: Place,
    /// Whether it may be something else after all.
    suspected: bool,
}

#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Place {
    #[default]
    Name,
    /// It is no form.
    Nowhere,
    /// After a `;`, which ends a pair for some servers (HTML 4.01 §B.2.2).
    Unclear,
    Value,
}

impl Form {
    /// A body: some servers look at how it begins before they look at its type.
    pub(super) fn of_body() -> Self {
        Self { suspected: true, ..Self::default() }
    }

    pub(super) fn pass(&mut self, byte: u8) {
        if self.suspected && !byte.is_ascii_whitespace() {
            self.suspected = false;
            if matches!(byte, b'{' | b'[' | b'<') {
                self.place = Place::Nowhere;
            }
        }
        self.place = match (self.place, byte) {
            (Place::Nowhere, _) => Place::Nowhere,
            (_, b'&') => {
                self.name.clear();
                Place::Name
            }
            (_, b';') | (Place::Unclear, _) => Place::Unclear,
            (Place::Name, b'=') | (Place::Value, _) => Place::Value,
            (Place::Name, byte) => {
                self.name.push(byte);
                Place::Name
            }
        };
    }

    pub(super) fn names(&self) -> Option<Vec<String>> {
        let name = match self.place {
            // A number before the `=` is a name, and no value of any field.
            Place::Name => b"",
            Place::Nowhere | Place::Unclear => return None,
            Place::Value => self.name.bytes()?,
        };
        Some(vec![decode(name)])
    }
}

/// Percent-decoded; a broken escape stays as it is.
fn decode(mut left: &[u8]) -> String {
    let mut text = Vec::with_capacity(left.len());
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        let escaped = match (byte, rest) {
            (b'%', [high, low, after @ ..]) => {
                glyph::hex(*high).zip(glyph::hex(*low)).map(|(high, low)| (high << 4 | low, after))
            }
            _ => None,
        };
        text.push(match escaped {
            Some((value, after)) => {
                left = after;
                value
            }
            None if byte == b'+' => b' ',
            None => byte,
        });
    }
    String::from_utf8_lossy(&text).into_owned()
}
