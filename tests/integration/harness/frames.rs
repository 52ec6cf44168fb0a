//! WebSocket by hand: frames as bytes, a client that speaks them, a shop that echoes them.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Client, Sidecar, Upstream, Watched};

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// One frame, unmasked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) last: bool,
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

/// A shop that sends what it is told to, then echoes data, answers pings and closes when told to.
pub(crate) struct Shop {
    pub(crate) upstream: Upstream,
    received: Arc<Watched<Vec<Frame>>>,
}

/// A client's connection after 101.
pub(crate) struct WebSocket {
    pub(crate) client: Client,
}

impl Frame {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// The code and the words of a close.
    pub(crate) fn close(&self) -> (u16, String) {
        assert_eq!(self.opcode, CLOSE, "{self:?}");
        let code = u16::from_be_bytes([self.payload[0], self.payload[1]]);
        (code, String::from_utf8_lossy(&self.payload[2..]).into_owned())
    }
}

impl Shop {
    /// Begins with these frames.
    pub(crate) fn saying(greeting: Vec<u8>) -> Self {
        Self::beside(greeting, None)
    }

    /// The same at `/ws`, beside a page.
    pub(crate) fn beside(greeting: Vec<u8>, page: Option<String>) -> Self {
        let received: Arc<Watched<Vec<Frame>>> = Arc::default();
        let heard = Arc::clone(&received);
        let upstream = Upstream::start(move |exchange| {
            if let (Some(page), true) = (&page, exchange.target() != "/ws") {
                return exchange.answer(200, &[("content-type", "text/html")], page.as_bytes());
            }
            exchange.arrived();
            let accept = accept(exchange.head.field("sec-websocket-key").unwrap());
            let fields = [
                ("connection", "Upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-accept", &accept),
            ];
            exchange.begin(101, &fields)?;
            exchange.close();
            exchange.raw(&greeting)?;
            let mut arrived = Vec::new();
            loop {
                let Some((frame, length)) = parse(&arrived) else {
                    let more = exchange.some()?;
                    if more.is_empty() {
                        return Ok(());
                    }
                    arrived.extend(more);
                    continue;
                };
                arrived.drain(..length);
                assert!(frame.masked, "a client's frame without a mask");
                heard.update(|heard| heard.push(frame.clone()));
                let opcode = if frame.opcode == PING { PONG } else { frame.opcode };
                exchange.raw(&write(frame.last, opcode, None, &frame.payload))?;
                if opcode == CLOSE {
                    return Ok(());
                }
            }
        });
        Self { upstream, received }
    }

    pub(crate) fn echo() -> Self {
        Self::saying(Vec::new())
    }

    /// So many frames, as soon as they have arrived.
    pub(crate) fn wait(&self, count: usize) -> Vec<Frame> {
        let frames = self.received.wait_for(|all| (all.len() >= count).then(|| all.clone()));
        frames.unwrap_or_else(|| panic!("not {count} frames: {:?}", self.received.lock()))
    }

    /// The text of the first whole message, and how it was cut.
    pub(crate) fn message(&self) -> (String, usize) {
        let whole = |all: &Vec<Frame>| {
            let data: Vec<_> = all.iter().filter(|frame| frame.opcode < CLOSE).collect();
            let end = data.iter().position(|frame| frame.last)?;
            let bytes: Vec<u8> = data[..=end].iter().flat_map(|it| it.payload.clone()).collect();
            Some((String::from_utf8_lossy(&bytes).into_owned(), end + 1))
        };
        self.received.wait_for(whole).expect("no whole message arrived")
    }
}

impl WebSocket {
    /// Asks for `/ws`, offering compression as browsers do.
    pub(crate) fn open(sidecar: &Sidecar) -> Self {
        Self::over(sidecar.https())
    }

    pub(crate) fn over(mut client: Client) -> Self {
        let fields = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-version", "13"),
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
        ];
        let answer = client.request("GET", "/ws", &fields, b"");
        assert_eq!(answer.status, 101);
        assert_eq!(answer.field("sec-websocket-extensions"), None);
        Self { client }
    }

    pub(crate) fn send(&mut self, last: bool, opcode: u8, payload: impl AsRef<[u8]>) {
        let key = Some([0x11, 0xfe, 0x37, 0x80]);
        self.client.send(write(last, opcode, key, payload.as_ref()));
    }

    pub(crate) fn receive(&mut self) -> Frame {
        let head = self.client.bytes(2);
        let rest = match head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mut bytes = [head, self.client.bytes(rest)].concat();
        let length = length(&bytes).unwrap().0;
        bytes.extend(self.client.bytes(length));
        let (frame, _) = parse(&bytes).unwrap();
        assert!(!frame.masked, "a server's frame with a mask");
        frame
    }

    /// The next whole message.
    pub(crate) fn message(&mut self) -> String {
        let mut text = Vec::new();
        loop {
            let frame = self.receive();
            assert!(frame.opcode < CLOSE, "{frame:?}");
            text.extend(frame.payload);
            if frame.last {
                return String::from_utf8_lossy(&text).into_owned();
            }
        }
    }
}

/// A frame's bytes.
pub(crate) fn write(last: bool, opcode: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mask = if key.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![if last { 0x80 } else { 0 } | opcode];
    match payload.len() {
        short @ 0..126 => bytes.push(mask | u8::try_from(short).unwrap()),
        medium @ 126..65_536 => {
            bytes.push(mask | 126);
            bytes.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            bytes.push(mask | 127);
            bytes.extend(u64::try_from(long).unwrap().to_be_bytes());
        }
    }
    bytes.extend(key.into_iter().flatten());
    let key = key.unwrap_or_default();
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// What a key is answered with (RFC 6455 section 1.3).
fn accept(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

/// The first frame and its length, if all of it is there.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (length, mut at) = length(bytes)?;
    let masked = bytes[1] & 0x80 != 0;
    let mut key = [0; 4];
    if masked {
        key.copy_from_slice(bytes.get(at..at + 4)?);
        at += 4;
    }
    let payload = bytes.get(at..at + length)?;
    let payload = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    let (last, opcode) = (bytes[0] & 0x80 != 0, bytes[0] & 0x0f);
    Some((Frame { last, opcode, masked, payload }, at + length))
}

/// How long the payload is, and where its mask or itself begins.
fn length(bytes: &[u8]) -> Option<(usize, usize)> {
    Some(match bytes.get(1)? & 0x7f {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?).try_into().ok()?, 10),
        short => (short.into(), 2),
    })
}
