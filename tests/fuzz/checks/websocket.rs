//! WebSocket frames, as any peer may send them: whole, in fragments, masked, and cut anywhere by the
//! network.

use bytes::{Bytes, BytesMut};
use tillgate::proxy::websocket::{Head, Opcode, Relay, Sender, Violation};
use tillgate::scan::Find;

use super::carriers::spelt;
use super::scan::{Setting, is_card, masked};

/// The longest message that is let through.
const MESSAGE_BYTES_MAX: u64 = 8 << 10;
/// Longer inputs only take time.
const WIRE_MAX: usize = 64 << 10;

/// Reads a byte for the side and the rules, one for the sizes of the reads, and the others as bytes
/// on the wire or, where the first one is even, as frames to be built.
pub fn check(data: &[u8]) {
    let [selector, size, written @ ..] = data else { return };
    let side = if selector & 2 == 0 { Sender::Client } else { Sender::Server };
    let setting = Setting::of(selector >> 2);
    let mut wire = if selector & 1 == 0 { built(side, written) } else { written.to_vec() };
    wire.truncate(WIRE_MAX);
    let whole = relayed(side, &setting, [wire.as_slice()].into_iter());
    let cut = relayed(side, &setting, wire.chunks(usize::from(*size) + 1));
    assert!(whole.frames == cut.frames, "a cut of the network changes the frames");
    assert_eq!(whole.violation, cut.violation, "a cut of the network changes the verdict");
    let again = relayed(side, &setting, [whole.wire().as_slice()].into_iter());
    assert_eq!(again.violation, None, "what is sent on breaks the protocol");
    assert!(again.messages() == whole.messages(), "what is sent on is another message");
    assert_eq!(again.cards, 0, "a card survives masking");
}

/// What is sent on, every find masked.
#[derive(Default)]
struct Relayed {
    frames: Vec<(Head, Vec<u8>)>,
    violation: Option<Violation>,
    cards: usize,
}

fn relayed<'a>(side: Sender, setting: &Setting, reads: impl Iterator<Item = &'a [u8]>) -> Relayed {
    let mut relay = Relay::new(side, Some(setting.rules()), MESSAGE_BYTES_MAX);
    let mut relayed = Relayed::default();
    for read in reads {
        relay.push(read);
        loop {
            match relay.next_frame() {
                Ok(Some(frame)) => {
                    let finds = frame.runs.iter().flat_map(|run| &run.finds);
                    relayed.cards += finds.filter(|find: &&Find| is_card(find)).count();
                    relayed.frames.push((frame.head, masked(&frame.runs)));
                }
                Ok(None) => break,
                Err(violation) => {
                    relayed.violation = Some(violation);
                    return relayed;
                }
            }
        }
    }
    relayed
}

impl Relayed {
    fn wire(&self) -> Vec<u8> {
        let mut wire = BytesMut::new();
        for (head, payload) in &self.frames {
            head.write(&[Bytes::copy_from_slice(payload)], &mut wire);
        }
        wire.to_vec()
    }

    /// Whole messages and control frames, in the order in which they end. Of a message that has not
    /// ended, what the scanner holds back is not sent.
    fn messages(&self) -> Vec<(Opcode, Vec<u8>)> {
        let mut messages = Vec::new();
        let mut open: Option<(Opcode, Vec<u8>)> = None;
        for (head, payload) in &self.frames {
            if head.opcode.is_control() {
                messages.push((head.opcode, payload.clone()));
                continue;
            }
            let (_, text) = open.get_or_insert((head.opcode, Vec::new()));
            text.extend_from_slice(payload);
            if head.last {
                messages.extend(open.take());
            }
        }
        messages
    }
}

/// Frames in a valid order: each a byte for its kind and a text up to the next zero.
fn built(side: Sender, written: &[u8]) -> Vec<u8> {
    let mut wire = BytesMut::new();
    let mut within = false;
    for frame in written.split(|&byte| byte == 0) {
        let Some((&kind, text)) = frame.split_first() else { continue };
        let mut payload = spelt(text).into_bytes();
        let mut last = kind & 8 != 0;
        let opcode = match kind & 7 {
            0 => Opcode::Ping,
            1 => Opcode::Pong,
            2 => Opcode::Close,
            _ if within => Opcode::Continuation,
            3 => Opcode::Binary,
            _ => Opcode::Text,
        };
        if opcode.is_control() {
            payload.truncate(125);
            last = true;
        } else {
            within = !last;
        }
        let key = (side == Sender::Client).then_some([kind, 0x5A, !kind, kind.rotate_left(3)]);
        Head { last, opcode, key }.write(&[Bytes::from(payload)], &mut wire);
    }
    wire.to_vec()
}
