//! Encoded bytes in, decoded bytes out, within bounds.

use std::io::{self, Write};

use super::{Bounds, Coding, DecodeError, RATIO_FREE_BYTES};

/// How many encoded bytes are fed at a time, so that the bounds are looked at often.
const STEP_BYTES: usize = 4 << 10;
/// The most one step may give out: deflate's worst ratio (1032) needs half of it, and whatever gives
/// more is a bomb. This is the memory that a hostile body can take for a moment.
const STEP_OUTPUT_BYTES_MAX: u64 = 8 << 20;

/// Undoes the codings of one body.
pub struct Decoder {
    /// In the order they are undone: the last applied comes first.
    layers: Vec<Layer>,
    bounds: Bounds,
    taken: u64,
    given: u64,
}

impl Decoder {
    /// Begins a body.
    ///
    /// # Errors
    /// When the library cannot start.
    pub fn new(codings: &[Coding], bounds: Bounds) -> Result<Self, DecodeError> {
        let layers = codings.iter().rev().map(|&coding| Layer::new(coding, bounds));
        Ok(Self { layers: layers.collect::<Result<_, _>>()?, bounds, taken: 0, given: 0 })
    }

    /// Takes the next piece and appends what it decodes to.
    ///
    /// # Errors
    /// When the bytes are broken or decode to more than the bounds.
    pub fn push(&mut self, encoded: &[u8], decoded: &mut Vec<u8>) -> Result<(), DecodeError> {
        for step in encoded.chunks(STEP_BYTES) {
            self.taken = self.taken.saturating_add(step_length(step));
            let mut bytes = step.to_vec();
            for layer in &mut self.layers {
                bytes = layer.push(&bytes)?;
            }
            self.account(bytes.len())?;
            decoded.append(&mut bytes);
        }
        Ok(())
    }

    /// Ends the body and appends the rest.
    ///
    /// # Errors
    /// When the body was cut short.
    pub fn finish(&mut self, decoded: &mut Vec<u8>) -> Result<(), DecodeError> {
        let mut bytes = Vec::new();
        for layer in &mut self.layers {
            let mut out = layer.push(&bytes)?;
            out.extend(layer.finish()?);
            bytes = out;
        }
        self.account(bytes.len())?;
        decoded.append(&mut bytes);
        Ok(())
    }

    fn account(&mut self, length: usize) -> Result<(), DecodeError> {
        self.given = self.given.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        let by_ratio = self.taken.saturating_mul(self.bounds.ratio_max).max(RATIO_FREE_BYTES);
        if self.given > self.bounds.bytes_max.min(by_ratio) {
            return Err(DecodeError::TooLarge);
        }
        Ok(())
    }
}

fn step_length(step: &[u8]) -> u64 {
    u64::try_from(step.len()).unwrap_or(u64::MAX)
}

/// One coding being undone. `started` tells an empty body, which every coding lets pass, from a cut
/// one.
struct Layer {
    coding: Coding,
    state: State,
    started: bool,
}

enum State {
    Brotli(Box<brotli::DecompressorWriter<Sink>>),
    Gzip(Box<flate2::write::MultiGzDecoder<Sink>>),
    /// `deflate` before its first byte tells which of the two forms it is.
    Undecided(Sink),
    Bare(Box<flate2::write::DeflateDecoder<Sink>>),
    Zlib(Box<flate2::write::ZlibDecoder<Sink>>),
    Zstd(ZstdFrames),
    Ended,
}

/// The largest zstd window that is accepted: 8 MiB, as RFC 9659 asks of content codings.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;
const BROTLI_BUFFER_BYTES: usize = 4 << 10;
const ZSTD_ROOM_BYTES: usize = 16 << 10;

impl Layer {
    fn new(coding: Coding, bounds: Bounds) -> Result<Self, DecodeError> {
        let bytes_max = bounds.bytes_max.min(STEP_OUTPUT_BYTES_MAX);
        let sink = Sink { bytes: Vec::new(), bytes_max, overrun: false };
        let broken = |source| DecodeError::Broken { coding: coding.as_str(), source };
        let state = match coding {
            Coding::Brotli => {
                State::Brotli(Box::new(brotli::DecompressorWriter::new(sink, BROTLI_BUFFER_BYTES)))
            }
            Coding::Deflate => State::Undecided(sink),
            Coding::Gzip => State::Gzip(Box::new(flate2::write::MultiGzDecoder::new(sink))),
            Coding::Zstd => State::Zstd(ZstdFrames::new(sink).map_err(broken)?),
        };
        Ok(Self { coding, state, started: false })
    }

    fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let Some(&first) = bytes.first() else { return Ok(Vec::new()) };
        self.started = true;
        if let State::Undecided(sink) = &mut self.state {
            let sink = sink.hand_over();
            // RFC 1950 §2.2: the low four bits of a zlib header are 8; a bare stream that begins so
            // would be a stored block with odd padding, which no encoder writes.
            self.state = if first & 0x0f == 8 {
                State::Zlib(Box::new(flate2::write::ZlibDecoder::new(sink)))
            } else {
                State::Bare(Box::new(flate2::write::DeflateDecoder::new(sink)))
            };
        }
        let (result, sink) = match &mut self.state {
            State::Brotli(decoder) => (decoder.write_all(bytes), decoder.get_mut()),
            State::Gzip(decoder) => (decoder.write_all(bytes), decoder.get_mut()),
            State::Bare(decoder) => {
                (decoder.write_all(bytes).and_then(|()| decoder.flush()), decoder.get_mut())
            }
            State::Zlib(decoder) => {
                (decoder.write_all(bytes).and_then(|()| decoder.flush()), decoder.get_mut())
            }
            State::Zstd(frames) => (frames.push(bytes), &mut frames.sink),
            State::Undecided(_) | State::Ended => return Ok(Vec::new()),
        };
        settle(self.coding, result, sink)
    }

    fn finish(&mut self) -> Result<Vec<u8>, DecodeError> {
        if !self.started {
            return Ok(Vec::new());
        }
        let cut = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let (result, mut sink) = match std::mem::replace(&mut self.state, State::Ended) {
            State::Brotli(mut decoder) => {
                let closed = decoder.close();
                (closed, decoder.get_mut().hand_over())
            }
            State::Gzip(decoder) => split(decoder.finish()),
            State::Bare(decoder) => split(decoder.finish()),
            State::Zlib(decoder) => split(decoder.finish()),
            State::Zstd(frames) if frames.unfinished => (Err(cut()), frames.sink),
            State::Zstd(frames) => (Ok(()), frames.sink),
            State::Undecided(sink) => (Err(cut()), sink),
            State::Ended => return Ok(Vec::new()),
        };
        settle(self.coding, result, &mut sink)
    }
}

fn split(result: io::Result<Sink>) -> (io::Result<()>, Sink) {
    match result {
        Ok(sink) => (Ok(()), sink),
        Err(error) => (Err(error), Sink { bytes: Vec::new(), bytes_max: 0, overrun: false }),
    }
}

fn settle(coding: Coding, result: io::Result<()>, sink: &mut Sink) -> Result<Vec<u8>, DecodeError> {
    if sink.overrun {
        return Err(DecodeError::TooLarge);
    }
    result.map_err(|source| DecodeError::Broken { coding: coding.as_str(), source })?;
    Ok(std::mem::take(&mut sink.bytes))
}

/// zstd frames, with the knowledge that the library's own writer lacks: whether the last is whole.
struct ZstdFrames {
    decoder: zstd::stream::raw::Decoder<'static>,
    sink: Sink,
    unfinished: bool,
}

impl ZstdFrames {
    fn new(sink: Sink) -> io::Result<Self> {
        use zstd::stream::raw::{DParameter, Decoder};
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
        Ok(Self { decoder, sink, unfinished: false })
    }

    fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        use zstd::stream::raw::Operation as _;
        let mut room = [0; ZSTD_ROOM_BYTES];
        loop {
            let status = self.decoder.run_on_buffers(bytes, &mut room)?;
            let written = room.get(..status.bytes_written).unwrap_or_default();
            self.sink.write_all(written)?;
            bytes = bytes.get(status.bytes_read..).unwrap_or_default();
            self.unfinished = status.remaining != 0;
            let drained = status.bytes_written < ZSTD_ROOM_BYTES;
            if bytes.is_empty() && drained {
                return Ok(());
            }
        }
    }
}

/// Where a library writes to; it stops the library at the bound.
struct Sink {
    bytes: Vec<u8>,
    bytes_max: u64,
    overrun: bool,
}

impl Sink {
    fn hand_over(&mut self) -> Self {
        let bytes = std::mem::take(&mut self.bytes);
        Self { bytes, bytes_max: self.bytes_max, overrun: self.overrun }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = u64::try_from(self.bytes.len().saturating_add(bytes.len()));
        if length.is_ok_and(|length| length > self.bytes_max) {
            self.overrun = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
