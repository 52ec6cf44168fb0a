//! What may be asked for, told where it was not, and where OPTIONS was for us.

use http::header::ALLOW;
use http::{HeaderValue, Response, StatusCode};

use super::Rejection;
use crate::proxy::body::Body;

/// What a site may be asked with.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// The answer to OPTIONS that was to go no further than here (RFC 9110 §7.6.2 and §9.3.7).
pub(in crate::proxy) fn capabilities() -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
    response
}

impl Rejection {
    /// What a 405 must tell (RFC 9110 §15.5.6).
    pub(super) fn allowed(&self) -> Option<HeaderValue> {
        match self {
            Self::ConnectOnly => Some(HeaderValue::from_static("CONNECT")),
            Self::Method => Some(HeaderValue::from_static(METHODS)),
            Self::MethodDenied { allowed } => HeaderValue::from_str(allowed).ok(),
            _ => None,
        }
    }
}
