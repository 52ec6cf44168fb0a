//! What a card number is, and what may stand in its place.
//!
//! Pure types: nothing here reads a socket, a file or a clock. A [`Pan`] cannot be printed, copied
//! or serialized; a [`Token`] may go anywhere; a [`MaskedPan`] is what people and logs may see
//! (PCI DSS 3.4.1: at most the first six and the last four digits).

mod cvv;
pub mod iin;
pub mod luhn;
mod masked;
mod opaque;
mod pan;
mod token;

pub use cvv::Cvv;
pub use iin::Brand;
pub use masked::MaskedPan;
pub use opaque::{OPAQUE_RANDOM, is_token_byte};
pub use pan::{PAN_DIGITS_MAX, PAN_DIGITS_MIN, Pan};
pub use token::{TOKEN_BYTES_MAX, Token, TokenError, TokenFormat};
