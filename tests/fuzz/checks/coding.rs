//! Content codings: bounds hold for any bytes, and decoding undoes encoding.

use http::header::{CONTENT_ENCODING, HeaderMap, HeaderValue};
use tillgate::coding::{Bounds, Coding, DecodeError, Decoder, Encoder};

const STACKS: [&[Coding]; 6] = [
    &[Coding::Brotli],
    &[Coding::Deflate],
    &[Coding::Gzip],
    &[Coding::Zstd],
    &[Coding::Gzip, Coding::Brotli],
    &[Coding::Zstd, Coding::Deflate, Coding::Gzip],
];

const BOUNDS: [Bounds; 4] = [
    Bounds { bytes_max: 64, ratio_max: 1000 },
    Bounds { bytes_max: 1 << 30, ratio_max: 2 },
    Bounds { bytes_max: 1 << 20, ratio_max: 1000 },
    Bounds { bytes_max: 4 << 20, ratio_max: 100 },
];

/// Below this size no ratio is too high.
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// The most codings of one body.
const CODINGS_MAX: usize = 3;

const WIDE: Bounds = Bounds { bytes_max: 1 << 30, ratio_max: 1 << 20 };

/// Reads a byte for codings and bounds, one for the size of the pieces, and the others as the body.
pub fn check(data: &[u8]) {
    let [selector, cut, body @ ..] = data else { return };
    let choice = usize::from(*selector);
    let (stack, bounds) =
        (STACKS[choice % STACKS.len()], BOUNDS[choice / STACKS.len() % BOUNDS.len()]);
    let size = usize::from(*cut) * 4 + 1;
    within_bounds(stack, bounds, body.chunks(size));
    let wire = encode(stack, body.chunks(size));
    let mut decoded = Vec::new();
    decode(stack, WIDE, wire.chunks(size), &mut decoded).expect("what we encode can be decoded");
    assert!(decoded == body, "decoding does not undo encoding");
    within_bounds(stack, bounds, wire.chunks(size));
    named(body);
}

/// A field names codings that can be undone, or is refused.
fn named(value: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(value) else { return };
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, value)]);
    let codings = Coding::of(&headers).unwrap_or_default();
    assert!(codings.len() <= CODINGS_MAX, "{} codings are undone", codings.len());
}

fn within_bounds<'a>(
    stack: &[Coding],
    bounds: Bounds,
    pieces: impl Iterator<Item = &'a [u8]> + Clone,
) {
    let taken = pieces.clone().map(|piece| u64::try_from(piece.len()).unwrap()).sum::<u64>();
    let by_ratio = taken.saturating_mul(bounds.ratio_max).max(RATIO_FREE_BYTES);
    let mut decoded = Vec::new();
    // An error is as good an answer as a body; only what was given out counts.
    let _either = decode(stack, bounds, pieces, &mut decoded);
    let given = u64::try_from(decoded.len()).unwrap();
    assert!(given <= bounds.bytes_max.min(by_ratio), "{given} bytes are given out");
}

fn decode<'a>(
    stack: &[Coding],
    bounds: Bounds,
    pieces: impl Iterator<Item = &'a [u8]>,
    decoded: &mut Vec<u8>,
) -> Result<(), DecodeError> {
    let mut decoder = Decoder::new(stack, bounds)?;
    for piece in pieces {
        decoder.push(piece, decoded)?;
    }
    decoder.finish(decoded)
}

fn encode<'a>(stack: &[Coding], pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut encoder = Encoder::new(stack).expect("an encoder starts");
    let mut wire = Vec::new();
    for piece in pieces {
        wire.extend(encoder.push(piece).expect("bytes are encoded"));
        wire.extend(encoder.flush().expect("bytes are flushed"));
    }
    wire.extend(encoder.finish().expect("a body is ended"));
    wire
}
