//! A stretch of digits with what may stand between them: the raw material of card numbers.

use super::glyph::{self, Class};
use super::markup;
use super::view::{View, leading_digits};

/// More groups than any card with its neighbours has; a longer stretch is read in pieces.
const GROUPS_MAX: usize = 32;
/// Room for these is made at once: a card and what stands beside it.
const GROUPS_USUAL: usize = 8;
const DIGITS_USUAL: usize = 64;
/// The longest run of digits that still matters.
const RUN_MAX: usize = 40;
/// A group of so many digits is a number by itself.
const LONG: usize = 14;
/// The longest gap without markup, in bytes.
const GAP_LENGTH_MAX: usize = 16;
/// The longest where nothing visible stands between two digits.
const INVISIBLE_LENGTH_MAX: usize = 8;
/// Visible characters in a gap.
const MARKS_MAX: usize = 3;

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
#[derive(Default)]
pub(super) struct Cluster {
    groups: Vec<Group>,
    digits: Vec<u8>,
    /// Where scanning goes on when nothing is found.
    pub(super) resume: usize,
    /// How many groups a number may begin with; what begins later is read again from `resume`.
    pub(super) heads: usize,
    /// Markup splits a whole number or none of it: the last group may also begin the next number.
    pub(super) torn: bool,
}

/// What follows a group.
enum Next {
    End,
    Group(usize, Option<Gap>),
    Torn,
}

impl Cluster {
    /// Reads the cluster whose first digit is at `at`.
    pub(super) fn read(view: &View<'_>, at: usize) -> Self {
        let mut cluster = Self::default();
        cluster.read_anew(view, at);
        cluster
    }

    /// The same in the place of another: decisions that follow each other need no memory of their own.
    pub(super) fn read_anew(&mut self, view: &View<'_>, at: usize) {
        self.groups.clear();
        self.groups.reserve(GROUPS_USUAL);
        self.digits.clear();
        self.digits.reserve(DIGITS_USUAL);
        (self.resume, self.heads, self.torn) = (at, 0, false);
        let mut next = Next::Group(at, None);
        let mut long = false;
        while let Next::Group(start, gap) = next {
            let group;
            (group, next) = self.group(view, start, gap);
            (self.resume, self.heads) = (group.end, self.groups.len());
            if long {
                // Nothing written in groups has one so long: of what follows only the next group
                // matters, as a fraction or the rest of an identifier.
                (self.resume, self.heads) = (group.start, self.groups.len() - 1);
                break;
            }
            if self.groups.len() == GROUPS_MAX {
                self.heads = GROUPS_MAX / 2;
                self.resume = self.groups.get(self.heads).map_or(at, |group| group.start);
                break;
            }
            long = group.count >= LONG;
        }
        if matches!(next, Next::Torn) {
            self.torn = true;
            // What stands behind the last group counts, and is not known here.
            self.heads = self.groups.len().saturating_sub(1);
            self.resume = self.groups.last().map_or(at, |group| group.start);
        }
    }

    /// The groups, in order; at least one.
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// All digits.
    pub(super) fn digits(&self) -> &[u8] {
        &self.digits
    }

    /// The digits of a stretch of groups.
    pub(super) fn digits_of(&self, from: usize, to: usize) -> &[u8] {
        let start = self.groups().get(from).map_or(0, |group| group.first);
        let end = self.groups().get(to).map_or(0, |group| group.first + group.count);
        self.digits.get(start..end).unwrap_or_default()
    }

    /// Reads one group, and what follows it.
    fn group(&mut self, view: &View<'_>, at: usize, gap: Option<Gap>) -> (Group, Next) {
        let first = self.digits.len();
        let (mut place, mut end) = (at, at);
        let next = loop {
            let room = RUN_MAX - (self.digits.len() - first);
            if room == 0 {
                break Next::End;
            }
            // Plain digits in one go: a card is read in half the time.
            let ahead = view.ahead(place);
            let run = leading_digits(ahead.get(..room).unwrap_or(ahead));
            if !run.is_empty() {
                self.digits.extend_from_slice(run);
                place += run.len();
                end = place;
                continue;
            }
            let plain = plain_gap_at(view, place);
            if plain.is_none()
                && let Some((digit, length)) = read_digit(view, place)
            {
                self.digits.push(digit);
                place += length;
                end = place;
                continue;
            }
            match plain.or_else(|| read_gap(view, place)) {
                Some((start, None)) => place = start,
                Some((_, kind)) if !self.agrees(kind == Some(Gap::Tags), gap) => break Next::Torn,
                Some((start, kind)) => break Next::Group(start, kind),
                None => break Next::End,
            }
        };
        let group = Group { start: at, end, first, count: self.digits.len() - first, gap };
        self.groups.push(group);
        (group, next)
    }

    /// Whether a gap with or without markup goes with those before it.
    fn agrees(&self, tagged: bool, gap: Option<Gap>) -> bool {
        self.groups.is_empty() || tagged == (gap == Some(Gap::Tags))
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
        b'<' => markup::gap(view, at).map(|next| (next, Some(Gap::Tags))),
        _ => mark_gap(view, at),
    }
}

fn mark_gap(view: &View<'_>, at: usize) -> Option<(usize, Option<Gap>)> {
    if let Some(gap) = plain_gap_at(view, at) {
        return Some(gap);
    }
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

/// A single byte between two digits.
fn plain_gap_at(view: &View<'_>, at: usize) -> Option<(usize, Option<Gap>)> {
    let [mark, b'0'..=b'9', ..] = view.ahead(at) else { return None };
    Some((at + 1, Some(plain_gap(*mark)?)))
}

/// What a single byte between two digits is, as nearly all gaps are.
fn plain_gap(mark: u8) -> Option<Gap> {
    match mark {
        b' ' => Some(Gap::Space),
        b'-' => Some(Gap::Dash),
        b'.' => Some(Gap::Dot),
        b'+' => Some(Gap::Plus),
        _ => None,
    }
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

/// Whether what stands at `at`, right after a digit or a plain separator, may go on with the number:
/// not the `&` of a query or of `&euro;`, nor the first byte of a letter.
pub(super) fn may_go_on(text: &[u8], at: usize) -> bool {
    if let Some([b'&', second, third]) = text.get(at..at + 3)
        && !glyph::may_begin_entity(*second, *third)
    {
        return false;
    }
    let view = View::new(text, false);
    view.focus(at);
    let Some(glyph) = glyph::read(&view, at) else { return true };
    let soft_break = || matches!(text.get(at + 1), None | Some(b'\r' | b'\n'));
    view.starved() || glyph.class() != Class::Other || text.get(at) == Some(&b'=') && soft_break()
}
