//! The card verification code.

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A card verification code: 3 or 4 ASCII digits. Sensitive authentication data (PCI DSS 3.3.1.2):
/// never written to a disk. Wiped when dropped; cannot be printed or cloned.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Cvv {
    digits: [u8; 4],
    length: usize,
}

impl Cvv {
    /// Takes 3 or 4 ASCII digits; anything else is `None`.
    #[must_use]
    pub fn from_digits(text: &[u8]) -> Option<Self> {
        if !matches!(text.len(), 3 | 4) || !text.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut digits = [0; 4];
        digits.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { digits, length: text.len() })
    }

    /// The digits, for `vault::standin` and the gateway writer only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }
}
