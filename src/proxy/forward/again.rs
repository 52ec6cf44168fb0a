//! Requests that may be sent again.
//!
//! RFC 9110 §9.2.2: a proxy repeats what is idempotent by its method, or of which it knows that it is:
//! the client says so with an `Idempotency-Key`. Nothing else is sent twice once a byte of it may have
//! left: it may be a payment.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::HeaderName;
use http::{HeaderMap, Method, Request, Uri};
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;

use crate::proxy::body::{Body, BodyError};
use crate::proxy::headers::METHOD_OVERRIDES;

/// draft-ietf-httpapi-idempotency-key-header: the server knows a repetition by it.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The largest body of which a copy is kept while it is sent.
const KEPT_BYTES_MAX: u64 = 64 << 10;

/// Which bodies may be kept for a second time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::proxy) enum Keep {
    /// Those that are empty: others hold card numbers.
    Empty,
    /// Small ones.
    Small,
}

/// What is needed to send a request once more.
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: SpareBody,
}

enum SpareBody {
    Empty,
    /// All of it, once it has been sent.
    Kept(Arc<Mutex<Kept>>),
}

/// The copy of a body.
#[derive(Default)]
struct Kept {
    bytes: BytesMut,
    whole: bool,
    /// There is more to it than its bytes, and that is not kept.
    trailed: bool,
}

/// A body of which a copy is kept while it is sent.
pub struct Copied {
    body: Body,
    kept: Arc<Mutex<Kept>>,
}

impl Spare {
    /// What a request can be repeated with, if it may be.
    pub(super) fn of(request: &mut Request<Body>, keep: Keep) -> Option<Self> {
        let known = || request.headers().contains_key(IDEMPOTENCY_KEY);
        if !is_idempotent(request) && !known() {
            return None;
        }
        let body = match request.body() {
            Body::Empty => SpareBody::Empty,
            body => {
                let small = body.size_hint().exact().is_some_and(|size| size <= KEPT_BYTES_MAX);
                if keep == Keep::Empty || !small {
                    return None;
                }
                let kept = Arc::<Mutex<Kept>>::default();
                let body = std::mem::take(request.body_mut());
                let copied = Copied { body, kept: Arc::clone(&kept) };
                *request.body_mut() = Body::Copied(Box::new(copied));
                SpareBody::Kept(kept)
            }
        };
        let (method, uri) = (request.method().clone(), request.uri().clone());
        Some(Self { method, uri, headers: request.headers().clone(), body })
    }

    /// The request once more; nothing where its body had not been sent to its end, and is lost.
    pub(super) fn request(&self) -> Option<Request<Body>> {
        let body = match &self.body {
            SpareBody::Empty => Body::Empty,
            SpareBody::Kept(kept) => {
                let kept = kept.lock();
                kept.whole.then(|| Body::Whole(kept.bytes.clone().freeze()))?
            }
        };
        let mut request = Request::new(body);
        request.method_mut().clone_from(&self.method);
        request.uri_mut().clone_from(&self.uri);
        request.headers_mut().clone_from(&self.headers);
        Some(request)
    }
}

impl Copied {
    pub(in crate::proxy) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        match &frame {
            Some(Ok(frame)) => match frame.data_ref() {
                Some(piece) => {
                    let mut kept = self.kept.lock();
                    kept.bytes.extend_from_slice(piece);
                    kept.whole = !kept.trailed && self.body.is_end_stream();
                }
                None => self.kept.lock().trailed = true,
            },
            Some(Err(_)) => {}
            None => {
                let mut kept = self.kept.lock();
                kept.whole = !kept.trailed;
            }
        }
        Poll::Ready(frame)
    }

    pub(in crate::proxy) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(in crate::proxy) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// By its method, unless it asks the shop to take it for another one.
fn is_idempotent<B>(request: &Request<B>) -> bool {
    let overridden = || METHOD_OVERRIDES.iter().any(|name| request.headers().contains_key(*name));
    request.method().is_idempotent() && !overridden()
}

/// A copy of a request without a body, where it may be sent again.
pub(super) fn repeatable(request: &Request<Body>) -> Option<Request<Body>> {
    let bodiless = matches!(request.body(), Body::Empty);
    (bodiless && is_idempotent(request)).then(|| {
        let mut copy = Request::new(Body::Empty);
        copy.method_mut().clone_from(request.method());
        copy.uri_mut().clone_from(request.uri());
        copy.headers_mut().clone_from(request.headers());
        copy
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: &str, body: &'static str, key: bool) -> Request<Body> {
        let mut request = Request::builder().method(method).uri("/pay");
        if key {
            request = request.header(IDEMPOTENCY_KEY, "1");
        }
        let body = if body.is_empty() { Body::Empty } else { Body::Whole(body.into()) };
        request.body(body).unwrap()
    }

    async fn drain(request: &mut Request<Body>) {
        let body = request.body_mut();
        while let Some(frame) =
            std::future::poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
        {
            frame.unwrap();
        }
    }

    #[test]
    fn a_method_that_stands_for_another_is_not_repeated() {
        for name in METHOD_OVERRIDES {
            let mut request = request("PUT", "a=1", false);
            request.headers_mut().insert(name, http::HeaderValue::from_static("POST"));
            assert!(Spare::of(&mut request, Keep::Small).is_none(), "{name}");
        }
    }

    #[tokio::test]
    async fn only_what_is_idempotent_or_says_so_is_repeated_and_only_whole() {
        let cases = [
            ("GET", "", false, true),
            ("PUT", "a=1", false, true),
            ("DELETE", "", false, true),
            ("POST", "a=1", false, false),
            ("PATCH", "", false, false),
            ("POST", "", false, false),
            ("POST", "a=1", true, true),
        ];
        for (method, body, key, repeated) in cases {
            let mut request = request(method, body, key);
            let spare = Spare::of(&mut request, Keep::Small);
            assert_eq!(spare.is_some(), repeated, "{method} {body} {key}");
            let Some(spare) = spare else { continue };
            assert_eq!(spare.request().is_none(), !body.is_empty(), "not sent yet");
            drain(&mut request).await;
            let mut again = spare.request().unwrap();
            assert_eq!((again.method(), again.uri()), (request.method(), request.uri()));
            let length = u64::try_from(body.len()).unwrap();
            assert_eq!(again.body().size_hint().exact(), Some(length));
            drain(&mut again).await;
        }
    }

    #[test]
    fn bodies_that_may_hold_card_numbers_are_not_kept() {
        assert!(Spare::of(&mut request("PUT", "a=1", true), Keep::Empty).is_none());
        assert!(Spare::of(&mut request("POST", "", true), Keep::Empty).is_some());
    }
}
