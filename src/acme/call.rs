//! Requests to an authority: verified, bounded in time and size, one connection each.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{HOST, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error as ClientError, HttpClient};
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::policy::Trust;
use crate::tls::{ConnectError, Connector};

/// For one request and its answer, from the look-up of the name on.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest answer: a chain is a few KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// RFC 8555 §6.1: who asks must be told apart.
const AGENT: &str = concat!("tillgate/", env!("CARGO_PKG_VERSION"));

/// Asks authorities of one kind of trust.
pub(super) struct Caller {
    config: Arc<ClientConfig>,
    last_wait: LastWait,
}

/// How long an authority that refused to work wants to be left alone, said last.
#[derive(Clone, Default)]
pub(super) struct LastWait(Arc<Mutex<Option<Duration>>>);

/// Why there is no answer.
#[derive(Debug, Error)]
pub(super) enum CallError {
    #[error("cannot connect to {host}")]
    Connect { host: String, source: io::Error },
    #[error("the TLS handshake with {host} failed")]
    Handshake { host: String, source: io::Error },
    #[error("the connection broke")]
    Http(#[from] hyper::Error),
    #[error("no answer within {} s", PATIENCE.as_secs())]
    Late,
    #[error("{host} is no name of a server")]
    Name { host: String, source: InvalidDnsNameError },
    #[error("an authority must be asked over https, not at {uri}")]
    NotHttps { uri: Uri },
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes, or broke off")]
    TooLarge,
}

impl Caller {
    pub(super) fn new(trust: &Trust, last_wait: LastWait) -> Result<Self, ConnectError> {
        Ok(Self { config: Connector::new(trust)?.config(), last_wait })
    }
}

impl HttpClient for Caller {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, ClientError>> + Send>> {
        let (config, last_wait) = (Arc::clone(&self.config), self.last_wait.clone());
        Box::pin(async move {
            let asked = timeout(PATIENCE, exchange(config, request)).await;
            let response = asked.unwrap_or(Err(CallError::Late));
            let response = response.map_err(|error| ClientError::Other(Box::new(error)))?;
            last_wait.note(response.status(), response.headers());
            Ok(BytesResponse::from(response))
        })
    }
}

impl LastWait {
    /// What was said since the last time somebody asked.
    pub(super) fn take(&self) -> Option<Duration> {
        self.0.lock().take()
    }

    fn note(&self, status: StatusCode, headers: &HeaderMap) {
        if status == StatusCode::TOO_MANY_REQUESTS || status == StatusCode::SERVICE_UNAVAILABLE {
            *self.0.lock() = retry_after(headers, SystemTime::now());
        }
    }
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    httpdate::parse_http_date(text).ok()?.duration_since(now).ok()
}

async fn exchange(
    config: Arc<ClientConfig>,
    request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, CallError> {
    let (mut head, body) = request.into_parts();
    let (host, port) = place(&head.uri)?;
    let authority = head.uri.authority().map(|authority| authority.as_str().to_owned());
    let unreachable = |source| CallError::Connect { host: host.clone(), source };
    let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
    let name = ServerName::try_from(host.clone())
        .map_err(|source| CallError::Name { host: host.clone(), source })?;
    let tls = TlsConnector::from(config).connect(name, tcp).await;
    let tls = tls.map_err(|source| CallError::Handshake { host: host.clone(), source })?;

    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = path.parse().unwrap_or_default();
    // Both are visible ASCII: one was part of a URI, the other is a header already and a literal.
    if let Some(value) = authority.and_then(|text| HeaderValue::from_str(&text).ok()) {
        head.headers.insert(HOST, value);
    }
    head.headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    let (mut sender, connection) = http1::handshake(TokioIo::new(tls)).await?;
    let asked = async {
        let (head, body) = sender.send_request(Request::from_parts(head, body)).await?.into_parts();
        let mut body = Limited::new(body, ANSWER_BYTES_MAX);
        let mut bytes = Vec::new();
        while let Some(frame) = body.frame().await {
            if let Ok(data) = frame.map_err(|_| CallError::TooLarge)?.into_data() {
                bytes.extend_from_slice(&data);
            }
        }
        Ok(Response::from_parts(head, Full::new(Bytes::from(bytes))))
    };
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // The connection may end before its last bytes are looked at.
        _ended = connection => asked.await,
    }
}

/// RFC 8555 §6.1: over https, whatever a directory says.
fn place(uri: &Uri) -> Result<(String, u16), CallError> {
    let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
    let host = host.ok_or_else(|| CallError::NotHttps { uri: uri.clone() })?;
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok((host, uri.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_wait_is_told_in_seconds_or_by_a_date() {
        let told = |text: &'static str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(text))]);
            let now = UNIX_EPOCH + Duration::from_secs(946_684_800);
            retry_after(&headers, now).map(|wait| wait.as_secs())
        };
        assert_eq!(told("120"), Some(120));
        assert_eq!(told("Sat, 01 Jan 2000 01:00:00 GMT"), Some(3600));
        assert_eq!(told("Fri, 31 Dec 1999 00:00:00 GMT"), None);
        assert_eq!(told("soon"), None);
    }

    #[test]
    fn nobody_is_asked_in_the_clear() {
        let at = |uri: &str| place(&uri.parse().unwrap()).ok();
        assert_eq!(at("https://ca.example/dir"), Some(("ca.example".to_owned(), 443)));
        assert_eq!(at("https://[::1]:14000/dir"), Some(("::1".to_owned(), 14000)));
        assert_eq!(at("http://ca.example/dir"), None);
        assert_eq!(at("/dir"), None);
    }
}
