//! Finds card numbers in bytes. Pure: no sockets, files, clocks or keys.
//!
//! A [`Stream`] takes a body as it arrives, in any pieces, and gives it back in order as
//! [`Decided`] runs: bytes whose every card number is known, with the [`Find`]s in them. Runs
//! without a find are the very buffers that were put in. The answer is the same for every way of
//! cutting the input; what is held back and what is remembered is bounded by constants stated here.

mod carrier;
mod edit;
mod fields;
mod find;
mod stream;

pub use carrier::Carrier;
pub use fields::{FieldRules, Rules};
pub use find::{Find, FindKind};
pub use stream::{Decided, Stream};
