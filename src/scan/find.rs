//! One thing that was found, and where.

use std::ops::Range;

use crate::card::{Brand, Cvv, Pan, Token};

/// A sensitive number in a [`Decided`](super::Decided) run.
pub struct Find {
    /// From the first to the last byte that carries a digit, within the run's bytes.
    pub span: Range<usize>,
    /// What it is.
    pub kind: FindKind,
    /// The name of the field that holds it, as written there, lower case, at most 64 bytes; empty
    /// where none is known. Text from the wire: for choosing and for the audit log, not for labels.
    pub field: String,
    /// How its digits are written.
    pub(super) medium: Medium,
    /// What that writing is encoded in.
    pub(super) coding: Coding,
    /// What of the span belongs to another number.
    pub(super) beside: Beside,
}

/// How many digits of the span belong only to another number, which has its first or last ones in
/// common with this: which of them is a card cannot be known, so a mask covers both.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Beside {
    pub(super) before: usize,
    pub(super) after: usize,
}

impl Beside {
    /// The number's own of all places.
    pub(super) fn own<T>(self, places: &[T]) -> &[T] {
        places.get(self.before..places.len().saturating_sub(self.after)).unwrap_or_default()
    }
}

/// How the digits of a find are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Medium {
    /// As characters of a text that tells its length beforehand: a string of `serialize` in PHP, or of
    /// a binary format.
    Counted,
    /// As hexadecimal digits, where only those may stand.
    Hex,
    /// As a number literal of JSON or JavaScript.
    Number,
    /// As characters of a text, plain or escaped.
    Text,
}

/// What the characters of a find are encoded in, one level down.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Coding {
    /// Base64 (RFC 4648).
    Base64 {
        /// How many bits of its first character belong to what stands before.
        skew: usize,
    },
    /// Two hexadecimal digits for each byte.
    Hex,
    /// Nothing.
    Plain,
}

/// What was found.
pub enum FindKind {
    /// A card number, or a token that has the shape of one.
    Card {
        /// The digits.
        pan: Pan,
        /// Whose.
        brand: Brand,
    },
    /// A card verification code in a field named so.
    Cvv(Cvv),
    /// A number that would be a card's but for its check digit: in a field that the configuration names
    /// as a card field, and anywhere on the way to a payment gateway, where it may be a token.
    InvalidCard {
        /// The digits.
        pan: Pan,
    },
    /// An opaque token, by its shape and its check.
    Token(Token),
    /// The card number within magnetic-stripe or chip track data: sensitive authentication data,
    /// never to be kept.
    Track {
        /// The digits.
        pan: Pan,
        /// Whose.
        brand: Brand,
    },
    /// What follows the number in a track: expiry, service code and discretionary data. Right after
    /// a [`FindKind::Track`].
    TrackTail,
}

/// The longest field name that is told.
const FIELD_BYTES_MAX: usize = 64;

/// A field name as a find tells it.
pub(super) fn label(name: &str) -> String {
    let mut label = name.to_lowercase();
    if label.len() <= FIELD_BYTES_MAX {
        return label;
    }
    let end = (0..=FIELD_BYTES_MAX).rev().find(|&end| label.is_char_boundary(end));
    label.truncate(end.unwrap_or_default());
    label
}
