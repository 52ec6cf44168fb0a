//! Where requests go: addresses of servers, and who vouches for them.

use std::fs;
use std::net::IpAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use http::Uri;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

use super::compile::Compiler;
use super::schema::ServerSchema;
use super::source::At;
use crate::policy::{CertificateFiles, HttpVersions, Scheme, Trust, Upstream, UpstreamPlace};

/// The largest file of authorities: the system's own has some 250 KB.
const CA_BYTES_MAX: u64 = 8 << 20;
/// What fits into an address of the kernel's (unix(7)), with the zero at its end.
const SOCKET_BYTES_MAX: usize = 107;

impl Compiler<'_> {
    /// Reads `http://host:port`, `https://host` and their like. The text is never shown: it may hold
    /// a password.
    pub(super) fn upstream(
        &mut self,
        key: &str,
        (url, span): (&str, Range<usize>),
        trust: &Trust,
    ) -> Option<Upstream> {
        match parse(url) {
            Ok((scheme, http, place)) => {
                let (trust, pins) = (trust.clone(), Arc::default());
                let (server_name, client) = (None, None);
                Some(Upstream { scheme, http, place, server_name, trust, pins, client })
            }
            Err((message, remedy)) => {
                self.refuse(&span, key, message, remedy);
                None
            }
        }
    }

    /// A server of which there is more to say.
    pub(super) fn server(&mut self, written: &ServerSchema, trust: &Trust) -> Option<Upstream> {
        let key = |name: &str| format!("site.upstreams.{name}");
        let own = match &written.ca {
            Some(ca) => self.trust(&key("ca"), Some(ca)),
            None => Some(trust.clone()),
        };
        let certificate = written.client_certificate.as_ref();
        let url = (written.url.get().as_str(), written.url.span());
        let upstream = self.upstream(&key("url"), url, &own.unwrap_or_default())?;
        if upstream.scheme == Scheme::Http {
            let spans = [
                ("ca", written.ca.as_ref().map(At::span)),
                ("server_name", written.server_name.as_ref().map(At::span)),
                ("client_certificate", certificate.map(At::span)),
            ];
            for (name, span) in spans {
                let Some(span) = span else { continue };
                let message = "has no use: the server is not spoken to over TLS";
                let remedy = "remove it, or write https:// or h2:// for the server";
                self.refuse(&span, &key(name), message, remedy);
            }
        }
        let client = match certificate {
            Some(at) => {
                let chain = self.readable(&key("client_certificate.chain"), &at.get().chain);
                let key = self.readable(&key("client_certificate.key"), &at.get().key);
                Some(CertificateFiles::new(chain?, key?))
            }
            None => None,
        };
        let server_name = match &written.server_name {
            Some(at) => Some(self.server_name(&key("server_name"), at)?),
            None => None,
        };
        Some(Upstream { server_name, client, ..upstream })
    }

    fn server_name(&mut self, key: &str, at: &At<String>) -> Option<String> {
        if ServerName::try_from(at.get().as_str()).is_err() {
            let message = format!("{} can be in no certificate", self.source.quote(&at.span()));
            let remedy = "write a host name, as in \"shop.inside\"";
            self.refuse(&at.span(), key, message, remedy);
            return None;
        }
        Some(at.get().clone())
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
        let inside = match &upstream.place {
            UpstreamPlace::Network { host, .. } => is_loopback(host),
            UpstreamPlace::Socket(_) => true,
        };
        if upstream.scheme == Scheme::Http && !inside {
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

type Parsed = (Scheme, HttpVersions, UpstreamPlace);

fn parse(text: &str) -> Result<Parsed, (&'static str, &'static str)> {
    let form = "write it as in \"http://127.0.0.1:8080\" or \"https://shop.example\"";
    if let Some(path) = text.strip_prefix("unix:") {
        return socket(path);
    }
    let Some((scheme, _)) = text.split_once("://") else {
        return Err(("has no http:// or https://", form));
    };
    let (scheme, http, port) = match scheme.to_ascii_lowercase().as_str() {
        "http" => (Scheme::Http, HttpVersions::One, 80),
        "https" => (Scheme::Https, HttpVersions::One, 443),
        "h2c" => (Scheme::Http, HttpVersions::Two, 80),
        "h2" => (Scheme::Https, HttpVersions::Agreed, 443),
        _ => return Err(("is none of http://, https://, h2c:// and h2://", form)),
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
    Ok((scheme, http, UpstreamPlace::Network { host, port }))
}

/// A socket of this machine; whoever may write there is a matter of its file's mode.
fn socket(path: &str) -> Result<Parsed, (&'static str, &'static str)> {
    if !path.starts_with('/') || path.len() > SOCKET_BYTES_MAX {
        let message = "is not the whole path of a socket";
        return Err((message, "write it from the root, as in \"unix:/run/shop.sock\""));
    }
    Ok((Scheme::Http, HttpVersions::One, UpstreamPlace::Socket(Path::new(path).into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_scheme_a_host_and_a_port() {
        let at = |scheme, http, host: &str, port| {
            Ok((scheme, http, UpstreamPlace::Network { host: host.to_owned(), port }))
        };
        let http = |host: &str, port| at(Scheme::Http, HttpVersions::One, host, port);
        assert_eq!(parse("http://Shop"), http("shop", 80));
        assert_eq!(parse("http://shop:8080/"), http("shop", 8080));
        assert_eq!(parse("http://[::1]:81"), http("::1", 81));
        let https = at(Scheme::Https, HttpVersions::One, "a.example", 443);
        assert_eq!(parse("HTTPS://a.example"), https);
        let clear = at(Scheme::Http, HttpVersions::Two, "a", 50051);
        assert_eq!(parse("h2c://a:50051"), clear);
        assert_eq!(parse("h2://a"), at(Scheme::Https, HttpVersions::Agreed, "a", 443));
        let socket = UpstreamPlace::Socket(Path::new("/run/shop.sock").into());
        let socket = Ok((Scheme::Http, HttpVersions::One, socket));
        assert_eq!(parse("unix:/run/shop.sock"), socket);
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
            "unix:",
            "unix:run/shop.sock",
            "h3://shop",
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
