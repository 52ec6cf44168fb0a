//! Finds the places worth a decision, at the speed of memory where there are none.
//!
//! Two levels: blocks with too few digits near are skipped whole; in the others bit masks tell the
//! beginnings of runs that are long enough, or go on behind something longer than a byte. Both only
//! leave out places where [`worth`] is false, and `worth` looks at nothing but the bytes around its
//! place: what is found does not depend on where blocks or pieces of the body begin.

use std::sync::LazyLock;

use crate::card::PAN_DIGITS_MIN;

use super::classes::{LANES, Masks};
use super::cluster::{self, Cluster};
use super::glyph::{self, Class, Form};
use super::markup;
use super::simd::Kernel;
use super::view::View;
use super::{Rules, base64, field, shape};

/// Twelve digits of a number without markup lie within this many bytes.
const REACH: usize = 128;
/// How far a text that is not quiet is read in detail before the coarse level is asked again.
const LOUD: usize = 512;
/// How many digits a verification code has.
const CODE_DIGITS: std::ops::RangeInclusive<u32> = 3..=4;
/// Twelve, as masks count.
const TWELVE: u32 = 12;
/// How far a run of digits and plain separators is followed.
const RUN_MAX: usize = 64;
/// The places from which a look at encoded digits reaches over a line break and the group before.
const BEFORE_TRIPLES: u64 = 0b111_1111_1111;
/// The longest escape that a digit may be part of.
const ESCAPE_MAX: usize = 9;

static KERNEL: LazyLock<Kernel> = LazyLock::new(Kernel::detect);

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

