//! What stands for a card number outside the vault.

use std::fmt;

use thiserror::Error;

use super::opaque::{self, OPAQUE_BYTES, OPAQUE_RANDOM, PREFIX};
use super::pan::PAN_DIGITS_MAX;

/// The longest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = OPAQUE_BYTES;
const OPAQUE_LENGTH: u8 = 26;

/// Digits, or an opaque name, that stand for a card number. Safe to log, store and show.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token {
    text: [u8; TOKEN_BYTES_MAX],
    length: u8,
}

/// The shapes a token may have; DESIGN.md section 4 has the reasons for each.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum TokenFormat {
    /// Brand prefix and last four kept, rest random, passes Luhn, same length.
    #[default]
    BrandFour,
    /// `tok_` and 22 characters, whatever the card.
    Opaque,
    /// First six and last four kept, passes Luhn.
    SixFour,
    /// First six and last four kept, fails Luhn.
    SixFourInvalid,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TokenError {
    /// Neither digits nor an opaque token of ours.
    #[error(
        "a token is made of ASCII digits, or is `tok_` and {OPAQUE_CHARS} characters that check"
    )]
    Foreign,
    /// Digits, but none or more than any token has.
    #[error("a token of digits has 1 to {PAN_DIGITS_MAX} of them, not {length}")]
    Length {
        /// How many bytes were given.
        length: usize,
    },
}

/// What stands behind the prefix of an opaque token.
const OPAQUE_CHARS: usize = OPAQUE_BYTES - PREFIX.len();

impl Token {
    /// Reads a token as it stands in a body or a row.
    ///
    /// # Errors
    /// When the text cannot be a token of any format.
    pub fn parse(text: &[u8]) -> Result<Self, TokenError> {
        let length = text.len();
        if opaque::holds(text) {
            return Self::of(text).ok_or(TokenError::Foreign);
        }
        if !text.iter().all(u8::is_ascii_digit) {
            return Err(TokenError::Foreign);
        }
        let fits = (1..=PAN_DIGITS_MAX).contains(&length);
        fits.then(|| Self::of(text)).flatten().ok_or(TokenError::Length { length })
    }

    /// An opaque token of this randomness; six bits of each byte count.
    #[must_use]
    pub fn opaque(random: &[u8; OPAQUE_RANDOM]) -> Self {
        Self { text: opaque::write(random), length: OPAQUE_LENGTH }
    }

    /// Whether it is a name rather than digits.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.text.starts_with(PREFIX)
    }

    /// The token as it is written into a body.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// The same as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    fn of(text: &[u8]) -> Option<Self> {
        let length = u8::try_from(text.len()).ok()?;
        let mut token = Self { text: [0; TOKEN_BYTES_MAX], length };
        token.text.get_mut(..text.len())?.copy_from_slice(text);
        Some(token)
    }
}

impl TokenFormat {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::BrandFour, Self::Opaque, Self::SixFour, Self::SixFourInvalid];

    /// The name used in configuration, rows and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BrandFour => "brand-four",
            Self::Opaque => "opaque",
            Self::SixFour => "six-four",
            Self::SixFourInvalid => "six-four-invalid",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// The format where only as many digits may stand as the card has.
    #[must_use]
    pub fn of_digits(self) -> Self {
        match self {
            Self::Opaque => Self::BrandFour,
            Self::BrandFour | Self::SixFour | Self::SixFourInvalid => self,
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({self})")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_and_our_own_opaque_names_are_tokens_and_nothing_else_is() {
        let opaque = Token::opaque(&[63; OPAQUE_RANDOM]);
        assert!(opaque.is_opaque());
        assert_eq!(Token::parse(opaque.as_bytes()), Ok(opaque));
        assert!(!Token::parse(b"4000000000001111").unwrap().is_opaque());
        assert_eq!(Token::parse(b""), Err(TokenError::Length { length: 0 }));
        assert_eq!(Token::parse(&[b'1'; 20]), Err(TokenError::Length { length: 20 }));
        for foreign in [&b"tok_visa"[..], b"tok_1NnZ2LHMNvFVnyEbhDyXYZ", b"4111-1111"] {
            assert_eq!(Token::parse(foreign), Err(TokenError::Foreign));
        }
    }

    #[test]
    fn every_format_is_found_by_its_name() {
        for format in TokenFormat::ALL {
            assert_eq!(TokenFormat::named(format.as_str()), Some(format));
        }
    }
}
