//! Answers that need no shop: what a certificate authority is to read, and the way to `https`.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Request, Response, StatusCode};

use super::body::Body;
use super::exchange::{Asked, Exchange};
use super::reject::Rejection;
use super::{Peer, Proxy, Role};

impl Proxy {
    /// What a certificate authority is to read (RFC 8555 §8.3). Before every rule: it comes from
    /// anywhere, and neither a redirect nor a list of networks may keep it out. What we have not
    /// promised to anyone is for the shop to answer.
    pub(super) fn proof_of_name<B>(&self, peer: &Peer, request: &Request<B>) -> Option<String> {
        let ours = matches!(peer.role, Role::RedirectToHttps(_) | Role::Site);
        let reads = ours && matches!(*request.method(), Method::GET | Method::HEAD);
        reads.then(|| self.services.answers.to(request.uri().path())).flatten()
    }
}

/// What an authority for certificates wants to read.
pub(super) fn proof(text: String) -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::from(text)));
    let kind = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The same at `https`. 308 keeps the method and the body (RFC 9110 §15.4.9).
///
/// # Errors
/// When there is no host, or no path, to lead to: to a browser `https:///a.example` is another host.
pub(super) fn redirect(exchange: &Exchange, port: u16) -> Result<Response<Body>, Rejection> {
    let Asked { host, target, .. } = &exchange.asked;
    if host.is_empty() {
        return Err(Rejection::HostMissing);
    }
    if !target.starts_with('/') {
        return Err(Rejection::TargetRefused);
    }
    let port = if port == 443 { String::new() } else { format!(":{port}") };
    let location = HeaderValue::try_from(format!("https://{host}{port}{target}"));
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(LOCATION, location.map_err(|_| Rejection::HostConflict)?);
    Ok(response)
}
