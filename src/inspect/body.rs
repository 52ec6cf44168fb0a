//! A file piece by piece, decompressed where it is compressed.

use std::io::{self, ErrorKind, Read};

use bytes::{Bytes, BytesMut};

use crate::coding::{Bounds, Coding, Decoder};

use super::examine::FileError;

/// How much is read at a time.
const READ_BYTES: usize = 128 << 10;
/// How much compressed text is decoded at a time: the decoder may give out 8 MiB for each step.
const STEP_BYTES: usize = 4 << 10;
/// How much decoded text is handed on at a time, at least.
const DECODED_BYTES: usize = 64 << 10;

/// The content of one file. Holds one piece of it, decoded or not, and the decoder's window.
pub(super) struct Body<'a, R> {
    source: R,
    /// The buffer of the thread, lent.
    room: &'a mut BytesMut,
    /// The room holds bytes that were not handed on.
    fresh: bool,
    form: Form,
}

enum Form {
    Plain,
    /// Compressed, and up to where the bytes in the room are decoded.
    Compressed {
        coding: Coding,
        decoder: Box<Decoder>,
        taken: usize,
    },
    Ended,
}

impl<'a, R: Read> Body<'a, R> {
    /// Reads the first bytes, which tell whether the file is compressed.
    pub(super) fn begin(
        source: R,
        room: &'a mut BytesMut,
        ratio_max: u64,
    ) -> Result<Self, FileError> {
        let mut body = Self { source, room, fresh: false, form: Form::Plain };
        body.fill().map_err(FileError::Read)?;
        if let Some(coding) = compression(body.room) {
            // Pieces are looked at as they come, so that the sum of them needs no bound.
            let bounds = Bounds { bytes_max: u64::MAX, ratio_max };
            let decoder = Decoder::new(&[coding], bounds).map_err(FileError::Decode)?;
            body.form = Form::Compressed { coding, decoder: Box::new(decoder), taken: 0 };
        }
        Ok(body)
    }

    /// How the file is compressed.
    pub(super) fn coding(&self) -> Option<Coding> {
        match self.form {
            Form::Compressed { coding, .. } => Some(coding),
            Form::Plain | Form::Ended => None,
        }
    }

    /// The next piece; empty at the end.
    pub(super) fn piece(&mut self) -> Result<Bytes, FileError> {
        match self.form {
            Form::Plain => self.plain().map_err(FileError::Read),
            Form::Compressed { .. } => self.decoded(),
            Form::Ended => Ok(Bytes::new()),
        }
    }

    /// Takes a piece back, so that the next one needs no memory of its own.
    pub(super) fn give_back(&mut self, piece: Bytes) {
        if self.room.capacity() == 0
            && let Ok(room) = piece.try_into_mut()
        {
            *self.room = room;
        }
    }

    fn plain(&mut self) -> io::Result<Bytes> {
        if !self.fresh {
            self.fill()?;
        }
        if self.room.len() < READ_BYTES {
            self.form = Form::Ended;
        }
        self.fresh = false;
        Ok(std::mem::take(self.room).freeze())
    }

    fn decoded(&mut self) -> Result<Bytes, FileError> {
        let mut text = Vec::new();
        while text.len() < DECODED_BYTES {
            let Form::Compressed { decoder, taken, .. } = &mut self.form else { break };
            let rest = self.room.get(*taken..).unwrap_or_default();
            let step = rest.get(..STEP_BYTES).unwrap_or(rest);
            *taken += step.len();
            if !step.is_empty() {
                decoder.push(step, &mut text).map_err(FileError::Decode)?;
            } else if self.room.len() == READ_BYTES {
                *taken = 0;
                self.fill().map_err(FileError::Read)?;
            } else {
                decoder.finish(&mut text).map_err(FileError::Decode)?;
                self.form = Form::Ended;
            }
        }
        Ok(Bytes::from(text))
    }

    /// Fills the room; less than full means the end.
    fn fill(&mut self) -> io::Result<()> {
        self.room.resize(READ_BYTES, 0);
        let mut filled = 0;
        while let Some(free) = self.room.get_mut(filled..).filter(|free| !free.is_empty()) {
            match self.source.read(free) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.room.truncate(filled);
        self.fresh = true;
        Ok(())
    }
}

/// The compression that the first bytes of a file tell (RFC 1952 §2.3.1, RFC 8878 §3.1: a file may
/// begin with a skippable frame).
fn compression(first: &[u8]) -> Option<Coding> {
    match first {
        [0x1F, 0x8B, 0x08, ..] => Some(Coding::Gzip),
        [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Some(Coding::Zstd),
        _ => None,
    }
}
