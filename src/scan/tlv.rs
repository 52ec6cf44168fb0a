//! EMV data objects in hexadecimal (EMV Book 3, annex B): tag 5A is the card number, tag 57 the
//! equivalent of track 2.

use std::ops::Range;

use crate::card::{PAN_DIGITS_MAX, PAN_DIGITS_MIN, Pan};

use super::cluster::Cluster;
use super::find::Medium;
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

/// The card number in a data object that the cluster lies in.
pub(super) fn find(view: &View<'_>, cluster: &Cluster) -> Option<Find> {
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
fn walk(view: &View<'_>, start: usize, from: usize) -> Option<Find> {
    let mut at = start;
    for _ in 0..OBJECTS_MAX {
        let tag = octet(view, at)?;
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
            _ => None,
        };
        if let Some(find) = found.filter(|find| find.span.start >= from) {
            return Some(find);
        }
        at += length * 2;
    }
    None
}

enum Tag {
    Pan,
    Track,
}

fn number(view: &View<'_>, at: usize, length: usize, tag: Tag) -> Option<Find> {
    let end =
        (at..at + length * 2).find(|&place| !view.byte(place).is_some_and(|b| b.is_ascii_digit()));
    let end = end.unwrap_or(at + length * 2);
    let span: Range<usize> = at..end;
    // The whole object must have arrived.
    let _ = octet(view, (at + length * 2).saturating_sub(2))?;
    let digits = view.seen(at, end);
    let issuer = shape::issuer_of(digits, Luhn::Holds)?;
    let pan = Pan::from_digits(digits)?;
    let kind = match tag {
        Tag::Pan => FindKind::Card { pan, brand: issuer.brand },
        Tag::Track => FindKind::Track { pan },
    };
    Some(Find { span, kind, field: String::new(), medium: Medium::Hex })
}

fn octet(view: &View<'_>, at: usize) -> Option<u8> {
    Some(hex(view.byte(at)?)? << 4 | hex(view.byte(at + 1)?)?)
}
