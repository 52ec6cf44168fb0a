//! First six, stars, last four.

use std::fmt;

use super::pan::PAN_DIGITS_MAX;

/// A card number with its middle replaced by stars; safe to show, log and store
/// (PCI DSS 3.4.1: at most the first six and the last four digits).
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct MaskedPan {
    text: [u8; PAN_DIGITS_MAX],
    length: usize,
}

impl MaskedPan {
    pub(super) fn of(digits: &[u8]) -> Self {
        let length = digits.len().min(PAN_DIGITS_MAX);
        let hidden = Self::hidden(length);
        let mut text = [b'*'; PAN_DIGITS_MAX];
        for (place, (shown, &digit)) in text.iter_mut().zip(digits).enumerate() {
            if !hidden.contains(&place) {
                *shown = digit;
            }
        }
        Self { text, length }
    }

    /// Which places of a number of `length` digits a mask hides. Short numbers keep fewer digits, so
    /// that at least four stay hidden.
    #[must_use]
    pub fn hidden(length: usize) -> std::ops::Range<usize> {
        let tail = 4;
        let head = length.saturating_sub(tail + 4).min(6);
        head..length.saturating_sub(tail)
    }

    /// The text, one byte per digit.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for MaskedPan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for MaskedPan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self.as_bytes()).unwrap_or("******"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_shows_at_most_six_and_four_and_hides_at_least_four() {
        let shown = |digits: &[u8]| MaskedPan::of(digits).to_string();
        assert_eq!(shown(b"4111111111111111"), "411111******1111");
        assert_eq!(shown(b"378282246310005"), "378282*****0005");
        assert_eq!(shown(b"501800000009"), "5018****0009");
        assert_eq!(shown(b"6304000000000000000"), "630400*********0000");
    }
}
