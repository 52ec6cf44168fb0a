//! The messages of a gRPC body, each behind a flag and its length.
//!
//! Both ends may wait for each other's next message, so none is held back for what might follow: no
//! number spans two. A compressed one cannot be looked into, for it is compressed by itself. What does
//! not begin so, whatever it calls itself, is one text to its end; what goes on otherwise than it began
//! is refused: a number could span a message and what is none, where a shop reads both as one text.

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::coding::DecodeError;

/// A flag, which says whether the message is compressed, and four bytes of length.
const PREFIX_BYTES: u8 = 5;
const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;

/// Follows the messages of one body.
#[derive(Default)]
pub(in crate::proxy) struct Messages {
    /// How much of the prefix has come.
    prefix_bytes: u8,
    /// What has come of the length, then how much of the message is to come.
    left: u32,
    form: Form,
}

/// What a body turns out to be.
#[derive(Clone, Copy, Default, Eq, PartialEq)]
enum Form {
    #[default]
    Unknown,
    Messages,
    Text,
}

/// The next bytes of a body: so many of them belong to one message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// The message goes on behind them.
    Goes(usize),
    /// It ends with them.
    Ends(usize),
}

impl Messages {
    /// Of a body that has messages.
    pub(in crate::proxy) fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(CONTENT_TYPE)?.as_bytes().to_ascii_lowercase();
        let after = kind.strip_prefix(b"application/grpc")?;
        matches!(after.first(), None | Some(b'+' | b';' | b' ')).then(Self::default)
    }

    /// How much of these bytes, of which there is one at least, is of the message under way.
    ///
    /// # Errors
    /// When a message is compressed, or something else stands behind one.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Result<Step, DecodeError> {
        let mut taken = 0;
        if self.form == Form::Text {
            return Ok(Step::Goes(bytes.len()));
        }
        while self.prefix_bytes < PREFIX_BYTES {
            let Some(byte) = bytes.get(taken) else { return Ok(Step::Goes(taken)) };
            match (self.prefix_bytes, *byte) {
                (0, PLAIN) => self.form = Form::Messages,
                (0, COMPRESSED) => return Err(DecodeError::Unknown),
                (0, _) if self.form == Form::Messages => return Err(DecodeError::Unknown),
                (0, _) => {
                    self.form = Form::Text;
                    return Ok(Step::Goes(bytes.len()));
                }
                _ => {}
            }
            self.left = self.left << 8 | u32::from(*byte);
            (self.prefix_bytes, taken) = (self.prefix_bytes + 1, taken + 1);
        }
        let rest = u32::try_from(bytes.len() - taken).unwrap_or(u32::MAX).min(self.left);
        self.left -= rest;
        taken += usize::try_from(rest).unwrap_or(bytes.len());
        if self.left > 0 {
            return Ok(Step::Goes(taken));
        }
        *self = Self { form: Form::Messages, ..Self::default() };
        Ok(Step::Ends(taken))
    }

    /// Looks only for messages that nobody can look into.
    ///
    /// # Errors
    /// When there is one.
    pub(in crate::proxy) fn admit(&mut self, mut bytes: &[u8]) -> Result<(), DecodeError> {
        while !bytes.is_empty() {
            let (Step::Goes(length) | Step::Ends(length)) = self.follow(bytes)?;
            bytes = bytes.get(length..).unwrap_or_default();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn ends(body: &[u8], piece: usize) -> Option<Vec<usize>> {
        let (mut messages, mut ends, mut at) = (Messages::default(), Vec::new(), 0);
        for mut bytes in body.chunks(piece) {
            while !bytes.is_empty() {
                let step = messages.follow(bytes).ok()?;
                let (Step::Goes(length) | Step::Ends(length)) = step;
                at += length;
                bytes = &bytes[length..];
                ends.extend(matches!(step, Step::Ends(_)).then_some(at));
            }
        }
        Some(ends)
    }

    #[test]
    fn messages_end_where_their_lengths_say_however_they_are_cut() {
        let long = [&[0, 0, 0, 1, 1][..], &[7; 257]].concat();
        let body = [&b"\0\0\0\0\x03abc\0\0\0\0\0"[..], &long, b"\0\0\0\0\x01"].concat();
        for piece in 1..body.len() {
            assert_eq!(ends(&body, piece), Some(vec![8, 13, 13 + 262]), "pieces of {piece}");
        }
        assert_eq!(ends(b"\0\xff\xff\xff\xffabc", 8), Some(vec![]));
        assert_eq!(ends(b"text\x01\0\0\0\0\0", 3), Some(vec![]));
    }

    #[test]
    fn a_compressed_message_is_noticed() {
        assert_eq!(ends(b"\0\0\0\0\x01a\x01\0\0\0\x01b", 3), None);
        assert!(Messages::default().admit(b"\x01\0").is_err());
        assert!(Messages::default().admit(b"\0\0\0\0\x01\x01").is_ok());
    }

    #[test]
    fn nothing_else_stands_behind_a_message() {
        assert_eq!(ends(b"\0\0\0\0\x044111text", 3), None);
        assert!(Messages::default().admit(b"\0\0\0\0\x0441111").is_err());
    }

    #[test]
    fn only_grpc_has_messages() {
        let has = |kind| {
            let headers = [(CONTENT_TYPE, HeaderValue::from_static(kind))].into_iter().collect();
            Messages::of(&headers).is_some()
        };
        assert!(has("application/grpc") && has("application/GRPC+proto; x=y"));
        assert!(!has("application/grpc-web") && !has("application/grpc-web+proto"));
        assert!(!has("application/json"));
    }
}
