//! The detailed level of the filter: 64 bytes as bit masks, with the 64 after them, and where in
//! the first something may begin.

use super::base64;
use super::classes::{LANES, Masks, Vectors};
use super::simd::Loop;

/// How far a text that is not quiet is read in detail before the coarse level is asked again; twice
/// as far each time in vain, up to the most: a catalogue is loud throughout, a page for one price.
const LOUD_MIN: usize = 256;
const LOUD_MAX: usize = 4096;
/// The places from which a look at encoded digits reaches over a line break and the group before.
const BEFORE_TRIPLES: u64 = 0b111_1111_1111;

/// The masks at a place of a text.
pub(super) struct Stretch {
    /// Where the masks begin.
    pub(super) base: usize,
    pub(super) pair: Pair,
    /// Where something may begin, in the first 64 bytes.
    pub(super) starts: Starts,
    /// Every run of digits counts, or those that may belong to a long number.
    every: bool,
    loaded: bool,
    /// Up to where the coarse level has nothing more to say, and how far it was put off.
    loud: usize,
    put_off: usize,
}

/// Places as bits.
#[derive(Clone, Copy, Default)]
pub(super) struct Starts {
    pub(super) any: u64,
    /// Those where base64 of digits may begin.
    pub(super) encoded: u64,
}

/// 64 bytes and the 64 after them.
#[derive(Clone, Copy, Default)]
pub(super) struct Pair {
    pub(super) here: Masks,
    pub(super) ahead: Masks,
}

impl Stretch {
    /// Before any text.
    pub(super) fn new(every: bool) -> Self {
        let pair = Pair::default();
        let starts = Starts::default();
        Self { base: 0, pair, starts, every, loaded: false, loud: 0, put_off: LOUD_MIN }
    }

    /// Asks the coarse level again some way behind the bytes it just skipped from `base` on.
    fn put_off(&mut self, base: usize, skipped: usize) {
        self.put_off = if skipped == 0 { LOUD_MAX.min(self.put_off * 2) } else { LOUD_MIN };
        self.loud = base + skipped + self.put_off;
    }

    /// Goes back to `from` and begins anew there; `false` where that is not in these masks.
    pub(super) fn reopen(&mut self, text: &[u8], from: usize) -> bool {
        let held = self.loaded && from >= self.base && from - self.base < LANES;
        if held {
            let open = u64::MAX << (from - self.base);
            self.starts = self.pair.starts((text, self.base), open, 0, self.every);
        }
        held
    }
}

impl Pair {
    /// Where something may begin among the bytes that are `open`; `carried` is one where the digits
    /// before the first belong to a run that was looked at where it began.
    #[inline(always)]
    fn starts(&self, place: (&[u8], usize), open: u64, carried: u64, every: bool) -> Starts {
        let digits = self.here.digit & open;
        let runs = digits & !(digits << 1 | carried);
        // Text without markup and escapes, as most JSON is, has long runs alone.
        if !every && self.here.rare() | self.ahead.rare() == 0 {
            return Starts { any: runs & self.long(), encoded: 0 };
        }
        let runs = if every || self.goes_on() { runs } else { runs & self.long() };
        let encoded = self.encoded(place, open);
        Starts { any: runs | self.here.lead & open | encoded, encoded }
    }

    /// Where twelve digits and separators or more stand in a row.
    #[inline(always)]
    fn long(&self) -> u64 {
        let plain = wide(self.here.plain, self.ahead.plain);
        let pairs = plain & plain >> 1;
        let fours = pairs & pairs >> 2;
        low(fours & fours >> 4 & fours >> 8)
    }

    /// Whether a run of digits and separators is followed by what may join it to another.
    #[inline(always)]
    fn goes_on(&self) -> bool {
        let Self { here, ahead } = self;
        let percent = wide(here.plain & here.lead, ahead.plain & ahead.lead);
        let plain = wide(here.plain, ahead.plain);
        let digit = wide(here.digit, ahead.digit);
        let link = wide(here.link, ahead.link);
        let tail = digit | digit << 1 | digit << 2 | digit << 3;
        here.digit != 0 && tail & (plain & link >> 1 | percent) != 0
    }

    /// Where three groups of three digits in base64 may begin, and the group before them that may
    /// hold more of the number; none before the lowest bit that is `open`.
    #[inline(always)]
    fn encoded(&self, place: (&[u8], usize), open: u64) -> u64 {
        let triple = self.here.triple | self.ahead.triple & BEFORE_TRIPLES;
        if triple == 0 { 0 } else { Triples::of(self, place).groups(open) }
    }
}

/// Where base64 may begin three digits, in a text from a place on.
struct Triples<'a> {
    bits: u128,
    text: &'a [u8],
    base: usize,
}