/// Walks a text from place to place.
pub(super) struct Search<'a> {
    text: &'a [u8],
    mesh: Mesh<'a>,
    /// Where the masks begin.
    base: usize,
    here: Masks,
    ahead: Masks,
    hot: u64,
    /// Up to where the coarse level has nothing more to say.
    loud: usize,
    loaded: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(text: &'a [u8], mesh: Mesh<'a>) -> Self {
        let (here, ahead) = (Masks::default(), Masks::default());
        Self { text, mesh, base: 0, here, ahead, hot: 0, loud: 0, loaded: false }
    }

    /// The next place from `from` on that may be worth a decision.
    pub(super) fn next(&mut self, mut from: usize) -> Option<usize> {
        // A run that goes on from the stretch before was looked at where it began.
        let mut carried = 0;
        loop {
            let within = self.loaded && from >= self.base && from < self.base + LANES;
            if !within {
                let base = self.load(from)?;
                carried = if base == from { carried } else { 0 };
                from = base;
            }
            if let Some(place) = self.candidate(from, carried) {
                return Some(place);
            }
            carried = self.here.digit >> (LANES - 1);
            from = self.base + LANES;
        }
    }

    /// Loads the masks of the first stretch from `from` on that is not quiet.
    fn load(&mut self, from: usize) -> Option<usize> {
        let mut base = from;
        if self.mesh.codes.is_none() && base >= self.loud {
            base += KERNEL.quiet(self.text.get(base..)?);
            self.loud = base + LOUD;
        }
        if base >= self.text.len() {
            return None;
        }
        let follows = self.loaded && base == self.base + LANES;
        self.here = if follows { self.ahead } else { self.masks(base) };
        self.ahead = self.masks(base + LANES);
        (self.base, self.loaded) = (base, true);
        self.hot = self.hot();
        Some(base)
    }

    /// Where runs of digits and separators begin that are long, or all of them if one goes on behind
    /// something longer than a byte.
    fn hot(&self) -> u64 {
        if self.here.digit == 0 {
            return 0;
        }
        let plain = wide(self.here.plain, self.ahead.plain);
        let digit = wide(self.here.digit, self.ahead.digit);
        let link = wide(self.here.link, self.ahead.link);
        let percent = plain & wide(self.here.lead, self.ahead.lead);
        let tail = digit | digit << 1 | digit << 2 | digit << 3;
        if tail & (plain & link >> 1 | percent) != 0 {
            return u64::MAX;
        }
        let pairs = plain & plain >> 1;
        let fours = pairs & pairs >> 2;
        low(fours & fours >> 4 & fours >> 8)
    }

    fn masks(&self, at: usize) -> Masks {
        let rest = self.text.get(at..).unwrap_or_default();
        if let Some(lanes) = rest.first_chunk::<LANES>() {
            return KERNEL.masks(lanes);
        }
        let mut lanes = [b'x'; LANES];
        for (lane, &byte) in lanes.iter_mut().zip(rest) {
            *lane = byte;
        }
        let known = KERNEL.masks(&lanes);
        // Past the end of what has arrived anything may follow.
        let open = u64::MAX << rest.len();
        Masks {
            digit: known.digit | open,
            plain: known.plain | open,
            link: known.link | open,
            lead: known.lead,
            triple: known.triple | open,
        }
    }

    fn candidate(&self, from: usize, carried: u64) -> Option<usize> {
        let skipped = from - self.base;
        let open = u64::MAX << skipped;
        let digits = self.here.digit & open;
        let encoded = self.encoded(open);
        let hot = if self.mesh.codes.is_some() { u64::MAX } else { self.hot };
        let mut starts =
            (digits & !(digits << 1 | carried) & hot | self.here.lead) & open | encoded;
        while starts != 0 {
            let bit = starts.trailing_zeros();
            starts &= starts - 1;
            let place = self.base + usize::try_from(bit).unwrap_or(0);
            if place >= self.text.len() {
                return None;
            }
            if encoded >> bit & 1 == 1 || self.promises(bit, place) {
                return Some(place);
            }
        }
        None
    }

    /// Whether the run from a bit on is long, or goes on behind a link; or an escape or base64
    /// begins there.
    fn promises(&self, bit: u32, place: usize) -> bool {
        if self.here.digit >> bit & 1 == 0 {
            return self.leads(place);
        }
        let digits = (wide(self.here.digit, self.ahead.digit) >> bit).trailing_ones();
        if digits >= TWELVE {
            return self.mesh.numbers == Numbers::Any || !self.ruled_out(place, digits);
        }
        if self.mesh.codes.is_some_and(|codes| self.may_be_code(place, digits, codes)) {
            return true;
        }
        let plain = wide(self.here.plain, self.ahead.plain) >> bit;
        let length = plain.trailing_ones();
        if length >= TWELVE {
            return true;
        }
        let end = place + usize::try_from(length).unwrap_or(0);
        if wide(self.here.link, self.ahead.link) >> bit >> length & 1 == 0 {
            let tail = self.text.get(end.saturating_sub(2)..=end).unwrap_or_default();
            return matches!(tail, [b'%', ..] | [_, b'%', b'0'..=b'9' | b'A'..=b'F' | b'a'..=b'f']);
        }
        if self.text.get(end) != Some(&b'<') {
            return cluster::may_go_on(self.text, end);
        }
        // Of the tags only those that follow digits alone.
        let digits = usize::try_from(digits).unwrap_or(0);
        end - place == digits && markup::may_split(self.text, end, digits)
    }

    /// Whether so many digits from `place` on are a number by themselves, and no card's: what
    /// [`shape::ruled_out`] says too, where the bytes on both sides allow no doubt.
    fn ruled_out(&self, place: usize, digits: u32) -> bool {
        let end = place + usize::try_from(digits).unwrap_or(0);
        let before = place.checked_sub(1).and_then(|at| self.text.get(at));
        let (Some(&before), Some(&after)) = (before, self.text.get(end)) else { return false };
        let run = self.text.get(place..end).unwrap_or_default();
        ends_word(before) && ends_word(after) && !shape::may_be_card(run)
    }

    /// Whether a run of so many digits may be a verification code, or the beginning of one. A short
    /// number of a JSON catalogue is done with here in a fifth of the time of a decision.
    fn may_be_code(&self, place: usize, digits: u32, codes: Codes<'_>) -> bool {
        let next = self.text.get(place + usize::try_from(digits).unwrap_or(0));
        let short = CODE_DIGITS.contains(&digits)
            || digits < *CODE_DIGITS.start() && next.is_none_or(|&byte| may_write_digit(byte));
        short && (codes.columns || field::may_begin_code(self.text, place, codes.rules))
    }

    /// Whether the character at a lead may write a digit.
    fn leads(&self, place: usize) -> bool {
        let next = self.text.get(place + 1);
        match self.text.get(place) {
            Some(b'%') => matches!(next, None | Some(b'3' | b'D' | b'E' | b'd' | b'e')),
            Some(b'&') => matches!(next, None | Some(b'#')),
            Some(b'\\') => matches!(next, None | Some(b'u' | b'x' | b'\\')),
            Some(0xD9 | 0xDB | 0xE0 | 0xEF) => true,
            _ => false,
        }
    }

    /// Where three groups of three digits in base64 may begin, and the group before them that may
    /// hold more of the number; none before the lowest bit that is `open`.
    fn encoded(&self, open: u64) -> u64 {
        if self.here.triple | self.ahead.triple & 0b1111 == 0 {
            return 0;
        }
        let triple = wide(self.here.triple, self.ahead.triple);
        let thrice = triple & triple >> 4 & triple >> 8 | self.folded(triple);
        let lowest = open & open.wrapping_neg();
        let late = low(thrice) & lowest.wrapping_mul(BEFORE_TRIPLES);
        (low(thrice >> 4) | self.unfolded(thrice)) & open | if late == 0 { 0 } else { lowest }
    }

    /// Where the group before stands, if a line ends between.
    fn unfolded(&self, thrice: u128) -> u64 {
        let mut left = thrice;
        let mut groups = 0_u128;
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let at = self.base + usize::try_from(bit).unwrap_or(0);
            let line_break = base64::line_break_before(self.text.get(..at).unwrap_or_default());
            let length = line_break.and_then(|length| u32::try_from(length + 4).ok());
            groups |= length.and_then(|length| bit.checked_sub(length)).map_or(0, |bit| 1 << bit);
        }
        low(groups)
    }

    /// Where one or two groups of three digits in base64 stand before a separator or the end of a line.
    fn folded(&self, triple: u128) -> u128 {
        let goes_on = |bit: u32| {
            let at = self.base + usize::try_from(bit).unwrap_or(0);
            self.text.get(at).is_none_or(|&byte| base64::may_go_on(byte))
        };
        let mut left = triple;
        let mut folded = 0;
        while left != 0 {
            let bit = left.trailing_zeros();
            left &= left - 1;
            let twice = triple >> bit >> 4 & 1 == 1;
            if goes_on(bit + 4) || twice && goes_on(bit + 8) {
                folded |= 1 << bit;
            }
        }
        folded
    }
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
            let on = cluster::read_digit(view, stop).is_some()
                || cluster::read_gap(view, stop).is_some();
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

