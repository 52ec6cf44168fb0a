//! The detailed level of the filter: 64 bytes as bit masks, with the 64 after them, and where in
//! the first something may begin.

use super::base64;
use super::classes::{LANES, Masks, Plain, Vectors};
use super::sieve::Sieve;

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
    /// Those where a number certainly begins that is worth a decision.
    pub(super) sure: u64,
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
        let runs = if every {
            runs
        } else {
            runs & (long(self.here.plain, self.ahead.plain) | self.linked())
        };
        let encoded = self.encoded(place, open);
        Starts { any: runs | self.here.lead & open | encoded, sure: 0, encoded }
    }

    /// The runs of digits and separators that are followed by what may join them to others. Runs beside
    /// them are passed: a page with a price before every other tag takes half the instructions.
    #[inline(always)]
    fn linked(&self) -> u64 {
        let Self { here, ahead } = self;
        let tail = |digit: u64| digit | digit << 1 | digit << 2 | digit << 3;
        let near = tail(here.digit);
        // An escape may belong to the run before it or be one.
        if (near & here.plain & here.lead) | (ahead.plain & ahead.lead) != 0 {
            return u64::MAX;
        }
        let mut ends = near & here.plain & (here.link >> 1 | ahead.link << (LANES - 1));
        // The run that goes on behind these bytes, wherever it ends.
        ends |= here.plain & !(u64::MAX >> u32::from(ahead.plain & 1 == 1));
        let mut linked = 0;
        while ends != 0 {
            let end = ends.trailing_zeros();
            let others = u64::BITS - (here.plain << (63 - end)).leading_ones();
            linked |= u64::MAX >> (63 - end) & u64::MAX << (end + others - 63);
            ends &= ends - 1;
        }
        linked
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

/// What is walked over, and where it ends; the text may go on.
#[derive(Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) text: &'a [u8],
    pub(super) until: usize,
    /// What is passed on the way.
    pub(super) sieve: Sieve<'a>,
}

/// Where the walk is.
struct Pace {
    base: usize,
    /// Digits before `base` belong to a run that was looked at where it began.
    carried: u64,
    /// The masks at `base`, if they are known.
    here: Option<Masks>,
}

impl Stretch {
    /// Goes on to the next stretch where something may begin; `false` where there is none.
    /// `follows` says whether `from` follows the stretch at hand, so that a run may go on from there.
    #[inline(always)]
    pub(super) fn advance(
        &mut self,
        vectors: impl Vectors,
        ground: Ground<'_>,
        from: usize,
        follows: bool,
    ) -> bool {
        let Ground { text, until, .. } = ground;
        let adjoins = self.loaded && from == self.base + LANES;
        let mut pace = Pace {
            base: from,
            carried: if follows { self.pair.here.digit >> (LANES - 1) } else { 0 },
            here: adjoins.then_some(self.pair.ahead),
        };
        self.starts = Starts::default();
        loop {
            if !self.every && pace.base >= self.loud {
                self.pass_quiet(vectors, text, &mut pace);
            }
            if pace.base >= until {
                return false;
            }
            let mut here = pace.here.unwrap_or_else(|| masks(vectors, text, pace.base));
            if let Some(plain) = here.alone() {
                let plain = self.walk_plain(vectors, ground, (&mut pace, plain));
                let Some(plain) = plain else { return true };
                if pace.base >= until {
                    return false;
                }
                here = plain.into();
            }
            let pair = Pair { here, ahead: masks(vectors, text, pace.base + LANES) };
            let starts = pair.starts((text, pace.base), u64::MAX, pace.carried, self.every);
            if starts.any != 0 {
                self.hold(pace.base, pair, starts);
                return true;
            }
            pace = Pace {
                base: pace.base + LANES,
                carried: here.digit >> (LANES - 1),
                here: Some(pair.ahead),
            };
        }
    }

    /// Skips what the coarse level has nothing to say about.
    #[inline(always)]
    fn pass_quiet(&mut self, vectors: impl Vectors, text: &[u8], pace: &mut Pace) {
        let quiet = vectors.quiet(text.get(pace.base..).unwrap_or_default());
        self.put_off(pace.base, quiet);
        if quiet > 0 {
            *pace = Pace { base: pace.base + quiet, carried: 0, here: None };
        }
    }

    /// Walks on while there are digits and separators alone, as in most JSON, up to where the coarse
    /// level is asked again: two masks in half the instructions of all five. `None` where something
    /// may begin.
    #[inline(always)]
    fn walk_plain(
        &mut self,
        vectors: impl Vectors,
        Ground { text, until, sieve }: Ground<'_>,
        (pace, mut here): (&mut Pace, Plain),
    ) -> Option<Plain> {
        let end = if self.every { until } else { until.min(self.loud) };
        let mut rest = text.get(pace.base + LANES..).unwrap_or_default();
        while let Some((lanes, behind)) = rest.split_first_chunk()
            && let Some(ahead) = vectors.plain(lanes)
        {
            let runs = here.digit & !(here.digit << 1 | pace.carried);
            let starts = if self.every {
                Starts { any: runs, ..Starts::default() }
            } else {
                let long = runs & long(here.plain, ahead.plain);
                sieve.rest(vectors, (pace.base, long), (here.digit, ahead.digit))
            };
            if starts.any != 0 {
                let pair = Pair { here: here.into(), ahead: ahead.into() };
                self.hold(pace.base, pair, starts);
                return None;
            }
            pace.carried = here.digit >> (LANES - 1);
            pace.base += LANES;
            (here, rest) = (ahead, behind);
            if pace.base >= end {
                break;
            }
        }
        Some(here)
    }

    #[inline(always)]
    fn hold(&mut self, base: usize, pair: Pair, starts: Starts) {
        (self.base, self.pair, self.starts) = (base, pair, starts);
        self.loaded = true;
    }
}

#[inline(always)]
fn lanes_at(text: &[u8], at: usize) -> Option<&[u8; LANES]> {
    text.get(at..)?.first_chunk()
}

#[inline(always)]
fn masks(vectors: impl Vectors, text: &[u8], at: usize) -> Masks {
    match lanes_at(text, at) {
        Some(lanes) => vectors.masks(lanes),
        None => last_masks(vectors, text.get(at..).unwrap_or_default()),
    }
}

/// Past the end of what has arrived anything may follow.
#[cold]
#[inline(never)]
fn last_masks(vectors: impl Vectors, rest: &[u8]) -> Masks {
    let open = u64::MAX << rest.len();
    let known = vectors.masks(&pad(rest));
    Masks {
        digit: known.digit | open,
        plain: known.plain | open,
        link: known.link | open,
        lead: known.lead,
        triple: known.triple | open,
    }
}

fn pad(rest: &[u8]) -> [u8; LANES] {
    let mut lanes = [b'x'; LANES];
    if let Some(head) = lanes.get_mut(..rest.len()) {
        head.copy_from_slice(rest);
    }
    lanes
}

/// Where twelve digits and separators or more stand in a row.
#[inline(always)]
fn long(here: u64, ahead: u64) -> u64 {
    let plain = wide(here, ahead);
    let pairs = plain & plain >> 1;
    let fours = pairs & pairs >> 2;
    low(fours & fours >> 4 & fours >> 8)
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
