//! HTTP/1.1 messages as bytes; strict enough to notice what a lenient parser would forgive.

use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use super::canary::Tape;

/// A socket, with or without TLS.
pub(crate) trait Stream: Read + Write + Send {
    /// The socket below.
    fn tcp(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// A stream whose received bytes are kept.
pub(crate) struct Recorded {
    pub(crate) stream: Box<dyn Stream>,
    tape: Tape,
}

impl Recorded {
    pub(crate) fn new(stream: Box<dyn Stream>, tape: &Tape) -> Self {
        Self { stream, tape: Arc::clone(tape) }
    }
}

impl Read for Recorded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        let mut tape = self.tape.lock().unwrap();
        // Nobody looks for a card in more than this; the big bodies of the flow tests are zeros.
        if tape.len() < 8 << 20 {
            tape.extend_from_slice(&buffer[..count]);
        }
        Ok(count)
    }
}

/// Names in lower case and values, in order.
pub(crate) type Fields = Vec<(String, String)>;

/// A start line and its fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) fields: Fields,
}

/// A request as the upstream received it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
}

/// An answer as the client received it.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Fields,
}

impl Head {
    /// Every value of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let named = self.fields.iter().filter(|(field, _)| field == name);
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// The only value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() < 2, "{name} twice: {all:?}");
        all.first().copied()
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().flat_map(|value| value.split(',')).any(|item| item.trim() == token)
    }
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        self.head.start.split(' ').next().unwrap()
    }

    pub(crate) fn target(&self) -> &str {
        self.head.start.split(' ').nth(1).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a form field, still percent-encoded.
    pub(crate) fn form(&self, name: &str) -> String {
        let text = self.text();
        let value = text.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
        value.unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.field(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Asserts the status, and for our own answers that the request can be found again by its id.
    pub(crate) fn assert_refused(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text());
        let id = self.field("x-request-id").expect("a refusal without x-request-id");
        assert!(!id.is_empty());
    }
}

/// Reads a head; `None` where the connection ended before one began.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Option<Head>> {
    let Some(start) = read_line(reader)? else { return Ok(None) };
    let mut head = Head { start, fields: Vec::new() };
    head.fields = read_fields(reader)?;
    Ok(Some(head))
}

/// Reads a body as its head frames it; an unframed one is empty, or goes `to_the_end`.
pub(crate) fn read_body(
    reader: &mut impl BufRead,
    head: &Head,
    to_the_end: bool,
) -> io::Result<(Vec<u8>, Fields)> {
    let mut body = Vec::new();
    if head.lists("transfer-encoding", "chunked") {
        while let Some(piece) = read_chunk(reader)? {
            body.extend(piece);
        }
        return Ok((body, read_fields(reader)?));
    }
    if let Some(length) = head.field("content-length") {
        body.resize(length.parse().map_err(io::Error::other)?, 0);
        reader.read_exact(&mut body)?;
        return Ok((body, Vec::new()));
    }
    if to_the_end {
        reader.read_to_end(&mut body)?;
    }
    Ok((body, Vec::new()))
}

/// Reads one chunk; `None` is the last one, whose trailer is still to be read.
pub(crate) fn read_chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let line = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let size = line.split(';').next().unwrap_or_default();
    let size = usize::from_str_radix(size, 16).map_err(io::Error::other)?;
    if size == 0 {
        return Ok(None);
    }
    let mut piece = vec![0; size];
    reader.read_exact(&mut piece)?;
    let end = read_line(reader)?;
    assert_eq!(end.as_deref(), Some(""), "a chunk longer than its size");
    Ok(Some(piece))
}

fn read_fields(reader: &mut impl BufRead) -> io::Result<Fields> {
    let mut fields = Vec::new();
    loop {
        let line = read_line(reader)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line.is_empty() {
            return Ok(fields);
        }
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line}"));
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
}

fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    if reader.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    let text = line.strip_suffix(b"\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(Some(text.iter().map(|byte| char::from(*byte)).collect()))
}
