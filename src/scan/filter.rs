//! Finds the places worth a decision, at the speed of memory where there are none.
//!
//! Two levels: blocks with too few digits near are skipped whole; in the others bit masks tell the
//! beginnings of runs that are long enough, or go on behind something longer than a byte. Both only
//! leave out places where [`worth`] is false, and `worth` looks at nothing but the bytes around its
//! place: what is found does not depend on where blocks or pieces of the body begin.

use std::sync::LazyLock;

use crate::card::PAN_DIGITS_MIN;
use crate::card::iin::{self, LengthsByHead};

use super::classes::LANES;
use super::cluster::{self, Cluster};
use super::glyph::{self, Class, Form};
use super::simd::Kernel;
use super::stretch::{Advance, Pair, Stretch, wide};
use super::view::View;
use super::{base64, shape};

/// Twelve digits of a number without markup lie within this many bytes.
const REACH: usize = 128;
/// How many digits a verification code has.
const CODE_DIGITS: std::ops::RangeInclusive<u32> = 3..=4;
/// Twelve, as masks count.
const TWELVE: u32 = 12;
/// How far a run of digits and plain separators is followed.
const RUN_MAX: usize = 64;
/// The longest escape that a digit may be part of.
const ESCAPE_MAX: usize = 9;

static KERNEL: LazyLock<Kernel> = LazyLock::new(Kernel::detect);

/// Which places are worth a decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mesh {
    /// Those that may begin a card number.
    Cards,
    /// Those that may begin twelve digits, even if no card has such: a field may be named for one.
    Digits,
    /// Every digit: verification codes are short.
    Codes,
}

/// Walks a text from place to place.
pub(super) struct Search<'a> {
    text: &'a [u8],
    until: usize,
    mesh: Mesh,
    stretch: Stretch,
    lengths: &'static LengthsByHead,
}

impl<'a> Search<'a> {
    /// Over the places before `until`.
    pub(super) fn new(text: &'a [u8], until: usize, mesh: Mesh) -> Self {
        let until = until.min(text.len());
        let stretch = Stretch::new(mesh == Mesh::Codes);
        Self { text, until, mesh, stretch, lengths: iin::lengths() }
    }

    /// The next place from `from` on that may be worth a decision.
    pub(super) fn next(&mut self, from: usize) -> Option<usize> {
        if !self.stretch.reopen(from) && !self.advance(from, false) {
            return None;
        }
        loop {
            let mut starts = self.stretch.starts;
            while starts.any != 0 {
                let bit = starts.any.trailing_zeros();
                starts.any &= starts.any - 1;
                let place = self.stretch.base + usize::try_from(bit).unwrap_or(0);
                if place >= self.until {
                    return None;
                }
                if starts.encoded >> bit & 1 == 1 || self.promises(bit, place) {
                    return Some(place);
                }
            }
            // A run that goes on from this stretch was looked at where it began.
            if !self.advance(self.stretch.base + LANES, true) {
                return None;
            }
        }
    }

    fn advance(&mut self, from: usize, follows: bool) -> bool {
        let Self { text, until, ref mut stretch, .. } = *self;
        KERNEL.run(Advance { stretch, text, until, from, follows })
    }

    /// Whether the run from a bit on is long, or goes on behind a link; or an escape or base64
    /// begins there.
    fn promises(&self, bit: u32, place: usize) -> bool {
        let Pair { here, ahead } = &self.stretch.pair;
        if here.digit >> bit & 1 == 0 {
            return self.leads(place);
        }
        let digits = (wide(here.digit, ahead.digit) >> bit).trailing_ones();
        if digits >= TWELVE {
            return self.mesh != Mesh::Cards || !self.ruled_out(place, digits);
        }
        if self.mesh == Mesh::Codes && self.may_be_code(place, digits) {
            return true;
        }
        let length = (wide(here.plain, ahead.plain) >> bit).trailing_ones();
        if length >= TWELVE {
            return true;
        }
        let end = place + usize::try_from(length).unwrap_or(0);
        if wide(here.link, ahead.link) >> bit >> length & 1 == 0 {
            let tail = self.text.get(end.saturating_sub(2)..=end).unwrap_or_default();
            return matches!(tail, [b'%', ..] | [_, b'%', b'0'..=b'9' | b'A'..=b'F' | b'a'..=b'f']);
        }
        // Of the tags only those that follow digits alone, and style.
        self.text.get(end) != Some(&b'<') || digits == length && self.styles(end + 1)
    }

