//! The small proxy on loopback through which the operator logs in. Text is read whole, recorded and
//! translated; everything else passes as it comes.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, HOST};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, request, response};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::Sender;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

use super::exchange::Exchange;
use super::shop::{Shop, ShopError};
use super::translate::Translator;
use crate::coding::{Bounds, Coding, DecodeError, Decoder};

/// The largest request that is passed: nobody uploads pictures while learning a login.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// The largest text that is translated, as it comes and decoded.
const PAGE_BYTES_MAX: usize = 16 << 20;
/// What a coded page may become.
const DECODED: Bounds = Bounds { bytes_max: 16 << 20, ratio_max: 1_000 };
/// Between two attempts to accept when descriptors are short.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Reply = Response<Either<Full<Bytes>, Incoming>>;

/// The proxy.
pub(super) struct Relay {
    pub(super) shop: Shop,
    pub(super) translator: Translator,
    pub(super) seen: Sender<Exchange>,
}

/// Why a request was not passed on, or its answer not back.
#[derive(Debug, Error)]
pub(super) enum RelayError {
    /// A page was called under a name that is not this machine's.
    #[error("open this under 127.0.0.1 or localhost")]
    Host,
    /// A body is beyond what is read.
    #[error("the body is larger than is passed on while learning")]
    TooLarge,
    /// The body's coding is broken or unknown.
    #[error("the shop's page cannot be decoded")]
    Coding(#[from] DecodeError),
    /// A body broke off.
    #[error("the body broke off")]
    Broken(#[from] hyper::Error),
    /// The shop did not answer.
    #[error(transparent)]
    Shop(#[from] ShopError),
}

impl Relay {
    /// Serves browsers until the tasks are dropped.
    pub(super) async fn serve(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        loop {
            match listener.accept().await {
                Ok((tcp, _)) => drop(tasks.spawn(Arc::clone(&self).connection(tcp))),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    }

    async fn connection(self: Arc<Self>, tcp: TcpStream) {
        let service = service_fn(|request: Request<Incoming>| async {
            Ok::<_, Infallible>(self.answer(request).await.unwrap_or_else(|error| apology(&error)))
        });
        let mut builder = http1::Builder::new();
        let connection = builder.timer(TokioTimer::new());
        // A browser that leaves is no news.
        let _ended = connection.serve_connection(TokioIo::new(tcp), service).await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Reply, RelayError> {
        let (mut head, body) = request.into_parts();
        let ours = ours(&head.headers).ok_or(RelayError::Host)?;
        let body = Zeroizing::new(read(body, REQUEST_BYTES_MAX).await?);
        let target = head.uri.path_and_query().cloned();
        head.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
        self.translator.request(&mut head.headers, &ours);
        let (mut answer, body) = self.ask(head, body).await?;
        self.translator.answer(&mut answer.headers, &ours);
        let body = match body {
            Either::Left(page) => {
                answer.headers.remove(CONTENT_ENCODING);
                Either::Left(Full::from(self.translator.text(&page, &ours)))
            }
            Either::Right(stream) => Either::Right(stream),
        };
        Ok(Response::from_parts(answer, body))
    }

    /// Asks the shop and records what it answers, if that is text.
    async fn ask(
        &self,
        head: request::Parts,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<(response::Parts, Either<Vec<u8>, Incoming>), RelayError> {
        let asked = Request::from_parts(head.clone(), Full::from(body.to_vec()));
        let (answer, stream) = self.shop.ask(asked).await?.into_parts();
        if !is_text(&answer) {
            return Ok((answer, Either::Right(stream)));
        }
        let page = decoded(&answer.headers, &read(stream, PAGE_BYTES_MAX).await?)?;
        let recorded = Exchange { request: head, body, answer: answer.clone(), page: page.clone() };
        // Who no longer listens has seen enough.
        let _told = self.seen.send(recorded).await;
        Ok((answer, Either::Left(page)))
    }

    /// Sends a login again as a script would.
    pub(super) async fn replay(&self, exchange: &Exchange) -> Result<Exchange, RelayError> {
        let (head, body) = exchange.as_a_script();
        let asked = Request::from_parts(head.clone(), Full::from(body.to_vec()));
        let (answer, stream) = self.shop.ask(asked).await?.into_parts();
        let page = decoded(&answer.headers, &read(stream, PAGE_BYTES_MAX).await?)?;
        Ok(Exchange { request: head, body, answer, page })
    }
}

/// What the browser calls us by. A page of a stranger that found out our port would call us by another
/// name (DNS rebinding).
fn ours(headers: &HeaderMap) -> Option<String> {
    let host = headers.get(HOST)?.to_str().ok()?;
    let authority: Authority = host.parse().ok()?;
    let name = authority.host();
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    (loopback || name.eq_ignore_ascii_case("localhost")).then(|| host.to_owned())
}

fn is_text(answer: &response::Parts) -> bool {
    let Some(kind) = answer.headers.get(CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    ["text/", "json", "javascript", "xml"].iter().any(|part| kind.contains(part))
        && !kind.starts_with("text/event-stream")
}

async fn read(mut body: Incoming, bytes_max: usize) -> Result<Vec<u8>, RelayError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(RelayError::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole)
}

/// A body without its codings: some servers compress what was asked for plain.
fn decoded(headers: &HeaderMap, body: &[u8]) -> Result<Vec<u8>, RelayError> {
    let mut decoder = Decoder::new(&Coding::of(headers)?, DECODED)?;
    let mut page = Vec::new();
    decoder.push(body, &mut page)?;
    decoder.finish(&mut page)?;
    Ok(page)
}

fn apology(error: &RelayError) -> Reply {
    let mut words = format!("tillgate login learn: {error}\n");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words.push_str(&format!("because: {error}\n"));
        cause = error.source();
    }
    let mut reply = Response::new(Either::Left(Full::from(words)));
    *reply.status_mut() = match error {
        RelayError::Host => StatusCode::MISDIRECTED_REQUEST,
        RelayError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        RelayError::Broken(_) | RelayError::Coding(_) | RelayError::Shop(_) => {
            StatusCode::BAD_GATEWAY
        }
    };
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, plain);
    reply
}
