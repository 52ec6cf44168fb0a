//! How long customers wait at a rate that every entrant can serve.
//!
//! Requests fall due by the clock, whatever became of those before (an open loop), and are timed from
//! when they were due: a server that stalls is not spared the requests that it kept waiting.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::case::Protocol;
use crate::client::{config, name};
use crate::entrant::Entrant;
use crate::failure::Failure;
use crate::folder::Folder;

/// Requests per second of all together.
pub(crate) const RATE: u32 = 2_000;
const CONNECTIONS: usize = 32;
/// All have shaken hands by then.
const HEAD_START: Duration = Duration::from_millis(500);

/// One connection and the thread's own runtime: a timer of tokio's would be late by a millisecond.
struct Customer {
    runtime: Runtime,
    sender: Sender,
    authority: String,
    _driver: JoinSet<Result<(), hyper::Error>>,
}

enum Sender {
    Http1(http1::SendRequest<Empty<Bytes>>),
    Http2(http2::SendRequest<Empty<Bytes>>),
}

/// Milliseconds from due to answered, in order of size.
pub(crate) fn measure(
    entrant: &Entrant,
    folder: &Folder,
    protocol: Protocol,
    (path, size): (&str, usize),
    duration: Duration,
) -> Result<Vec<f64>, Failure> {
    let spoken: &[u8] = if protocol == Protocol::Http2 { b"h2" } else { b"http/1.1" };
    let config = config(folder.certificate(entrant.key), spoken, false)?;
    let start = Instant::now() + HEAD_START;
    let requests = RATE * u32::try_from(duration.as_secs()).unwrap_or(1);
    let serve = |first: usize| -> Result<Vec<f64>, Failure> {
        let mut customer = Customer::connect(entrant, &config, protocol)?;
        let mut waits = Vec::new();
        for nth in (0..requests).skip(first).step_by(CONNECTIONS) {
            let due = start + Duration::from_secs(1) * nth / RATE;
            thread::sleep(due.saturating_duration_since(Instant::now()));
            customer.ask(path, size)?;
            waits.push(due.elapsed().div_duration_f64(Duration::from_millis(1)));
        }
        Ok(waits)
    };
    let serve = &serve;
    let mut waits = Vec::new();
    thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CONNECTIONS).map(|first| scope.spawn(move || serve(first))).collect();
        for thread in threads {
            waits.extend(thread.join().expect("no panic")?);
        }
        Ok::<_, Failure>(())
    })?;
    waits.sort_by(f64::total_cmp);
    Ok(waits)
}

impl Customer {
    fn connect(
        entrant: &Entrant,
        config: &Arc<ClientConfig>,
        protocol: Protocol,
    ) -> Result<Self, Failure> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(Failure::io("start a runtime"))?;
        let (sender, driver) = runtime.block_on(async {
            let tcp = TcpStream::connect(entrant.address).await.map_err(Failure::io("connect"))?;
            tcp.set_nodelay(true).map_err(Failure::io("connect"))?;
            let connector = TlsConnector::from(Arc::clone(config));
            let tls = connector.connect(name(), tcp).await.map_err(Failure::io("shake hands"))?;
            let (io, mut driver) = (TokioIo::new(tls), JoinSet::new());
            let sender = match protocol {
                Protocol::Http1 => {
                    let (sender, connection) = http1::handshake(io).await?;
                    driver.spawn(connection);
                    Sender::Http1(sender)
                }
                Protocol::Http2 => {
                    let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
                    driver.spawn(connection);
                    Sender::Http2(sender)
                }
            };
            Ok::<_, Failure>((sender, driver))
        })?;
        let authority = entrant.address.to_string();
        Ok(Self { runtime, sender, authority, _driver: driver })
    }

    /// The answer, read to its end, is of this size.
    fn ask(&mut self, path: &str, size: usize) -> Result<(), Failure> {
        let Self { runtime, sender, authority, .. } = self;
        runtime.block_on(async {
            let request = Request::builder();
            let response = match sender {
                Sender::Http1(sender) => {
                    let request = request.uri(path).header("host", authority.as_str());
                    sender.ready().await?;
                    sender.send_request(request.body(Empty::new()).expect("a request")).await?
                }
                Sender::Http2(sender) => {
                    let request = request.uri(format!("https://{authority}{path}"));
                    sender.ready().await?;
                    sender.send_request(request.body(Empty::new()).expect("a request")).await?
                }
            };
            let status = response.status();
            let (mut body, mut read) = (response.into_body(), 0);
            while let Some(frame) = body.frame().await {
                read += frame?.data_ref().map_or(0, Bytes::len);
            }
            if status == StatusCode::OK && read == size { Ok(()) } else { Err(Failure::Answer) }
        })
    }
}
