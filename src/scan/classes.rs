//! The byte classes the filter asks for, 64 bytes at a time, and how many of them make a stretch of
//! text worth a closer look. `simd` computes the same faster.

/// Bytes per step of the coarse level.
pub(super) const BLOCK: usize = 128;
/// Bytes per set of masks.
pub(super) const LANES: usize = 64;

/// Digits and bytes of other scripts in two neighbouring blocks that rule a number out below.
const WEIGHT_MIN: u32 = 12;
/// `M`, `N` and `O` in two neighbouring blocks below which no number is there in base64.
const TRIPLES_MIN: u32 = 3;
/// Digits right before a tag below which no number is there split by tags.
const TAGS_MIN: u32 = 2;

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

/// Tallies blocks up to the first that makes a loud pair with the next.
#[inline(always)]
pub(super) fn quiet(text: &[u8], tally: impl Fn(&[u8; BLOCK + 1]) -> Tally) -> usize {
    let mut before = Tally { weight: WEIGHT_MIN, triples: 0, tags: 0 };
    let mut done = 0;
    // One byte more than the block, for the digit before a tag.
    while let Some(block) = text.get(done..).and_then(|rest| rest.first_chunk()) {
        let tally = tally(block);
        if done > 0 && before.loud_with(&tally) {
            break;
        }
        before = tally;
        done += BLOCK;
    }
    done.saturating_sub(BLOCK)
}

/// What a block holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Tally {
    /// Digits, and bytes of other scripts.
    pub(super) weight: u32,
    /// `M`, `N` and `O`.
    pub(super) triples: u32,
    /// Digits right before `<`.
    pub(super) tags: u32,
}

impl Tally {
    fn loud_with(&self, next: &Self) -> bool {
        self.weight + next.weight >= WEIGHT_MIN
            || self.triples + next.triples >= TRIPLES_MIN
            || self.tags + next.tags >= TAGS_MIN
    }
}

pub(super) fn masks(lanes: &[u8; LANES]) -> Masks {
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

pub(super) fn tally(block: &[u8; BLOCK + 1]) -> Tally {
    let weight = block.iter().take(BLOCK).filter(|byte| byte.is_ascii_digit() || **byte >= 0x80);
    let triples = block.iter().take(BLOCK).filter(|byte| is_triple(**byte));
    let tags = block.windows(2).filter(|pair| matches!(pair, [b'0'..=b'9', b'<']));
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Tally {
        weight: count(weight.count()),
        triples: count(triples.count()),
        tags: count(tags.count()),
    }
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'%' | b'+' | b'-' | b'.')
}

fn is_link(byte: u8) -> bool {
    matches!(byte, 0 | b'&' | b'<' | b'=' | b'\\' | 0x80..)
}

fn is_lead(byte: u8) -> bool {
    matches!(byte, b'%' | b'&' | b'\\' | 0x80..)
}

fn is_triple(byte: u8) -> bool {
    matches!(byte, b'M'..=b'O')
}
