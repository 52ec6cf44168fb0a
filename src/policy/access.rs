//! Who may ask for what on a route, and requests that a known hole of the shop is tried with.
//!
//! Both are checked before the shop sees anything. A rule is a list of conditions and nothing more:
//! which spellings of a request it must hold for is decided where requests are.

use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use regex::bytes::Regex;

use super::{LimitMode, Listed, NetworkLists, PathPattern};

/// Who may ask for what on a route; by default everybody for everything.
#[derive(Debug)]
pub struct AccessRules {
    /// Whether a breach is refused.
    pub mode: LimitMode,
    /// Networks that are allowed or denied.
    pub networks: NetworkLists,
    /// What holds for a client that they say nothing of.
    pub unlisted: Listed,
    /// The methods that are allowed; all where empty. `HEAD` is, where `GET` is.
    pub methods: Vec<Method>,
    /// Fields that must be there; every value of theirs must be as it is said.
    pub required: Vec<HeaderPattern>,
    /// Fields that must not be there, or must not have such a value.
    pub forbidden: Vec<HeaderPattern>,
}

/// A field, and what it says.
#[derive(Clone, Debug)]
pub struct HeaderPattern {
    /// Its name; any field where absent.
    pub name: Option<HeaderName>,
    /// What its value matches; anything where absent.
    pub value: Option<Regex>,
}

/// A virtual patch: requests that are refused because the shop has a hole there. What is said must
/// all hold.
#[derive(Debug)]
pub struct BlockRule {
    /// For metrics and logs.
    pub name: Arc<str>,
    /// Whether such requests are refused, or counted only.
    pub mode: LimitMode,
    /// What the client is answered.
    pub status: StatusCode,
    /// The methods meant; all where empty.
    pub methods: Vec<Method>,
    /// The paths meant.
    pub path: Option<PathPattern>,
    /// What the query matches.
    pub query: Option<Regex>,
    /// What fields there are.
    pub headers: Vec<HeaderPattern>,
    /// What the body matches.
    pub body: Option<Regex>,
}

/// What a request breaches of a route's rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Breach {
    /// A field is there, or is not, or says what it must not.
    Header,
    /// The method.
    Method,
    /// The network it comes from.
    Network,
}

impl AccessRules {
    /// Whether there is nothing to breach.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.unlisted == Listed::Allowed
            && self.networks.count() == 0
            && self.methods.is_empty()
            && self.required.is_empty()
            && self.forbidden.is_empty()
    }

    /// What a request breaches: `methods` are all that a shop may take its method for.
    #[must_use]
    pub fn breach(&self, client: IpAddr, methods: &[&[u8]], headers: &HeaderMap) -> Option<Breach> {
        if self.networks.find(client).unwrap_or(self.unlisted) == Listed::Denied {
            return Some(Breach::Network);
        }
        if !methods.iter().all(|method| lists_method(&self.methods, method)) {
            return Some(Breach::Method);
        }
        let lacks = self.required.iter().any(|field| !field.is_all(headers));
        let has = self.forbidden.iter().any(|field| field.is_some(headers));
        (lacks || has).then_some(Breach::Header)
    }

    /// The methods, for `Allow` (RFC 9110 §10.2.1).
    #[must_use]
    pub fn allowed_methods(&self) -> String {
        let mut names: Vec<&str> = self.methods.iter().map(Method::as_str).collect();
        if names.contains(&"GET") && !names.contains(&"HEAD") {
            names.push("HEAD");
        }
        names.join(", ")
    }
}

impl Default for AccessRules {
    fn default() -> Self {
        Self {
            mode: LimitMode::Enforce,
            networks: NetworkLists::default(),
            unlisted: Listed::Allowed,
            methods: Vec::new(),
            required: Vec::new(),
            forbidden: Vec::new(),
        }
    }
}

impl HeaderPattern {
    /// The values of this field, under every name that a shop may read as it.
    pub fn values<'h>(&'h self, headers: &'h HeaderMap) -> impl Iterator<Item = &'h HeaderValue> {
        let meant = |given: &HeaderName| self.name.as_ref().is_none_or(|name| same(given, name));
        headers.iter().filter(move |(given, _)| meant(given)).map(|(_, value)| value)
    }

    /// Whether a value is what is meant.
    #[must_use]
    pub fn fits(&self, value: &[u8]) -> bool {
        self.value.as_ref().is_none_or(|pattern| pattern.is_match(value))
    }

