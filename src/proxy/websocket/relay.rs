//! Frames of one direction → the frames that are sent on, with what was found in them.
//!
//! A message is one text, however it is cut into frames: a number that begins in one fragment and
//! ends in the next is found. Where the scanner cannot decide the end of a fragment yet, that end
//! goes on with the next one. RFC 6455 §5.4 lets an intermediary cut messages anew where no
//! extension was negotiated, and none is here; a message of one frame of up to 64 KiB stays one.

use std::sync::Arc;

use bytes::BytesMut;

use super::frame::{Head, Opcode, Sender, Violation};
use super::reader::{Piece, Reader};
use crate::card::PAN_DIGITS_MIN;
use crate::scan::{Carrier, Decided, Rules, Stream};

/// The code before the text of a close frame (RFC 6455 §5.5.1).
const CLOSE_CODE_BYTES: usize = 2;

/// One direction of a connection.
pub struct Relay {
    reader: Reader,
    /// What to look for; nothing where this direction is not looked into.
    rules: Option<Arc<Rules>>,
    message_bytes_max: u64,
    message: Option<Message>,
}

/// A frame to be sent, once what was found in it has been dealt with.
pub struct Outgoing {
    /// How it begins.
    pub head: Head,
    /// Its payload, unmasked.
    pub runs: Vec<Decided>,
    /// What its message is read as.
    pub carrier: Carrier,
    /// Whether a message begins with it.
    pub begins: bool,
}

/// A message under way.
struct Message {
    opcode: Opcode,
    stream: Option<Stream>,
    carrier: Carrier,
    bytes: u64,
    /// Whether a frame of it has been sent on.
    begun: bool,
}

impl Relay {
    /// Begins with what one side sends. A message that is longer than `message_bytes_max` is refused.
    #[must_use]
    pub fn new(sender: Sender, rules: Option<Arc<Rules>>, message_bytes_max: u64) -> Self {
        Self { reader: Reader::new(sender), rules, message_bytes_max, message: None }
    }

    /// Takes what arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.reader.push(bytes);
    }

    /// The next frame to be sent. To be asked until there is none.
    ///
    /// # Errors
    /// When a peer sends what nobody may; nothing can be read after that.
    pub fn next_frame(&mut self) -> Result<Option<Outgoing>, Violation> {
        while let Some(piece) = self.reader.next()? {
            let outgoing = match piece.head.opcode.is_control() {
                true => Some(self.control(piece)),
                false => self.data(piece)?,
            };
            if outgoing.is_some() {
                return Ok(outgoing);
            }
        }
        Ok(None)
    }

    /// Control frames pass at once, also between the fragments of a message. Their payload is a text
    /// of its own: a page's script chooses the words it closes with.
    fn control(&self, piece: Piece) -> Outgoing {
        let mut text = piece.payload;
        let mut runs = Vec::new();
        if let (Some(rules), true) = (&self.rules, text.len() >= PAN_DIGITS_MIN) {
            if piece.head.opcode == Opcode::Close {
                runs.push(unlooked(text.split_to(CLOSE_CODE_BYTES)));
            }
            let mut stream = Stream::new(Arc::clone(rules), Carrier::Text);
            stream.push(text.freeze(), &mut runs);
            stream.finish(&mut runs);
        } else {
            runs.push(unlooked(text));
        }
        Outgoing { head: piece.head, runs, carrier: Carrier::Text, begins: false }
    }

    fn data(&mut self, piece: Piece) -> Result<Option<Outgoing>, Violation> {
        let (head, ends) = (piece.head, piece.ends_message());
        let rules = &self.rules;
        let mut message =
            self.message.take().unwrap_or_else(|| Message::begin(head.opcode, rules, &piece));
        let added = u64::try_from(piece.payload.len()).unwrap_or(u64::MAX);
        message.bytes = message.bytes.saturating_add(added);
        if message.bytes > self.message_bytes_max {
            return Err(Violation::TooLarge { limit_bytes: self.message_bytes_max });
        }
        let runs = message.scan(piece.payload, ends);
        let begins = !message.begun;
        let carrier = message.carrier;
        let opcode = if begins { message.opcode } else { Opcode::Continuation };
        if runs.is_empty() && !ends {
            self.message = Some(message);
            return Ok(None);
        }
        message.begun = true;
        self.message = (!ends).then_some(message);
        let head = Head { last: ends, opcode, key: head.key };
        Ok(Some(Outgoing { head, runs, carrier, begins }))
    }
}

impl Message {
    fn begin(opcode: Opcode, rules: &Option<Arc<Rules>>, first: &Piece) -> Self {
        let carrier = carrier_of(&first.payload);
        let stream = rules.as_ref().map(|rules| Stream::new(Arc::clone(rules), carrier));
        Self { opcode, stream, carrier, bytes: 0, begun: false }
    }

    /// What is decided with these further bytes. Binary messages are looked into as well: most carry
    /// text, and a client that wants to pass a number unseen must not only have to say "binary".
    fn scan(&mut self, payload: BytesMut, ends: bool) -> Vec<Decided> {
        let Some(stream) = &mut self.stream else {
            return if payload.is_empty() { Vec::new() } else { vec![unlooked(payload)] };
        };
        let mut runs = Vec::new();
        stream.push(payload.freeze(), &mut runs);
        if ends {
            stream.finish(&mut runs);
        }
        self.carrier = stream.carrier();
        runs
    }
}

fn unlooked(bytes: BytesMut) -> Decided {
    Decided { bytes: bytes.freeze(), finds: Vec::new() }
}

