//! A stretch of digits with what may stand between them: the raw material of card numbers.

use super::glyph::{self, Class};
use super::view::View;

/// More groups than any card with its neighbours has; a longer stretch is read in pieces.
const GROUPS_MAX: usize = 32;
/// Digits kept per cluster; a longer run is no card.
const DIGITS_MAX: usize = 192;
/// The longest run of digits that still matters.
const RUN_MAX: usize = 40;
/// The longest gap without markup, in bytes.
const GAP_LENGTH_MAX: usize = 16;
/// The longest where nothing visible stands between two digits.
const INVISIBLE_LENGTH_MAX: usize = 8;
/// Visible characters in a gap.
const MARKS_MAX: usize = 3;
/// Tags, spaces and line breaks between two digits.
const TAG_PIECES_MAX: usize = 32;
/// The longest tag that may split a number.
const TAG_LENGTH_MAX: usize = 96;

/// What stands between two groups of digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gap {
    Dash,
    Dot,
    Plus,
    Space,
    /// Markup, with or without white space.
    Tags,
    /// ` - `
    Wide,
}

/// A run of digits, perhaps escaped, with nothing visible between them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// Where its first digit begins.
    pub(super) start: usize,
    /// Where its last digit ends.
    pub(super) end: usize,
    /// Index of its first digit among the cluster's.
    pub(super) first: usize,
    /// How many digits it has.
    pub(super) count: usize,
    /// What stands before it, if another group does.
    pub(super) gap: Option<Gap>,
}

/// Groups of digits with single separators between them.
pub(super) struct Cluster {
    pub(super) groups: Vec<Group>,
    pub(super) digits: Vec<u8>,
    /// Where scanning goes on when nothing is found.
    pub(super) end: usize,
    /// It goes on after [`Cluster::end`], past what is read at once.
    pub(super) cut: bool,
}

impl Cluster {
    /// Reads the cluster whose first digit is at `at`.
    pub(super) fn read(view: &View<'_>, at: usize) -> Self {
        let mut cluster = Self { groups: Vec::new(), digits: Vec::new(), end: at, cut: false };
        let mut begin = Some((at, None));
        while let Some((start, gap)) = begin {
            begin = cluster.group(view, start, gap);
            let long = cluster.groups.last().is_some_and(|group| group.count >= RUN_MAX);
            let full = cluster.groups.len() >= GROUPS_MAX || cluster.digits.len() > DIGITS_MAX;
            if long || begin.is_some() && full {
                cluster.cut = true;
                return cluster;
            }
        }
        cluster
    }

    /// The digits of a stretch of groups.
    pub(super) fn digits_of(&self, from: usize, to: usize) -> &[u8] {
        let start = self.groups.get(from).map_or(0, |group| group.first);
        let end = self.groups.get(to).map_or(0, |group| group.first + group.count);
        self.digits.get(start..end).unwrap_or_default()
    }

    /// Whether a gap with or without markup goes with those before it.
    fn agrees(&self, tagged: bool, gap: Option<Gap>) -> bool {
        self.groups.is_empty() && gap.is_none() || tagged == (gap == Some(Gap::Tags))
    }

    /// Reads one group and returns where the next begins and what stands between.
    fn group(
        &mut self,
        view: &View<'_>,
        at: usize,
        gap: Option<Gap>,
    ) -> Option<(usize, Option<Gap>)> {
        let first = self.digits.len();
        let mut place = at;
        let next = loop {
            if let Some((digit, length)) = read_digit(view, place) {
                self.digits.push(digit);
                place += length;
                self.end = place;
                if self.digits.len() - first >= RUN_MAX {
                    break None;
                }
                continue;
            }
            match read_gap(view, place) {
                Some((start, None)) => place = start,
                // Markup splits a whole number or none of it.
                Some((_, next)) if !self.agrees(next == Some(Gap::Tags), gap) => break None,
                other => break other,
            }
        };
        let count = self.digits.len() - first;
        self.groups.push(Group { start: at, end: self.end, first, count, gap });
        next
    }
}

/// The digit at `at`, and how many bytes write it.
pub(super) fn read_digit(view: &View<'_>, at: usize) -> Option<(u8, usize)> {
    let glyph = glyph::read(view, at)?;
    let Class::Digit(digit) = glyph.class() else { return None };
    Some((digit, glyph.length))
}

