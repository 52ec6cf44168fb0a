//! Numbers inside base64 text (RFC 4648), one level down: JSON in a field, the payload of a JWT.
//!
//! Three digits make four characters of a narrow kind, at whatever offset: `M`–`O`, then few others.
//! Three such groups in a row tell a number without decoding the rest; single separators may be
//! among the digits, and lines may be broken behind any group (RFC 2045 §6.8).

use super::Find;
use super::encoded::{self, Inner};
use super::find::Coding;
use super::judge::Setting;
use super::view::View;

/// How much of the token around the number is decoded on each side, in characters: more than the
/// stretch in which a word about cards counts.
const AROUND: usize = 384;
/// Groups of four that tell a number.
const GROUPS: usize = 3;
/// Groups of digits that are dealt with at once: with [`AROUND`] characters decoded, there is room
/// behind them for a number of 19 digits with separators.
const GROUPS_MAX: usize = (AROUND - 64) / 4;

/// So many digits in a row stand for themselves, as the shortest data of a track does, an expiry and a
/// service code (ISO/IEC 7813): base64 of anything else has them once in half a million characters, and
/// what a mask may hide is not to be decoded.
const PLAIN_DIGITS: usize = 7;

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// What lines of a token are broken with, plain or as a carrier writes it.
const BREAKS: [&[u8]; 6] = [b"\r\n", b"\n", b"\\r\\n", b"\\n", b"%0D%0A", b"%0A"];

/// Where three groups of encoded digits stand, at `at` or within the group of four after it: the
/// group before may hold the number's first digits.
pub(super) fn begins(view: &View<'_>, at: usize) -> Option<usize> {
    // Nearly all that is asked about: a tenth of what a decision about a number took.
    if view.ahead(at).first_chunk::<5>().is_some_and(|five| five.iter().all(u8::is_ascii_digit)) {
        return None;
    }
    for first in at..=at + 4 {
        if stands(view, first) {
            return Some(first);
        }
        // What comes before must be base64 too, or looking on would hold back the end of a text.
        if view.byte(first).and_then(value).is_none() {
            let goes_on = first > at && ends_with_digit(view.before(first));
            let length = if goes_on { line_break(view, first) } else { 0 };
            return (length > 0 && stands(view, first + length)).then_some(first + length);
        }
    }
    None
}

/// Whether the last two of four characters write a digit.
fn ends_with_digit(text: &[u8]) -> bool {
    let [.., third, last] = text else { return false };
    // The low bits of a digit are those of its character: 0x30–0x39 of 0x00–0x3F.
    value(*third).is_some_and(|six| six & 0b11 == 0)
        && value(*last).is_some_and(|six| six.is_ascii_digit())
}

fn stands(view: &View<'_>, at: usize) -> bool {
    let mut place = at;
    for group in 1..=GROUPS {
        if group == 1 && !view.byte(place).is_some_and(is_triple) || !group_stands(view, place) {
            return false;
        }
        place += 4;
        if group < GROUPS {
            place += line_break(view, place);
        }
    }
    true
}

/// Where groups of encoded digits that begin at `at` end, or as many as are dealt with at once.
pub(super) fn end(view: &View<'_>, at: usize) -> usize {
    groups(view, at).1
}

/// How many groups those are, and where they end. A line break does not end them: each line would be
/// decoded with all around it.
fn groups(view: &View<'_>, at: usize) -> (usize, usize) {
    let (mut count, mut end, mut next) = (0, at, at);
    while count < GROUPS_MAX && group_stands(view, next) {
        (count, end) = (count + 1, next + 4);
        next = end + line_break(view, end);
    }
    (count, end)
}

/// Whether four characters write a digit and two more or one and a separator.
fn group_stands(view: &View<'_>, at: usize) -> bool {
    if !view.byte(at).is_some_and(|byte| is_triple(byte) || separates(byte)) {
        return false;
    }
    let mut bits: u32 = 0;
    for place in at..at + 4 {
        let Some(six) = view.byte(place).and_then(value) else { return false };
        bits = bits << 6 | u32::from(six);
    }
    let [_, bytes @ ..] = bits.to_be_bytes();
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits >= 2 && bytes.iter().all(|&byte| encoded::is_plain(byte))
}

/// The numbers whose encoded digits stand at `at`, as far as their first character is not before
/// `least`.
pub(super) fn find(view: &View<'_>, at: usize, least: usize, setting: &Setting<'_>) -> Vec<Find> {
    let token = Token::around(view, at);
    let first = token.before / 4 * 3;
    let until = first + groups(view, at).0 * 3;
    let inner = Inner { bytes: &token.bytes, first, until, place: at };
    let mut finds = inner.finds(view, setting);
    finds.retain_mut(|find| {
        let (first_bit, end_bit) = (find.span.start * 8, find.span.end * 8);
        let start = token.places.get(first_bit / 6).copied().unwrap_or(0);
        let last = token.places.get(end_bit.div_ceil(6).saturating_sub(1)).copied();
        find.span = start..last.map_or(start, |last| last + 1);
        find.coding = Coding::Base64 { skew: first_bit % 6 };
        start >= least && find.span.end > start
    });
    finds
}

/// The characters around a place and what they write.
struct Token {
    /// Where each character stands.
    places: Vec<usize>,
    /// How many of them stand before the place: whole groups.
    before: usize,
    bytes: Vec<u8>,
}

