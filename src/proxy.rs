//! The request path.

pub mod login;
