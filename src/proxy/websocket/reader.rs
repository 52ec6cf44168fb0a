//! Bytes as they arrive → pieces of frames, unmasked and in order.
//!
//! Holds at most one piece and what was pushed since. A frame up to [`PIECE_BYTES`] long is one
//! piece; a longer one is several.

use bytes::{Buf as _, BytesMut};

use super::frame::{Head, Opcode, Opened, Sender, Violation, apply};

/// How much of a frame is waited for.
pub(super) const PIECE_BYTES: usize = 64 << 10;

/// Reads the frames of one side.
pub(super) struct Reader {
    sender: Sender,
    buffer: BytesMut,
    open: Option<Open>,
    /// A message has begun and not ended.
    within: bool,
    /// The sender has said that nothing follows.
    closed: bool,
}

/// A frame, or a part of one.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Piece {
    /// The frame's head.
    pub(super) head: Head,
    /// Unmasked.
    pub(super) payload: BytesMut,
    /// Whether the frame ends with it.
    pub(super) ends_frame: bool,
}

/// A frame whose payload is arriving.
struct Open {
    head: Head,
    taken: u64,
    left: u64,
}

impl Piece {
    /// Whether its message ends with it.
    pub(super) fn ends_message(&self) -> bool {
        self.ends_frame && self.head.last
    }
}

impl Reader {
    pub(super) fn new(sender: Sender) -> Self {
        Self { sender, buffer: BytesMut::new(), open: None, within: false, closed: false }
    }

    /// Takes what arrived. What comes after a close is no message to anybody (RFC 6455 §5.5.1), and
    /// is dropped.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if !self.closed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next piece, once it has arrived. To be asked until there is none.
    pub(super) fn next(&mut self) -> Result<Option<Piece>, Violation> {
        if self.closed {
            return Ok(None);
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => match Head::read(&self.buffer, self.sender)? {
                Some(opened) => self.begin(&opened)?,
                None => return Ok(None),
            },
        };
        let Open { head, taken, left } = open;
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        if self.buffer.len() < length {
            self.open = Some(Open { head, taken, left });
            return Ok(None);
        }
        let mut payload = self.buffer.split_to(length);
        if let Some(key) = head.key {
            apply(key, taken, &mut payload);
        }
        let length = u64::try_from(length).unwrap_or(left);
        let (taken, left) = (taken + length, left - length);
        let ends_frame = left == 0;
        if !ends_frame {
            self.open = Some(Open { head, taken, left });
        } else if head.opcode == Opcode::Close {
            self.closed = true;
            self.buffer.clear();
        }
        Ok(Some(Piece { head, payload, ends_frame }))
    }

