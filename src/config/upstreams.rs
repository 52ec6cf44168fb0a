//! Where requests go: addresses of servers, and who vouches for them.

use std::fs;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;

use http::Uri;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::compile::Compiler;
use super::source::At;
use crate::policy::{Scheme, Trust, Upstream};

/// The largest file of authorities: the system's own has some 250 KB.
const CA_BYTES_MAX: u64 = 8 << 20;

impl Compiler<'_> {
    /// Reads `http://host:port` or `https://host`. The text is never shown: it may hold a password.
    pub(super) fn upstream(
        &mut self,
        key: &str,
        at: &At<String>,
        trust: &Trust,
    ) -> Option<Upstream> {
        match parse(at.get()) {
            Ok((scheme, host, port)) => {
                let (trust, pins) = (trust.clone(), Arc::default());
                Some(Upstream { scheme, host, port, trust, pins, client: None })
            }
            Err((message, remedy)) => {
                self.refuse(&at.span(), key, message, remedy);
                None
            }
        }
    }

    /// The authorities of a `ca` file, or those of the system.
    pub(super) fn trust(&mut self, key: &str, at: Option<&At<String>>) -> Option<Trust> {
        let Some(at) = at else { return Some(Trust::System) };
        let path = self.readable(key, at)?;
        let remedy = "give a PEM file with the certificates of the authorities";
        let small = fs::metadata(&path).is_ok_and(|file| file.len() <= CA_BYTES_MAX);
        let Some(pem) = fs::read(&path).ok().filter(|_| small) else {
            self.refuse(&at.span(), key, "is too large to be read", remedy);
            return None;
        };
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => {
                Some(Trust::Anchors(certificates.into()))
            }
            Ok(_) => {
                self.refuse(&at.span(), key, "holds no certificate", remedy);
                None
            }
            Err(_) => {
                self.refuse(&at.span(), key, "is not sound PEM", remedy);
                None
            }
        }
    }

    /// A `ca` that no upstream makes use of is a slip.
    pub(super) fn warn_of_idle_ca(&mut self, key: &str, ca: Option<&At<String>>, https: bool) {
        if let Some(ca) = ca.filter(|_| !https) {
            let message = "has no use: no upstream is spoken to in https";
            self.warn(&ca.span(), key, message, "remove it, or write https:// for the upstream");
        }
    }

    /// Card numbers leave through a gateway: in the clear they may go no further than this machine.
    pub(super) fn demand_verified(&mut self, key: &str, span: &Range<usize>, upstream: &Upstream) {
        if upstream.scheme == Scheme::Http && !is_loopback(&upstream.host) {
            let message = "would send card numbers over the network in the clear";
            self.refuse(span, key, message, "write https://");
        }
    }
}

/// Whether a host can only be this machine.
fn is_loopback(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    address.map_or(host.eq_ignore_ascii_case("localhost"), |address| address.is_loopback())
}

fn parse(text: &str) -> Result<(Scheme, String, u16), (&'static str, &'static str)> {
    let form = "write it as in \"http://127.0.0.1:8080\" or \"https://shop.example\"";
    let (scheme, port) = match text.split_once("://") {
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, 80),
        Some((scheme, _)) if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, 443),
        Some(_) => return Err(("is neither http:// nor https://", form)),
        None => return Err(("has no http:// or https://", form)),
    };
    let uri: Uri = text.parse().map_err(|_| ("is not the address of a server", form))?;
    let authority = uri.authority().ok_or(("names no server", form))?;
    if authority.as_str().contains('@') {
        return Err(("holds a user name or password", "remove what stands before the `@`"));
    }
    if text.contains(['?', '#']) || !matches!(uri.path(), "" | "/") {
        let message = "has a path, query or fragment, and requests keep their own";
        return Err((message, "end it after the host and port"));
    }
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let after = authority.as_str().get(authority.host().len()..).unwrap_or_default();
    let port = match after.strip_prefix(':') {
        None => port,
        Some(port) => match port.parse() {
            Ok(0) | Err(_) => {
                return Err(("has no such port", "write a port from 1 to 65535"));
            }
            Ok(port) => port,
        },
    };
    if host.is_empty() {
        return Err(("names no server", form));
    }
    Ok((scheme, host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_scheme_a_host_and_a_port() {
        let http = |host: &str, port| Ok((Scheme::Http, host.to_owned(), port));
        assert_eq!(parse("http://Shop"), http("shop", 80));
        assert_eq!(parse("http://shop:8080/"), http("shop", 8080));
        assert_eq!(parse("http://[::1]:81"), http("::1", 81));
        assert_eq!(parse("HTTPS://a.example"), Ok((Scheme::Https, "a.example".to_owned(), 443)));
    }

    #[test]
    fn anything_else_in_an_upstream_is_refused() {
        let refused = [
            "",
            "shop",
            "shop:80",
            "ftp://shop",
            "http://",
            "http://:80",
            "http://shop:0",
            "http://shop:65536",
            "http://shop:",
            "http://shop/a",
            "http://shop?a",
            "http://shop#a",
            "http://user@shop",
            "http://user:word@shop:80",
            "http://sh op",
            "http://[::1",
        ];
        for text in refused {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        assert!(is_loopback("127.0.0.9") && is_loopback("::1") && is_loopback("localhost"));
        assert!(!is_loopback("10.0.0.1") && !is_loopback("localhost.example"));
    }
}
