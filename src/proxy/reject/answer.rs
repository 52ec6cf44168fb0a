//! A refusal as the client gets it.

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, Response};

use super::page::{Accept, Words};
use super::{Rejection, challenge, wait};
use crate::policy::Pages;
use crate::proxy::body::Body;
use crate::proxy::request_id::{REQUEST_ID, RequestId};

impl Rejection {
    /// The whole answer, as HTML, JSON or plain text by what the client accepts (RFC 9110 §12.5.1).
    #[must_use]
    pub fn response(
        &self,
        accept: Accept,
        id: &RequestId,
        pages: Option<&Pages>,
    ) -> Response<Body> {
        let rendered = match (self, accept) {
            (Self::ProofWanted(challenge), Accept::Html) => challenge::page(challenge, id),
            _ => accept.render(&self.in_words(id), pages),
        };
        let mut response = Response::new(Body::Whole(Bytes::from(rendered.text)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(rendered.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REQUEST_ID, id.value());
        if matches!(self, Self::TransferCoding) {
            // RFC 9112 §6.1: where a body ends that two servers read differently, nobody knows.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(policy) = rendered.policy {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait::whole_seconds(wait)));
        }
        if let Some(scheme) = self.scheme() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        if let Some(allowed) = self.allowed() {
            headers.insert(ALLOW, allowed);
        }
        response
    }

    fn in_words<'r>(&'r self, id: &'r RequestId) -> Words<'r> {
        let proof = match self {
            Self::ProofWanted(challenge) => Some(("proof_of_work", challenge.terms())),
            _ => None,
        };
        Words {
            status: self.status().as_u16(),
            title: self.title(),
            message: self.words(),
            retry_after: self.retry_after(),
            request_id: id.as_str(),
            more: proof,
        }
    }
}
