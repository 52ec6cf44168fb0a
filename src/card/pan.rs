//! The primary account number itself.

use zeroize::{Zeroize, ZeroizeOnDrop};

use super::MaskedPan;

/// The fewest digits a card number has.
pub const PAN_DIGITS_MIN: usize = 12;
/// The most digits a card number has (ISO/IEC 7812-1).
pub const PAN_DIGITS_MAX: usize = 19;

/// A primary account number: 12–19 ASCII digits. Wiped when dropped; cannot be printed or cloned.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Pan {
    digits: [u8; PAN_DIGITS_MAX],
    length: usize,
}

impl Pan {
    /// Takes 12–19 ASCII digits; anything else is `None`. Whether the number is a *plausible* card
    /// (issuer range, Luhn, context) is decided by `scan`, which is the only one to ask.
    #[must_use]
    pub fn from_digits(text: &[u8]) -> Option<Self> {
        let fits = (PAN_DIGITS_MIN..=PAN_DIGITS_MAX).contains(&text.len());
        if !fits || !text.iter().fold(true, |all, digit| all & digit.is_ascii_digit()) {
            return None;
        }
        let mut digits = [0; PAN_DIGITS_MAX];
        digits.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self { digits, length: text.len() })
    }

    /// The digits, for `vault` and the writers in `scan::edit` and `proxy` only.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }

    /// What people may see of it.
    #[must_use]
    pub fn masked(&self) -> MaskedPan {
        MaskedPan::of(self.expose())
    }

    /// The last four digits (PCI DSS 3.4.1 allows them to be shown).
    #[must_use]
    pub fn last_four(&self) -> &[u8] {
        self.expose().get(self.length.saturating_sub(4)..).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_twelve_to_nineteen_digits_are_taken() {
        assert!(Pan::from_digits(b"4111111111111111").is_some());
        assert!(Pan::from_digits(b"41111111111").is_none());
        assert!(Pan::from_digits(b"41111111111111111111").is_none());
        assert!(Pan::from_digits(b"411111111111111x").is_none());
    }
}
