//! AVX2: 32 bytes at a time.

use std::arch::x86_64::{
    __m128i, __m256i, _MM_HINT_T0, _mm_add_epi8, _mm_add_epi64, _mm_and_si128, _mm_cvtsi128_si32,
    _mm_cvtsi128_si64, _mm_loadu_si128, _mm_prefetch, _mm_sad_epu8, _mm_set1_epi16,
    _mm_setzero_si128, _mm_shuffle_epi8, _mm_unpackhi_epi64, _mm256_add_epi8, _mm256_add_epi64,
    _mm256_and_si256, _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_cmpgt_epi8,
    _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_sad_epu8, _mm256_set1_epi8, _mm256_setr_epi8, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_slli_epi16, _mm256_slli_epi64, _mm256_srli_epi16, _mm256_sub_epi8, _mm256_testz_si256,
    _mm256_xor_si256,
};

use super::Loop;
use crate::scan::classes::{
    self, BLOCK, BLOCKS, LANES, LUHN_LANES, Masks, Plain, STEP, Tally, Vectors,
};

const WIDTH: usize = 32;
/// How far ahead memory is asked for.
const FETCH: usize = 2048;
const CACHE_LINE: usize = 64;

/// Made in [`run`] alone, where the processor has the instructions.
#[derive(Clone, Copy)]
struct Avx2(());

#[target_feature(enable = "avx2,bmi1,bmi2")]
pub(super) fn run<L: Loop>(work: L) -> L::Output {
    work.run(Avx2(()))
}

impl Vectors for Avx2 {
    #[inline(always)]
    fn masks(self, lanes: &[u8; LANES]) -> Masks {
        // SAFETY: the value exists where the processor has AVX2.
        unsafe { masks(lanes) }
    }

    #[inline(always)]
    fn plain(self, lanes: &[u8; LANES]) -> Option<Plain> {
        // SAFETY: as above.
        unsafe { plain(lanes) }
    }

    #[inline(always)]
    fn quiet(self, text: &[u8]) -> usize {
        // SAFETY: as above.
        unsafe { quiet(text) }
    }

    #[inline(always)]
    fn luhn(self, lanes: &[u8; LUHN_LANES], count: usize) -> bool {
        // SAFETY: as above.
        unsafe { luhn(lanes, count) }
    }
}

/// Classes as bits of a byte; other scripts are told by the byte itself.
const DIGIT: i8 = 1;
const SEPARATOR: i8 = 1 << 1;
const AMPERSAND: i8 = 1 << 2;
const MARKUP: i8 = 1 << 3;
const BACKSLASH: i8 = 1 << 4;
const NUL: i8 = 1 << 5;
const TRIPLE: i8 = 1 << 6;
const PERCENT: i8 = -1 << 7;

