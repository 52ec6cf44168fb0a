//! The thread on which the shop and the stand-in gateway serve HTTP/1.1.
//!
//! A request is read whole, up to a stated size, before its handler sees it. Every task belongs to
//! the stage's tracker; closing the stage ends them within a grace.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const REQUEST_BODY_BYTES_MAX: usize = 64 * 1024;
const CONNECTIONS_MAX: usize = 256;
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
const REQUEST_WAIT: Duration = Duration::from_secs(30);
const GRACE: Duration = Duration::from_secs(2);
/// After a failed accept (no file descriptors left), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a handler answers.
pub(super) type Reply = Response<Full<Bytes>>;

/// A request that has arrived whole.
pub(super) struct Received {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// One of the two servers of the demo.
pub(super) trait Handler: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, received: Received) -> impl Future<Output = Reply> + Send;
}

/// A thread, its runtime and every task on it.
pub(super) struct Stage {
    crew: Crew,
    handle: Handle,
    thread: JoinHandle<()>,
}

#[derive(Clone)]
struct Crew {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Stage {
    /// Starts the thread.
    pub(super) fn open() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let crew = Crew { stop: CancellationToken::new(), tracker: TaskTracker::new() };
        let Crew { stop, tracker } = crew.clone();
        let thread = thread::Builder::new().name("demo".to_owned()).spawn(move || {
            runtime.block_on(async {
                stop.cancelled().await;
                tracker.close();
                // Whoever has not ended by then is dropped with the runtime.
                let _ended = timeout(GRACE, tracker.wait()).await;
            });
        })?;
        Ok(Self { crew, handle, thread })
    }

    /// Serves a bound listener until the stage closes.
    pub(super) fn serve(
        &self,
        listener: StdListener,
        tls: Option<TlsAcceptor>,
        handler: Arc<impl Handler>,
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let _context = self.handle.enter();
        let listener = TcpListener::from_std(listener)?;
        let crew = self.crew.clone();
        self.crew.tracker.spawn(crew.accept(listener, tls, handler));
        Ok(())
    }

    /// Ends every connection and the thread.
    pub(super) fn close(self) {
        self.crew.stop.cancel();
        // The thread's only way to fail is a panic, which has already been reported.
        let _reported = self.thread.join();
    }
}

impl Crew {
    async fn accept<H: Handler>(
        self,
        listener: TcpListener,
        tls: Option<TlsAcceptor>,
        handler: Arc<H>,
    ) {
        let seats = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        while let Ok(seat) = Arc::clone(&seats).acquire_owned().await {
            let accepted = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok((stream, _)) = accepted else {
                sleep(ACCEPT_PAUSE).await;
                continue;
            };
            let (tls, handler, stop) = (tls.clone(), Arc::clone(&handler), self.stop.clone());
            self.tracker.spawn(async move {
                connection(stream, tls, handler, stop).await;
                drop(seat);
            });
        }
    }
}

/// Binds a free loopback port, so that its number is known before anything serves it.
pub(super) fn bind() -> io::Result<(StdListener, SocketAddr)> {
    let listener = StdListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Reads a body of at most `bytes_max`; `None` where it is larger or breaks off.
pub(super) async fn read_bounded(mut body: Incoming, bytes_max: usize) -> Option<Bytes> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return None;
        }
        whole.extend_from_slice(&data);
    }
    Some(whole.freeze())
}

/// A reply of one piece.
pub(super) fn reply(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let kind = http::HeaderValue::from_static(kind);
    reply.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    reply
}

async fn connection<H: Handler>(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    handler: Arc<H>,
    stop: CancellationToken,
) {
    let Some(tls) = tls else { return exchange(stream, &*handler, stop).await };
    // A client that fails its handshake has nothing to be told.
    if let Ok(Ok(stream)) = timeout(HANDSHAKE_WAIT, tls.accept(stream)).await {
        exchange(stream, &*handler, stop).await;
    }
}

async fn exchange<H: Handler>(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    handler: &H,
    stop: CancellationToken,
) {
    let service = service_fn(async |request: Request<Incoming>| {
        Ok::<_, std::convert::Infallible>(receive(handler, request).await)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // An error here is the other side's going away; the recordings tell what arrived.
    tokio::select! {
        () = stop.cancelled() => {}
        _ended = connection => {}
    }
}

async fn receive<H: Handler>(handler: &H, request: Request<Incoming>) -> Reply {
    let (head, body) = request.into_parts();
    let reading = timeout(REQUEST_WAIT, read_bounded(body, REQUEST_BODY_BYTES_MAX));
    let Ok(Some(body)) = reading.await else {
        return reply(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "body too large or cut off\n");
    };
    let received = Received {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    handler.answer(received).await
}
