//! A scriptable origin: the shop, or with TLS the payment gateway.
//!
//! One thread per connection runs the test's closure once per request. The closure decides when
//! the body is read and what is written; every byte received is kept.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::wire::{self, Head, Recorded, Seen, Stream};
use super::{Watched, canary};

type Handler = dyn Fn(&mut Exchange) -> io::Result<()> + Send + Sync;

/// An origin on a port of its own.
pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    state: Arc<Watched<State>>,
}

#[derive(Default)]
struct State {
    seen: Vec<Seen>,
    connections: usize,
}

/// One request that is being answered.
pub(crate) struct Exchange {
    pub(crate) head: Head,
    reader: BufReader<Recorded>,
    state: Arc<Watched<State>>,
    seen: Option<Seen>,
    closing: bool,
}

impl Upstream {
    /// An origin that answers by this closure.
    pub(crate) fn start(
        handler: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(handler, None, canary::tape("what the shop received"))
    }

    /// The same over TLS. It is a payment gateway: card numbers may arrive here.
    pub(crate) fn start_tls(
        identity: &super::Identity,
        handler: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(handler, Some(identity.server()), canary::Tape::default())
    }

    /// The same with a TLS configuration of the test's own.
    pub(crate) fn start_with(
        tls: Arc<ServerConfig>,
        handler: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        Self::serve(handler, Some(tls), canary::Tape::default())
    }

    /// Answers everything with `ok`.
    pub(crate) fn ok() -> Self {
        Self::start(|exchange| exchange.answer(200, &[("content-type", "text/plain")], b"ok"))
    }

    /// Answers everything with this body.
    pub(crate) fn fixed(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self::start(move |exchange| exchange.answer(200, &[("content-type", content_type)], &body))
    }

    fn serve(
        handler: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
        tls: Option<Arc<ServerConfig>>,
        tape: canary::Tape,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let state: Arc<Watched<State>> = Arc::default();
        let shared = Arc::clone(&state);
        let handler: Arc<Handler> = Arc::new(handler);
        thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (handler, state) = (Arc::clone(&handler), Arc::clone(&shared));
                let (tls, tape) = (tls.clone(), Arc::clone(&tape));
                thread::spawn(move || {
                    let stream = Recorded::new(accept(tcp, tls), &tape);
                    // A connection that breaks is seen by what the test then misses.
                    let _ = converse(stream, &*handler, &state);
                });
            }
        });
        Self { address, scheme, state }
    }

    /// Its URL, by name where a certificate must match.
    pub(crate) fn url(&self) -> String {
        let host = if self.scheme == "https" { "localhost" } else { "127.0.0.1" };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// How many requests have arrived.
    pub(crate) fn count(&self) -> usize {
        self.state.lock().seen.len()
    }

    /// How many connections have been opened.
    pub(crate) fn connections(&self) -> usize {
        self.state.lock().connections
    }

    /// The requests, as soon as there are so many.
    pub(crate) fn wait(&self, count: usize) -> Vec<Seen> {
        let seen =
            self.state.wait_for(|state| (state.seen.len() >= count).then(|| state.seen.clone()));
        seen.unwrap_or_else(|| panic!("{} of {count} requests arrived", self.count()))
    }

    /// Every request so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().seen.clone()
    }

    /// The latest request.
    pub(crate) fn last(&self) -> Seen {
        self.wait(1).pop().unwrap()
    }
}

impl Exchange {
    pub(crate) fn method(&self) -> &str {
        self.head.start.split(' ').next().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.head.start.split(' ').nth(1).unwrap()
    }

    /// Reads the body (saying `100 Continue` where the client waits for it) and keeps the request.
    pub(crate) fn request(&mut self) -> io::Result<Seen> {
        if let Some(seen) = &self.seen {
            return Ok(seen.clone());
        }
        if self.head.field("expect") == Some("100-continue") {
            self.raw(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        }
        let (body, trailers) = wire::read_body(&mut self.reader, &self.head, false)?;
        Ok(self.keep(body, trailers))
    }

    /// The next bytes of the request, whatever they are; empty at the end of the connection.
    pub(crate) fn some(&mut self) -> io::Result<Vec<u8>> {
        let bytes = self.reader.fill_buf()?.to_vec();
        self.reader.consume(bytes.len());
        Ok(bytes)
    }

    /// Counts the request as arrived before its body is.
    pub(crate) fn arrived(&mut self) {
        self.keep(Vec::new(), Vec::new());
    }

    /// Reads the request, then answers with a `Content-Length`.
    pub(crate) fn answer(
        &mut self,
        status: u16,
        fields: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        self.request()?;
        let length = body.len().to_string();
        let framed = [fields, &[("content-length", length.as_str())]].concat();
        self.begin(status, &framed)?;
        if self.method() == "HEAD" { Ok(()) } else { self.raw(body) }
    }

    /// Answers in these chunks, each written by itself.
    pub(crate) fn chunked(&mut self, fields: &[(&str, &str)], pieces: &[&[u8]]) -> io::Result<()> {
        self.request()?;
        self.begin(200, &[fields, &[("transfer-encoding", "chunked")]].concat())?;
        for piece in pieces {
            self.chunk(piece)?;
        }
        self.raw(b"0\r\n\r\n")
    }

    /// Writes a head.
    pub(crate) fn begin(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        let mut head = format!("HTTP/1.1 {status} Status\r\n");
        for (name, value) in fields {
            head += &format!("{name}: {value}\r\n");
        }
        self.raw((head + "\r\n").as_bytes())
    }

    pub(crate) fn chunk(&mut self, piece: &[u8]) -> io::Result<()> {
        let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
        bytes.extend_from_slice(piece);
        bytes.extend_from_slice(b"\r\n");
        self.raw(&bytes)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = &mut self.reader.get_mut().stream;
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Ends the connection after this request.
    pub(crate) fn close(&mut self) {
        self.closing = true;
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        self.reader.get_ref().stream.tcp()
    }

    fn keep(&mut self, body: Vec<u8>, trailers: wire::Fields) -> Seen {
        let seen = Seen { head: self.head.clone(), body, trailers };
        self.seen = Some(seen.clone());
        self.state.update(|state| state.seen.push(seen.clone()));
        seen
    }
}

fn accept(tcp: TcpStream, tls: Option<Arc<ServerConfig>>) -> Box<dyn Stream> {
    tcp.set_nodelay(true).unwrap();
    match tls {
        None => Box::new(tcp),
        Some(config) => Box::new(StreamOwned::new(ServerConnection::new(config).unwrap(), tcp)),
    }
}

fn converse(stream: Recorded, handler: &Handler, state: &Arc<Watched<State>>) -> io::Result<()> {
    state.update(|state| state.connections += 1);
    let mut reader = BufReader::new(stream);
    while let Some(head) = wire::read_head(&mut reader)? {
        let state = Arc::clone(state);
        let mut exchange = Exchange { head, reader, state, seen: None, closing: false };
        handler(&mut exchange)?;
        if exchange.closing {
            return Ok(());
        }
        exchange.request()?;
        reader = exchange.reader;
    }
    Ok(())
}

impl Stream for StreamOwned<ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}