    fn is_some(&self, headers: &HeaderMap) -> bool {
        self.values(headers).any(|value| self.fits(value.as_bytes()))
    }

    fn is_all(&self, headers: &HeaderMap) -> bool {
        let mut values = self.values(headers).peekable();
        values.peek().is_some() && values.all(|value| self.fits(value.as_bytes()))
    }
}

impl BlockRule {
    /// Whether the method is one that is meant.
    #[must_use]
    pub fn means_method(&self, methods: &[&[u8]]) -> bool {
        methods.iter().any(|method| lists_method(&self.methods, method))
    }
}

/// RFC 9110 §9.3.2: whoever may GET may ask for the head of it.
fn lists_method(list: &[Method], method: &[u8]) -> bool {
    let lists = |name: &[u8]| list.iter().any(|listed| listed.as_str().as_bytes() == name);
    list.is_empty() || lists(method) || (method == b"HEAD" && lists(b"GET"))
}

/// CGI and its heirs read `X_Office` as `X-Office` (RFC 3875 §4.1.18).
fn same(given: &HeaderName, name: &HeaderName) -> bool {
    let letter = |byte: u8| if byte == b'_' { b'-' } else { byte };
    let letters = |name: &HeaderName| name.as_str().bytes().map(letter).collect::<Vec<_>>();
    given == name
        || (given.as_str().len() == name.as_str().len() && letters(given) == letters(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7));

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    fn pattern(name: &'static str, value: &str) -> HeaderPattern {
        let name = Some(HeaderName::from_static(name));
        HeaderPattern { name, value: Some(Regex::new(value).unwrap()) }
    }

    #[test]
    fn a_route_without_rules_is_open_to_everybody() {
        let rules = AccessRules::default();
        assert!(rules.is_open());
        assert_eq!(rules.breach(HERE, &[b"BREW"], &HeaderMap::new()), None);
    }

    #[test]
    fn with_a_list_of_the_allowed_everybody_else_is_denied() {
        let lists = [("192.0.2.0/24", Listed::Allowed), ("192.0.2.7/32", Listed::Denied)];
        let lists = lists.map(|(network, listed)| (network.parse().unwrap(), listed));
        let networks = NetworkLists::new(lists);
        let rules = AccessRules { networks, unlisted: Listed::Denied, ..AccessRules::default() };
        let breach =
            |client: &str| rules.breach(client.parse().unwrap(), &[b"GET"], &HeaderMap::new());
        assert_eq!(breach("192.0.2.8"), None);
        assert_eq!(breach("::ffff:192.0.2.8"), None);
        assert_eq!(breach("192.0.2.7"), Some(Breach::Network));
        assert_eq!(breach("198.51.100.1"), Some(Breach::Network));
        assert_eq!(breach("2001:db8::1"), Some(Breach::Network));
    }

    #[test]
    fn every_method_that_a_shop_may_take_must_be_allowed_and_get_allows_head() {
        let methods = vec![Method::GET, Method::POST];
        let rules = AccessRules { methods, ..AccessRules::default() };
        let breach = |methods: &[&[u8]]| rules.breach(HERE, methods, &HeaderMap::new());
        assert_eq!(breach(&[b"GET"]).or(breach(&[b"HEAD"])).or(breach(&[b"POST"])), None);
        assert_eq!(breach(&[b"DELETE"]), Some(Breach::Method));
        assert_eq!(breach(&[b"POST", b"DELETE"]), Some(Breach::Method));
        assert_eq!(rules.allowed_methods(), "GET, POST, HEAD");
    }

    #[test]
    fn a_field_is_meant_in_every_spelling_and_with_all_its_values() {
        let rules = AccessRules {
            required: vec![pattern("x-office", "^yes$")],
            forbidden: vec![pattern("x-debug", "on")],
            ..AccessRules::default()
        };
        let breach = |pairs| rules.breach(HERE, &[b"GET"], &headers(pairs));
        assert_eq!(breach(&[("x-office", "yes"), ("x-debug", "off")]), None);
        assert_eq!(breach(&[]), Some(Breach::Header));
        assert_eq!(breach(&[("x-office", "yes"), ("x_office", "no")]), Some(Breach::Header));
        assert_eq!(breach(&[("x-office", "yes"), ("x_debug", "on")]), Some(Breach::Header));
    }
}
