//! The byte classes the filter asks for, 64 bytes at a time, and how many of them make a stretch of
//! text worth a closer look. `simd` computes the same faster.

use crate::card::luhn;

/// Bytes of which the digits are counted together.
pub(super) const BLOCK: usize = 128;
/// Blocks per step of the coarse level, which takes 0.50 instructions a byte; four do not fit the
/// registers of AVX2 and are slower.
pub(super) const BLOCKS: usize = 2;
/// Bytes per step of the coarse level.
pub(super) const STEP: usize = BLOCK * BLOCKS;
/// Bytes per set of masks.
pub(super) const LANES: usize = 64;
/// Digits whose check digit is asked for at once: all of nearly every number.
pub(super) const LUHN_LANES: usize = 16;

/// Digits and bytes of other scripts in two neighbouring blocks that rule a number out below.
const WEIGHT_MIN: u64 = 12;
/// `M`, `N` and `O` in two neighbouring blocks below which no number is there in base64.
const TRIPLES_MIN: u64 = 3;
/// Digits right before a tag below which no number is there split by tags.
const TAGS_MIN: u64 = 2;

/// What computes the classes.
pub(super) trait Vectors: Copy {
    /// The classes of 64 bytes.
    fn masks(self, lanes: &[u8; LANES]) -> Masks;
    /// Digits and separators alone, where no byte of 64 is of a rarer class.
    fn plain(self, lanes: &[u8; LANES]) -> Option<Plain>;
    /// How many bytes at the beginning of `text` are [`quiet`].
    fn quiet(self, text: &[u8]) -> usize;
    /// Whether the last `count` of these bytes, at least one and all digits, satisfy the Luhn formula.
    fn luhn(self, lanes: &[u8; LUHN_LANES], count: usize) -> bool {
        luhn::holds(lanes.get(LUHN_LANES - count..).unwrap_or_default())
    }
}

/// One bit per byte, the first byte lowest.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Masks {
    /// ASCII digits.
    pub(super) digit: u64,
    /// ASCII digits and plain separators.
    pub(super) plain: u64,
    /// What may stand between digits and is longer than a byte: markup, entities, escapes.
    pub(super) link: u64,
    /// What may begin an escaped digit or one of another script.
    pub(super) lead: u64,
    /// `M`, `N`, `O`: how base64 begins three digits.
    pub(super) triple: u64,
}

/// The two classes that most text has alone.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Plain {
    /// ASCII digits.
    pub(super) digit: u64,
    /// ASCII digits and plain separators.
    pub(super) plain: u64,
}

/// What the two blocks of a step hold. Digits may be counted too high, by `M`, `N` and `O`, never
/// too low.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    /// Digits, and bytes of other scripts; and digits right before `<`: 16 bits each, the first
    /// block lowest.
    pub(super) digits: u64,
    /// `M`, `N` and `O`, the same way.
    pub(super) triples: u64,
}

impl Masks {
    /// What is neither digit nor separator alone.
    #[inline(always)]
    pub(super) fn rare(&self) -> u64 {
        self.link | self.lead | self.triple
    }

    /// Digits and separators, where there is nothing else.
    #[inline(always)]
    pub(super) fn alone(&self) -> Option<Plain> {
        let Self { digit, plain, .. } = *self;
        (self.rare() == 0).then_some(Plain { digit, plain })
    }
}

impl From<Plain> for Masks {
    #[inline(always)]
    fn from(Plain { digit, plain }: Plain) -> Self {
        Self { digit, plain, ..Self::default() }
    }
}

/// How many bytes at the beginning of `text`, a multiple of [`BLOCK`], hold no beginning of
/// anything: too few digits near, too few before tags, no base64 of digits.
#[inline(always)]
pub(super) fn quiet(text: &[u8], tally: impl Fn(&[u8; STEP + 1]) -> Tally) -> usize {
    let mut before = Tally::default();
    let mut done = 0;
    let mut rest = text;
    while let Some(step) = rest.first_chunk() {
        let tally = tally(step);
        let quiet = tally.quiet_after(&before);
        done += quiet * BLOCK;
        if quiet < BLOCKS {
            break;
        }
        before = tally;
        rest = rest.get(STEP..).unwrap_or_default();
    }
    // The last block may make a loud pair with what comes next.
    done.saturating_sub(BLOCK)
}

impl Tally {
    /// How many blocks stand before the first that makes a loud pair with the one before it.
    #[inline(always)]
    fn quiet_after(&self, before: &Self) -> usize {
        const EACH: u64 = 0x0000_0001_0000_0001;
        // What lifts a count that reaches its least to the top of its 16 bits.
        const TOP: u64 = 1 << 15;
        const DIGITS: u64 = ((TOP - WEIGHT_MIN) | ((TOP - TAGS_MIN) << 16)) * EACH;
        const TRIPLES: u64 = (TOP - TRIPLES_MIN) * EACH;
        let pairs = |blocks: u64, last: u64| blocks + (blocks << 32 | last >> 32);
        let digits = (pairs(self.digits, before.digits) + DIGITS) & ((TOP | TOP << 16) * EACH);
        let triples = (pairs(self.triples, before.triples) + TRIPLES) & (TOP * EACH);
        let loud = digits | triples;
        usize::try_from(loud.trailing_zeros() / u32::BITS).unwrap_or(BLOCKS)
    }
}

/// One byte after the other: what the vectors are measured against, and where there are none.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Vectors for Portable {
    fn masks(self, lanes: &[u8; LANES]) -> Masks {
        let mut masks = Masks::default();
        for (place, &byte) in lanes.iter().enumerate() {
            let bit = |holds: bool| u64::from(holds) << place;
            masks.digit |= bit(byte.is_ascii_digit());
            masks.plain |= bit(byte.is_ascii_digit() || is_separator(byte));
            masks.link |= bit(is_link(byte));
            masks.lead |= bit(is_lead(byte));
            masks.triple |= bit(is_triple(byte));
        }
        masks
    }

    fn plain(self, lanes: &[u8; LANES]) -> Option<Plain> {
        self.masks(lanes).alone()
    }

    fn quiet(self, text: &[u8]) -> usize {
        quiet(text, tally)
    }
}

/// What the blocks of a step hold; the byte after the last tells whether a tag follows.
pub(super) fn tally(step: &[u8; STEP + 1]) -> Tally {
    let mut tally = Tally::default();
    for (place, pair) in step.windows(2).enumerate() {
        let &[byte, next] = pair else { continue };
        let one = |holds: bool| u64::from(holds) << (place / BLOCK * 32);
        let counted = byte.is_ascii_digit() || is_triple(byte);
        tally.digits += one(counted || byte >= 0x80) + (one(counted && next == b'<') << 16);
        tally.triples += one(is_triple(byte));
    }
    tally
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'%' | b'+' | b'-' | b'.')
}

fn is_link(byte: u8) -> bool {
    matches!(byte, 0 | b'&' | b'<' | b'=' | b'\\' | 0x80..)
}

/// Of other scripts only what begins a digit in UTF-8.
fn is_lead(byte: u8) -> bool {
    matches!(byte, b'%' | b'&' | b'\\' | 0xD9 | 0xDB | 0xE0 | 0xEF)
}

fn is_triple(byte: u8) -> bool {
    matches!(byte, b'M'..=b'O')
}
