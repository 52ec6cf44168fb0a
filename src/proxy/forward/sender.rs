//! A connection to a server, by the HTTP that it speaks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use http::header::{CONNECTION, HOST, HeaderValue, TE, UPGRADE};
use http::uri::{Authority, Parts, Scheme as UriScheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};

use crate::policy::Scheme;
use crate::proxy::body::Body;

/// Requests on one connection at once: what servers usually allow (RFC 9113 §6.5.2).
const STREAMS_MAX: usize = 100;

/// A connection to a server.
pub(in crate::proxy) enum Sender {
    /// HTTP/1.1.
    One(http1::SendRequest<Body>),
    /// HTTP/2, or a part of it.
    Two(Shared),
}

/// An HTTP/2 connection, which several requests use at once.
pub(in crate::proxy) struct Shared {
    sender: http2::SendRequest<Body>,
    scheme: Scheme,
    usage: Arc<Usage>,
    /// Whether this one stands for a request.
    counted: bool,
}

#[derive(Default)]
struct Usage {
    streams: AtomicUsize,
    /// Since somebody last looked.
    touched: AtomicBool,
}

impl Sender {
    /// A new HTTP/2 connection, for a first request.
    pub(super) fn two(sender: http2::SendRequest<Body>, scheme: Scheme) -> Self {
        let usage = Arc::new(Usage::default());
        usage.streams.store(1, Relaxed);
        usage.touched.store(true, Relaxed);
        Self::Two(Shared { sender, scheme, usage, counted: true })
    }

    /// A part of it for one more request, where it can be shared and has room.
    pub(in crate::proxy) fn share(&self) -> Option<Self> {
        let Self::Two(shared) = self else { return None };
        if shared.sender.is_closed() || shared.usage.streams.load(Relaxed) >= STREAMS_MAX {
            return None;
        }
        shared.usage.streams.fetch_add(1, Relaxed);
        shared.usage.touched.store(true, Relaxed);
        Some(Self::Two(shared.handle(true)))
    }

    /// To be kept for others, where it can be shared.
    pub(in crate::proxy) fn kept(&self) -> Option<Self> {
        match self {
            Self::One(_) => None,
            Self::Two(shared) => Some(Self::Two(shared.handle(false))),
        }
    }

    pub(in crate::proxy) fn is_shared(&self) -> bool {
        matches!(self, Self::Two(_))
    }

    /// Whether no request has used it since the last time this was asked.
    pub(in crate::proxy) fn is_forsaken(&self) -> bool {
        let Self::Two(shared) = self else { return false };
        let busy = shared.usage.streams.load(Relaxed) > 0;
        let touched = shared.usage.touched.swap(busy, Relaxed);
        shared.sender.is_closed() || !busy && !touched
    }

    pub(in crate::proxy) fn is_ready(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_ready(),
            Self::Two(shared) => shared.sender.is_ready(),
        }
    }

    pub(in crate::proxy) fn is_closed(&self) -> bool {
        match self {
            Self::One(sender) => sender.is_closed(),
            Self::Two(shared) => shared.sender.is_closed(),
        }
    }

    /// Sends a request; one of which no byte left is given back with the error.
    pub(in crate::proxy) async fn send(
        &mut self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, Box<TrySendError<Request<Body>>>> {
        match self {
            Self::One(sender) => {
                to_one(&mut request);
                sender.try_send_request(request).await.map_err(Box::new)
            }
            Self::Two(shared) => {
                to_two(&mut request, shared.scheme);
                shared.sender.try_send_request(request).await.map_err(Box::new)
            }
        }
    }
}

impl Shared {
    fn handle(&self, counted: bool) -> Self {
        let (sender, usage) = (self.sender.clone(), Arc::clone(&self.usage));
        Self { sender, scheme: self.scheme, usage, counted }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.counted {
            self.usage.streams.fetch_sub(1, Relaxed);
        }
    }
}

/// RFC 9112 §3.2.1: the path as the target, and the host in a field. A request that was made for
/// HTTP/2 is made over.
fn to_one(request: &mut Request<Body>) {
    if request.version() != Version::HTTP_2 {
        return;
    }
    *request.version_mut() = Version::HTTP_11;
    let uri = std::mem::take(request.uri_mut());
    let host = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok());
    *request.uri_mut() = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    let headers = request.headers_mut();
    if let Some(host) = host {
        headers.insert(HOST, host);
    }
    if headers.contains_key(TE) {
        // RFC 9110 §10.1.4: `TE` is for this hop, and must be named so.
        headers.insert(CONNECTION, HeaderValue::from_static("te"));
    }
}

/// RFC 9113 §8.2.2 and §8.3.1: no field of one connection but `TE: trailers`, and the host as
/// `:authority`.
fn to_two(request: &mut Request<Body>, scheme: Scheme) {
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.remove(CONNECTION);
    headers.remove(UPGRADE);
    let Some(host) = headers.remove(HOST) else { return };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        // Not one that a target may have; the server may know it all the same.
        headers.insert(HOST, host);
        return;
    };
    let mut parts: Parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(match scheme {
        Scheme::Http => UriScheme::HTTP,
        Scheme::Https => UriScheme::HTTPS,
    });
    parts.authority = Some(authority);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_made_over_for_the_other_version_and_back() {
        let mut request = Request::new(Body::Empty);
        *request.uri_mut() = "/a?b=1".parse().unwrap();
        for (name, value) in [(HOST, "shop.example:81"), (CONNECTION, "te"), (TE, "trailers")] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        let (before, fields) = (request.uri().clone(), request.headers().clone());
        to_two(&mut request, Scheme::Http);
        assert_eq!(request.uri(), "http://shop.example:81/a?b=1");
        assert_eq!(request.headers().len(), 1);
        to_one(&mut request);
        assert_eq!((request.uri(), request.headers()), (&before, &fields));
        assert_eq!(request.version(), Version::HTTP_11);
    }
}
