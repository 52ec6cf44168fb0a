//! A stretch of digits with what may stand between them: the raw material of card numbers.

use super::glyph::{self, Class};
use super::markup;
use super::view::View;

/// More groups than any card with its neighbours has; a longer stretch is read in pieces.
const GROUPS_MAX: usize = 32;
/// The longest run of digits that still matters.
const RUN_MAX: usize = 40;
/// A group of so many digits is a number by itself.
const LONG: usize = 14;
/// Digits of groups that are not long, and of two that are.
const DIGITS_MAX: usize = GROUPS_MAX * LONG + 2 * RUN_MAX;
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
pub(super) struct Cluster {
    groups: [Group; GROUPS_MAX],
    count: usize,
    digits: [u8; DIGITS_MAX],
    length: usize,
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
        let none = Group { start: at, end: at, first: 0, count: 0, gap: None };
        let mut cluster = Self {
            groups: [none; GROUPS_MAX],
            count: 0,
            digits: [0; DIGITS_MAX],
            length: 0,
            resume: at,
            heads: 0,
            torn: false,
        };
        let mut next = Next::Group(at, None);
        let mut long = false;
        while let Next::Group(start, gap) = next {
            next = cluster.group(view, start, gap).unwrap_or(Next::End);
            let group = cluster.groups().last().copied().unwrap_or(none);
            (cluster.resume, cluster.heads) = (group.end, cluster.count);
            if long {
                // Nothing written in groups has one so long: of what follows only the next group
                // matters, as a fraction or the rest of an identifier.
                (cluster.resume, cluster.heads) = (group.start, cluster.count - 1);
                break;
            }
            if cluster.count == GROUPS_MAX {
                cluster.heads = GROUPS_MAX / 2;
                cluster.resume = cluster.groups().get(cluster.heads).map_or(at, |g| g.start);
                break;
            }
            long = group.count >= LONG;
        }
        if matches!(next, Next::Torn) {
            cluster.torn = true;
            // What stands behind the last group counts, and is not known here.
            cluster.heads = cluster.count.saturating_sub(1);
            cluster.resume = cluster.groups().last().map_or(at, |group| group.start);
        }
        cluster
    }

    /// The groups, in order; at least one.
    pub(super) fn groups(&self) -> &[Group] {
        self.groups.get(..self.count).unwrap_or_default()
    }

    /// All digits.
    pub(super) fn digits(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }

    /// The digits of a stretch of groups.
    pub(super) fn digits_of(&self, from: usize, to: usize) -> &[u8] {
        let start = self.groups().get(from).map_or(0, |group| group.first);
        let end = self.groups().get(to).map_or(0, |group| group.first + group.count);
        self.digits.get(start..end).unwrap_or_default()
    }

    /// Reads one group; `None` where there is no room for it.
    fn group(&mut self, view: &View<'_>, at: usize, gap: Option<Gap>) -> Option<Next> {
        let first = self.length;
        let (mut place, mut end) = (at, at);
        let next = loop {
            let room = RUN_MAX - (self.length - first);
            if room == 0 {
                break Next::End;
            }
            // Plain digits in one go: a card is read in half the time.
            let run = digits_at(view, place, room);
            if !run.is_empty() {
                self.digits.get_mut(self.length..self.length + run.len())?.copy_from_slice(run);
                self.length += run.len();
                place += run.len();
                end = place;
                continue;
            }
            if let Some((digit, length)) = read_digit(view, place) {
                *self.digits.get_mut(self.length)? = digit;
                self.length += 1;
                place += length;
                end = place;
                continue;
            }
            match read_gap(view, place) {
                Some((start, None)) => place = start,
                Some((_, kind)) if !self.agrees(kind == Some(Gap::Tags), gap) => break Next::Torn,
                Some((start, kind)) => break Next::Group(start, kind),
                None => break Next::End,
            }
        };
        let group = Group { start: at, end, first, count: self.length - first, gap };
        *self.groups.get_mut(self.count)? = group;
        self.count += 1;
        Some(next)
    }

    /// Whether a gap with or without markup goes with those before it.
    fn agrees(&self, tagged: bool, gap: Option<Gap>) -> bool {
        self.count == 0 || tagged == (gap == Some(Gap::Tags))
    }
}

/// The plain digits from `at` on, at most `room` of them.
fn digits_at<'a>(view: &View<'a>, at: usize, room: usize) -> &'a [u8] {
    let ahead = view.ahead(at);
    let ahead = ahead.get(..room).unwrap_or(ahead);
    let length = ahead.iter().take_while(|byte| byte.is_ascii_digit()).count();
    ahead.get(..length).unwrap_or_default()
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
    if let [mark, b'0'..=b'9', ..] = view.ahead(at)
        && let Some(kind) = plain_gap(*mark)
    {
        return Some((at + 1, Some(kind)));
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