/// Reads what stands between two digits: where the second begins, and the kind of gap unless
/// nothing visible is there. The lengths are bounded so that twelve digits of a number without
/// markup lie within [`filter::REACH`](super::filter::REACH) bytes.
pub(super) fn read_gap(view: &View<'_>, at: usize) -> Option<(usize, Option<Gap>)> {
    match view.byte(at)? {
        b'<' => tag_gap(view, at).map(|next| (next, Some(Gap::Tags))),
        _ => mark_gap(view, at),
    }
}

fn mark_gap(view: &View<'_>, at: usize) -> Option<(usize, Option<Gap>)> {
    let mut place = at;
    let mut marks = [None; MARKS_MAX];
    let mut count = 0;
    loop {
        let glyph = glyph::read(view, place)?;
        place += match glyph.class() {
            Class::Digit(_) => break,
            Class::Invisible => glyph.length,
            // A soft line break of quoted-printable (RFC 2045 §6.7).
            Class::Other if view.has(place, b"=\r\n") => 3,
            Class::Other if view.has(place, b"=\n") => 2,
            Class::Other => return None,
            mark => {
                *marks.get_mut(count)? = Some(mark);
                count += 1;
                glyph.length
            }
        };
        if place > at + GAP_LENGTH_MAX {
            return None;
        }
    }
    let invisible = count == 0 && (place == at || place > at + INVISIBLE_LENGTH_MAX);
    if invisible { None } else { Some((place, gap_kind(marks)?)) }
}

/// `Some(None)` where nothing visible stands between, `None` where no card has such a gap.
fn gap_kind(marks: [Option<Class>; MARKS_MAX]) -> Option<Option<Gap>> {
    match marks {
        [None, ..] => Some(None),
        [Some(Class::Space), None | Some(Class::Space), None] => Some(Some(Gap::Space)),
        [Some(Class::Dash), None, _] => Some(Some(Gap::Dash)),
        [Some(Class::Dot), None, _] => Some(Some(Gap::Dot)),
        [Some(Class::Plus), None, _] => Some(Some(Gap::Plus)),
        [Some(Class::Space), Some(Class::Dash), Some(Class::Space)] => Some(Some(Gap::Wide)),
        _ => None,
    }
}

/// Where the digit after inline markup and white space begins.
fn tag_gap(view: &View<'_>, at: usize) -> Option<usize> {
    let mut place = at;
    for _ in 0..TAG_PIECES_MAX {
        let glyph = glyph::read(view, place)?;
        place += match (glyph.class(), glyph.code) {
            (Class::Digit(_), _) => return Some(place),
            (_, 0x3C) => inline_tag(view, place)?,
            (Class::Space | Class::Invisible, _) | (_, 0x09 | 0x0A | 0x0D) => glyph.length,
            _ => return None,
        };
    }
    None
}

/// Elements that style a part of a word. Others end a number: cells of a table are not one.
const INLINE: [&[u8]; 26] = [
    b"a", b"abbr", b"b", b"bdi", b"bdo", b"big", b"code", b"data", b"del", b"em", b"font", b"i",
    b"ins", b"kbd", b"label", b"mark", b"nobr", b"s", b"samp", b"small", b"span", b"strong",
    b"sub", b"sup", b"u", b"wbr",
];

/// The length of the inline tag or comment at `at`.
fn inline_tag(view: &View<'_>, at: usize) -> Option<usize> {
    let closing =
        usize::from(view.byte(at + 1)? == b'/') + usize::from(view.has(at + 1, b"\\/")) * 2;
    let name_start = at + 1 + closing;
    let mut name = Vec::new();
    while let Some(byte) = view.byte(name_start + name.len()).filter(u8::is_ascii_alphabetic) {
        name.push(byte.to_ascii_lowercase());
        if name.len() > 6 {
            return None;
        }
    }
    if !INLINE.contains(&name.as_slice()) && !view.has(at, b"<!--") {
        return None;
    }
    let length = (1..TAG_LENGTH_MAX).find(|&place| view.byte(at + place) == Some(b'>'))?;
    Some(length + 1)
}
