//! Certificates asked of authorities (RFC 8555), and asked again before they end.
//!
//! Three rules. A certificate that holds is never given up for one that might: a new one is looked at
//! like any other before it takes the old one's place. No authority is asked in a loop: what was tried
//! is written down before it is tried, so that neither a restart nor a crash forgets the wait. And one
//! process at a time asks: the others of the same data folder stand by.
//!
//! What was issued is a file like every other chain and key; `tls` serves it, `reload` brings it in.

mod accounts;
mod answers;
mod books;
mod call;
mod desk;
mod failure;
mod hook;
mod leaf;
mod memory;
mod order;
mod prove;
mod renewer;
mod schedule;
mod store;

pub use answers::HttpAnswers;
pub use renewer::{Renewer, RenewerParts};
