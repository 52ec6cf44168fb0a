//! tillgate: a guard in front of an online shop that nobody may change.
//!
//! It terminates TLS, limits password guessing, replaces card numbers by tokens on the way to the
//! shop, masks them in what the shop answers, and puts the real numbers back only on the way to the
//! payment gateway.
//!
//! Read the modules in the order they stand here: each uses only those above it. A request's life
//! is one function, `proxy::Proxy::handle`.

pub mod card;

pub mod coding;
pub mod scan;

pub mod policy;

pub mod config;
pub(crate) mod disk;
pub mod link;
pub mod telemetry;

pub mod counters;
pub mod keys;
pub mod tls;

pub mod acme;
pub mod vault;

pub mod proxy;

pub mod reload;
pub mod server;

pub mod app;
pub mod inspect;
pub mod learn;

pub mod demo;

pub mod cli;
