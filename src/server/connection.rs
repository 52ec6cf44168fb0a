//! One client connection, from its handshake to its end.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::activity::{Activity, Overdue, Phases, Watched, WhileBusy};
use super::coalesce::Coalesced;
use super::doorman::{Doorman, Handshake, Place};
use super::entry::{Guest, tune};
use super::listen::Kind;
use super::strict::{HeadFault, Strict};
use super::{forward, proxy_protocol};
use crate::policy::Timeouts;
use crate::proxy::{Dialer, Finished, Hold, Leave, Peer, Proxy, Role, Spawner};
use crate::telemetry::{ProxyHeaderFault, SlowPhase};
use crate::tls::{Accepted, Acceptor, HandshakeFailure};

/// The largest head of a request, HTTP/1.1 (431).
const HEAD_BYTES_MAX: usize = 64 << 10;
/// What is read of a body at a time.
const READ_BUFFER_BYTES_MAX: usize = 128 << 10;
/// The most fields in a head (431).
const FIELDS_MAX: usize = 100;
/// The largest decoded head, HTTP/2 (431).
const HEADER_LIST_BYTES_MAX: u32 = 64 << 10;
/// Requests under way on one HTTP/2 connection.
const STREAMS_MAX: u32 = 128;
/// What a client may send of one body, and of all, before we have read it.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What waits to be written per HTTP/2 stream, beside three reads from the shop.
const SEND_BUFFER_BYTES_MAX: usize = 64 << 10;
/// Pings find peers that vanished without a word.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// How long an idle HTTP/2 client has to take in that its connection ends.
const GOAWAY_WAIT: Duration = Duration::from_secs(1);
/// The same where nobody waits for us to end.
const GOAWAY_PATIENCE: Duration = Duration::from_secs(10);

/// How much more is read, and for how long, from a client that has been told the last.
const LINGER_BYTES_MAX: u64 = 1 << 20;
const LINGER: Duration = Duration::from_secs(1);

/// What hyper gives no answer to: HTTP/2 where nobody agreed on it.
const UNREADABLE: HeadFault = HeadFault::Unreadable(StatusCode::BAD_REQUEST);

/// What every connection of a worker shares.
pub(super) struct Context {
    pub(super) proxy: Arc<Proxy>,
    pub(super) dialer: Arc<Dialer>,
    pub(super) doorman: Arc<Doorman>,
    pub(super) tasks: TaskTracker,
}

/// Serves one connection to its end. Nobody waits for the result; what went wrong is counted.
pub(super) async fn serve(
    context: Arc<Context>,
    (mut tcp, mut address): (TcpStream, SocketAddr),
    Kind { role, tls, proxy_protocol }: Kind,
    leave: Leave,
    mut place: Place,
) {
    let metrics = &context.proxy.services().metrics;
    let open = metrics.connection_opened(role.listener(tls.is_some()));
    let _best_effort = tune(&tcp);
    let timeouts = context.proxy.timeouts();
    let shaking = match place.shake_hands() {
        Ok(shaking) => shaking,
        Err(full) => return metrics.connection_refused(full, address),
    };
    if proxy_protocol {
        let wait = place.waits(&timeouts).handshake;
        match sender(&context, (&mut tcp, address), wait).await {
            Ok(found) => address = found,
            Err(fault) => return metrics.proxy_header_refused(fault, address),
        }
        if let Err(full) = context.name(&mut place, address) {
            return metrics.connection_refused(full, address);
        }
    }
    let guest = Arc::new(Guest::new(place, open));
    let peer = Peer {
        address,
        role,
        server_name: None,
        tls_version: None,
        certified: false,
        admission: None,
        dialer: Arc::clone(&context.dialer),
        tasks: context.tasks.clone(),
        leave,
        presence: Arc::<Guest>::clone(&guest),
    };
    // Each in a place of its own, here and after the handshake: else every task has, and is copied with, the
    // room for whatever a connection may become.
    if peer.role == Role::Forward {
        return Box::pin(forward::serve(&context, tcp, peer, &timeouts)).await;
    }
    match tls {
        Some(tls) => {
            let shaken = (&guest.place, shaking);
            Box::pin(serve_tls(&context, (tls, tcp), peer, shaken, &timeouts)).await;
        }
        None => {
            drop(shaking);
            Box::pin(serve_http1(&context, tcp, peer, &guest.place, &timeouts)).await;
        }
    }
}

