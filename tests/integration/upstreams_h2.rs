//! Servers that speak HTTP/2: gRPC from one end to the other (issue items 1 and 5).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::raw_h2::DATA;
use crate::harness::{HOST, Identity, RawH2, Setup, Upstream, certificates};

/// What arrived.
#[derive(Clone, Default)]
struct Heads(Arc<Mutex<Vec<http::request::Parts>>>);

/// An HTTP/2 server that gives each body back, and its trailers after it.
struct EchoServer {
    address: SocketAddr,
    heads: Heads,
    connections: Arc<AtomicUsize>,
}

/// A body on its way back; after its end, the status of a gRPC call.
struct Echo {
    incoming: Incoming,
    ended: bool,
}

impl Body for Echo {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut self.incoming).poll_frame(context) {
            Poll::Ready(None) => {
                self.ended = true;
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", HeaderValue::from_static("0"));
                trailers.insert("grpc-message", HeaderValue::from_static("fine"));
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            other => other,
        }
    }
}

impl EchoServer {
    fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (heads, connections) = (Heads::default(), Arc::<AtomicUsize>::default());
        let server = Self { address, heads: heads.clone(), connections: Arc::clone(&connections) };
        thread::spawn(move || {
            let local = tokio::task::LocalSet::new();
            local.block_on(&runtime, async {
                while let Ok((tcp, _)) = listener.accept().await {
                    connections.fetch_add(1, SeqCst);
                    let (heads, tls) = (heads.clone(), tls.clone());
                    tokio::task::spawn_local(async move {
                        match tls {
                            None => serve(tcp, heads).await,
                            Some(tls) => {
                                let stream = TlsAcceptor::from(tls).accept(tcp).await;
                                if let Ok(stream) = stream {
                                    serve(stream, heads).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        server
    }

    fn last(&self) -> http::request::Parts {
        self.heads.0.lock().unwrap().last().unwrap().clone()
    }
}

async fn serve<S>(stream: S, heads: Heads)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (head, incoming) = request.into_parts();
        heads.0.lock().unwrap().push(head);
        async move {
            let answer = Response::builder().header("content-type", "application/grpc");
            Ok::<_, Infallible>(answer.body(Echo { incoming, ended: false }).unwrap())
        }
    });
    let _ended = http2::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

/// A message as gRPC frames it: not compressed, its length, its bytes.
fn message(text: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

const GRPC: [(&str, &str); 3] =
    [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "1500m")];

#[test]
fn a_grpc_call_goes_through_with_its_deadline_and_its_trailers() {
    let server = EchoServer::start(None);
    let sidecar = Setup::to(&format!("h2c://{}", server.address)).start();
    let mut client = sidecar.h2();
    for turn in 0..20 {
        let call = message(&format!("hello {turn}"));
        let answer = client.request("POST", "/shop.Cart/Add", &GRPC, &call);
        assert_eq!((answer.status, &answer.body), (200, &call));
        let trailer = |name: &str| {
            let found = answer.trailers.iter().find(|(its, _)| its == name);
            found.map(|(_, value)| value.clone())
        };
        assert_eq!(trailer("grpc-status").as_deref(), Some("0"));
        assert_eq!(trailer("grpc-message").as_deref(), Some("fine"));
    }
    let head = server.last();
    assert_eq!(head.headers["grpc-timeout"], "1500m");
    assert_eq!(head.headers["te"], "trailers");
    assert_eq!(head.uri, "http://shop.example/shop.Cart/Add");
    assert!(!head.headers.contains_key("connection") && !head.headers.contains_key("host"));
}

#[test]
fn each_message_of_a_grpc_stream_goes_on_while_the_next_waits_for_its_answer() {
    let server = EchoServer::start(None);
    let sidecar = Setup::to(&format!("h2c://{}", server.address)).start();
    let mut client = RawH2::connect(sidecar.address("https"));
    let call = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", HOST),
        (":path", "/shop.Chat/Talk"),
    ];
    client.head(1, &[&call[..], &GRPC[..2]].concat(), 0);
    for turn in 0..5 {
        // What it ends in could go on as a number, but not in another message.
        let sent = message(&format!("my card 4111 1111 1111 1111 of {turn}/4111"));
        client.frame(DATA, 0, 1, &sent).unwrap();
        let got = client.data(1, sent.len()).expect("an answer to each message");
        let text = String::from_utf8_lossy(&got).into_owned();
        assert!(
            got.starts_with(&sent[..5]) && text.ends_with(&format!("of {turn}/4111")),
            "{text}"
        );
        assert!(!text.contains("4111 1111 1111 1111"), "{text}");
    }
}

#[test]
fn grpc_messages_that_cannot_be_looked_into_are_neither_taken_nor_asked_for() {
    let server = EchoServer::start(None);
    let sidecar = Setup::to(&format!("h2c://{}", server.address)).start();
    let mut client = sidecar.h2();
    let mut compressed = message("card 4111111111111111");
    compressed[0] = 1;
    let answer = client.request("POST", "/shop.Cart/Add", &GRPC, &compressed);
    assert_eq!((answer.status, server.heads.0.lock().unwrap().len()), (415, 0));
    let fields = [GRPC[0], GRPC[1], ("grpc-accept-encoding", "identity,deflate,gzip")];
    let answer = client.request("POST", "/shop.Cart/Add", &fields, &message("plain"));
    assert_eq!(answer.status, 200);
    assert_eq!(server.last().headers["grpc-accept-encoding"], "identity");
}

#[test]
fn p1_no_number_spans_a_grpc_message_and_what_is_none() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).start();
    // More than is read before it goes on. To a shop that knows no gRPC, all of it is one text.
    let padding = "x".repeat(100_000);
    let body = [message(&format!("{padding} 41111111")), b"11111111".to_vec()].concat();
    let answer = sidecar.http().post("/buy", "application/grpc", body);
    assert_eq!((answer.status, shop.count()), (415, 0));
}

#[test]
fn many_requests_share_a_connection_to_the_server_and_none_is_mixed_up() {
    let server = EchoServer::start(None);
    let url = format!("h2c://{}", server.address);
    let sidecar = Setup::to(&url).top("workers = 1").start();
    assert_eq!(sidecar.http().get("/first").status, 200);
    let address = sidecar.address("http");
    let customers: Vec<_> = (0..30)
        .map(|customer| {
            thread::spawn(move || {
                let mut client = crate::harness::Client::plain(address);
                for turn in 0..10 {
                    let body = format!("{customer}-{turn} ").repeat(1_000);
                    let answer = client.post("/", "text/plain", &body);
                    assert_eq!((answer.status, answer.text()), (200, body));
                }
            })
        })
        .collect();
    customers.into_iter().for_each(|customer| customer.join().unwrap());
    assert_eq!(server.connections.load(SeqCst), 1);
}

#[test]
fn http2_is_agreed_on_over_tls_under_a_name_of_the_operators_choice() {
    let identity = Identity::new(&["inside.example"]);
    let mut config = Arc::unwrap_or_clone(identity.strict_server());
    config.alpn_protocols = vec![b"h2".to_vec()];
    let server = EchoServer::start(Some(Arc::new(config)));
    let ours = Identity::new(&["tillgate.example"]);
    let url = format!("h2://{}", server.address);
    let list = format!(
        "{{ url = \"{url}\", ca = \"tls/ca.pem\", server_name = \"inside.example\", \
         client_certificate = {{ chain = \"tls/ours.pem\", key = \"tls/ours.key\" }} }}"
    );
    let setup = Setup::servers(&list).file("tls/ours.pem", &ours.chain);
    let sidecar = setup.file("tls/ours.key", &ours.key).start();
    let answer = sidecar.h2().request("POST", "/a.B/C", &GRPC, &message("secret"));
    assert_eq!((answer.status, answer.body), (200, message("secret")));
    assert_eq!(server.last().uri.scheme_str(), Some("https"));
    // Under its own name nobody vouches for it.
    let list = format!("{{ url = \"{url}\", ca = \"tls/ca.pem\" }}");
    Setup::servers(&list).start().https().get("/").assert_refused(502);
    // Nor under the right name by a stranger.
    let list =
        format!("{{ url = \"{url}\", ca = \"tls/s.pem\", server_name = \"inside.example\" }}");
    let stranger = Setup::servers(&list).file("tls/s.pem", &certificates::stranger_pem()).start();
    stranger.https().get("/").assert_refused(502);
}

#[test]
fn a_server_that_does_not_agree_to_http2_is_spoken_to_in_http1() {
    let shop = Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(200, &[("content-type", "text/plain")], b"old")
    });
    let url = shop.url().replace("https:", "h2:");
    let sidecar = Setup::to(&url).site("ca = \"tls/ca.pem\"").start();
    assert_eq!(sidecar.h2().get("/").text(), "old");
    assert_eq!(shop.last().field("host"), Some("shop.example"));
}
