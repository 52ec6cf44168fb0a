//! A browser-like HTTP/2 client.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use super::wire::{Answer, Head};
use super::{DEADLINE, Tls, canary};

/// One connection, driven by a runtime of its own while something is awaited.
pub(crate) struct H2 {
    runtime: Runtime,
    sender: SendRequest<Full<Bytes>>,
    host: String,
    tape: canary::Tape,
}

impl H2 {
    pub(crate) fn connect(address: SocketAddr, name: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tls = Tls::with(name, rustls::ALL_VERSIONS, &[b"h2", b"http/1.1"]);
        let (sender, connection) = runtime.block_on(async {
            let tcp = TcpStream::connect(address).await.unwrap();
            let name = ServerName::try_from(tls.name.clone()).unwrap();
            let stream = TlsConnector::from(tls.config).connect(name, tcp).await.unwrap();
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap()
        });
        runtime.spawn(connection);
        let tape = canary::tape("what an HTTP/2 client received");
        Self { runtime, sender, host: name.to_owned(), tape }
    }

    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// The same over a connection that may have been told to take no more; nothing then.
    pub(crate) fn try_get(&mut self, path: &str) -> Option<Answer> {
        let Self { runtime, sender, .. } = self;
        runtime.block_on(sender.ready()).ok()?;
        let sent = self.sender.try_send_request(self.build("GET", path, &[], b""));
        let answer = self.runtime.block_on(async {
            match tokio::time::timeout(DEADLINE, sent).await.unwrap() {
                Ok(answer) => Ok(read(answer).await),
                Err(error) => Err(error),
            }
        });
        // What never left may be sent again; anything else has failed.
        answer.map_err(|mut error| assert!(error.take_message().is_some(), "{error:?}")).ok()
    }

    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let sent = self.sender.send_request(self.build(method, path, fields, body));
        let answer = self.runtime.block_on(async {
            tokio::time::timeout(DEADLINE, async {
                let answer = sent.await.unwrap();
                read(answer).await
            })
            .await
        });
        let answer = answer.expect("no answer within the deadline");
        self.tape.lock().unwrap().extend_from_slice(&answer.body);
        answer
    }

    /// As many requests at once as there are paths; the answers in order.
    pub(crate) fn get_all(&mut self, paths: &[String]) -> Vec<Answer> {
        let sent: Vec<_> = paths
            .iter()
            .map(|path| self.sender.send_request(self.build("GET", path, &[], b"")))
            .collect();
        self.runtime.block_on(async {
            let mut answers = Vec::new();
            for answer in sent {
                let answer = tokio::time::timeout(DEADLINE, answer).await.unwrap().unwrap();
                answers.push(read(answer).await);
            }
            answers
        })
    }

    fn build(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> Request<Full<Bytes>> {
        let uri = format!("https://{}{path}", self.host);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()
    }
}

async fn read<B>(answer: http::Response<B>) -> Answer
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::fmt::Debug,
{
    let (parts, mut body) = answer.into_parts();
    let head = Head { start: String::new(), fields: list(&parts.headers) };
    let status = parts.status.as_u16();
    let mut answer = Answer { status, head, body: Vec::new(), trailers: Vec::new() };
    while let Some(frame) = body.frame().await {
        match frame.unwrap().into_data() {
            Ok(data) => answer.body.extend_from_slice(&data),
            Err(frame) => answer.trailers = list(&frame.into_trailers().unwrap()),
        }
    }
    answer
}

fn list(fields: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    fields.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}