impl<'a> Triples<'a> {
    fn of(pair: &Pair, (text, base): (&'a [u8], usize)) -> Self {
        Self { bits: wide(pair.here.triple, pair.ahead.triple), text, base }
    }

    #[cold]
    fn groups(&self, open: u64) -> u64 {
        let thrice = self.bits & self.bits >> 4 & self.bits >> 8 | self.folded();
        if thrice == 0 {
            return 0;
        }
        let lowest = open & open.wrapping_neg();
        let late = low(thrice) & lowest.wrapping_mul(BEFORE_TRIPLES);
        (low(thrice >> 4) | self.unfolded(thrice)) & open | if late == 0 { 0 } else { lowest }
    }

    /// Where the group before stands, if a line ends between.
    fn unfolded(&self, thrice: u128) -> u64 {
        let before = |bit: u32| {
            let text = self.text.get(..self.base + usize::try_from(bit).ok()?)?;
            let length = u32::try_from(base64::line_break_before(text)? + 4).ok()?;
            bit.checked_sub(length)
        };
        low(bits(thrice & self.within())
            .filter_map(before)
            .fold(0, |groups, bit| groups | 1 << bit))
    }

    /// Where one or two groups stand before a separator or the end of a line.
    fn folded(&self) -> u128 {
        let goes_on = |bit: u32| {
            let at = self.base + usize::try_from(bit).unwrap_or(0);
            self.text.get(at).is_none_or(|&byte| base64::may_go_on(byte))
        };
        let folded = |bit: &u32| {
            let twice = self.bits >> bit >> 4 & 1 == 1;
            goes_on(bit + 4) || twice && goes_on(bit + 8)
        };
        let known = bits(self.bits & self.within()).filter(folded);
        known.fold(self.bits & !self.within(), |folded, bit| folded | 1 << bit)
    }

    /// The places up to the end of what has arrived: behind it anything may follow, and need not be
    /// looked at one by one.
    fn within(&self) -> u128 {
        let length = u32::try_from(self.text.len().saturating_sub(self.base)).unwrap_or(u32::MAX);
        1_u128.checked_shl(length.saturating_add(1)).map_or(u128::MAX, |end| end - 1)
    }
}

/// The places of the bits that are set, the lowest first.
fn bits(mut left: u128) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = left.trailing_zeros();
        left &= left.wrapping_sub(1);
        (bit < u128::BITS).then_some(bit)
    })
}

/// Goes on to the next stretch where something may begin; `false` where there is none.
pub(super) struct Advance<'a> {
    pub(super) stretch: &'a mut Stretch,
    pub(super) text: &'a [u8],
    /// Where it ends; the text may go on.
    pub(super) until: usize,
    pub(super) from: usize,
    /// Whether `from` follows the stretch at hand, so that a run may go on from there.
    pub(super) follows: bool,
}

impl Loop for Advance<'_> {
    type Output = bool;

    #[inline(always)]
    fn run(self, vectors: impl Vectors) -> bool {
        let Self { stretch, text, until, from: mut base, follows } = self;
        let mut pair = stretch.pair;
        let mut carried = if follows { pair.here.digit >> (LANES - 1) } else { 0 };
        let mut adjoins = stretch.loaded && base == stretch.base + LANES;
        stretch.starts = Starts::default();
        loop {
            if !stretch.every && base >= stretch.loud {
                let quiet = vectors.quiet(text.get(base..).unwrap_or_default());
                stretch.put_off(base, quiet);
                if quiet > 0 {
                    (base, carried, adjoins) = (base + quiet, 0, false);
                }
            }
            if base >= until {
                return false;
            }
            let here = if adjoins { pair.ahead } else { masks(vectors, text, base) };
            pair = Pair { here, ahead: masks(vectors, text, base + LANES) };
            let starts = pair.starts((text, base), u64::MAX, carried, stretch.every);
            if starts.any != 0 {
                (stretch.base, stretch.pair, stretch.starts) = (base, pair, starts);
                stretch.loaded = true;
                return true;
            }
            carried = here.digit >> (LANES - 1);
            adjoins = true;
            base += LANES;
        }
    }
}

#[inline(always)]
fn masks(vectors: impl Vectors, text: &[u8], at: usize) -> Masks {
    let rest = text.get(at..).unwrap_or_default();
    let padded;
    let (lanes, open) = match rest.first_chunk() {
        Some(lanes) => (lanes, 0),
        // Past the end of what has arrived anything may follow.
        None => {
            padded = pad(rest);
            (&padded, u64::MAX << rest.len())
        }
    };
    let known = vectors.masks(lanes);
    Masks {
        digit: known.digit | open,
        plain: known.plain | open,
        link: known.link | open,
        lead: known.lead,
        triple: known.triple | open,
    }
}

#[cold]
fn pad(rest: &[u8]) -> [u8; LANES] {
    let mut lanes = [b'x'; LANES];
    if let Some(head) = lanes.get_mut(..rest.len()) {
        head.copy_from_slice(rest);
    }
    lanes
}

/// Two stretches as one.
#[inline(always)]
pub(super) fn wide(low: u64, high: u64) -> u128 {
    u128::from(low) | u128::from(high) << LANES
}

#[inline(always)]
fn low(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0)
}
