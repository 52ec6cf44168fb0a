//! What stands for a card number outside the vault.

use std::fmt;

use thiserror::Error;

use super::pan::PAN_DIGITS_MAX;

/// Digits that stand for a card number. Safe to log, store and show.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Token {
    text: [u8; PAN_DIGITS_MAX],
    length: usize,
}

/// The shapes a token may have; DESIGN.md section 4 has the reasons for each.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum TokenFormat {
    /// Brand prefix and last four kept, rest random, passes Luhn, same length.
    #[default]
    BrandFour,
    /// First six and last four kept, passes Luhn.
    SixFour,
    /// First six and last four kept, fails Luhn.
    SixFourInvalid,
}

/// Why a text is no token.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum TokenError {
    /// Empty or longer than any token.
    #[error("a token has 1 to {PAN_DIGITS_MAX} digits, not {length}")]
    Length {
        /// How many bytes were given.
        length: usize,
    },
    /// Not made of digits.
    #[error("a token is made of ASCII digits")]
    NotDigits,
}

impl Token {
    /// Reads a token as it stands in a body or a row.
    ///
    /// # Errors
    /// When the text cannot be a token of any format.
    pub fn parse(text: &[u8]) -> Result<Self, TokenError> {
        let length = text.len();
        let mut token = Self { text: [0; PAN_DIGITS_MAX], length };
        if length == 0 {
            return Err(TokenError::Length { length });
        }
        let room = token.text.get_mut(..length).ok_or(TokenError::Length { length })?;
        room.copy_from_slice(text);
        if !text.iter().all(u8::is_ascii_digit) {
            return Err(TokenError::NotDigits);
        }
        Ok(token)
    }

    /// The token as it is written into a body.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// The same as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl TokenFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::BrandFour, Self::SixFour, Self::SixFourInvalid];

    /// The name used in configuration, rows and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BrandFour => "brand-four",
            Self::SixFour => "six-four",
            Self::SixFourInvalid => "six-four-invalid",
        }
    }

    /// The format of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
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
