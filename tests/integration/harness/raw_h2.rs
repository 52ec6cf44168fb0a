//! An HTTP/2 client that may say anything (RFC 9113): frames and fields are written by hand.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::{Client, HOST, Tls};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// What came of a stream.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Outcome {
    /// A head; 0 where its status is none that HPACK has a number for.
    Answered(u16),
    /// RST_STREAM with this code.
    Reset(u32),
    /// GOAWAY with this code.
    GoneAway(u32),
    /// The connection ended without a word.
    Closed,
}

/// One connection.
pub(crate) struct RawH2 {
    client: Client,
}

impl RawH2 {
    /// Shakes hands and says hello.
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let tls = Tls::with(HOST, rustls::ALL_VERSIONS, &[b"h2"]);
        let mut client = tls.connect(address).unwrap();
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut this = Self { client };
        this.frame(SETTINGS, 0, 0, &[]).unwrap();
        this
    }

    /// From now on, whoever does not read from us within this time is given up.
    pub(crate) fn be_impatient(&self) {
        self.client.tcp().set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.client.try_send(bytes)
    }

    pub(crate) fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> io::Result<()> {
        self.client.try_send(&frame(kind, flags, stream, payload))
    }

    /// A request's head, in one frame.
    pub(crate) fn head(&mut self, stream: u32, fields: &[(&str, &str)], flags: u8) {
        let _answered_before = self.frame(HEADERS, END_HEADERS | flags, stream, &block(fields));
    }

    /// What comes of a stream; settings and pings are confirmed meanwhile.
    pub(crate) fn outcome(&mut self, stream: u32) -> Outcome {
        loop {
            let Ok((kind, flags, id, payload)) = self.next_frame() else { return Outcome::Closed };
            match kind {
                SETTINGS if flags & ACK == 0 => drop(self.frame(SETTINGS, ACK, 0, &[])),
                PING if flags & ACK == 0 => drop(self.frame(PING, ACK, 0, &payload)),
                GOAWAY => return Outcome::GoneAway(number(&payload[4..8])),
                RST_STREAM if id == stream => return Outcome::Reset(number(&payload)),
                HEADERS if id == stream => return Outcome::Answered(status(&payload)),
                _ => {}
            }
        }
    }

    /// The next so many bytes of this stream's body; `None` where it ends before.
    pub(crate) fn data(&mut self, stream: u32, count: usize) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < count {
            match self.next_frame().ok()? {
                (DATA, flags, id, payload) if id == stream => {
                    bytes.extend(payload);
                    if flags & END_STREAM != 0 && bytes.len() < count {
                        return None;
                    }
                }
                (RST_STREAM, _, id, _) if id == stream => return None,
                _ => {}
            }
        }
        Some(bytes)
    }

    pub(crate) fn next_frame(&mut self) -> io::Result<(u8, u8, u32, Vec<u8>)> {
        let head = self.client.try_bytes(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = self.client.try_bytes(length)?;
        Ok((head[3], head[4], number(&head[5..9]), payload))
    }
}

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// Fields as literals that enter no table (RFC 7541 section 6.2.2), whatever is in them.
pub(crate) fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, value) in fields {
        bytes.push(0);
        for text in [name, value] {
            bytes.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
            bytes.extend_from_slice(text.as_bytes());
        }
    }
    bytes
}

/// The fields of a request without a body.
pub(crate) fn get(path: &str) -> Vec<(&str, &str)> {
    vec![(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", path)]
}

/// RFC 7541 appendix A.
fn status(block: &[u8]) -> u16 {
    let indexed = block.iter().find(|byte| **byte & 0xe0 != 0x20);
    match indexed {
        Some(0x88) => 200,
        Some(0x89) => 204,
        Some(0x8c) => 400,
        Some(0x8d) => 404,
        _ => 0,
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes.try_into().unwrap()) & 0x7fff_ffff
}
