//! Rows of digits as long as a card number, for what is looked at but never edited: names, and the
//! coded form of a body.

use crate::card::PAN_DIGITS_MIN;

/// Counts the digits of a row, single separators aside, over any cuts of the text.
#[derive(Default)]
pub(super) struct DigitRow {
    digits: usize,
    separated: bool,
}

impl DigitRow {
    /// Goes on with the next piece; whether a row in it is long enough for a card number.
    pub(super) fn is_long_in(&mut self, text: &[u8]) -> bool {
        text.iter().any(|byte| {
            match byte {
                b'0'..=b'9' => {
                    self.digits += 1;
                    self.separated = false;
                }
                b'-' | b'.' | b'_' | b' ' if self.digits > 0 && !self.separated => {
                    self.separated = true;
                }
                _ => self.digits = 0,
            }
            self.digits >= PAN_DIGITS_MIN
        })
    }
}

/// Whether a whole text may hold a card number.
pub(super) fn may_be_card(text: &[u8]) -> bool {
    DigitRow::default().is_long_in(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_counted_over_separators_and_cuts() {
        for card in ["4111111111111111", "4111-1111-1111-1111", "x4111 1111 1111 1111.txt"] {
            assert!(may_be_card(card.as_bytes()), "{card}");
            let mut row = DigitRow::default();
            assert!(card.as_bytes().chunks(5).any(|piece| row.is_long_in(piece)), "{card}");
        }
        for other in ["41111111111", "4111--1111--1111--1111", "4111a1111a1111a1111"] {
            assert!(!may_be_card(other.as_bytes()), "{other}");
        }
    }
}