impl Token {
    fn around(view: &View<'_>, at: usize) -> Self {
        let mut places = places_before(view, at);
        // What is glued before the token may make its length odd: the digits tell where groups begin.
        places.truncate(places.len() / 4 * 4);
        places.reverse();
        let before = places.len();
        let mut next = at;
        while places.len() < before + AROUND {
            // Lines are broken behind a group: what follows three characters is another text.
            let place =
                if places.len().is_multiple_of(4) { next + line_break(view, next) } else { next };
            if view.byte(place).and_then(value).is_none() {
                break;
            }
            places.push(place);
            next = place + 1;
        }
        let letters = places.iter().filter_map(|&place| view.seen(place, place + 1).first());
        let sixes: Vec<u8> = letters.filter_map(|&letter| value(letter)).collect();
        let count = sixes.len() * 6 / 8;
        let bytes = (0..count).map(|place| octet(&sixes, place * 8)).collect();
        Self { places, before, bytes }
    }
}

/// Where the characters before `at` stand, the nearest first.
fn places_before(view: &View<'_>, at: usize) -> Vec<usize> {
    let before = view.before(at);
    let base = at - before.len();
    let mut places = Vec::with_capacity(2 * AROUND);
    let mut rest = if ends_with_plain_digits(before) { &[] } else { before };
    let mut plain = 0;
    while places.len() < AROUND {
        let length = line_break_before(rest).unwrap_or(0);
        let line = rest.get(..rest.len() - length).unwrap_or_default();
        if ends_with_line(line) {
            rest = line;
        }
        let Some((last, head)) = rest.split_last().filter(|(last, _)| value(**last).is_some())
        else {
            break;
        };
        rest = head;
        places.push(base + rest.len());
        plain = if last.is_ascii_digit() { plain + 1 } else { 0 };
        if plain == PLAIN_DIGITS {
            places.truncate(places.len() - PLAIN_DIGITS);
            break;
        }
    }
    places
}

/// Whether a text ends with a line of base64, not with the data of a track (ISO/IEC 7813) behind its
/// `^`: with that before it, the number on the next line would be none until it is masked.
fn ends_with_line(text: &[u8]) -> bool {
    let written = text.iter().rev().take_while(|byte| value(**byte).is_some()).count();
    let head = text.get(..text.len() - written).unwrap_or_default();
    written > 0 && head.last() != Some(&b'^') && !ends_with_plain_digits(text)
}

/// Whether a text ends with digits that stand for themselves, as those of a number, a code or a track
/// do: as base64, four of them write what begins no character of a text.
fn ends_with_plain_digits(text: &[u8]) -> bool {
    text.last_chunk::<4>().is_some_and(|four| four.iter().all(u8::is_ascii_digit))
}

/// The next character and where it stands, perhaps on the next line.
fn character(view: &View<'_>, at: usize) -> Option<(usize, u8)> {
    let place = at + line_break(view, at);
    Some((place, value(view.byte(place)?)?))
}

/// The length of what breaks a line at `at`.
fn line_break(view: &View<'_>, at: usize) -> usize {
    if !view.byte(at).is_some_and(breaks_line) {
        return 0;
    }
    BREAKS.iter().find(|broken| view.has(at, broken)).map_or(0, |broken| broken.len())
}

/// The length of the line break that ends a text.
pub(super) fn line_break_before(text: &[u8]) -> Option<usize> {
    BREAKS.iter().find(|broken| text.ends_with(broken)).map(|broken| broken.len())
}

/// Whether a line break may begin so.
fn breaks_line(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n' | b'\\' | b'%')
}

/// Whether a group with a digit at its beginning begins so.
fn is_triple(byte: u8) -> bool {
    matches!(byte, b'M'..=b'O')
}

/// Whether a group with a separator at its beginning begins so.
fn separates(byte: u8) -> bool {
    matches!(byte, b'I' | b'L')
}

/// Whether encoded digits may go on so, other than with a digit at the beginning of a group.
pub(super) fn may_go_on(byte: u8) -> bool {
    separates(byte) || breaks_line(byte)
}

/// The bytes that the characters of a find write, `skew` bits into the first.
pub(super) fn decode(text: &[u8], skew: usize) -> Vec<u8> {
    let sixes: Vec<u8> = characters(text).into_iter().map(|(_, six)| six).collect();
    let count = (sixes.len() * 6).saturating_sub(skew) / 8;
    (0..count).map(|place| octet(&sixes, skew + place * 8)).collect()
}

/// Writes `bytes` over the encoded ones.
pub(super) fn overwrite(text: &mut [u8], skew: usize, bytes: &[u8]) {
    let mut characters = characters(text);
    for (place, byte) in bytes.iter().enumerate() {
        for bit in 0..8 {
            set_bit(&mut characters, skew + place * 8 + bit, byte >> (7 - bit) & 1 == 1);
        }
    }
    for (place, six) in characters {
        if let Some(letter) = text.get_mut(place).filter(|letter| value(**letter) != Some(six)) {
            // Digits and stars have bits that keep this below 62, where both alphabets are the same.
            *letter = STANDARD.get(usize::from(six)).copied().unwrap_or(*letter);
        }
    }
}

fn characters(text: &[u8]) -> Vec<(usize, u8)> {
    let view = View::new(text, true);
    let mut characters = Vec::with_capacity(text.len());
    let mut next = 0;
    while let Some((place, six)) = character(&view, next) {
        characters.push((place, six));
        next = place + 1;
    }
    characters
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

fn octet(sixes: &[u8], first_bit: usize) -> u8 {
    let bit_at = |bit: usize| sixes.get(bit / 6).copied().unwrap_or(0) >> (5 - bit % 6) & 1;
    (first_bit..first_bit + 8).fold(0, |byte, bit| byte << 1 | bit_at(bit))
}

fn set_bit(characters: &mut [(usize, u8)], bit: usize, on: bool) {
    if let Some((_, six)) = characters.get_mut(bit / 6) {
        let mask = 1 << (5 - bit % 6);
        *six = *six & !mask | if on { mask } else { 0 };
    }
}
