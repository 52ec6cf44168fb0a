//! Who may ask for what: the rules of every route that a request's path may lead to.
//!
//! A shop may take `//admin`, `/Admin` or `/index.php/admin` for `/admin`, so one spelling that leads
//! past a route must not lead past its rules.

use http::request;

use super::Proxy;
use super::exchange::Exchange;
use super::generation::Place;
use super::headers::METHOD_OVERRIDES;
use super::reject::Rejection;
use super::spelling::Paths;
use crate::policy::{Breach, LimitMode, Route, Site};

impl Proxy {
    /// Refuses what breaches the rules of a route, by the head of a request alone.
    ///
    /// # Errors
    /// When it does.
    pub(super) fn check_access(
        &self,
        place: &Place<'_>,
        exchange: &Exchange,
        head: &request::Parts,
    ) -> Result<(), Rejection> {
        if place.site.routes.iter().all(|route| route.access.is_open()) {
            return Ok(());
        }
        let methods = methods(head);
        for route in routes(place.site, &Paths::of(head.uri.path())) {
            let rules = &route.access;
            let Some(breach) = rules.breach(exchange.client.0, &methods, &head.headers) else {
                continue;
            };
            let observed = rules.mode == LimitMode::Observe;
            let names = (&*place.site.name.0, &*route.name);
            let id = exchange.id.as_str();
            self.services.metrics.access_breached(names, word(breach), observed, id);
            if !observed {
                return Err(match breach {
                    Breach::Header => Rejection::HeaderDenied,
                    Breach::Method => Rejection::MethodDenied { allowed: rules.allowed_methods() },
                    Breach::Network => Rejection::NetworkDenied,
                });
            }
        }
        Ok(())
    }
}

/// All that a shop may take for the method: the request line's, and what frameworks put in its place,
/// in any spelling that CGI makes one of.
pub(super) fn methods(head: &request::Parts) -> Vec<&[u8]> {
    let overrides = head.headers.iter().filter(|(name, _)| {
        let name = name.as_str();
        name.contains("method") && METHOD_OVERRIDES.contains(&name.replace('_', "-").as_str())
    });
    let line = head.method.as_str().as_bytes();
    [line].into_iter().chain(overrides.map(|(_, value)| value.as_bytes())).collect()
}

/// The routes that a path leads to, in any of its spellings.
fn routes<'s>(site: &'s Site, paths: &Paths<'_>) -> Vec<&'s Route> {
    let mut found: Vec<&Route> = Vec::new();
    for path in paths.iter() {
        let strictly = site.routes.iter().find(|route| route.path.matches(path));
        let loosely = site.routes.iter().find(|route| route.path.matches_loosely(path));
        for route in [strictly, loosely].into_iter().flatten() {
            if !found.iter().any(|known| std::ptr::eq(*known, route)) {
                found.push(route);
            }
        }
    }
    found
}

fn word(breach: Breach) -> &'static str {
    match breach {
        Breach::Header => "header",
        Breach::Method => "method",
        Breach::Network => "network",
    }
}
