//! Numbers whose characters are written in hexadecimal, one level down: `34313131…` is `4111…`.
//!
//! Digits and spaces are written with decimal digits only, so that a long run of those tells such a
//! number; other runs of hexadecimal digits (digests, keys) are never decoded.

use super::Find;
use super::encoded::Inner;
use super::find::Coding;
use super::glyph::hex;
use super::judge::Setting;
use super::view::{LOOK_BACK, View};
use crate::card::PAN_DIGITS_MIN;

/// How many bytes around the number are decoded on each side.
const AROUND: usize = 256;
/// The fewest digits that write a number.
const RUN_MIN: usize = PAN_DIGITS_MIN * 2;
/// How far a run of digits is followed.
const RUN_MAX: usize = 128;

/// Whether a run of decimal digits may write a number.
#[inline(never)]
pub(super) fn may_write_card(run: &[u8]) -> bool {
    stretch(run.get(..RUN_MAX).unwrap_or(run)).is_some()
}

/// Where in the run the characters of a number begin.
fn stretch(run: &[u8]) -> Option<usize> {
    if run.len() < RUN_MIN {
        return None;
    }
    (0..2).find_map(|odd| {
        let pairs = run.get(odd..)?.chunks_exact(2);
        let (mut digits, mut begin) = (0, odd);
        for (place, pair) in pairs.enumerate() {
            match pair {
                [b'3', _] => digits += 1,
                b"20" if digits > 0 => {}
                _ => (digits, begin) = (0, odd + (place + 1) * 2),
            }
            if digits >= PAN_DIGITS_MIN {
                return Some(begin);
            }
        }
        None
    })
}

/// The numbers written in the run of digits that begins at `at`.
pub(super) fn find(view: &View<'_>, at: usize, setting: &Setting<'_>) -> Vec<Find> {
    let run = view.digits(at, RUN_MAX);
    let Some(begin) = stretch(run) else { return Vec::new() };
    let place = at + begin;
    let before = view.before(place);
    let pairs = before.iter().rev().take_while(|byte| hex(**byte).is_some()).count() / 2;
    // As far back as is kept: where the run begins cannot be known, nor need be.
    let pairs = pairs.min(AROUND).min(LOOK_BACK / 2);
    let start = place - pairs * 2;
    let hexadecimal = |at: &usize| view.byte(*at).is_some_and(|byte| hex(byte).is_some());
    let after = (place..place + AROUND * 2).take_while(hexadecimal).count();
    let bytes = decode(view.seen(start, place + after));
    let inner = Inner { bytes: &bytes, first: pairs, until: pairs + run.len() / 2, place };
    let mut finds = inner.finds(view, setting);
    finds.iter_mut().for_each(|find| {
        find.span = start + find.span.start * 2..start + find.span.end * 2;
        find.coding = Coding::Hex;
    });
    finds
}

/// The bytes that pairs of hexadecimal digits write.
pub(super) fn decode(text: &[u8]) -> Vec<u8> {
    let octet = |pair: &[u8]| match pair {
        [high, low] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    };
    text.chunks_exact(2).map_while(octet).collect()
}

/// Writes `bytes` over the encoded ones.
pub(super) fn overwrite(text: &mut [u8], bytes: &[u8]) {
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        let [high, low] = pair else { return };
        for (letter, nibble) in [(high, byte >> 4), (low, byte & 0x0F)] {
            if hex(*letter) != Some(nibble) {
                *letter = char::from_digit(nibble.into(), 16)
                    .and_then(|digit| u8::try_from(digit).ok())
                    .unwrap_or(*letter);
            }
        }
    }
}