    fn begin(&mut self, opened: &Opened) -> Result<Open, Violation> {
        let head = opened.head;
        if !head.opcode.is_control() {
            if self.within != (head.opcode == Opcode::Continuation) {
                return Err(Violation::Order);
            }
            self.within = !head.last;
        }
        self.buffer.advance(opened.head_bytes);
        Ok(Open { head, taken: 0, left: opened.payload_bytes })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn head(last: bool, opcode: Opcode, sender: Sender) -> Head {
        Head { last, opcode, key: (sender == Sender::Client).then_some([9, 200, 31, 4]) }
    }

    fn wire(frames: &[(Head, Vec<u8>)]) -> BytesMut {
        let mut wire = BytesMut::new();
        for (head, payload) in frames {
            head.write(&[Bytes::copy_from_slice(payload)], &mut wire);
        }
        wire
    }

    fn read(reader: &mut Reader, bytes: &[u8]) -> Result<Vec<Piece>, Violation> {
        reader.push(bytes);
        std::iter::from_fn(|| reader.next().transpose()).collect()
    }

    /// Messages in parts, with control frames between.
    fn frames(sender: Sender) -> impl Strategy<Value = Vec<(Head, Vec<u8>)>> {
        // Most are short; some need a longer length field.
        let payload = prop_oneof![
            4 => prop::collection::vec(any::<u8>(), 0..12),
            1 => prop::collection::vec(any::<u8>(), 124..130),
        ];
        let part = (payload, any::<bool>());
        let message = (any::<bool>(), prop::collection::vec(part, 1..4));
        prop::collection::vec(message, 1..4).prop_map(move |messages| {
            let mut frames = Vec::new();
            for (text, parts) in messages {
                let count = parts.len();
                for (at, (payload, ping)) in parts.into_iter().enumerate() {
                    if ping {
                        frames.push((head(true, Opcode::Ping, sender), b"ping".to_vec()));
                    }
                    let opcode = match (at, text) {
                        (0, true) => Opcode::Text,
                        (0, false) => Opcode::Binary,
                        _ => Opcode::Continuation,
                    };
                    frames.push((head(at + 1 == count, opcode, sender), payload));
                }
            }
            frames
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_cut_gives_the_same_frames(
            frames in prop_oneof![frames(Sender::Client), frames(Sender::Server)],
        ) {
            let sender =
                if frames[0].0.key.is_some() { Sender::Client } else { Sender::Server };
            let wire = wire(&frames);
            let expected: Vec<Piece> = frames
                .into_iter()
                .map(|(head, payload)| {
                    Piece { head, payload: BytesMut::from(&payload[..]), ends_frame: true }
                })
                .collect();
            for cut in 0..=wire.len() {
                let mut reader = Reader::new(sender);
                let mut pieces = read(&mut reader, &wire[..cut]).unwrap();
                pieces.extend(read(&mut reader, &wire[cut..]).unwrap());
                prop_assert_eq!(&pieces, &expected);
            }
            let mut reader = Reader::new(sender);
            let pieces: Vec<Piece> =
                wire.iter().flat_map(|byte| read(&mut reader, &[*byte]).unwrap()).collect();
            prop_assert_eq!(pieces, expected);
        }

        #[test]
        fn noise_is_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut reader = Reader::new(Sender::Client);
            let _either_way = read(&mut reader, &bytes);
        }
    }

    #[test]
    fn a_long_frame_comes_in_pieces_and_is_never_held_whole() {
        let payload: Vec<u8> = (0..=255).cycle().take(3 * PIECE_BYTES + 10).collect();
        let wire = wire(&[(head(true, Opcode::Text, Sender::Client), payload.clone())]);
        let mut reader = Reader::new(Sender::Client);
        let mut pieces = Vec::new();
        for chunk in wire.chunks(10_000) {
            pieces.extend(read(&mut reader, chunk).unwrap());
            assert!(reader.buffer.len() < PIECE_BYTES);
        }
        let lengths: Vec<_> = pieces.iter().map(|piece| piece.payload.len()).collect();
        assert_eq!(lengths, [PIECE_BYTES, PIECE_BYTES, PIECE_BYTES, 10]);
        assert_eq!(pieces.iter().filter(|piece| piece.ends_message()).count(), 1);
        let read: Vec<u8> = pieces.iter().flat_map(|piece| piece.payload.to_vec()).collect();
        assert_eq!(read, payload);
    }

    #[test]
    fn a_message_within_a_message_and_a_continuation_of_nothing_are_refused() {
        let frame = |last, opcode| (head(last, opcode, Sender::Server), Vec::new());
        let cases = [
            vec![frame(true, Opcode::Continuation)],
            vec![frame(false, Opcode::Text), frame(true, Opcode::Text)],
            vec![frame(true, Opcode::Text), frame(false, Opcode::Continuation)],
        ];
        for frames in cases {
            let mut reader = Reader::new(Sender::Server);
            assert_eq!(read(&mut reader, &wire(&frames)), Err(Violation::Order));
        }
    }

    #[test]
    fn nothing_follows_a_close() {
        let close = (head(true, Opcode::Close, Sender::Server), vec![3, 232]);
        let text = (head(true, Opcode::Text, Sender::Server), b"late".to_vec());
        let mut reader = Reader::new(Sender::Server);
        let pieces = read(&mut reader, &wire(&[close, text.clone()])).unwrap();
        assert_eq!(pieces.len(), 1);
        assert_eq!(read(&mut reader, &wire(&[text])), Ok(Vec::new()));
    }
}