    /// Whether so many digits from `place` on are a number by themselves, and no card's: what
    /// [`shape::ruled_out`] says too, where the bytes on both sides allow no doubt.
    fn ruled_out(&self, place: usize, digits: u32) -> bool {
        let end = place + usize::try_from(digits).unwrap_or(0);
        let before = place.checked_sub(1).and_then(|at| self.text.get(at));
        let (Some(&before), Some(&after)) = (before, self.text.get(end)) else { return false };
        let run = self.text.get(place..end).unwrap_or_default();
        ends_word(before) && ends_word(after) && !shape::may_be_card(self.lengths, run)
    }

    /// Whether so many digits are a verification code, or may be with an escaped one after them:
    /// what [`may_be_code`] says.
    fn may_be_code(&self, place: usize, digits: u32) -> bool {
        let end = place + usize::try_from(digits).unwrap_or(0);
        CODE_DIGITS.contains(&digits)
            || digits < *CODE_DIGITS.start()
                && self.text.get(end).is_none_or(|&next| may_go_on(next))
    }

    /// Whether a tag whose name begins at `at` may style a part of a number.
    fn styles(&self, at: usize) -> bool {
        let closing = usize::from(self.text.get(at) == Some(&b'/'));
        self.text
            .get(at + closing)
            .is_none_or(|byte| b"!/abcdefiklmnsuw\\".contains(&byte.to_ascii_lowercase()))
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
}

/// Whether a decision about the run, escape or base64 that begins at `place` can find anything.
pub(super) fn worth(view: &View<'_>, place: usize, mesh: Mesh) -> bool {
    if base64::begins(view, place).is_some() {
        return true;
    }
    let Some(glyph) = glyph::read(view, place) else { return false };
    if !matches!(glyph.class(), Class::Digit(_)) {
        return false;
    }
    if glyph.form != Form::Raw || glyph.length > 1 {
        return mesh == Mesh::Codes || dense(view, place);
    }
    if mesh == Mesh::Codes && may_be_code(view, place) {
        return true;
    }
    if mesh == Mesh::Cards && shape::ruled_out(view, place).is_some() {
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
            let whole = end - place == digits && cluster::read_gap(view, stop).is_some();
            whole && (tagged(view, stop) || dense(view, place))
        }
        Some(0 | b'%' | b'&' | b'=' | b'\\' | 0x80..) => {
            let on = cluster::read_digit(view, stop).is_some()
                || cluster::read_gap(view, stop).is_some();
            on && dense(view, place)
        }
        _ => false,
    }
}

/// Whether three or four digits stand there, or fewer before what may be another, escaped.
fn may_be_code(view: &View<'_>, place: usize) -> bool {
    let digits =
        (place..place + 5).take_while(|&at| view.byte(at).is_some_and(|b| b.is_ascii_digit()));
    let count = digits.count();
    let next = view.byte(place + count);
    matches!(count, 3 | 4) || count < 3 && next.is_some_and(may_go_on)
}

/// Whether an escaped digit, or what may stand before one, can begin so.
fn may_go_on(byte: u8) -> bool {
    matches!(byte, 0 | b'%' | b'&' | b'=' | b'\\' | 0x80..)
}

/// Whether another digit stands before a tag soon after.
fn tagged(view: &View<'_>, tag: usize) -> bool {
    (tag + 1..tag + REACH).any(|at| {
        view.byte(at + 1) == Some(b'<') && view.byte(at).is_some_and(|byte| byte.is_ascii_digit())
    })
}

