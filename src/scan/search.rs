//! Walks a text to the places that may be worth a decision: the two levels that [`filter`] tells of.
//!
//! [`filter`]: super::filter

use std::sync::LazyLock;

use super::classes::{LANES, Vectors};
use super::filter::{Codes, Mesh};
use super::sieve::{Promise, Sieve, TWELVE, run_length};
use super::simd::{Kernel, Loop};
use super::stretch::{Ground, Pair, Stretch, wide};
use super::{cluster, field, markup};

/// How many digits a verification code has.
const CODE_DIGITS: std::ops::RangeInclusive<u32> = 3..=4;

static KERNEL: LazyLock<Kernel> = LazyLock::new(Kernel::detect);

/// Walks a text from place to place.
pub(super) struct Search<'a> {
    text: &'a [u8],
    until: usize,
    mesh: Mesh<'a>,
    stretch: Stretch,
    sieve: Sieve<'a>,
    /// The place that was found last, if it is certainly worth a decision.
    sure: Option<usize>,
}

impl<'a> Search<'a> {
    /// Over the places before `until`.
    pub(super) fn new(text: &'a [u8], until: usize, mesh: Mesh<'a>) -> Self {
        let until = until.min(text.len());
        let stretch = Stretch::new(mesh.codes.is_some());
        Self { text, until, mesh, stretch, sieve: Sieve::new(text, mesh.numbers), sure: None }
    }

    /// The next place from `from` on that may be worth a decision.
    pub(super) fn next(&mut self, from: usize) -> Option<usize> {
        KERNEL.run(Next { search: self, from })
    }

    /// Whether a number by itself begins at the place for certain, and is
    /// [worth](super::filter::worth) a decision: it is part of no escape.
    pub(super) fn is_sure(&self, place: usize) -> bool {
        self.sure == Some(place)
    }

    /// Whether the run from a bit on is long, or goes on behind a link; or an escape or base64
    /// begins there.
    #[inline(always)]
    fn promise(&self, vectors: impl Vectors, bit: u32, place: usize) -> Promise {
        let Pair { here, ahead } = &self.stretch.pair;
        let perhaps = |holds: bool| if holds { Promise::Perhaps } else { Promise::None };
        if here.digit >> bit & 1 == 0 {
            return perhaps(self.leads(place));
        }
        // The run is followed over more than 64 digits only where it has so many.
        let digits = match run_length(here.digit, ahead.digit, bit) {
            u64::BITS => (wide(here.digit, ahead.digit) >> bit).trailing_ones(),
            digits => digits,
        };
        if digits < TWELVE {
            return perhaps(self.goes_on(bit, place, digits));
        }
        self.sieve.promise(vectors, place, digits)
    }