/// Who came to the load balancer before us. Nobody else may say so, or every client could choose its
/// address.
async fn sender(
    context: &Context,
    (tcp, balancer): (&mut TcpStream, SocketAddr),
    wait: Duration,
) -> Result<SocketAddr, ProxyHeaderFault> {
    if !context.proxy.trusts(balancer.ip()) {
        return Err(ProxyHeaderFault::Untrusted);
    }
    Ok(proxy_protocol::read(tcp, wait).await?.unwrap_or(balancer))
}

/// Serves what comes after a handshake.
pub(super) async fn serve_tls<S>(
    context: &Arc<Context>,
    (tls, stream): (Arc<Acceptor>, S),
    mut peer: Peer,
    (place, shaking): (&Place, Handshake),
    timeouts: &Timeouts,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let metrics = &context.proxy.services().metrics;
    let wait = place.waits(timeouts).handshake;
    let accepted = timeout(wait, Box::pin(tls.accept(stream))).await;
    drop(shaking);
    let late = |_| Err(io::Error::from(io::ErrorKind::TimedOut));
    match accepted.unwrap_or_else(late) {
        Ok(Accepted::Challenge) => metrics.challenge_answered(),
        Ok(Accepted::Client(stream, admission)) => {
            let (_, session) = stream.get_ref();
            let version = version_name(session.protocol_version());
            let resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
            let http2 = session.alpn_protocol() == Some(b"h2");
            metrics.handshake_done(version, resumed);
            peer.server_name = session.server_name().map(str::to_ascii_lowercase);
            peer.tls_version = Some(version);
            peer.certified = session.peer_certificates().is_some();
            peer.admission = Some(admission);
            if http2 {
                Box::pin(serve_http2(context, stream, peer, place, timeouts)).await;
            } else {
                Box::pin(serve_http1(context, stream, peer, place, timeouts)).await;
            }
        }
        Err(error) => {
            let failure = HandshakeFailure::of(&error);
            let reason = failure.as_str();
            match &peer.role {
                Role::Intercepted(gateway) => metrics.interception_failed(&gateway.host, reason),
                _ if failure == HandshakeFailure::OldVersion => {
                    metrics.version_refused(reason, peer.address);
                }
                _ => metrics.handshake_failed(reason),
            }
        }
    }
}

fn version_name(version: Option<rustls::ProtocolVersion>) -> &'static str {
    match version {
        Some(rustls::ProtocolVersion::TLSv1_3) => "1.3",
        Some(rustls::ProtocolVersion::TLSv1_2) => "1.2",
        _ => "other",
    }
}

async fn serve_http1<S>(
    context: &Arc<Context>,
    stream: S,
    peer: Peer,
    place: &Place,
    timeouts: &Timeouts,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (activity, peer) = (Activity::new(), Arc::new(peer));
    let service = answering(Arc::clone(&context.proxy), Arc::clone(&peer), Arc::clone(&activity));
    let service = last_when(peer.leave.clone(), service);
    drive_http1(context, stream, (activity, service), (&peer, place), timeouts).await;
}

