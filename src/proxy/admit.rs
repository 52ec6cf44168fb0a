//! Framing, method, target and names: what may come in at all.

use std::net::IpAddr;

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Method, Request};
use http_body::Body;

use super::digits::may_be_card;
use super::reject::Rejection;
use crate::policy::{Destination, Limits};

/// How the body is framed. Only `chunked`, once, is undone here (RFC 9112 §6.1): of `gzip, chunked` the
/// shop would receive what nobody has looked into and nothing labels, and of `chunked, chunked` or
/// `identity, chunked` two servers may not read the same.
///
/// # Errors
/// When the fields name anything else.
pub(super) fn framing(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).into_iter();
    let chunked = codings.next().is_none_or(|coding| {
        coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") && codings.next().is_none()
    });
    if chunked { Ok(()) } else { Err(Rejection::TransferCoding) }
}

/// Whether a request inside an intercepted connection is for whom that was opened: the name of the
/// handshake and the host of the request must be the target of CONNECT (RFC 9110 §7.4), or a
/// connection to one gateway would lead to another.
///
/// # Errors
/// When one of them is for somebody else.
pub(super) fn called<B>(
    server_name: Option<&str>,
    request: &Request<B>,
    destination: &Destination,
) -> Result<(), Rejection> {
    let field = || request.headers().get(HOST)?.to_str().ok()?.parse::<Authority>().ok();
    let host = request.uri().authority().cloned().or_else(field);
    let named = host.is_some_and(|host| destination.is_named_by(&host));
    // Not every client sends a name; the certificate is for this one all the same.
    let greeted = server_name.is_none_or(|name| name.eq_ignore_ascii_case(&destination.host));
    if named && greeted { Ok(()) } else { Err(Rejection::Misdirected) }
}

/// Whether a request may come in at all, by its head and the route's limits.
///
/// # Errors
/// When its method, target, names or length are none that a shop may see.
pub(super) fn check<B: Body>(
    request: &Request<B>,
    host: &str,
    limits: &Limits,
) -> Result<(), Rejection> {
    method(request.method())?;
    target(request)?;
    names(request, host)?;
    declared_length(request.body().size_hint().exact(), limits.request_body_bytes_max)
}

/// CONNECT would make an open proxy of us, TRACE would show a client's credentials to its scripts.
///
/// # Errors
/// For those two.
pub(super) fn method(method: &Method) -> Result<(), Rejection> {
    if matches!(*method, Method::CONNECT | Method::TRACE) {
        return Err(Rejection::Method);
    }
    Ok(())
}

/// A target is a path of a web server, or the whole server for OPTIONS (RFC 9112 §3.2).
///
/// # Errors
/// When it is anything else.
pub(super) fn target<B>(request: &Request<B>) -> Result<(), Rejection> {
    let web = |scheme: &Scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS;
    let path = request.uri().path();
    let asterisk = path == "*" && *request.method() == Method::OPTIONS;
    if request.uri().scheme().is_none_or(web) && (path.starts_with('/') || asterisk) {
        return Ok(());
    }
    Err(Rejection::TargetRefused)
}

/// Names that are passed on as they are must not be a way for a card number: methods, hosts and names
/// of fields are never edited.
///
/// # Errors
/// When one of them may hold a card number.
pub(super) fn names<B>(request: &Request<B>, host: &str) -> Result<(), Rejection> {
    let field = request.headers().keys().any(|name| may_be_card(name.as_str().as_bytes()));
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
    let host = !address && may_be_card(host.as_bytes());
    if field || host || may_be_card(request.method().as_str().as_bytes()) {
        return Err(Rejection::NameRefused);
    }
    Ok(())
}

/// The declared length against the route's limit, before a byte of the body is read.
///
/// # Errors
/// When it is larger.
pub(super) fn declared_length(length: Option<u64>, limit_bytes: u64) -> Result<(), Rejection> {
    if length.is_some_and(|length| length > limit_bytes) {
        return Err(Rejection::BodyTooLarge { limit_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::fixture::request;
    use super::*;
    use crate::proxy::host;

    #[test]
    fn a_card_number_as_a_name_is_refused() {
        let refused = |request: &Request<()>| names(request, &host::of(request).unwrap()).is_err();
        assert!(refused(&request("/", &["4111111111111111.example"])));
        let card = "x-4111-1111-1111-1111";
        assert!(refused(&request(&format!("http://{card}/"), &[card])));
        assert!(!refused(&request("/", &["192.168.100.100:8443"])));
        let mut named = request("/", &["shop"]);
        named.headers_mut().insert("x-4111111111111111", http::HeaderValue::from_static("1"));
        assert!(refused(&named));
    }

    #[test]
    fn only_chunked_frames_a_body_and_only_once() {
        let admitted = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(TRANSFER_ENCODING, http::HeaderValue::from_static(value));
            }
            framing(&headers).is_ok()
        };
        assert!(admitted(&[]) && admitted(&["chunked"]) && admitted(&["Chunked"]));
        for refused in ["gzip, chunked", "identity, chunked", "chunked, chunked", ",chunked", ""] {
            assert!(!admitted(&[refused]), "{refused}");
        }
        assert!(!admitted(&["chunked", "chunked"]) && !admitted(&["x", "chunked"]));
    }
}