/// Where the run or escape that `place` lies in begins, not before `anchor`, where the search began;
/// the view is focussed there.
pub(super) fn settle(view: &View<'_>, place: usize, anchor: usize) -> usize {
    let head = view.seen(anchor, place);
    let inside = view.seen(place, place + 1).iter().all(u8::is_ascii_digit);
    let digits = head.iter().rev().take_while(|byte| inside && byte.is_ascii_digit()).count();
    view.focus(place - digits);
    let start = escape_over(view, place - digits, anchor).unwrap_or(place - digits);
    view.focus(start);
    start
}

/// Where to go on behind a place that is not worth a decision.
pub(super) fn behind(view: &View<'_>, place: usize) -> usize {
    let digits = view.ahead(place).iter().take_while(|byte| byte.is_ascii_digit()).count();
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

/// Bytes that may begin an escaped digit or what is read as nothing.
fn may_write_digit(byte: u8) -> bool {
    matches!(byte, 0 | b'%' | b'&' | b'=' | b'\\' | 0x80..)
}

/// Bytes that belong to no word, escape or entity.
fn ends_word(byte: u8) -> bool {
    matches!(
        byte,
        b' ' | b'"'
            | b'\''
            | b','
            | b':'
            | b'>'
            | b'<'
            | b'/'
            | b'|'
            | b'('
            | b')'
            | b'['
            | b']'
            | b'}'
            | b'\n'
            | b'\r'
            | b'\t'
    )
}

fn wide(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << LANES
}

fn low(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
}

/// What a number without entities, escapes of JSON or markup is made of.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'%' | b'+' | b'-' | b'.')
}