/// Whether the cluster at `place` has enough digits, and within the reach of one number. The
/// cluster comes first, for it does not look past its own end.
fn dense(view: &View<'_>, place: usize) -> bool {
    if Cluster::read(view, place).digits().len() < PAN_DIGITS_MIN {
        return false;
    }
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
    let digits =
        (place..).take_while(|&at| view.byte(at).is_some_and(|b| b.is_ascii_digit())).count();
    if digits > 0 {
        return place + digits;
    }
    place + glyph::read(view, place).map_or(1, |glyph| glyph.length)
}

/// Where the escape begins that the byte at `place` is part of, not before `anchor`.
fn escape_over(view: &View<'_>, place: usize, anchor: usize) -> Option<usize> {
    (place.saturating_sub(ESCAPE_MAX).max(anchor)..place).find(|&start| {
        matches!(view.byte(start), Some(b'%' | b'&' | b'\\'))
            && glyph::read(view, start).is_some_and(|glyph| start + glyph.length > place)
    })
}

/// Bytes that belong to no word, escape or entity. A table, for it is asked twice about every long
/// number: what the compiler makes of a match is a jump that no processor foresees.
static ENDS_WORD: [bool; 256] = {
    let mut table = [false; 256];
    let (mut place, mut byte) = (0, 0_u8);
    while place < table.len() {
        table[place] = matches!(
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
        );
        (place, byte) = (place + 1, byte.wrapping_add(1));
    }
    table
};

fn ends_word(byte: u8) -> bool {
    ENDS_WORD.get(usize::from(byte)).copied().unwrap_or(false)
}

/// What a number without entities, escapes of JSON or markup is made of.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'%' | b'+' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where a decision is worth it, place by place: what the search may not leave out.
    fn by_hand(text: &[u8], mesh: Mesh) -> Vec<usize> {
        walk(text, mesh, |at| (at < text.len()).then_some(at))
    }

    fn searched(text: &[u8], mesh: Mesh) -> Vec<usize> {
        let mut search = Search::new(text, text.len(), mesh);
        walk(text, mesh, |at| search.next(at))
    }

    fn walk(text: &[u8], mesh: Mesh, mut next: impl FnMut(usize) -> Option<usize>) -> Vec<usize> {
        let view = View::new(text, true);
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(near) = next(at) {
            let place = settle(&view, near, at);
            if worth(&view, place, mesh) {
                // Base64 is told from any of the five places before its digits.
                let told = base64::begins(&view, place).unwrap_or(place);
                places.push(told);
                // As a decision goes on behind what it looked at.
                at = told.max(near) + 1 + places.len() % 20;
            } else {
                at = behind(&view, place).max(near + 1);
            }
        }
        places
    }

    /// Fragments of texts that are dense with digits, from a small generator.
    fn text(seed: u64) -> Vec<u8> {
        const WORDS: [&str; 24] = [
            "4111111111111111",
            "4006381333931",
            "\"ean\":\"",
            "12.34</span>",
            "<b>",
            "</b>",
            "&nbsp;",
            "%34",
            "\\u0034",
            "&#52;",
            "5",
            "７",
            "٤",
            "é",
            "NDExMTExMTExMTEx",
            "MTEx",
            " ",
            "-",
            ".",
            "=\r\n",
            "\0",
            "text in between that says nothing much, ",
            "222222222222222",
            "x",
        ];
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state >> 8
        };
        let mut text = Vec::new();
        for _ in 0..next() % 60 {
            let [kind, byte, count, ..] = next().to_le_bytes();
            match kind % 8 {
                0 => (0..count % 24).for_each(|_| text.push(b'0' + next().to_le_bytes()[0] % 10)),
                1 => text.extend(std::iter::repeat_n(b'x', usize::from(count))),
                2 => text.push(byte),
                _ => text.extend_from_slice(WORDS[usize::from(byte) % WORDS.len()].as_bytes()),
            }
        }
        text
    }

    #[test]
    fn the_search_leaves_out_only_what_is_not_worth_a_decision() {
        for seed in 1..800 {
            let text = text(seed);
            for mesh in [Mesh::Cards, Mesh::Digits, Mesh::Codes] {
                let missed = "the search and a look at every place differ";
                assert_eq!(searched(&text, mesh), by_hand(&text, mesh), "{missed}: {text:?}");
            }
        }
    }
}