/// JSON also behind the numbers that Engine.IO and Socket.IO put before it (`42["pay",{…}]`).
fn carrier_of(first: &[u8]) -> Carrier {
    let text = first.trim_ascii_start();
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match text.get(digits) {
        Some(b'{' | b'[') => Carrier::Json,
        _ => Carrier::Text,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::scan::FieldRules;

    const CARD: &str = "4111111111111111";
    const MASKED: &str = "411111******1111";
    const KEY: Option<[u8; 4]> = Some([7, 99, 0, 250]);

    fn relay(sender: Sender) -> Relay {
        let rules = Arc::new(Rules::responses(FieldRules::default()));
        Relay::new(sender, Some(rules), 1 << 20)
    }

    fn frame(last: bool, opcode: Opcode, text: &[u8]) -> Vec<u8> {
        let mut wire = BytesMut::new();
        Head { last, opcode, key: KEY }.write(&[Bytes::copy_from_slice(text)], &mut wire);
        wire.to_vec()
    }

    /// What is sent on: each frame with every find masked.
    fn sent(relay: &mut Relay, wire: &[u8]) -> Vec<(Head, String)> {
        relay.push(wire);
        let mut frames = Vec::new();
        while let Some(outgoing) = relay.next_frame().unwrap() {
            let mut text = Vec::new();
            for decided in outgoing.runs {
                let mut run = decided.bytes.to_vec();
                decided.finds.iter().for_each(|find| find.mask(&mut run));
                text.extend(run);
            }
            frames.push((outgoing.head, String::from_utf8_lossy(&text).into_owned()));
        }
        frames
    }

    fn texts(frames: &[(Head, String)]) -> Vec<&str> {
        frames.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn a_message_of_one_frame_stays_one_frame() {
        let mut relay = relay(Sender::Client);
        let frames = sent(&mut relay, &frame(true, Opcode::Text, b"hello 12"));
        assert_eq!(frames[0].0, Head { last: true, opcode: Opcode::Text, key: KEY });
        assert_eq!(texts(&frames), ["hello 12"]);
        let pay = format!("pay {CARD} now");
        let frames = sent(&mut relay, &frame(true, Opcode::Binary, pay.as_bytes()));
        assert_eq!(frames[0].0.opcode, Opcode::Binary);
        assert_eq!(texts(&frames), [format!("pay {MASKED} now")]);
    }

    #[test]
    fn a_ping_passes_while_the_end_of_a_fragment_is_held_back() {
        let mut relay = relay(Sender::Client);
        let begun = sent(&mut relay, &frame(false, Opcode::Text, b"pay 41111111"));
        let ping = sent(&mut relay, &frame(true, Opcode::Ping, b"are you there"));
        assert_eq!(texts(&ping), ["are you there"]);
        let ended = sent(&mut relay, &frame(true, Opcode::Continuation, b"11111111."));
        let all: String = [begun, ended.clone()].concat().iter().map(|(_, t)| t.clone()).collect();
        assert_eq!(all, format!("pay {MASKED}."));
        assert!(ended.last().unwrap().0.last);
    }

    #[test]
    fn the_words_of_a_close_are_looked_into_and_its_code_is_not() {
        let text = [&[3, 232][..], CARD.as_bytes()].concat();
        let frames = sent(&mut relay(Sender::Client), &frame(true, Opcode::Close, &text));
        assert!(frames[0].1.ends_with(MASKED));
    }

    #[test]
    fn a_message_over_the_limit_is_refused_before_its_end() {
        let mut relay = Relay::new(Sender::Client, None, 10);
        relay.push(&frame(false, Opcode::Text, b"123456"));
        assert!(relay.next_frame().unwrap().is_some());
        relay.push(&frame(false, Opcode::Continuation, b"78901"));
        assert!(matches!(relay.next_frame(), Err(Violation::TooLarge { limit_bytes: 10 })));
    }

    #[test]
    fn a_number_behind_a_socket_io_prefix_stays_json() {
        let message = format!("42[\"pay\",{{\"card\":{CARD}}}]");
        let frames =
            sent(&mut relay(Sender::Client), &frame(true, Opcode::Text, message.as_bytes()));
        assert_eq!(texts(&frames), [r#"42["pay",{"card":4111110000001111}]"#]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        /// However a message is cut into frames, and its frames into reads, the same text arrives.
        #[test]
        fn every_cut_into_frames_gives_the_same_message(
            // No vowels: a word such as `ean` says that the number is no card.
            before in "[b-df-hj-np-tv-z .]{0,30}", after in "[b-df-hj-np-tv-z .]{0,30}",
            mut cuts in prop::collection::vec(0..80_usize, 0..4), read in 1..90_usize,
        ) {
            let message = format!("{before} {CARD} {after}");
            let expected = format!("{before} {MASKED} {after}");
            cuts.sort_unstable();
            let mut wire = Vec::new();
            let mut at = 0;
            for cut in cuts.iter().map(|cut| *cut.min(&message.len())) {
                let opcode = if wire.is_empty() { Opcode::Text } else { Opcode::Continuation };
                wire.extend(frame(false, opcode, &message.as_bytes()[at..cut]));
                at = cut;
            }
            let opcode = if wire.is_empty() { Opcode::Text } else { Opcode::Continuation };
            wire.extend(frame(true, opcode, &message.as_bytes()[at..]));
            let mut relay = relay(Sender::Client);
            let frames: Vec<_> =
                wire.chunks(read).flat_map(|chunk| sent(&mut relay, chunk)).collect();
            prop_assert_eq!(texts(&frames).concat(), expected);
            prop_assert_eq!(frames.iter().filter(|(head, _)| head.last).count(), 1);
            prop_assert_eq!(frames[0].0.opcode, Opcode::Text);
            let later = frames.iter().skip(1).map(|(head, _)| head.opcode);
            prop_assert!(later.into_iter().all(|opcode| opcode == Opcode::Continuation));
        }
    }
}
