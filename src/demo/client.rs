//! An HTTP/1.1 client of one server: the customer's browser in the walk, and the shop's way to the
//! gateway.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, HeaderMap, SET_COOKIE, USER_AGENT};
use http::{HeaderName, Method, Request, StatusCode};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use super::serve::read_bounded;

const ANSWER_BYTES_MAX: usize = 1 << 20;
const ANSWER_WAIT: Duration = Duration::from_secs(15);

/// Where a client connects, and whether through TLS.
#[derive(Clone)]
pub(super) enum Endpoint {
    /// Clear text.
    Plain(SocketAddr),
    /// TLS, verified for this name by what the configuration trusts.
    Tls { address: SocketAddr, name: ServerName<'static>, config: Arc<ClientConfig> },
}

/// A connection that is opened when needed, and the cookies of its server.
pub(super) struct Client {
    cookies: Vec<(String, String)>,
    endpoint: Endpoint,
    sender: Option<SendRequest<Full<Bytes>>>,
    tracker: TaskTracker,
}

/// An answer that has arrived whole.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No TCP or TLS connection.
    #[error("cannot connect to {address}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the system or TLS said.
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("the exchange broke off")]
    Exchange(#[from] hyper::Error),
    /// The request could not be written down.
    #[error("the request is malformed")]
    Request(#[from] http::Error),
    /// The answer's body is larger than any page of the demo, or breaks off.
    #[error("the answer is too large or breaks off")]
    Body,
    /// Nothing came in time.
    #[error("no answer within {} seconds", ANSWER_WAIT.as_secs())]
    Late(#[from] Elapsed),
}

impl Client {
    /// Opens nothing yet.
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self { cookies: Vec::new(), endpoint, sender: None, tracker: TaskTracker::new() }
    }

    /// Fetches a page.
    pub(super) async fn get(&mut self, target: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, target, String::new()).await
    }

    /// Sends a form.
    pub(super) async fn post(&mut self, target: &str, form: String) -> Result<Answer, ClientError> {
        self.send(Method::POST, target, form).await
    }

    /// Closes the connection and waits for its task.
    pub(super) async fn close(mut self) {
        self.sender = None;
        self.tracker.close();
        self.tracker.wait().await;
    }

    async fn send(
        &mut self,
        method: Method,
        target: &str,
        form: String,
    ) -> Result<Answer, ClientError> {
        let mut request = Request::builder().method(method).uri(target);
        request = request.header(HOST, self.host()).header(USER_AGENT, "tillgate-demo");
        if !form.is_empty() {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        if !self.cookies.is_empty() {
            request = request.header(COOKIE, self.cookie_line());
        }
        let request = request.body(Full::new(Bytes::from(form)))?;
        let answer = timeout(ANSWER_WAIT, self.exchange(request)).await??;
        self.keep_cookies(&answer.headers);
        Ok(answer)
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, ClientError> {
        let mut sender = match self.sender.take() {
            Some(open) if !open.is_closed() => open,
            _ => self.connect().await?,
        };
        sender.ready().await?;
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = read_bounded(body, ANSWER_BYTES_MAX).await.ok_or(ClientError::Body)?;
        self.sender = Some(sender);
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: head.status, headers: head.headers, text })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, ClientError> {
        let address = self.endpoint.address();
        let refused = |source| ClientError::Connect { address, source };
        let stream = TcpStream::connect(address).await.map_err(refused)?;
        match &self.endpoint {
            Endpoint::Plain(_) => self.handshake(stream).await,
            Endpoint::Tls { name, config, .. } => {
                let connector = TlsConnector::from(Arc::clone(config));
                let stream = connector.connect(name.clone(), stream).await.map_err(refused)?;
                self.handshake(stream).await
            }
        }
    }

    async fn handshake<S>(&self, stream: S) -> Result<SendRequest<Full<Bytes>>, ClientError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // How the connection ends is told by the exchange that was on it.
        self.tracker.spawn(async { drop(connection.await) });
        Ok(sender)
    }

    fn host(&self) -> String {
        match &self.endpoint {
            Endpoint::Plain(address) => address.to_string(),
            Endpoint::Tls { address, name, .. } => format!("{}:{}", name.to_str(), address.port()),
        }
    }

    fn cookie_line(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn keep_cookies(&mut self, headers: &HeaderMap) {
        for line in headers.get_all(SET_COOKIE) {
            let pair = line.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
            let Some((name, value)) = pair.split_once('=') else { continue };
            self.cookies.retain(|(kept, _)| kept != name);
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }
}

impl Endpoint {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Plain(address) | Self::Tls { address, .. } => *address,
        }
    }
}

impl Answer {
    /// A field of the head, empty where there is none or it is no text.
    pub(super) fn header(&self, name: &HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