/// Drives one HTTP/1.1 connection to its end, or to where it leaves HTTP.
pub(super) async fn drive_http1<S>(
    context: &Arc<Context>,
    stream: S,
    (activity, service): (Arc<Activity>, impl Fn(Request<Incoming>) -> Answering + Send),
    (peer, place): (&Peer, &Place),
    timeouts: &Timeouts,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let rate = timeouts.client_rate;
    let watched = Watched { stream, activity: Arc::clone(&activity), rate };
    let io = TokioIo::new(Strict::new(watched));
    let metrics = &context.proxy.services().metrics;
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .max_header_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .half_close(false);
    let mut connection =
        Box::pin(builder.serve_connection(io, service_fn(service)).with_upgrades());
    // Until then it is ended by its next answer: a client may send a request at any moment, and must
    // not find the door shut.
    let mut hurry = pin!(peer.leave.hurry.cancelled());
    let mut told = false;
    loop {
        let mut overdue = pin!(activity.overdue(timeouts, place, Phases::HeadAndIdle));
        tokio::select! {
            // First: what has come already must be seen before a drain judges the connection idle.
            biased;
            ended = &mut connection => {
                let preface = ended.is_err_and(|error| error.is_parse());
                let parts = Pin::into_inner(connection).into_parts();
                if let Some((watched, fault)) = parts.map(|parts| parts.io.into_inner().into_parts())
                    && let Some(fault) = fault.or(preface.then_some(UNREADABLE))
                {
                    let words = last_words(&context.proxy, peer, fault, &activity);
                    say_last(watched.stream, &words, timeouts).await;
                }
                return;
            }
            () = &mut hurry, if !told => {
                // hyper keeps a connection that has never had a request.
                if activity.is_resting(Phases::HeadAndIdle) {
                    return;
                }
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            overdue = &mut overdue => {
                return match overdue {
                    Overdue::Idle => (),
                    // Dropped with its answer: the upstream's connection and what waits go with it.
                    Overdue::Write => metrics.connection_cut(SlowPhase::Answer),
                    Overdue::Head => {
                        metrics.connection_cut(SlowPhase::Head);
                        if let Some(parts) = Pin::into_inner(connection).into_parts() {
                            let (watched, _) = parts.io.into_inner().into_parts();
                            let words =
                                last_words(&context.proxy, peer, HeadFault::Late, &activity);
                            say_last(watched.stream, &words, timeouts).await;
                        }
                    }
                };
            }
        }
    }
}

/// The answer to a head that is none.
fn last_words(proxy: &Proxy, peer: &Peer, fault: HeadFault, activity: &Activity) -> Vec<u8> {
    proxy.malformed(peer, (fault.status(), &fault), activity.head_lasts())
}

/// Tells a client why its connection ends; it may not listen any more. What it still sends is read for a
/// while: a socket closed over unread bytes would take the words away again (RFC 9112 §9.6).
async fn say_last<S>(mut stream: S, words: &[u8], timeouts: &Timeouts)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let said = async {
        stream.write_all(words).await?;
        stream.shutdown().await
    };
    if !matches!(timeout(timeouts.connect, said).await, Ok(Ok(()))) {
        return;
    }
    let mut rest = stream.take(LINGER_BYTES_MAX);
    let _best_effort = timeout(LINGER, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}

async fn serve_http2<S>(
    context: &Arc<Context>,
    stream: S,
    peer: Peer,
    place: &Place,
    timeouts: &Timeouts,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (activity, leave) = (Activity::new(), peer.leave.clone());
    let mut builder = http2::Builder::new(Spawner(context.tasks.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES_MAX)
        .enable_connect_protocol()
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    let service = answering(Arc::clone(&context.proxy), Arc::new(peer), Arc::clone(&activity));
    let rate = timeouts.client_rate;
    let watched = Watched { stream, activity: Arc::clone(&activity), rate };
    let io = TokioIo::new(Coalesced::new(watched));
    let connection = builder.serve_connection(io, service_fn(service));
    let mut connection = pin!(connection);
    let mut closing = pin!(leave.closing.cancelled());
    let mut hurry = pin!(leave.hurry.cancelled());
    let (mut told, mut hurried) = (false, false);
    loop {
        // A client that was not told in time sends on, and would lose what it sends.
        let wait = if hurried { GOAWAY_WAIT } else { GOAWAY_PATIENCE };
        tokio::select! {
            _ended = &mut connection => return,
            () = &mut closing, if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = &mut hurry, if !hurried => hurried = true,
            overdue = activity.overdue(timeouts, place, Phases::Idle), if !told => {
                if overdue == Overdue::Write {
                    return context.proxy.services().metrics.connection_cut(SlowPhase::Answer);
                }
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            // A client that asks for nothing need not confirm that it was told.
            () = tokio::time::sleep(wait), if told => {
                if activity.is_resting(Phases::Idle) {
                    return;
                }
            }
        }
    }
}

type Answered = Response<WhileBusy<Finished>>;
pub(super) type Answering = Pin<Box<dyn Future<Output = Result<Answered, Infallible>> + Send>>;

fn answering(
    proxy: Arc<Proxy>,
    peer: Arc<Peer>,
    activity: Arc<Activity>,
) -> impl Fn(Request<Incoming>) -> Answering {
    move |mut request| {
        let (proxy, peer) = (Arc::clone(&proxy), Arc::clone(&peer));
        let busy = activity.begin(&request);
        if *request.method() == Method::CONNECT {
            request.extensions_mut().insert(Hold(activity.hold()));
        }
        // Written where it stays: made first and moved, the room for all of its stages is copied, 14 KiB or
        // an eighth of the instructions of a small request.
        let answer = Box::write(Box::new_uninit(), async move {
            Ok(busy.answer(proxy.handle(&peer, request).await))
        });
        Box::into_pin(answer)
    }
}

/// Says with an answer that it is the connection's last (RFC 9112 §9.6), once that is so.
fn last_when(
    leave: Leave,
    answer: impl Fn(Request<Incoming>) -> Answering,
) -> impl Fn(Request<Incoming>) -> Answering {
    move |request| {
        let (answering, leave) = (answer(request), leave.clone());
        Box::pin(async move {
            let mut response = answering.await?;
            if leave.closing.is_cancelled() && response.status() != StatusCode::SWITCHING_PROTOCOLS
            {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response)
        })
    }
}
