//! What a process and the one that succeeds it say to each other, over a pair of Unix sockets.
//!
//! Words are short and whoever does not answer in time is given up, so that both sides block: a thread
//! of its own listens on each. Verification codes and ticket keys go over it; it is memory of the
//! kernel, never a file, and what holds them here is wiped.

use std::io::{self, ErrorKind, Read, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::sockets::Place;
use crate::card::{Cvv, Token};
use crate::telemetry::audit::AuditMark;
use crate::vault::HeldCode;

/// Names the process that started us as its successor, in the environment.
pub(super) const VARIABLE: &str = "TILLGATE_UPGRADE";

/// Of what both sides say. One of another version begins without any inheritance: it is refused.
pub(super) const VERSION: u32 = 1;

/// No word is longer.
const WORD_BYTES_MAX: u32 = 16 << 20;

/// The kinds of words, in the order in which they are said.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Old: what you inherit.
    Hello,
    /// New: I could serve.
    Ready,
    /// New: I cannot, and why.
    Refused,
    /// Old: a verification code that waits.
    Code,
    /// Old: serve.
    Go,
    /// New: I do.
    Serving,
    /// Old: keep this code of a request that is still here.
    Keep,
    /// Old: give me the code of a stand-in.
    Take,
    /// New: the answer to one of the two.
    Answer,
    /// Old: where cards were seen since.
    Seen,
    /// Old: what was counted since lies beside the file.
    Counts,
    /// Old: what the keys of session tickets come from.
    Tickets,
}

const KINDS: [Kind; 12] = [
    Kind::Hello,
    Kind::Ready,
    Kind::Refused,
    Kind::Code,
    Kind::Go,
    Kind::Serving,
    Kind::Keep,
    Kind::Take,
    Kind::Answer,
    Kind::Seen,
    Kind::Counts,
    Kind::Tickets,
];

/// What a successor inherits; the descriptors follow, in this order.
#[derive(Deserialize, Serialize)]
pub(super) struct Hello {
    pub(super) version: u32,
    /// One for each listening socket.
    pub(super) sockets: Vec<Place>,
    /// How far the audit log goes; its descriptor is the last, and holds the lock.
    pub(super) audit: AuditMark,
}

/// One word.
pub(super) struct Word {
    pub(super) kind: Kind,
    pub(super) payload: Zeroizing<Vec<u8>>,
}

impl Word {
    pub(super) fn new(kind: Kind, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, payload: Zeroizing::new(payload.into()) }
    }

    /// Says it.
    pub(super) fn write(&self, mut to: impl Write) -> io::Result<()> {
        to.write_all(&self.wire()?)
    }

    /// How it goes over the line.
    pub(super) fn wire(&self) -> io::Result<Zeroizing<Vec<u8>>> {
        let kind = KINDS.iter().position(|kind| *kind == self.kind).unwrap_or_default();
        let kind = u8::try_from(kind).map_err(|_| ErrorKind::InvalidData)?;
        let length = u32::try_from(self.payload.len()).map_err(|_| ErrorKind::InvalidData)?;
        let mut wire = Zeroizing::new(Vec::with_capacity(self.payload.len() + 5));
        wire.push(kind);
        wire.extend_from_slice(&length.to_be_bytes());
        wire.extend_from_slice(&self.payload);
        Ok(wire)
    }

    /// Hears the next one.
    pub(super) fn read(mut from: impl Read) -> io::Result<Self> {
        let (mut kind, mut length) = ([0], [0; 4]);
        from.read_exact(&mut kind)?;
        from.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        let kind = KINDS.get(usize::from(kind[0])).ok_or(ErrorKind::InvalidData)?;
        if length > WORD_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        let length = usize::try_from(length).map_err(|_| ErrorKind::InvalidData)?;
        let mut payload = Zeroizing::new(vec![0; length]);
        from.read_exact(&mut payload)?;
        Ok(Self { kind: *kind, payload })
    }
}

/// Puts the parts of a payload together.
#[derive(Default)]
pub(super) struct Parts(Zeroizing<Vec<u8>>);

impl Parts {
    pub(super) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(super) fn code(self, code: &Cvv) -> Self {
        self.short(code.expose())
    }

    pub(super) fn tokens(mut self, tokens: &[Token]) -> Self {
        let count = u8::try_from(tokens.len()).unwrap_or(u8::MAX);
        self.0.push(count);
        let told = tokens.iter().take(usize::from(count));
        told.fold(self, |parts, token| parts.short(token.as_bytes()))
    }

    pub(super) fn word(self, kind: Kind) -> Word {
        Word { kind, payload: self.0 }
    }

    /// A waiting code, whole.
    pub(super) fn held(self, held: &HeldCode) -> Self {
        let left = u64::try_from(held.left.as_millis()).unwrap_or(u64::MAX);
        self.number(left).code(&held.code).code(&held.stand_in).tokens(&held.tokens)
    }

    /// What is longer than any code or token is not told.
    fn short(mut self, bytes: &[u8]) -> Self {
        let length = u8::try_from(bytes.len()).unwrap_or_default();
        self.0.push(length);
        self.0.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or_default());
        self
    }
}

/// Takes a payload apart; `None` where it is cut off.
pub(super) struct Taker<'p>(pub(super) &'p [u8]);

impl Taker<'_> {
    pub(super) fn number(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*number))
    }

    pub(super) fn code(&mut self) -> Option<Cvv> {
        Cvv::from_digits(self.short()?)
    }

    pub(super) fn tokens(&mut self) -> Option<Vec<Token>> {
        let (count, rest) = self.0.split_first()?;
        self.0 = rest;
        (0..*count).map(|_| Token::parse(self.short()?).ok()).collect()
    }

    pub(super) fn held(&mut self) -> Option<HeldCode> {
        let left = Duration::from_millis(self.number()?);
        let (code, stand_in) = (Box::new(self.code()?), self.code()?);
        Some(HeldCode { code, stand_in, tokens: self.tokens()?, left })
    }

    fn short(&mut self) -> Option<&[u8]> {
        let (length, rest) = self.0.split_first()?;
        let (taken, rest) = rest.split_at_checked(usize::from(*length))?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_arrives_as_it_was_told_and_a_cut_word_is_none() {
        let held = HeldCode {
            code: Box::new(Cvv::from_digits(b"123").unwrap()),
            stand_in: Cvv::from_digits(b"4567").unwrap(),
            tokens: vec![Token::parse(b"4000000000001111").unwrap()],
            left: Duration::from_secs(7),
        };
        let mut wire = Vec::new();
        Parts::default().held(&held).word(Kind::Code).write(&mut wire).unwrap();
        let word = Word::read(wire.as_slice()).unwrap();
        assert_eq!(word.kind, Kind::Code);
        let told = Taker(&word.payload).held().unwrap();
        assert_eq!((told.code.expose(), told.stand_in.expose()), (&b"123"[..], &b"4567"[..]));
        assert!(told.tokens == held.tokens && told.left == held.left);
        for end in 0..wire.len() {
            assert!(Word::read(&wire[..end]).is_err());
        }
        for end in 0..word.payload.len() {
            assert!(Taker(&word.payload[..end]).held().is_none());
        }
    }

    #[test]
    fn what_is_no_word_is_refused() {
        assert!(Word::read(&[99, 0, 0, 0, 0][..]).is_err());
        assert!(Word::read(&[0, 255, 255, 255, 255][..]).is_err(), "a length that nobody sends");
    }
}
