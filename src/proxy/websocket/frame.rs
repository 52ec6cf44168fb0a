//! One frame as it is written (RFC 6455 §5.2).

use bytes::{BufMut as _, Bytes, BytesMut};
use thiserror::Error;

/// The largest payload of a control frame.
const CONTROL_BYTES_MAX: u64 = 125;
/// The largest payload whose length is written in the second byte, and in two bytes after it.
const SHORT_BYTES_MAX: u64 = 125;
const MEDIUM_BYTES_MAX: u64 = 65_535;

/// What a payload is masked with.
pub type Key = [u8; 4];

/// Whose frames are read: a client's are masked, a server's are not (§5.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sender {
    /// The client.
    Client,
    /// The shop.
    Server,
}

/// What a frame is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opcode {
    /// Begins a binary message.
    Binary,
    /// The sender's last frame.
    Close,
    /// Goes on with the message that was begun.
    Continuation,
    /// Asks for a pong.
    Ping,
    /// Answers a ping.
    Pong,
    /// Begins a text message.
    Text,
}

/// A frame without its payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Head {
    /// Whether its message ends with it.
    pub last: bool,
    /// What it is.
    pub opcode: Opcode,
    /// What it is masked with, if it is.
    pub key: Option<Key>,
}

/// A head that was read.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Opened {
    pub(super) head: Head,
    /// How long the payload is.
    pub(super) payload_bytes: u64,
    /// How long the head was.
    pub(super) head_bytes: usize,
}

/// What no peer may send; both are told with code 1002, or 1009 for what is too large.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Violation {
    /// A control frame that is cut in parts or longer than 125 bytes.
    #[error("a control frame is too long or in parts")]
    Control,
    /// A length that is not written in the fewest bytes, or that nothing can have.
    #[error("a frame's length is not written as it must be")]
    Length,
    /// A client's frame without a mask, or a server's with one.
    #[error("a frame is masked by the wrong side")]
    Mask,
    /// A kind of frame that does not exist.
    #[error("a frame has an unknown opcode")]
    Opcode,
    /// A continuation of nothing, or a message within a message.
    #[error("a frame is out of order")]
    Order,
    /// A bit of an extension that was not negotiated.
    #[error("a frame uses an extension that was not negotiated")]
    Reserved,
    /// A message that is larger than the route allows.
    #[error("a message is larger than {limit_bytes} bytes")]
    TooLarge {
        /// What the route allows.
        limit_bytes: u64,
    },
}

