//! Names in a form, and in the query of a URL.

use super::Name;
use crate::scan::glyph;

/// `name=value&…`
#[derive(Default)]
pub(super) struct Form {
    name: Name,
    in_value: bool,
}

impl Form {
    pub(super) fn pass(&mut self, byte: u8) {
        match byte {
            b'&' => {
                self.name.clear();
                self.in_value = false;
            }
            b'=' => self.in_value = true,
            byte if !self.in_value => self.name.push(byte),
            _ => {}
        }
    }

    pub(super) fn names(&self) -> Option<Vec<String>> {
        // A number before the `=` is a name, and no value of any field.
        let name = if self.in_value { self.name.bytes()? } else { b"" };
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