    /// Whether a run of fewer digits is a verification code, or goes on.
    #[inline(never)]
    fn goes_on(&self, bit: u32, place: usize, digits: u32) -> bool {
        let Pair { here, ahead } = &self.stretch.pair;
        if self.mesh.codes.is_some_and(|codes| self.may_be_code(place, digits, codes)) {
            return true;
        }
        let length = run_length(here.plain, ahead.plain, bit);
        if length >= TWELVE {
            return true;
        }
        let end = place + usize::try_from(length).unwrap_or(0);
        let behind = bit + length;
        let link =
            if behind < u64::BITS { here.link >> behind } else { ahead.link >> (behind - 64) };
        if link & 1 == 0 {
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

    /// Whether a run of so many digits may be a verification code, or the beginning of one. A short
    /// number of a JSON catalogue is done with here in a fifth of the time of a decision.
    fn may_be_code(&self, place: usize, digits: u32, codes: Codes<'_>) -> bool {
        // Of `%22123` the first two are an escape's, and the code begins behind it.
        let escape = if place.checked_sub(1).and_then(|at| self.text.get(at)) == Some(&b'%') {
            2
        } else {
            0
        };
        let next = self.text.get(place + usize::try_from(digits).unwrap_or(0));
        let digits = digits.saturating_sub(escape);
        let place = place + usize::try_from(escape).unwrap_or(0);
        let short = CODE_DIGITS.contains(&digits)
            || digits < *CODE_DIGITS.start() && next.is_none_or(|&byte| may_write_digit(byte));
        short && (codes.columns || field::may_begin_code(self.text, place, codes))
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

/// The walk to the next place: all of it is compiled for the vectors, so that a text full of numbers
/// which are no cards is passed without leaving their instructions.
struct Next<'a, 'b> {
    search: &'b mut Search<'a>,
    from: usize,
}

impl Loop for Next<'_, '_> {
    type Output = Option<usize>;

    #[inline(always)]
    fn run(self, vectors: impl Vectors) -> Option<usize> {
        let Self { search, from } = self;
        let ground = Ground { text: search.text, until: search.until, sieve: search.sieve };
        let (mut at, mut follows) = (from, false);
        let mut open = search.stretch.reopen(search.text, from);
        loop {
            if !open && !search.stretch.advance(vectors, ground, at, follows) {
                return None;
            }
            let (base, mut starts) = (search.stretch.base, search.stretch.starts);
            while starts.any != 0 {
                let bit = starts.any.trailing_zeros();
                starts.any &= starts.any - 1;
                let place = base + usize::try_from(bit).unwrap_or(0);
                if place >= search.until {
                    return None;
                }
                let promise = if starts.sure >> bit & 1 == 1 {
                    Promise::Sure
                } else {
                    search.promise(vectors, bit, place)
                };
                if starts.encoded >> bit & 1 == 1 || !matches!(promise, Promise::None) {
                    search.sure = matches!(promise, Promise::Sure).then_some(place);
                    return Some(place);
                }
            }
            // A run that goes on from this stretch was looked at where it began.
            (at, follows, open) = (base + LANES, true, false);
        }
    }
}

/// Bytes that may begin an escaped digit or what is read as nothing.
fn may_write_digit(byte: u8) -> bool {
    matches!(byte, 0 | b'%' | b'&' | b'=' | b'\\' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::cluster::Cluster;
    use crate::scan::filter::{Numbers, behind, settle, worth};
    use crate::scan::lists::Lists;
    use crate::scan::view::View;
    use crate::scan::{FieldRules, Rules, base64};

    /// Where a decision is worth it, place by place: what the search may not leave out.
    fn by_hand(text: &[u8], mesh: Mesh<'_>) -> Vec<usize> {
        walk(text, mesh, |at| (at < text.len()).then_some(at))
    }

    fn searched(text: &[u8], mesh: Mesh<'_>) -> Vec<usize> {
        let mut search = Search::new(text, text.len(), mesh);
        walk(text, mesh, |at| search.next(at))
    }

    fn walk(
        text: &[u8],
        mesh: Mesh<'_>,
        mut next: impl FnMut(usize) -> Option<usize>,
    ) -> Vec<usize> {
        let view = View::new(text, true);
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(near) = next(at) {
            let place = settle(&view, near, at);
            view.focus(place);
            if worth(&view, place, mesh.numbers) || mesh.codes.is_some() && coded(&view, place) {
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

    /// Whether the number there is that of a field which is named for a verification code.
    fn coded(view: &View<'_>, place: usize) -> bool {
        let rules = Rules::requests(FieldRules::default());
        let named = || {
            field::begun(view, place, &Lists::default())
                .is_some_and(|field| rules.names_code(&field.name))
        };
        let short =
            || matches!(Cluster::read(view, place).groups(), [one] if matches!(one.count, 3 | 4));
        cluster::read_digit(view, place).is_some() && named() && short()
    }

    /// Fragments of texts that are dense with digits, from a small generator.
    fn text(seed: u64) -> Vec<u8> {
        const WORDS: [&str; 26] = [
            "&cvv=",
            "\"cvc\":\"123",
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
        let rules = Rules::requests(FieldRules::default());
        for seed in 1..800 {
            let text = text(seed);
            let lists = Lists::default();
            let codes = Codes { rules: &rules, lists: &lists, columns: false };
            let meshes =
                [(Numbers::Cards, None), (Numbers::Any, None), (Numbers::Cards, Some(codes))];
            for (numbers, codes) in meshes {
                let mesh = Mesh { numbers, codes };
                let missed = "the search and a look at every place differ";
                assert_eq!(searched(&text, mesh), by_hand(&text, mesh), "{missed}: {text:?}");
            }
        }
    }
}