impl Opcode {
    fn of(nibble: u8) -> Option<Self> {
        match nibble {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }

    fn nibble(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// Whether it may stand between the fragments of a message, and is never cut in parts (§5.5).
    #[must_use]
    pub fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

impl Head {
    /// Reads a head from the beginning of `bytes`; `None` where it has not arrived as a whole.
    pub(super) fn read(bytes: &[u8], sender: Sender) -> Result<Option<Opened>, Violation> {
        let Some((&[first, second], rest)) = bytes.split_first_chunk() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err(Violation::Reserved);
        }
        let last = first & 0x80 != 0;
        let opcode = Opcode::of(first & 0x0f).ok_or(Violation::Opcode)?;
        let masked = second & 0x80 != 0;
        if masked != (sender == Sender::Client) {
            return Err(Violation::Mask);
        }
        let Some((payload_bytes, rest)) = read_length(second & 0x7f, rest)? else {
            return Ok(None);
        };
        if opcode.is_control() && (!last || payload_bytes > CONTROL_BYTES_MAX) {
            return Err(Violation::Control);
        }
        let (key, rest) = match (masked, rest.split_first_chunk()) {
            (false, _) => (None, rest),
            (true, Some((key, rest))) => (Some(*key), rest),
            (true, None) => return Ok(None),
        };
        let head = Self { last, opcode, key };
        Ok(Some(Opened { head, payload_bytes, head_bytes: bytes.len() - rest.len() }))
    }

    /// Appends the frame with this payload, masked as the head says.
    pub fn write(&self, payload: &[Bytes], wire: &mut BytesMut) {
        let length: usize = payload.iter().map(Bytes::len).sum();
        wire.reserve(length + 14);
        wire.put_u8(if self.last { 0x80 } else { 0 } | self.opcode.nibble());
        let mask_bit = if self.key.is_some() { 0x80 } else { 0 };
        match (u8::try_from(length), u16::try_from(length)) {
            (Ok(short), _) if u64::from(short) <= SHORT_BYTES_MAX => wire.put_u8(mask_bit | short),
            (_, Ok(medium)) => {
                wire.put_u8(mask_bit | 126);
                wire.put_u16(medium);
            }
            _ => {
                wire.put_u8(mask_bit | 127);
                wire.put_u64(u64::try_from(length).unwrap_or(u64::MAX));
            }
        }
        if let Some(key) = self.key {
            wire.put_slice(&key);
        }
        let begin = wire.len();
        payload.iter().for_each(|piece| wire.put_slice(piece));
        if let (Some(key), Some(written)) = (self.key, wire.get_mut(begin..)) {
            apply(key, 0, written);
        }
    }
}

/// Masks or unmasks bytes that stand `offset` bytes behind the beginning of their payload (§5.3).
pub(super) fn apply(mut key: Key, offset: u64, bytes: &mut [u8]) {
    key.rotate_left(usize::try_from(offset % 4).unwrap_or(0));
    let (fours, rest) = bytes.as_chunks_mut::<4>();
    let word = u32::from_ne_bytes(key);
    for four in fours {
        *four = (u32::from_ne_bytes(*four) ^ word).to_ne_bytes();
    }
    rest.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
}

/// The length that seven bits, and the bytes after them, tell. One writing only (§5.2).
fn read_length(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Violation> {
    let (length, rest, at_least) = match short {
        126 => match rest.split_first_chunk() {
            Some((bytes, rest)) => (u64::from(u16::from_be_bytes(*bytes)), rest, SHORT_BYTES_MAX),
            None => return Ok(None),
        },
        127 => match rest.split_first_chunk() {
            Some((bytes, rest)) => (u64::from_be_bytes(*bytes), rest, MEDIUM_BYTES_MAX),
            None => return Ok(None),
        },
        short => return Ok(Some((u64::from(short), rest))),
    };
    if length <= at_least || length >> 63 != 0 {
        return Err(Violation::Length);
    }
    Ok(Some((length, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], sender: Sender) -> Result<Option<Opened>, Violation> {
        Head::read(bytes, sender)
    }

    #[test]
    fn the_examples_of_the_rfc_are_read_and_written() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let opened = read(&hello, Sender::Client).unwrap().unwrap();
        assert_eq!((opened.head_bytes, opened.payload_bytes), (6, 5));
        let mut payload = hello[6..].to_vec();
        apply(opened.head.key.unwrap(), 0, &mut payload);
        assert_eq!(payload, b"Hello");
        let mut wire = BytesMut::new();
        opened.head.write(&[Bytes::from_static(b"He"), Bytes::from_static(b"llo")], &mut wire);
        assert_eq!(&wire[..], hello);
    }

    #[test]
    fn every_length_comes_back() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let head = Head { last: false, opcode: Opcode::Binary, key: None };
            let mut wire = BytesMut::new();
            head.write(&[Bytes::from(vec![7; length])], &mut wire);
            let opened = read(&wire, Sender::Server).unwrap().unwrap();
            assert_eq!(opened.head, head);
            assert_eq!(opened.payload_bytes, u64::try_from(length).unwrap());
            assert_eq!(opened.head_bytes + length, wire.len());
            for cut in 0..opened.head_bytes {
                assert_eq!(read(&wire[..cut], Sender::Server), Ok(None));
            }
        }
    }

    #[test]
    fn what_no_peer_may_send_is_refused() {
        let long = [0x82, 127, 0x80, 0, 0, 0, 0, 1, 0, 0];
        let cases: [(&[u8], Violation); 8] = [
            (&[0xc1, 0], Violation::Reserved),
            (&[0x83, 0], Violation::Opcode),
            (&[0x81, 0x80, 0, 0, 0, 0], Violation::Mask),
            (&[0x09, 0], Violation::Control),
            (&[0x89, 126, 0, 126], Violation::Control),
            (&[0x82, 126, 0, 125], Violation::Length),
            (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Violation::Length),
            (&long, Violation::Length),
        ];
        for (bytes, violation) in cases {
            assert_eq!(read(bytes, Sender::Server), Err(violation), "{bytes:?}");
        }
        assert_eq!(read(&[0x81, 0], Sender::Client), Err(Violation::Mask));
    }

    #[test]
    fn a_mask_goes_on_in_the_middle_of_a_payload() {
        let key = [1, 2, 3, 4];
        let mut whole = *b"a payload of some length";
        let mut parts = whole;
        apply(key, 0, &mut whole);
        for (at, byte) in parts.iter_mut().enumerate() {
            apply(key, u64::try_from(at).unwrap(), std::slice::from_mut(byte));
        }
        assert_eq!(whole, parts);
    }
}
