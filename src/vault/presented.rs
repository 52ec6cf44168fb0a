//! What somebody presents as a token.

use crate::card::{Pan, Token};

/// What may be a token of the vault, or a card number: it has no mouth either way.
pub enum Presented {
    /// Digits.
    Digits(Pan),
    /// What can only be a token.
    Token(Token),
}

impl Presented {
    /// The token it is if it is one; its text may be printed only once the vault has said so.
    #[must_use]
    pub fn token(&self) -> Option<Token> {
        match self {
            Self::Digits(digits) => Token::parse(digits.expose()).ok(),
            Self::Token(token) => Some(*token),
        }
    }

    pub(super) fn expose(&self) -> &[u8] {
        match self {
            Self::Digits(digits) => digits.expose(),
            Self::Token(token) => token.as_bytes(),
        }
    }
}

impl From<Pan> for Presented {
    fn from(digits: Pan) -> Self {
        Self::Digits(digits)
    }
}

impl From<Token> for Presented {
    fn from(token: Token) -> Self {
        Self::Token(token)
    }
}