#[inline]
#[target_feature(enable = "avx2")]
fn masks(lanes: &[u8; LANES]) -> Masks {
    let classes = Classes::of(lanes);
    let Plain { digit, plain } = classes.plain();
    if classes.none_rare() {
        return Masks { digit, plain, ..Masks::default() };
    }
    let leads = classes.text.map(|lanes| other_lead(lanes));
    Masks {
        digit,
        plain,
        link: classes.any_of(AMPERSAND | MARKUP | BACKSLASH | NUL) | bits(classes.text),
        lead: classes.any_of(AMPERSAND | BACKSLASH | PERCENT) | bits(leads),
        triple: classes.any_of(TRIPLE),
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn plain(lanes: &[u8; LANES]) -> Option<Plain> {
    let classes = Classes::of(lanes);
    if classes.none_rare() { Some(classes.plain()) } else { None }
}

/// 64 bytes and their classes. Most text has digits and separators alone: the rarer classes are told
/// apart where any is.
struct Classes {
    text: [__m256i; 2],
    classes: [__m256i; 2],
}

impl Classes {
    #[inline]
    #[target_feature(enable = "avx2")]
    fn of(lanes: &[u8; LANES]) -> Self {
        let text = [load(lanes, 0), load(lanes, WIDTH)];
        Self { text, classes: text.map(|lanes| classify(lanes)) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn plain(&self) -> Plain {
        let digit = bits(self.classes.map(|lanes| _mm256_slli_epi16::<7>(lanes)));
        let separator = bits(self.classes.map(|lanes| _mm256_slli_epi16::<6>(lanes)));
        Plain { digit, plain: digit | separator }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn none_rare(&self) -> bool {
        let either = |[low, high]: [__m256i; 2]| _mm256_or_si256(low, high);
        let rare = _mm256_and_si256(either(self.classes), _mm256_set1_epi8(!(DIGIT | SEPARATOR)));
        let other = _mm256_and_si256(either(self.text), _mm256_set1_epi8(i8::MIN));
        let any = _mm256_or_si256(rare, other);
        _mm256_testz_si256(any, any) != 0
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn any_of(&self, set: i8) -> u64 {
        let none = _mm256_setzero_si256();
        let kept = self.classes.map(|lanes| _mm256_and_si256(lanes, _mm256_set1_epi8(set)));
        !bits(kept.map(|lanes| _mm256_cmpeq_epi8(lanes, none)))
    }
}

/// The class of each byte: what the tables of its two halves agree on.
#[inline]
#[target_feature(enable = "avx2")]
fn classify(lanes: __m256i) -> __m256i {
    const BLANK: i8 = SEPARATOR | DIGIT | NUL;
    const LOW: [i8; 16] = [
        BLANK,
        DIGIT,
        DIGIT,
        DIGIT,
        DIGIT,
        DIGIT | SEPARATOR | PERCENT,
        DIGIT | AMPERSAND,
        DIGIT,
        DIGIT,
        DIGIT,
        0,
        SEPARATOR,
        MARKUP | BACKSLASH,
        SEPARATOR | MARKUP | TRIPLE,
        SEPARATOR | TRIPLE,
        TRIPLE,
    ];
    const HIGH: [i8; 16] = [
        NUL,
        0,
        SEPARATOR | AMPERSAND | PERCENT,
        DIGIT | MARKUP,
        TRIPLE,
        BACKSLASH,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ];
    let half = _mm256_set1_epi8(0x0F);
    let high = _mm256_and_si256(_mm256_srli_epi16::<4>(lanes), half);
    let low = _mm256_shuffle_epi8(table(LOW), lanes);
    _mm256_and_si256(low, _mm256_shuffle_epi8(table(HIGH), high))
}

/// Digits, `M`, `N` and `O`: no two of them have the same low half, so one table tells them.
#[inline]
#[target_feature(enable = "avx2")]
fn counted(lanes: __m256i) -> __m256i {
    const BY_LOW_HALF: [i8; 16] =
        [0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0, 0, 0, 0x4D, 0x4E, 0x4F];
    _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table(BY_LOW_HALF), lanes), lanes)
}

#[inline]
#[target_feature(enable = "avx2")]
fn table(half: [i8; 16]) -> __m256i {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = half;
    _mm256_setr_epi8(
        a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, //
        a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p,
    )
}

#[target_feature(enable = "avx2")]
fn quiet(text: &[u8]) -> usize {
    classes::quiet(text, |step| tally(step))
}

#[inline]
#[target_feature(enable = "avx2")]
fn tally(step: &[u8; STEP + 1]) -> Tally {
    fetch(step);
    let mut digits = [_mm256_setzero_si256(); BLOCKS];
    let mut tags = digits;
    let mut letters = _mm256_setzero_si256();
    let mut all = letters;
    for (block, (digits, tags)) in digits.iter_mut().zip(&mut tags).enumerate() {
        for at in (block * BLOCK..(block + 1) * BLOCK).step_by(WIDTH) {
            let here = load(step, at);
            let counted = counted(here);
            let tagged = _mm256_cmpeq_epi8(load(step, at + 1), _mm256_set1_epi8(0x3C));
            // A lane that matches is all ones, which is minus one.
            *digits = _mm256_sub_epi8(*digits, counted);
            *tags = _mm256_sub_epi8(*tags, _mm256_and_si256(counted, tagged));
            letters = _mm256_or_si256(letters, _mm256_and_si256(counted, here));
            all = _mm256_or_si256(all, here);
        }
    }
    let tally = Tally { digits: sums(digits, tags), triples: 0 };
    // The top bit of a byte of another script, and the one below it of a letter.
    if _mm256_movemask_epi8(_mm256_or_si256(all, _mm256_slli_epi16::<1>(letters))) == 0 {
        return tally;
    }
    tally_rare(step, tally.digits)
}

/// Asks for what comes [`FETCH`] bytes later, which does no harm behind the end: the arithmetic takes
/// nearly as long as the memory, and without it the one would wait for the other. Half as far is as
/// good, twice as far slower than not at all.
#[inline]
#[target_feature(enable = "avx2")]
fn fetch(step: &[u8; STEP + 1]) {
    for line in (0..STEP).step_by(CACHE_LINE) {
        let later = step.as_ptr().wrapping_add(FETCH + line);
        _mm_prefetch::<_MM_HINT_T0>(later.cast());
    }
}

/// Adds bytes of other scripts, and of base64: most steps have none.
#[inline(never)]
#[target_feature(enable = "avx2")]
fn tally_rare(step: &[u8; STEP + 1], digits: u64) -> Tally {
    let mut others = [_mm256_setzero_si256(); BLOCKS];
    let mut triples = others;
    for (block, (others, triples)) in others.iter_mut().zip(&mut triples).enumerate() {
        for at in (block * BLOCK..(block + 1) * BLOCK).step_by(WIDTH) {
            let here = load(step, at);
            let other = _mm256_cmpgt_epi8(_mm256_setzero_si256(), here);
            *others = _mm256_sub_epi8(*others, other);
            *triples = _mm256_sub_epi8(*triples, triple(here));
        }
    }
    let none = [_mm256_setzero_si256(); BLOCKS];
    Tally { digits: digits + sums(others, none), triples: sums(triples, none) }
}

/// All digits at once: 21 instructions fewer than eight at a time in a register, for every long number.
/// A digit that counts twice is itself and what a table adds.
#[inline]
#[target_feature(enable = "avx2")]
fn luhn(lanes: &[u8; LUHN_LANES], count: usize) -> bool {
    /// What doubling adds to the sum, or what leaves the same rest when divided by ten.
    const ADDED: [i8; 16] = [0, 1, 2, 3, 4, 6, 7, 8, 9, 0, 0, 0, 0, 0, 0, 0];
    /// A tenth of 2^32, rounded up.
    const TENTH: u32 = u32::MAX / 10 + 1;
    /// A window of sixteen that begins at `count` keeps the values of the last `count` digits.
    static KEPT: [u8; LUHN_LANES * 2] = {
        let mut kept = [0; LUHN_LANES * 2];
        let mut place = LUHN_LANES;
        while place < kept.len() {
            (kept[place], place) = (0x0F, place + 1);
        }
        kept
    };
    let Some(kept) = KEPT.get(count..).and_then(|kept| kept.first_chunk()) else { return false };
    let values = _mm_and_si128(load_sixteen(lanes), load_sixteen(kept));
    let added = _mm_shuffle_epi8(_mm256_castsi256_si128(table(ADDED)), values);
    // Of two neighbours the first counts twice, for the last does not.
    let added = _mm_and_si128(added, _mm_set1_epi16(0x00FF));
    let sums = _mm_sad_epu8(_mm_add_epi8(values, added), _mm_setzero_si128());
    let sum = _mm_cvtsi128_si32(_mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums)));
    // Whether ten divides it, for sums this small in half the instructions of the general question.
    sum.cast_unsigned().wrapping_mul(TENTH) < TENTH
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_sixteen(lanes: &[u8; LUHN_LANES]) -> __m128i {
    // SAFETY: `lanes` has as many bytes as are read, and the load needs no alignment.
    unsafe { _mm_loadu_si128(lanes.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(text: &[u8], at: usize) -> __m256i {
    let Some(lanes) = text.get(at..at + WIDTH) else { return _mm256_setzero_si256() };
    // SAFETY: `lanes` has WIDTH bytes, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
}

/// The top bits of 64 lanes.
#[inline]
#[target_feature(enable = "avx2")]
fn bits([low, high]: [__m256i; 2]) -> u64 {
    let half = |lanes| u64::from(_mm256_movemask_epi8(lanes).cast_unsigned());
    half(low) | half(high) << WIDTH
}

/// The sums of the lanes of four vectors as a [`Tally`] has them, in one go.
#[inline]
#[target_feature(enable = "avx2")]
fn sums(low: [__m256i; BLOCKS], high: [__m256i; BLOCKS]) -> u64 {
    let sum = |lanes| _mm256_sad_epu8(lanes, _mm256_setzero_si256());
    let ([a, c], [b, d]) = (low.map(sum), high.map(sum));
    let (b, c, d) =
        (_mm256_slli_epi64::<16>(b), _mm256_slli_epi64::<32>(c), _mm256_slli_epi64::<48>(d));
    let all = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
    let pair = _mm_add_epi64(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
    let total = _mm_cvtsi128_si64(_mm_add_epi64(pair, _mm_unpackhi_epi64(pair, pair)));
    total.cast_unsigned()
}

/// `O` and the two below it, moved to the top of the signed range, so that one comparison tells
/// them from everything else.
#[inline]
#[target_feature(enable = "avx2")]
fn triple(lanes: __m256i) -> __m256i {
    let moved = _mm256_add_epi8(lanes, _mm256_set1_epi8(i8::MAX - 0x4F));
    _mm256_cmpgt_epi8(moved, _mm256_set1_epi8(i8::MAX - 3))
}

/// The bytes that begin digits of other scripts in UTF-8, by their low halves.
#[inline]
#[target_feature(enable = "avx2")]
fn other_lead(lanes: __m256i) -> __m256i {
    // Without their top bit, which would make the table yield zero; entries that match no byte
    // have another low half.
    const BY_LOW_HALF: [i8; 16] = [0x60, 0, 0, 0, 0, 0, 0, 0, 0, 0x59, 0, 0x5B, 0, 0, 0, 0x6F];
    let turned = _mm256_xor_si256(lanes, _mm256_set1_epi8(i8::MIN));
    _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table(BY_LOW_HALF), turned), turned)
}
