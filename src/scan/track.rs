//! Magnetic-stripe data (ISO/IEC 7813): track 1 `%B<number>^NAME^…`, track 2 `;<number>=YYMM…`.
//!
//! What follows the number (expiry, service code, discretionary data) is sensitive authentication
//! data as a whole (PCI DSS 3.3.1.1); it has a span of its own, so that a mask covers it too.

use std::ops::Range;

use crate::card::PAN_DIGITS_MIN;

use super::glyph::{self, Class, Glyph};
use super::view::View;

/// Expiry and service code, the least that follows the number of a track.
pub(super) const TAIL_DIGITS_MIN: usize = 7;
/// The longest name of track 1, with its separators.
const NAME_MAX: usize = 28;
/// The most characters of a track (ISO/IEC 7811-6).
const TRACK_MAX: usize = 79;

/// What follows the number from `start` to `end`, separators apart, if that stands within a track.
pub(super) fn tail(view: &View<'_>, start: usize, end: usize) -> Option<Range<usize>> {
    let separator = glyph::read(view, end)?;
    let next = end + separator.length;
    match u8::try_from(separator.code).ok()? {
        b'^' if in_first_track(view, start) => {
            let (tail, data) = behind_name(view, next)?;
            Some(tail..first_track_end(view, digits_end(view, data)?))
        }
        b'=' => Some(next..digits_end(view, next)?),
        b'D' | b'd' => Some(next..digits_end(view, next).filter(|_| is_month(view, next + 2))?),
        _ => None,
    }
}

/// Whether the format code of track 1 stands before the number, as the first of its word.
pub(super) fn in_first_track(view: &View<'_>, start: usize) -> bool {
    let before = view.before(start);
    let head = before.strip_suffix(b"B").or(before.strip_suffix(b"b"));
    head.is_some_and(|head| {
        let escaped = [&b"%25"[..], b"u0025", b"x25"].iter().any(|mark| head.ends_with(mark));
        // Behind digits, too, as where the data of another track ends without its sentinel.
        escaped || head.last().is_none_or(|byte| !byte.is_ascii_alphabetic())
    })
}

/// Where what follows the name begins, and the data itself: a name with the digits of a number is
/// masked with the data, for they are passed over as one.
fn behind_name(view: &View<'_>, at: usize) -> Option<(usize, usize)> {
    let (mut place, mut digits) = (at, 0);
    for _ in 0..NAME_MAX {
        let glyph = glyph::read(view, place)?;
        place += glyph.length;
        digits += usize::from(is_digit(&glyph));
        if glyph.code == u32::from(b'^') {
            return Some((if digits < PAN_DIGITS_MIN { place } else { at }, place));
        }
    }
    None
}

/// Where a run of enough digits ends.
fn digits_end(view: &View<'_>, at: usize) -> Option<usize> {
    let mut place = at;
    let mut count = 0;
    while let Some(glyph) = glyph::read(view, place).filter(is_digit).filter(|_| count < TRACK_MAX)
    {
        place += glyph.length;
        count += 1;
    }
    (count >= TAIL_DIGITS_MIN).then_some(place)
}

/// Where the data of track 1 ends, which may hold letters and spaces: before the end sentinel, or,
/// where that was left out, with the word.
fn first_track_end(view: &View<'_>, at: usize) -> usize {
    let mut place = at;
    let mut word_end = None;
    for _ in 0..TRACK_MAX {
        let Some(glyph) = glyph::read(view, place) else { break };
        match u8::try_from(glyph.code) {
            Ok(b'?') => return place,
            Ok(b' '..=b'_') if !matches!(glyph.code, 0x22 | 0x26 | 0x27 | 0x3C | 0x3E) => {}
            _ => break,
        }
        if !is_word(&glyph) {
            word_end.get_or_insert(place);
        }
        place += glyph.length;
    }
    word_end.unwrap_or(place)
}

