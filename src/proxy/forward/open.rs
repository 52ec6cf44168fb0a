//! New connections to servers.

use std::io;
use std::time::Duration;

use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::Dialer;
use super::sender::Sender;
use crate::policy::{HttpVersions, Scheme};
use crate::proxy::reject::Rejection;
use crate::proxy::spawner::Spawner;
use crate::proxy::upstreams::{Address, Entry};

/// How much of an answer is read at once, and the largest head of one, HTTP/1.1. Up to four such reads
/// wait for a client that does not take them in.
const READ_BUFFER_BYTES_MAX: usize = 64 << 10;
/// How many fields an answer may have.
const ANSWER_FIELDS_MAX: usize = 256;
/// The largest decoded head of an answer, HTTP/2.
const HEADER_LIST_BYTES_MAX: u32 = 256 << 10;
/// What a server may send of one answer, and of all, before we have read it.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// What waits to be written per stream.
const SEND_BUFFER_BYTES_MAX: usize = 256 << 10;
/// Pings find servers that vanished without a word.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

impl Dialer {
    /// A new connection.
    ///
    /// # Errors
    /// When the server cannot be reached in time, or is not the one it should be.
    pub(in crate::proxy) async fn open(
        &self,
        entry: &Entry,
        wait: Duration,
    ) -> Result<Sender, Rejection> {
        let opened = timeout(wait, self.reach(entry)).await;
        let late = |_| Rejection::UpstreamTimeout { what: "connect", waited: wait };
        opened.map_err(late)?
    }

    async fn reach(&self, entry: &Entry) -> Result<Sender, Rejection> {
        let tcp = match &entry.address {
            Address::At(address) => TcpStream::connect(address).await,
            Address::Named(host, port) => TcpStream::connect((host.as_str(), *port)).await,
            Address::Socket(path) => {
                let stream = UnixStream::connect(path).await;
                return self.speak(entry, stream.map_err(Rejection::UpstreamConnect)?).await;
            }
        };
        let tcp = tcp.map_err(Rejection::UpstreamConnect)?;
        tcp.set_nodelay(true).map_err(Rejection::UpstreamConnect)?;
        self.speak(entry, tcp).await
    }

    async fn speak<S>(&self, entry: &Entry, stream: S) -> Result<Sender, Rejection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let http = entry.target.upstream.http;
        let Some((connector, name)) = &entry.target.tls else {
            return match http {
                HttpVersions::Two => self.speak_two(stream, Scheme::Http).await,
                HttpVersions::Agreed | HttpVersions::One => self.speak_one(stream).await,
            };
        };
        let stream = connector.connect(name.clone(), stream).await;
        let stream = stream.map_err(Rejection::UpstreamConnect)?;
        let agreed = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        match agreed || http == HttpVersions::Two {
            true => self.speak_two(stream, Scheme::Https).await,
            false => self.speak_one(stream).await,
        }
    }

    async fn speak_one<S>(&self, stream: S) -> Result<Sender, Rejection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(READ_BUFFER_BYTES_MAX).max_headers(ANSWER_FIELDS_MAX);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(Rejection::UpstreamFailed)?;
        self.tasks.spawn(async move {
            // How it ends is told to whoever waits for an answer on it.
            let _told = connection.with_upgrades().await;
        });
        Ok(Sender::One(sender))
    }

    async fn speak_two<S>(&self, stream: S, scheme: Scheme) -> Result<Sender, Rejection>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http2::Builder::new(Spawner(self.tasks.clone()));
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
            .max_header_list_size(HEADER_LIST_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let shaken = builder.handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(Rejection::UpstreamFailed)?;
        self.tasks.spawn(async move {
            let _told = connection.await;
        });
        Ok(Sender::two(sender, scheme))
    }
}

/// Where there is no server to be reached.
pub(super) fn nowhere() -> Rejection {
    Rejection::UpstreamConnect(io::Error::from(io::ErrorKind::NotFound))
}
