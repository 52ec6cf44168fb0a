//! A payment gateway: where tokens become card numbers again, for whom, and how much of it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, Method};

use super::{Destination, FieldPattern, Limits, Mac, PathPattern, Quota, Secret, Trust, Upstream};
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
    /// Who may call us at `listen`.
    pub access: Access,
    /// The provider.
    pub upstream: Upstream,
    /// What the provider knows the shop by, where the shop itself is not to hold it.
    pub credentials: Option<Credentials>,
    /// Where tokens become card numbers.
    pub reveal: RevealPolicy,
    /// How many card numbers may be put back in how long.
    pub reveal_limit: Option<Quota>,
    /// What to look for in the shop's requests.
    pub request_rules: Arc<Rules>,
    /// What to look for in the provider's answers.
    pub response_rules: Arc<Rules>,
    /// The shape of the tokens in the provider's answers.
    pub format: TokenFormat,
    /// Sizes.
    pub limits: Limits,
}

/// Who may call a gateway; with neither, whoever reaches its address.
#[derive(Default)]
pub struct Access {
    /// A secret that every request shows.
    pub bearer: Option<Secret>,
    /// The authorities of client certificates, one of which every connection shows.
    pub clients: Option<Trust>,
}

/// Something added to every request to a provider, in place of what the shop sent.
pub enum Credentials {
    /// A field of the head with a fixed value, a password or a key of the provider's.
    Header {
        /// Its name.
        name: HeaderName,
        /// Its value; proved to be one when the file was read.
        value: Secret,
    },
    /// A signature over the body as it leaves, with the real card numbers in it.
    Signature {
        /// How it is made and where it stands.
        mac: Mac,
        /// What it is made with.
        key: Secret,
    },
}

/// Where tokens become card numbers, and what happens to a token elsewhere.
#[derive(Clone, Debug)]
pub struct RevealPolicy {
    /// The methods of requests in which they do.
    pub methods: Vec<Method>,
    /// The paths, by any of these patterns.
    pub paths: Vec<PathPattern>,
    /// The fields; all of them where absent.
    pub fields: Option<Vec<FieldPattern>>,
    /// What happens to a token that stands elsewhere.
    pub otherwise: Otherwise,
}

/// What happens to a request with a token where none becomes a card number.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Otherwise {
    /// The token goes on as it is, which is worth nothing to whoever receives it.
    #[default]
    Keep,
    /// The request is refused (403).
    Reject,
}

impl Access {
    /// Whether nobody is asked who they are.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.bearer.is_none() && self.clients.is_none()
    }
}

impl RevealPolicy {
    /// Whether a request may hold tokens that become card numbers. Every method and path that it may be
    /// read as must do: no spelling may be a way round another.
    #[must_use]
    pub fn admits(&self, methods: &[Method], paths: &[&str]) -> bool {
        let leads = |path: &&str| self.paths.iter().any(|pattern| pattern.matches(path));
        methods.iter().all(|method| self.methods.contains(method)) && paths.iter().all(leads)
    }
}

impl Default for RevealPolicy {
    fn default() -> Self {
        Self {
            methods: vec![Method::POST, Method::PUT, Method::PATCH],
            paths: PathPattern::parse("*").into_iter().collect(),
            fields: None,
            otherwise: Otherwise::default(),
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reading_of_a_method_and_a_path_must_match() {
        let paths = vec![PathPattern::parse("/v1/cards*").unwrap()];
        let policy = RevealPolicy { paths, ..RevealPolicy::default() };
        let post = [Method::POST];
        assert!(policy.admits(&post, &["/v1/cards/1", "/v1/cards/1"]));
        assert!(!policy.admits(&post, &["/v1/cards/../notes", "/v1/notes"]));
        assert!(!policy.admits(&post, &["/v1/x/../cards", "/v1/cards"]));
        assert!(!policy.admits(&[Method::GET], &["/v1/cards"]));
        assert!(!policy.admits(&[Method::POST, Method::GET], &["/v1/cards"]));
    }
}
