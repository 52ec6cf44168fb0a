//! Numbers inside base64 text (RFC 4648), one level down: JSON in a field, the payload of a JWT.
//!
//! Three digits make four characters of a narrow kind, at whatever offset: `M`–`O`, then one of
//! four, one of ten, one of ten. Three such groups in a row tell a number without decoding the rest.

use std::cell::Cell;

use crate::card::PAN_DIGITS_MAX;

use super::cluster::Cluster;
use super::find::Medium;
use super::judge::{self, Setting};
use super::table::Table;
use super::view::View;
use super::{Carrier, Find};

/// How much of the token around the number is decoded, in characters.
const AROUND: usize = 256;
/// Groups of four that tell a number.
const GROUPS: usize = 3;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Where three groups of encoded digits stand, at `at` or within the group of four after it: the
/// group before may hold the number's first digits.
pub(super) fn begins(view: &View<'_>, at: usize) -> Option<usize> {
    for first in at..=at + 4 {
        if stands(view, first) {
            return Some(first);
        }
        // What comes before must be base64 too, or looking on would hold back the end of a text.
        view.byte(first).and_then(value)?;
    }
    None
}

fn stands(view: &View<'_>, at: usize) -> bool {
    (0..GROUPS).all(|group| group_stands(view, at + group * 4))
}

/// Where groups of encoded digits that begin at `at` end.
pub(super) fn end(view: &View<'_>, at: usize) -> usize {
    let mut end = at;
    while group_stands(view, end) {
        end += 4;
    }
    end
}

fn group_stands(view: &View<'_>, at: usize) -> bool {
    (0..4).all(|place| {
        let Some(byte) = view.byte(at + place) else { return false };
        match place {
            0 => matches!(byte, b'M' | b'N' | b'O'),
            1 => matches!(byte, b'D' | b'T' | b'j' | b'z'),
            2 => {
                matches!(byte, b'A' | b'E' | b'I' | b'M' | b'Q' | b'U' | b'Y' | b'c' | b'g' | b'k')
            }
            _ => matches!(byte, b'w' | b'x' | b'y' | b'z' | b'0'..=b'5'),
        }
    })
}

/// The number whose encoded digits stand at `at` and whose first character is not before `least`.
pub(super) fn find(
    view: &View<'_>,
    at: usize,
    least: usize,
    setting: &Setting<'_>,
) -> Option<Find> {
    let before = view.before(at);
    let length = before.iter().rev().take_while(|byte| value(**byte).is_some()).count();
    // What is glued before the token may make its length odd: the digits tell where groups begin.
    let start = at - length.min(AROUND) / 4 * 4;
    let bytes = decode(view, start, at + AROUND);
    let first = (at - start) / 4 * 3;
    let head = bytes.get(..first)?.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let inner = View::new(&bytes, true);
    inner.focus(first - head);
    let cluster = Cluster::read(&inner, first - head);
    let nested = Setting {
        rules: setting.rules,
        carrier: Carrier::Text,
        table: &Table::default(),
        offset: 0,
        vetoed: Cell::new(0),
    };
    let find = judge::judge(&inner, &cluster, &nested).into_iter().next()?;
    if bytes.get(find.span.clone())?.iter().any(|byte| !byte.is_ascii_digit()) {
        return None;
    }
    let (first_bit, end_bit) = (find.span.start * 8, find.span.end * 8);
    let span = start + first_bit / 6..start + end_bit.div_ceil(6);
    if span.start < least {
        return None;
    }
    Some(Find { span, medium: Medium::Base64 { skew: first_bit % 6 }, ..find })
}

/// The digits that the characters of a find encode, `skew` bits into the first.
pub(super) fn digits(text: &[u8], skew: usize) -> Vec<u8> {
    let count = (text.len() * 6 - skew) / 8;
    (0..count.min(PAN_DIGITS_MAX)).map(|place| octet(text, skew + place * 8)).collect()
}

/// Writes `digits` over the encoded ones.
pub(super) fn overwrite(text: &mut [u8], skew: usize, digits: &[u8]) {
    for (place, digit) in digits.iter().enumerate() {
        for bit in 0..8 {
            set_bit(text, skew + place * 8 + bit, digit >> (7 - bit) & 1 == 1);
        }
    }
}

fn decode(view: &View<'_>, start: usize, end: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity((end - start) / 4 * 3 + 3);
    let mut held: u32 = 0;
    for (place, at) in (start..end).enumerate() {
        let Some(six) = view.byte(at).and_then(value) else { break };
        held = (held << 6 | u32::from(six)) & 0xFFFF;
        let bits = (place + 1) * 6 % 8;
        if bits < 6 {
            bytes.extend(u8::try_from(held >> bits & 0xFF));
        }
    }
    bytes
}

fn value(character: u8) -> Option<u8> {
    match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

fn octet(text: &[u8], first_bit: usize) -> u8 {
    (first_bit..first_bit + 8).fold(0, |byte, bit| byte << 1 | u8::from(bit_at(text, bit)))
}

fn bit_at(text: &[u8], bit: usize) -> bool {
    let six = text.get(bit / 6).copied().and_then(value).unwrap_or(0);
    six >> (5 - bit % 6) & 1 == 1
}

fn set_bit(text: &mut [u8], bit: usize, on: bool) {
    let Some(character) = text.get_mut(bit / 6) else { return };
    let mask = 1 << (5 - bit % 6);
    let six = value(*character).unwrap_or(0) & !mask | if on { mask } else { 0 };
    // Digits and stars have bits that keep this below 62, where the two alphabets are the same.
    *character = STANDARD.get(usize::from(six)).copied().unwrap_or(*character);
}