/// `MM`, as the hexadecimal writing of track 2 has it in its expiry: `D` is a digit there, so that
/// the separator alone says little.
fn is_month(view: &View<'_>, at: usize) -> bool {
    matches!(
        (view.byte(at), view.byte(at + 1)),
        (Some(b'0'), Some(b'1'..=b'9')) | (Some(b'1'), Some(b'0'..=b'2'))
    )
}

fn is_digit(glyph: &Glyph) -> bool {
    matches!(glyph.class(), Class::Digit(_))
}

/// Whether a mask hides the character: letters and digits, not what holds the carrier together.
pub(super) fn is_word(glyph: &Glyph) -> bool {
    is_digit(glyph) || u8::try_from(glyph.code).is_ok_and(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{finds, masked, response};
    use super::super::{Carrier, FindKind};

    #[test]
    fn track_data_is_told_from_a_card() {
        let tracks = [
            (Carrier::Text, ";4111111111111111=25121010000012300?"),
            (Carrier::Text, "%B4111111111111111^DOE/J^2512101000000?"),
            (Carrier::Text, "b4111111111111111^DOE/JOHN MR^2512101 00 A00?"),
            (Carrier::Text, "track: 4111111111111111D25121010000012300F"),
            (Carrier::Text, "5A085555555555554444570F4111111111111111D2512101000001"),
            (Carrier::Text, "B4111111111111111=25121010B4111111111111111=251210100"),
            (Carrier::Form, "t=%25B4111111111111111%5EDOE%2FJ%5E2512101000000%3F"),
            (Carrier::Form, "t=%3B4111111111111111%3D25121010000012300%3F"),
            (Carrier::Json, r#"{"t":"\u0025B4111111111111111^DOE\/J^2512101000000?"}"#),
            (Carrier::Json, r#"{"t":";4111111111111111\u003d25121010000012300?"}"#),
            (Carrier::Xml, "<t>;4111111111111111&#61;25121010000012300?</t>"),
        ];
        for (carrier, body) in tracks {
            let found = finds(response(), carrier, body);
            let last_two = found.iter().rev().take(2).map(|find| &find.kind).collect::<Vec<_>>();
            let [FindKind::TrackTail, FindKind::Track { brand, .. }] = last_two[..] else {
                panic!("{body}");
            };
            assert_eq!(brand.as_str(), "visa", "{body}");
        }
        let find = |body| finds(response(), Carrier::Text, body).remove(0).kind;
        assert!(matches!(find("card 4111111111111111"), FindKind::Card { .. }));
        assert!(finds(response(), Carrier::Text, "a24111111111111111d2599101ffe").is_empty());
    }

    #[test]
    fn a_mask_leaves_nothing_of_a_track_behind_its_number() {
        let cases = [
            (
                Carrier::Text,
                ";4111111111111111=25121010000012300?",
                ";411111******1111=*****************?",
            ),
            (
                Carrier::Text,
                "%B4111111111111111^DOE/J^2512101A 0B0 12?\n",
                "%B411111******1111^DOE/J^******** *** **?\n",
            ),
            (
                Carrier::Form,
                "t=%25B4111111111111111%5EDOE%2FJ%5E2512101000%3F&u=2512101000",
                "t=%25B411111******1111%5EDOE%2FJ%5E**********%3F&u=2512101000",
            ),
            (
                Carrier::Text,
                "57124111111111111111D25121010000012300F9F1A020276",
                "57124111110000001111D00000000000000000F9F1A020276",
            ),
            (
                Carrier::Text,
                "B4111111111111111^%B4111111111111111^25121010000",
                "B411111******1111^%*****************^***********",
            ),
            (
                Carrier::Json,
                r#"{"t":";4111111111111111\u003d25121010000012300?","n":"25121010000012300"}"#,
                r#"{"t":";411111******1111\u003d*****************?","n":"25121010000012300"}"#,
            ),
        ];
        for (carrier, body, expected) in cases {
            assert_eq!(masked(response, carrier, body), expected.replace(r"\\", r"\"));
        }
    }
}
