//! A payment gateway: where tokens become card numbers again.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Destination, Limits, Upstream};
use crate::card::TokenFormat;
use crate::scan::Rules;

/// One payment provider, and how the shop's calls to it come to us.
#[derive(Debug)]
pub struct Gateway {
    /// For metrics, logs and the audit file.
    pub name: Arc<str>,
    /// Where the shop calls us, unless it comes through the forward proxy only.
    pub listen: Option<SocketAddr>,
    /// What the shop believes to call when it comes through the forward proxy.
    pub hosts: Vec<Destination>,
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
