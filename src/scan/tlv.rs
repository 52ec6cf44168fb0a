//! EMV data objects in hexadecimal (EMV Book 3, annex B): tag 5A is the card number, tags 57 and 9F6B
//! the equivalent of track 2.

use std::ops::Range;

use crate::card::{PAN_DIGITS_MAX, PAN_DIGITS_MIN, Pan};

use super::cluster::Cluster;
use super::find::{Beside, Coding, Medium};
use super::glyph::hex;
use super::shape::{self, Luhn};
use super::view::{LOOK_BACK, View};
use super::{Find, FindKind};

/// The longest number in tag 5A: 19 digits and a filler.
const PAN_FIELD_BYTES_MAX: usize = 10;
/// Track 2 equivalent data.
const TRACK_FIELD_BYTES_MAX: usize = 19;
/// How many objects are walked before the number.
const OBJECTS_MAX: usize = 64;

/// The card number in a data object that the cluster lies in, and the rest of its track.
pub(super) fn find(view: &View<'_>, cluster: &Cluster) -> Option<Vec<Find>> {
    let group = cluster.groups().iter().find(|group| group.count >= PAN_DIGITS_MIN)?;
    let hexadecimal = |byte: Option<u8>| byte.is_some_and(|byte| hex(byte).is_some());
    let before = view.before(group.start);
    let inside = hexadecimal(before.last().copied()) || hexadecimal(view.byte(group.end));
    if !inside && group.count <= PAN_DIGITS_MAX {
        return None;
    }
    let length = before.iter().rev().take_while(|byte| hex(**byte).is_some()).count();
    let start = group.start - length;
    // As far back as is kept: where the run begins cannot be known.
    if length >= LOOK_BACK {
        return None;
    }
    // A letter before the run makes it no run of hexadecimal digits.
    if view.before(start).last().is_some_and(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    walk(view, start, cluster.groups().first()?.start)
}

/// Walks the objects from `start` and returns the first number at or after `from`.
fn walk(view: &View<'_>, start: usize, from: usize) -> Option<Vec<Find>> {
    let mut at = start;
    for _ in 0..OBJECTS_MAX {
        let tag = octet(view, at)?;
        let contactless = tag == 0x9F && octet(view, at + 2) == Some(0x6B);
        at += 2;
        if tag & 0x1F == 0x1F {
            while octet(view, at)? & 0x80 != 0 {
                at += 2;
            }
            at += 2;
        }
        let length = usize::from(octet(view, at).filter(|&length| length < 0x80)?);
        at += 2;
        // Templates such as 70 and 77 hold objects themselves.
        if tag & 0x20 != 0 {
            continue;
        }
        let found = match tag {
            0x5A if length <= PAN_FIELD_BYTES_MAX => number(view, at, length, Tag::Pan),
            0x57 if length <= TRACK_FIELD_BYTES_MAX => number(view, at, length, Tag::Track),
            _ if contactless && length <= TRACK_FIELD_BYTES_MAX => {
                number(view, at, length, Tag::Track)
            }
            _ => None,
        };
        let starts = |finds: &Vec<Find>| finds.first().is_some_and(|it| it.span.start >= from);
        if let Some(finds) = found.filter(starts) {
            return Some(finds);
        }
        // A value that is no hexadecimal text shows that these were no objects.
        if !(at..at + length * 2).all(|place| view.byte(place).and_then(hex).is_some()) {
            return None;
        }
        at += length * 2;
    }
    None
}

enum Tag {
    Pan,
    Track,
}

fn number(view: &View<'_>, at: usize, length: usize, tag: Tag) -> Option<Vec<Find>> {
    let end =
        (at..at + length * 2).find(|&place| !view.byte(place).is_some_and(|b| b.is_ascii_digit()));
    let end = end.unwrap_or(at + length * 2);
    // The whole object must have arrived.
    let _ = octet(view, (at + length * 2).saturating_sub(2))?;
    let digits = view.seen(at, end);
    let issuer = shape::issuer_of(digits, Luhn::Holds)?;
    let pan = Pan::from_digits(digits)?;
    let brand = issuer.brand;
    let find = |kind, span: Range<usize>| Find {
        span,
        kind,
        field: String::new(),
        medium: Medium::Hex,
        coding: Coding::Plain,
        beside: Beside::default(),
    };
    Some(match tag {
        Tag::Pan => vec![find(FindKind::Card { pan, brand }, at..end)],
        Tag::Track => {
            let number = find(FindKind::Track { pan, brand }, at..end);
            let rest = rest(view, end, at + length * 2);
            let rest = rest.map(|span| find(FindKind::TrackTail, span));
            std::iter::once(number).chain(rest).collect()
        }
    })
}

/// What follows the number of track 2 up to the end of the object, separator and filler apart.
fn rest(view: &View<'_>, number_end: usize, end: usize) -> Option<Range<usize>> {
    let digits = view.seen(number_end + 1, end).iter().take_while(|byte| byte.is_ascii_digit());
    let count = digits.count();
    (count > 0).then(|| number_end + 1..number_end + 1 + count)
}

fn octet(view: &View<'_>, at: usize) -> Option<u8> {
    Some(hex(view.byte(at)?)? << 4 | hex(view.byte(at + 1)?)?)
}
