//! Finds the places worth a decision, at the speed of memory where there are none.
//!
//! Two levels: blocks with too few digits near are skipped whole; in the others bit masks tell the
//! beginnings of runs that are long enough, or go on behind something longer than a byte. Both only
//! leave out places where [`worth`] is false, and `worth` looks at nothing but the bytes around its
//! place: what is found does not depend on where blocks or pieces of the body begin.

use crate::card::PAN_DIGITS_MIN;

use super::cluster::{self, Cluster};
use super::glyph::{self, Class, Form};
use super::lists::Lists;
use super::view::{View, leading_digits};
use super::{Rules, base64, markup, shape};

/// Twelve digits of a number without markup lie within this many bytes.
const REACH: usize = 128;
/// How far a run of digits and plain separators is followed.
const RUN_MAX: usize = 64;
/// The longest escape that a digit may be part of.
const ESCAPE_MAX: usize = 9;

/// Which places are worth a decision.
#[derive(Clone, Copy)]
pub(super) struct Mesh<'a> {
    /// Those that may begin a number.
    pub(super) numbers: Numbers,
    /// Those of verification codes too: three or four digits in a field named so.
    pub(super) codes: Option<Codes<'a>>,
}

/// What tells the fields of verification codes.
#[derive(Clone, Copy)]
pub(super) struct Codes<'a> {
    /// The names.
    pub(super) rules: &'a Rules,
    /// The columns that lists name.
    pub(super) lists: &'a Lists,
    /// The text is a table: what names a field stands far from it.
    pub(super) columns: bool,
}

/// Which numbers of twelve digits and more are worth one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Numbers {
    /// All: a field may be named for one that no card has.
    Any,
    /// Those that may be a card's.
    Cards,
}

/// Whether a decision about the run, escape or base64 that begins at `place` can find a number.
pub(super) fn worth(view: &View<'_>, place: usize, numbers: Numbers) -> bool {
    if base64::begins(view, place).is_some() {
        return true;
    }
    let Some(glyph) = glyph::read(view, place) else { return false };
    if !matches!(glyph.class(), Class::Digit(_)) {
        return false;
    }
    if glyph.form != Form::Raw || glyph.length > 1 {
        return reaches(view, place) && crowded(view, place);
    }
    if numbers == Numbers::Cards && shape::ruled_out(view, place).is_some() {
        return false;
    }
    let mut digits = 0;
    let mut end = place;
    while let Some(byte) = view.byte(end).filter(|&byte| is_plain(byte)) {
        digits += usize::from(byte.is_ascii_digit());
        end += 1;
        if digits >= PAN_DIGITS_MIN {
            return true;
        }
        if end - place >= RUN_MAX {
            return false;
        }
    }
    let stop = escape_over(view, end, place).unwrap_or(end);
    match view.byte(stop) {
        Some(b'<') => {
            let whole = end - place == digits && markup::gap(view, stop).is_some();
            whole && reaches(view, place) && (tagged(view, stop) || crowded(view, place))
        }
        Some(0 | b'%' | b'&' | b'=' | b'\\' | 0x80..) => {
            // A gap begins behind the last digit: its first marks may be plain ones.
            let marks = view.seen(place, stop).iter().rev();
            let gap = stop - marks.take_while(|byte| !byte.is_ascii_digit()).count();
            let on =
                cluster::read_digit(view, stop).is_some() || cluster::read_gap(view, gap).is_some();
            on && reaches(view, place) && crowded(view, place)
        }
        _ => false,
    }
}

/// Whether another digit stands before a tag soon after.
fn tagged(view: &View<'_>, tag: usize) -> bool {
    (tag + 1..tag + REACH).any(|at| {
        view.byte(at + 1) == Some(b'<') && view.byte(at).is_some_and(|byte| byte.is_ascii_digit())
    })
}

/// Whether the cluster at `place` has as many digits as a card. Asked first, for it does not look
/// past the cluster's own end.
fn reaches(view: &View<'_>, place: usize) -> bool {
    Cluster::read(view, place).digits().len() >= PAN_DIGITS_MIN
}

/// Whether so many lie within the reach of one number.
fn crowded(view: &View<'_>, place: usize) -> bool {
    let counts = |byte: u8| byte.is_ascii_digit() || byte >= 0x80;
    let bytes = (place..place + REACH).map_while(|at| view.byte(at));
    bytes.filter(|&byte| counts(byte)).take(PAN_DIGITS_MIN).count() == PAN_DIGITS_MIN
}

/// Where the run or escape that `place` lies in begins, not before `anchor`, where the search began.
pub(super) fn settle(view: &View<'_>, place: usize, anchor: usize) -> usize {
    let head = view.seen(anchor, place);
    let inside = view.seen(place, place + 1).iter().all(u8::is_ascii_digit);
    let digits = head.iter().rev().take_while(|byte| inside && byte.is_ascii_digit()).count();
    view.focus(place - digits);
    escape_over(view, place - digits, anchor).unwrap_or(place - digits)
}

/// Where to go on behind a place that is not worth a decision.
pub(super) fn behind(view: &View<'_>, place: usize) -> usize {
    let digits = leading_digits(view.ahead(place)).len();
    if digits > 0 {
        return place + digits;
    }
    place + glyph::read(view, place).map_or(1, |glyph| glyph.length)
}

/// Where the escape begins that the byte at `place` is part of, not before `anchor`.
fn escape_over(view: &View<'_>, place: usize, anchor: usize) -> Option<usize> {
    let first = place.saturating_sub(ESCAPE_MAX).max(anchor);
    let begins = |byte: &u8| matches!(byte, b'%' | b'&' | b'\\');
    let starts = view.seen(first, place).iter().zip(first..).filter(|(byte, _)| begins(byte));
    let mut glyphs = starts.filter_map(|(_, start)| Some((start, glyph::read(view, start)?)));
    glyphs.find(|(start, glyph)| start + glyph.length > place).map(|(start, _)| start)
}

/// What a number without entities, escapes of JSON or markup is made of.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'%' | b'+' | b'-' | b'.')
}
