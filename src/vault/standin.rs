//! One-use stand-ins for card verification codes.
//!
//! A code is sensitive authentication data (PCI DSS 3.3.1): it is kept for a stated time, never on a
//! disk in clear, is given out once, and is wiped. A stand-in has three or four digits like the code,
//! far too few to be unique, so it counts together with a token of the same request. Those that came
//! without one share a single space of 1,000 (or 10,000) values. Where room is short the oldest code
//! gives way, one without a token before one with: a flood of codes must not stop the next payment.
//!
//! Where instances share a store and it does not answer, no code is kept: the stand-in would reach
//! whichever instance the shop's payment happens to call, and fail there after the customer has left.
//! A refused checkout that says when to try again is the smaller harm.

#[cfg(test)]
mod contract;
mod memory;
mod redis;

use std::pin::Pin;

use thiserror::Error;

use crate::card::{Cvv, Token};
use crate::link::LinkOutage;

pub use memory::{CODES_MAX, HeldCode, MemoryStandIns};
pub use redis::CODE_KEYS;
pub(super) use redis::RedisStandIns;

/// How many tokens a code is tied to at most: nobody pays with more cards at once.
const TOKENS_MAX: usize = 16;

/// What a call of a store is awaited as: memory knows at once, a server is asked.
pub type StandInFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StandInError>> + Send + 'a>>;

/// The codes that wait for their one use.
pub trait StandInStore: Send + Sync {
    /// Keeps a code and gives its stand-in: as many digits, never the code itself, never one that
    /// is waiting under the same token. `bound_to` are the tokens of the request, none if it has none.
    /// Where there is no room, the oldest codes are wiped.
    fn keep<'a>(&'a self, code: Cvv, bound_to: &'a [Token]) -> StandInFuture<'a, Cvv>;

    /// Gives the code of a stand-in that came with one of `tokens`, or that was kept without any.
    /// Gives it once, whatever else fails.
    fn take<'a>(
        &'a self,
        stand_in: &'a Cvv,
        tokens: &'a [Token],
    ) -> StandInFuture<'a, Option<Box<Cvv>>>;

    /// How many codes are known to have gone unused since the last call, for the metrics page.
    fn take_expired(&self) -> u64;

    /// Why no code can be kept or taken at the moment, if so; costs nothing.
    fn outage(&self) -> Option<LinkOutage>;
}

/// Why a code was not kept, or not given.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum StandInError {
    /// No digits may stand for this code.
    #[error("no digits may stand for this verification code")]
    NoStandIn,
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Random,
    /// The server that instances share does not answer.
    #[error("the store of verification codes is unavailable: {cause}")]
    Unavailable {
        /// Why.
        cause: LinkOutage,
    },
}

/// The size of the space that stand-ins of so many digits are drawn from.
fn space(width: usize) -> u32 {
    if width == 4 { 10_000 } else { 1000 }
}

/// A stand-in of these digits.
fn stand_in(digits: u32, width: usize) -> Option<Cvv> {
    Cvv::from_digits(format!("{digits:0width$}").as_bytes())
}
