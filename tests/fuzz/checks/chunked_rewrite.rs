//! A body gives the same answer however it is cut.

use super::scan::{Setting, masked, places};

/// Bodies up to this length are also fed byte by byte.
const BYTEWISE_MAX: usize = 384;
/// Longer bodies only take time.
const BODY_MAX: usize = 16 << 10;

/// Reads a byte for the setting, three for the sizes of the pieces, and the others as the body.
pub fn check(data: &[u8]) {
    let Some(([selector, sizes @ ..], written)) = data.split_first_chunk::<4>() else { return };
    let setting = Setting::of(*selector);
    let body = spread(written);
    let whole = setting.scan(std::iter::once(body.as_slice()));
    let (found, edited) = (places(&whole), masked(&whole));
    let same = |decided: &[_], how: &str| {
        assert_eq!(places(decided), found, "{how}, other finds");
        assert!(masked(decided) == edited, "{how}, another body");
    };
    same(&setting.scan(cut(&body, &sizes.map(piece_length))), "cut");
    if body.len() <= BYTEWISE_MAX {
        same(&setting.scan(body.chunks(1)), "byte by byte");
    }
}

/// The body with runs laid out: 0xFF, a length and a byte stand for eight times that many of it, so
/// that short inputs reach past what the scanner looks at.
fn spread(written: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut rest = written;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (0xFF, [length, byte, tail @ ..]) => {
                body.resize(body.len() + usize::from(*length) * 8, *byte);
                rest = tail;
            }
            _ => body.push(first),
        }
    }
    body.truncate(BODY_MAX);
    body
}

/// 1–128 bytes, or sizes about what the scanner holds back and looks back at.
fn piece_length(byte: u8) -> usize {
    match byte {
        0..0x80 => usize::from(byte) + 1,
        _ => 960 + usize::from(byte & 0x7F),
    }
}

fn cut<'a>(body: &'a [u8], sizes: &[usize; 3]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = body;
    let mut sizes = sizes.iter().cycle();
    std::iter::from_fn(move || {
        let size = sizes.next().map_or(1, |&size| size.min(rest.len()));
        let (piece, tail) = rest.split_at(size);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}
