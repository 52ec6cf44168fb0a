//! Content codings (RFC 9110 §8.4.1): gzip, deflate, br and zstd, alone or stacked.
//!
//! Both directions work piece by piece, and a decoder never gives out more than its bounds allow: a
//! bomb is an error, not a full memory. The formats themselves are the libraries' work.

pub mod base64;
mod decode;
mod encode;

use http::HeaderMap;
use http::header::CONTENT_ENCODING;
use thiserror::Error;

pub use decode::Decoder;
pub use encode::Encoder;

/// The most codings that are undone one after the other.
const STACK_MAX: usize = 3;
/// Below this size a body may be as compressible as it likes: short runs of one letter are.
const RATIO_FREE_BYTES: u64 = 1 << 20;

/// One coding.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Coding {
    /// `br` (RFC 7932).
    Brotli,
    /// `deflate`: zlib (RFC 1950), and the bare form that some servers send.
    Deflate,
    /// `gzip` (RFC 1952).
    Gzip,
    /// `zstd` (RFC 8878).
    Zstd,
}

/// How much a decoder may give out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// The most decoded bytes.
    pub bytes_max: u64,
    /// The most decoded bytes for each encoded one, once the body is larger than 1 MiB.
    pub ratio_max: u64,
}

/// Why a body cannot be decoded.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// The bytes are not what the coding says.
    #[error("the body is not valid {coding}")]
    Broken {
        /// Which coding.
        coding: &'static str,
        /// What the library says.
        source: std::io::Error,
    },
    /// Too many codings on top of each other.
    #[error("more than {STACK_MAX} content codings")]
    Stacked,
    /// More than the bounds allow.
    #[error("the decoded body is larger than its limits allow")]
    TooLarge,
    /// A coding we do not know.
    #[error("unknown content coding")]
    Unknown,
}

impl DecodeError {
    /// Whether a limit, not the format, is the trouble.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge | Self::Stacked)
    }
}

impl Coding {
    /// The codings of a message, in the order they were applied.
    ///
    /// # Errors
    /// When one is unknown, or there are too many.
    pub fn of(headers: &HeaderMap) -> Result<Vec<Self>, DecodeError> {
        let mut codings = Vec::new();
        for value in headers.get_all(CONTENT_ENCODING) {
            let text = value.to_str().map_err(|_| DecodeError::Unknown)?;
            for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                if !name.eq_ignore_ascii_case("identity") {
                    codings.push(Self::named(name).ok_or(DecodeError::Unknown)?);
                }
            }
        }
        if codings.len() > STACK_MAX {
            return Err(DecodeError::Stacked);
        }
        Ok(codings)
    }

    fn named(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "br" => Some(Self::Brotli),
            "deflate" => Some(Self::Deflate),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Deflate => "deflate",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: [Coding; 4] = [Coding::Brotli, Coding::Deflate, Coding::Gzip, Coding::Zstd];
    const WIDE: Bounds = Bounds { bytes_max: 1 << 30, ratio_max: 1 << 20 };

    fn encode(codings: &[Coding], body: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(codings).unwrap();
        let mut wire = encoder.push(body).unwrap();
        wire.extend(encoder.finish().unwrap());
        wire
    }

    fn decode(
        codings: &[Coding],
        wire: &[u8],
        bounds: Bounds,
        piece: usize,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(codings, bounds)?;
        let mut body = Vec::new();
        for chunk in wire.chunks(piece.max(1)) {
            decoder.push(chunk, &mut body)?;
        }
        decoder.finish(&mut body)?;
        Ok(body)
    }

    proptest! {
        #[test]
        fn decoding_undoes_encoding_however_the_wire_is_cut(
            body in proptest::collection::vec(any::<u8>(), 0..4096),
            piece in 1_usize..600,
            stack in proptest::sample::subsequence(ALL.to_vec(), 1..=3),
        ) {
            let wire = encode(&stack, &body);
            prop_assert_eq!(decode(&stack, &wire, WIDE, piece).unwrap(), body);
        }

        #[test]
        fn no_bytes_panic_a_decoder(wire in proptest::collection::vec(any::<u8>(), 0..512)) {
            for coding in ALL {
                let _either = decode(&[coding], &wire, WIDE, 7);
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_by_ratio_and_by_size() {
        for coding in ALL {
            let bomb = encode(&[coding], &vec![b'a'; 8 << 20]);
            let by_ratio = Bounds { bytes_max: 1 << 30, ratio_max: 100 };
            let by_size = Bounds { bytes_max: 1 << 20, ratio_max: 1 << 20 };
            for bounds in [by_ratio, by_size] {
                assert!(matches!(
                    decode(&[coding], &bomb, bounds, 4096),
                    Err(DecodeError::TooLarge)
                ));
            }
        }
    }

    #[test]
    fn a_cut_body_is_an_error() {
        for coding in ALL {
            let wire = encode(&[coding], &vec![b'x'; 10_000]);
            let cut = &wire[..wire.len() - 3];
            assert!(matches!(decode(&[coding], cut, WIDE, 64), Err(DecodeError::Broken { .. })));
        }
    }

    #[test]
    fn bare_deflate_is_read_too() {
        let mut bare = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut bare, b"hello hello hello").unwrap();
        let wire = bare.finish().unwrap();
        for piece in [1, 100] {
            assert_eq!(
                decode(&[Coding::Deflate], &wire, WIDE, piece).unwrap(),
                b"hello hello hello"
            );
        }
    }

    #[test]
    fn codings_are_read_in_the_order_they_were_applied() {
        let mut headers = HeaderMap::new();
        headers.append(CONTENT_ENCODING, "gzip, identity".parse().unwrap());
        headers.append(CONTENT_ENCODING, "BR".parse().unwrap());
        assert_eq!(Coding::of(&headers).unwrap(), [Coding::Gzip, Coding::Brotli]);
        headers.append(CONTENT_ENCODING, "rot13".parse().unwrap());
        assert!(matches!(Coding::of(&headers), Err(DecodeError::Unknown)));
    }
}
