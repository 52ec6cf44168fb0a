//! Finds card numbers in bytes. Pure: no sockets, files, clocks or keys.
//!
//! A [`Stream`] takes a body as it arrives, in any pieces, and gives it back in order as
//! [`Decided`] runs: bytes whose every card number is known, with the [`Find`]s in them. Runs
//! without a find are the very buffers that were put in. The answer is the same for every way of
//! cutting the input; what is held back and what is remembered is bounded by constants stated here.

mod base64;
mod boundary;
mod carrier;
mod classes;
mod cluster;
mod edit;
mod encoded;
mod field;
mod fields;
mod filter;
mod find;
mod glyph;
mod hexed;
mod judge;
mod lists;
mod literal;
mod markup;
mod names;
mod outline;
mod pair;
mod parameters;
mod parts;
mod rows;
mod scientific;
mod search;
mod shape;
mod sieve;
mod simd;
mod stream;
mod stretch;
mod table;
mod tlv;
mod token;
mod track;
mod view;
mod words;

pub use carrier::Carrier;
pub use fields::{FieldRules, Rules};
pub use find::{Find, FindKind};
pub use outline::Outline;
pub use parameters::parameters;
pub use stream::{Decided, Stream, find_all};

#[cfg(test)]
mod tests;
