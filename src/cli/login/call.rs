//! A call of a running tillgate's admin listener.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use zeroize::Zeroizing;

use crate::policy::Secret;
use crate::server::message::{Failed, Whom};
use crate::server::{TokenError, read_token};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// The longest answer: a thousand locks take less than a tenth of it.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(in crate::cli) enum CallError {
    /// It is not one of ours.
    #[error("the answer is not understood; is it a tillgate of another version?")]
    Answer(#[from] serde_json::Error),
    /// The exchange broke off.
    #[error("the call broke off")]
    Broken(#[from] hyper::Error),
    /// Nobody listens.
    #[error("nothing answers at {address}: tillgate does not run, or with another configuration")]
    Connect {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It took too long.
    #[error("no answer from {address} within {} seconds", PATIENCE.as_secs())]
    Late {
        /// Where.
        address: SocketAddr,
    },
    /// The port is not known.
    #[error("the configuration leaves the port of [admin] to the system: name it with --admin")]
    Port,
    /// It said no.
    #[error("refused ({status}): {error}")]
    Refused {
        /// How.
        status: http::StatusCode,
        /// Why.
        error: String,
    },
    /// The request cannot be written down.
    #[error("the call cannot be made")]
    Request(#[from] http::Error),
    /// No runtime.
    #[error("the system refuses what a call needs")]
    System(#[source] io::Error),
    /// No token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The answer is beyond what is read.
    #[error("the answer is too large or broke off")]
    TooLarge,
}

/// Who has the token.
pub(super) struct Caller {
    address: SocketAddr,
    token: Secret,
}

impl Caller {
    pub(super) fn new(listens: SocketAddr, data_dir: &Path) -> Result<Self, CallError> {
        if listens.port() == 0 {
            return Err(CallError::Port);
        }
        Ok(Self { address: reachable(listens), token: read_token(data_dir)? })
    }

    pub(super) fn get(&self, path: &str) -> Result<String, CallError> {
        self.call(Method::GET, path, Bytes::new())
    }

    pub(super) fn post(&self, path: &str, whom: &Whom) -> Result<String, CallError> {
        self.call(Method::POST, path, Bytes::from(serde_json::to_vec(whom)?))
    }

    fn call(&self, method: Method, path: &str, body: Bytes) -> Result<String, CallError> {
        let address = self.address;
        let mut bearer = Zeroizing::new(b"Bearer ".to_vec());
        bearer.extend_from_slice(self.token.expose());
        let mut bearer = HeaderValue::from_bytes(&bearer).map_err(http::Error::from)?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(format!("/api/{path}"))
            .header(HOST, address.to_string())
            .header(AUTHORIZATION, bearer)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(CallError::System)?;
        let answer =
            runtime.block_on(async { timeout(PATIENCE, exchange(address, request)).await });
        answer.map_err(|_| CallError::Late { address })?
    }
}

/// Understands an answer.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Result<T, CallError> {
    Ok(serde_json::from_str(text)?)
}

async fn exchange(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<String, CallError> {
    let tcp = TcpStream::connect(address).await;
    let tcp = tcp.map_err(|source| CallError::Connect { address, source })?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    let asked = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let text = whole(Limited::new(body, ANSWER_BYTES_MAX)).await?;
        if head.status.is_success() {
            return Ok(text);
        }
        let error = serde_json::from_str::<Failed>(&text).map(|failed| failed.error);
        let error = error.unwrap_or_else(|_| "this is not the API of this version".to_owned());
        Err(CallError::Refused { status: head.status, error })
    };
    tokio::pin!(asked);
    tokio::select! {
        answer = &mut asked => answer,
        // The connection may end before its last bytes are looked at.
        _ended = connection => asked.await,
    }
}

async fn whole<B>(mut body: B) -> Result<String, CallError>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(|_| CallError::TooLarge)?.into_data() {
            bytes.extend_from_slice(&data);
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The address of a listener as this machine reaches it.
fn reachable(listens: SocketAddr) -> SocketAddr {
    let ip = match listens.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listens.port())
}
