//! The way to the shop: one connection for each request, which is plenty for one person.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::{InvalidDnsNameError, ServerName};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{error::Elapsed, timeout};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use crate::policy::{Scheme, Upstream, UpstreamPlace};
use crate::tls::{ConnectError, Connector};

/// How long a shop may take for the head of an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(60);

/// Where the shop is.
pub(super) struct Shop {
    upstream: Upstream,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    tasks: TaskTracker,
}

/// Why the shop has not answered.
#[derive(Debug, Error)]
pub enum ShopError {
    /// No connection.
    #[error("cannot connect to the shop at {upstream}")]
    Connect {
        /// Where.
        upstream: Box<Upstream>,
        /// Why.
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("the shop broke off")]
    Exchange(#[from] hyper::Error),
    /// No answer.
    #[error("the shop has not answered within {} seconds", ANSWER_WAIT.as_secs())]
    Late(#[from] Elapsed),
    /// Its name cannot be verified.
    #[error("the shop's name cannot be verified")]
    Name(#[from] InvalidDnsNameError),
    /// Nobody to vouch for it.
    #[error("the shop's certificate cannot be verified")]
    Tls(#[from] ConnectError),
}

impl Shop {
    pub(super) fn new(upstream: Upstream, tasks: TaskTracker) -> Result<Self, ShopError> {
        let tls = match upstream.scheme {
            Scheme::Http => None,
            Scheme::Https => {
                let connector = TlsConnector::from(Connector::new(&upstream.trust)?.config());
                Some((connector, ServerName::try_from(upstream.verified_name().to_owned())?))
            }
        };
        Ok(Self { upstream, tls, tasks })
    }

    /// What `Host` says where the operator names no other.
    pub(super) fn authority(&self) -> String {
        self.upstream.authority()
    }

    pub(super) async fn ask(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ShopError> {
        timeout(ANSWER_WAIT, self.exchange(request)).await?
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ShopError> {
        let upstream = || Box::new(self.upstream.clone());
        let refused = |source| ShopError::Connect { upstream: upstream(), source };
        let (host, port) = match &self.upstream.place {
            UpstreamPlace::Network { host, port } => (host.as_str(), *port),
            UpstreamPlace::Socket(path) => {
                let stream = UnixStream::connect(path).await.map_err(refused)?;
                return self.over(stream, request).await;
            }
        };
        let tcp = TcpStream::connect((host, port)).await.map_err(refused)?;
        match &self.tls {
            None => self.over(tcp, request).await,
            Some((connector, name)) => {
                let config = Arc::clone(connector.config());
                let stream = TlsConnector::from(config).connect(name.clone(), tcp).await;
                self.over(stream.map_err(refused)?, request).await
            }
        }
    }

    async fn over(
        &self,
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, ShopError> {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        self.tasks.spawn(async move {
            // An end before its time is seen by whoever reads the answer.
            let _ended = connection.await;
        });
        Ok(sender.send_request(request).await?)
    }
}
