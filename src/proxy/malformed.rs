//! What is no request, and is answered all the same: with an id, and with a line in the log.

use std::error::Error;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use http::header::DATE;
use http::{Method, StatusCode, Version};

use super::body::Body;
use super::reject::{Accept, Rejection};
use super::request_id::RequestId;
use super::{Peer, Proxy};
use crate::telemetry::{AccessRecord, HttpDate};

impl Proxy {
    /// Counts and logs what was no request, and how long it went on; the answer to it, after which the
    /// connection ends.
    pub fn malformed(
        &self,
        peer: &Peer,
        (status, cause): (StatusCode, &dyn Error),
        duration: Duration,
    ) -> Vec<u8> {
        let id = RequestId::fresh();
        let rejection = match status {
            StatusCode::REQUEST_TIMEOUT => Rejection::HeadTimeout,
            status => Rejection::Malformed { status },
        };
        let reason = rejection.reason();
        self.services.metrics.request_rejected("none", reason, id.as_str(), cause);
        let generation = self.live.load();
        let response = rejection.response(Accept::Plain, &id, generation.snapshot.pages.as_ref());
        let (head, body) = response.into_parts();
        let body = match body {
            Body::Whole(bytes) => bytes,
            Body::Copied(_)
            | Body::Empty
            | Body::Observed(_)
            | Body::Passed(_)
            | Body::Rewritten(_) => bytes::Bytes::new(),
        };
        let now = SystemTime::now();
        let mut text = String::with_capacity(512);
        // Writing to a string cannot fail.
        let _ = write!(text, "HTTP/1.1 {status}\r\n{DATE}: {}\r\n", HttpDate(now));
        for (name, value) in &head.headers {
            let _ = write!(text, "{name}: {}\r\n", value.to_str().unwrap_or_default());
        }
        let _ = write!(text, "content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        self.services.access.record(&AccessRecord {
            time: now,
            request_id: id.as_str(),
            client: peer.address.ip(),
            // As other servers write what they could not read.
            method: &Method::from_bytes(b"-").unwrap_or_default(),
            host: None,
            target: b"-",
            protocol: Version::HTTP_11,
            status,
            request_bytes: 0,
            response_bytes: u64::try_from(body.len()).unwrap_or(u64::MAX),
            duration,
            upstream_duration: None,
            site: None,
            route: None,
            referrer: None,
            user_agent: None,
            request_cards: 0,
            response_cards: 0,
            login: None,
            rejection: Some(reason),
            tls: peer.tls_version,
        });
        let mut answer = text.into_bytes();
        answer.extend_from_slice(&body);
        answer
    }
}
