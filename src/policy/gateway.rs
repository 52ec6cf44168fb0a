//! A payment gateway: where tokens become card numbers again.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Limits, Upstream};
use crate::card::TokenFormat;
use crate::scan::Rules;

/// One payment provider, and the address the shop calls instead of it.
#[derive(Debug)]
pub struct Gateway {
    /// For metrics, logs and the audit file.
    pub name: Arc<str>,
    /// Where the shop calls us.
    pub listen: SocketAddr,
    /// The provider.
    pub upstream: Upstream,
    /// What to look for in the shop's requests.
    pub request_rules: Arc<Rules>,
    /// What to look for in the provider's answers.
    pub response_rules: Arc<Rules>,
    /// The shape of the tokens in the provider's answers.
    pub format: TokenFormat,
    /// Sizes.
    pub limits: Limits,
}
