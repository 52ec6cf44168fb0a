//! The byte classes of `classes` by vector instructions: AVX2 or NEON where the processor has them.
#![expect(unsafe_code, reason = "vector instructions behind detection; loads lie inside slices")]

use super::classes::{self, BLOCK, LANES, Masks, Tally};

/// The instructions this processor has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon,
    Portable,
}

impl Kernel {
    /// What needs no asking: NEON belongs to 64-bit ARM.
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    const FIXED: Self = Self::Neon;
    #[cfg(not(all(target_arch = "aarch64", target_feature = "neon")))]
    const FIXED: Self = Self::Portable;

    /// The fastest that runs here.
    pub(super) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            return Self::Avx2;
        }
        Self::FIXED
    }

    /// The classes of 64 bytes.
    pub(super) fn masks(self, lanes: &[u8; LANES]) -> Masks {
        match self {
            // SAFETY: `detect` alone makes the variant, where the processor has AVX2.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::masks(lanes) },
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Self::Neon => neon::masks(lanes),
            Self::Portable => classes::masks(lanes),
        }
    }

    /// How many bytes at the beginning of `text`, a multiple of [`BLOCK`], hold no beginning of
    /// anything: too few digits near, too few before tags, no base64 of digits.
    pub(super) fn quiet(self, text: &[u8]) -> usize {
        match self {
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::quiet(text) },
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Self::Neon => neon::quiet(text),
            Self::Portable => classes::quiet(text, classes::tally),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::arch::x86_64::{
        __m256i, _mm_add_epi64, _mm_cvtsi128_si64, _mm_unpackhi_epi64, _mm256_add_epi8,
        _mm256_add_epi64, _mm256_and_si256, _mm256_castsi256_si128, _mm256_cmpeq_epi8,
        _mm256_cmpgt_epi8, _mm256_extracti128_si256, _mm256_loadu_si256, _mm256_movemask_epi8,
        _mm256_or_si256, _mm256_sad_epu8, _mm256_set1_epi8, _mm256_setr_epi8, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_slli_epi64, _mm256_sub_epi8,
    };

    use super::{BLOCK, LANES, Masks, Tally};

    const WIDTH: usize = 32;

    #[target_feature(enable = "avx2")]
    pub(super) fn masks(lanes: &[u8; LANES]) -> Masks {
        let (low, high) = (load(lanes, 0), load(lanes, WIDTH));
        Masks {
            digit: bits(digit(low), digit(high)),
            plain: bits(plain(low), plain(high)),
            link: bits(link(low), link(high)),
            lead: bits(lead(low), lead(high)),
            triple: bits(triple(low), triple(high)),
        }
    }

    #[target_feature(enable = "avx2")]
    pub(super) fn quiet(text: &[u8]) -> usize {
        crate::scan::classes::quiet(text, |block| tally(block))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn tally(block: &[u8; BLOCK + 1]) -> Tally {
        let mut weight = _mm256_setzero_si256();
        let mut tags = _mm256_setzero_si256();
        let mut rare = _mm256_setzero_si256();
        for at in (0..BLOCK).step_by(WIDTH) {
            let here = load(block, at);
            let digits = digit(here);
            // A lane that matches is all ones, which is minus one.
            weight = _mm256_sub_epi8(weight, digits);
            tags = _mm256_sub_epi8(tags, before_tag(block, at, digits));
            rare = _mm256_or_si256(rare, _mm256_or_si256(triple(here), here));
        }
        // The top bit of a lane: a byte of another script, or a class whose lanes are all ones.
        if _mm256_movemask_epi8(rare) != 0 {
            return tally_rare(block);
        }
        let [weight, triples, tags] = sums(weight, _mm256_setzero_si256(), tags);
        Tally { weight, triples, tags }
    }

    /// The same where the rarer classes occur.
    #[target_feature(enable = "avx2")]
    fn tally_rare(block: &[u8; BLOCK + 1]) -> Tally {
        let mut weight = _mm256_setzero_si256();
        let mut triples = _mm256_setzero_si256();
        let mut tags = _mm256_setzero_si256();
        for at in (0..BLOCK).step_by(WIDTH) {
            let here = load(block, at);
            let digits = digit(here);
            weight = _mm256_sub_epi8(weight, _mm256_or_si256(digits, other_script(here)));
            triples = _mm256_sub_epi8(triples, triple(here));
            tags = _mm256_sub_epi8(tags, before_tag(block, at, digits));
        }
        let [weight, triples, tags] = sums(weight, triples, tags);
        Tally { weight, triples, tags }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn before_tag(block: &[u8; BLOCK + 1], at: usize, digits: __m256i) -> __m256i {
        let open = _mm256_set1_epi8(0x3C);
        _mm256_and_si256(digits, _mm256_cmpeq_epi8(load(block, at + 1), open))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(text: &[u8], at: usize) -> __m256i {
        let Some(lanes) = text.get(at..at + WIDTH) else { return _mm256_setzero_si256() };
        // SAFETY: `lanes` has WIDTH bytes, and the load needs no alignment.
        unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bits(low: __m256i, high: __m256i) -> u64 {
        let half = |lanes| u64::from(_mm256_movemask_epi8(lanes).cast_unsigned());
        half(low) | half(high) << WIDTH
    }

    /// The sums of the lanes of three vectors, at most 128 each, in one go.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn sums(first: __m256i, second: __m256i, third: __m256i) -> [u32; 3] {
        let sum = |lanes| _mm256_sad_epu8(lanes, _mm256_setzero_si256());
        let (second, third) =
            (_mm256_slli_epi64::<16>(sum(second)), _mm256_slli_epi64::<32>(sum(third)));
        let all = _mm256_add_epi64(_mm256_add_epi64(sum(first), second), third);
        let pair = _mm_add_epi64(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all));
        let total = _mm_cvtsi128_si64(_mm_add_epi64(pair, _mm_unpackhi_epi64(pair, pair)));
        let part = |bits: u32| u32::try_from(total.cast_unsigned() >> bits & 0xFFFF).unwrap_or(0);
        [part(0), part(16), part(32)]
    }

    /// `last` and the two or nine bytes below it: moved to the top of the signed range, so that
    /// one comparison tells them from everything else.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn ending(lanes: __m256i, last: i8, count: i8) -> __m256i {
        let moved = _mm256_add_epi8(lanes, _mm256_set1_epi8(i8::MAX - last));
        _mm256_cmpgt_epi8(moved, _mm256_set1_epi8(i8::MAX - count))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn digit(lanes: __m256i) -> __m256i {
        ending(lanes, 0x39, 10)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn triple(lanes: __m256i) -> __m256i {
        ending(lanes, 0x4F, 3)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn other_script(lanes: __m256i) -> __m256i {
        _mm256_cmpgt_epi8(_mm256_setzero_si256(), lanes)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn plain(lanes: __m256i) -> __m256i {
        // By low half: ` ` `%` `+` `-` `.`; zero matches none, for its own entry is the space.
        let table = _mm256_setr_epi8(
            0x20, 0, 0, 0, 0, 0x25, 0, 0, 0, 0, 0, 0x2B, 0, 0x2D, 0x2E, 0, //
            0x20, 0, 0, 0, 0, 0x25, 0, 0, 0, 0, 0, 0x2B, 0, 0x2D, 0x2E, 0,
        );
        let separator = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, lanes), lanes);
        _mm256_or_si256(digit(lanes), separator)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn link(lanes: __m256i) -> __m256i {
        // By low half: NUL `&` `<` `=`; the other entries have low half zero, so match no byte.
        let table = _mm256_setr_epi8(
            0, 0, 0, 0, 0, 0, 0x26, 0, 0, 0, 0, 0, 0x3C, 0x3D, 0, 0, //
            0, 0, 0, 0, 0, 0, 0x26, 0, 0, 0, 0, 0, 0x3C, 0x3D, 0, 0,
        );
        let one_of = _mm256_cmpeq_epi8(_mm256_shuffle_epi8(table, lanes), lanes);
        let bar = _mm256_cmpeq_epi8(lanes, _mm256_set1_epi8(0x5C));
        _mm256_or_si256(_mm256_or_si256(one_of, bar), other_script(lanes))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn lead(lanes: __m256i) -> __m256i {
        let is = |byte| _mm256_cmpeq_epi8(lanes, _mm256_set1_epi8(byte));
        let escapes = _mm256_or_si256(_mm256_or_si256(is(0x25), is(0x26)), is(0x5C));
        _mm256_or_si256(escapes, other_script(lanes))
    }
}

#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon {
    use std::arch::aarch64::{
        uint8x16_t, vaddlvq_u8, vaddq_u8, vandq_u8, vceqq_u8, vcgeq_u8, vcleq_u8, vdupq_n_u8,
        vgetq_lane_u64, vld1q_u8, vmaxvq_u8, vorrq_u8, vpaddq_u8, vreinterpretq_u64_u8, vsubq_u8,
    };

    use super::{BLOCK, LANES, Masks, Tally};

    const WIDTH: usize = 16;

    pub(super) fn masks(lanes: &[u8; LANES]) -> Masks {
        let four = [load(lanes, 0), load(lanes, 16), load(lanes, 32), load(lanes, 48)];
        Masks {
            digit: bits(four.map(|lanes| digit(lanes))),
            plain: bits(four.map(|lanes| plain(lanes))),
            link: bits(four.map(|lanes| link(lanes))),
            lead: bits(four.map(|lanes| lead(lanes))),
            triple: bits(four.map(|lanes| triple(lanes))),
        }
    }

    pub(super) fn quiet(text: &[u8]) -> usize {
        crate::scan::classes::quiet(text, |block| tally(block))
    }

    #[inline]
    fn tally(block: &[u8; BLOCK + 1]) -> Tally {
        let mut weight = vdupq_n_u8(0);
        let mut triples = vdupq_n_u8(0);
        let mut tags = vdupq_n_u8(0);
        for at in (0..BLOCK).step_by(WIDTH) {
            let here = load(block, at);
            let digits = digit(here);
            let tagged = is(load(block, at + 1), b'<');
            // A lane that matches is all ones, which is minus one.
            weight = vsubq_u8(weight, vorrq_u8(digits, other_script(here)));
            triples = vsubq_u8(triples, triple(here));
            tags = vsubq_u8(tags, vandq_u8(digits, tagged));
        }
        let sum = |lanes| u32::from(vaddlvq_u8(lanes));
        Tally { weight: sum(weight), triples: sum(triples), tags: sum(tags) }
    }

    #[inline]
    fn load(text: &[u8], at: usize) -> uint8x16_t {
        let Some(lanes) = text.get(at..at + WIDTH) else { return vdupq_n_u8(0) };
        // SAFETY: `lanes` has WIDTH bytes, and the load needs no alignment.
        unsafe { vld1q_u8(lanes.as_ptr()) }
    }

    /// One bit per lane: each keeps the bit of its place among eight, and pairs are added up.
    #[inline]
    fn bits(four: [uint8x16_t; 4]) -> u64 {
        let places = load(&[1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128], 0);
        let [a, b, c, d] = four.map(|lanes| vandq_u8(lanes, places));
        let halves = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
        vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(halves, halves)))
    }

    #[inline]
    fn is(lanes: uint8x16_t, byte: u8) -> uint8x16_t {
        vceqq_u8(lanes, vdupq_n_u8(byte))
    }

    #[inline]
    fn between(lanes: uint8x16_t, first: u8, last: u8) -> uint8x16_t {
        vcleq_u8(vaddq_u8(lanes, vdupq_n_u8(first.wrapping_neg())), vdupq_n_u8(last - first))
    }

    #[inline]
    fn digit(lanes: uint8x16_t) -> uint8x16_t {
        between(lanes, b'0', b'9')
    }

    #[inline]
    fn triple(lanes: uint8x16_t) -> uint8x16_t {
        between(lanes, b'M', b'O')
    }

    #[inline]
    fn other_script(lanes: uint8x16_t) -> uint8x16_t {
        vcgeq_u8(lanes, vdupq_n_u8(0x80))
    }

    #[inline]
    fn plain(lanes: uint8x16_t) -> uint8x16_t {
        let blank = vorrq_u8(is(lanes, b' '), is(lanes, b'%'));
        let sign = vorrq_u8(vorrq_u8(is(lanes, b'+'), is(lanes, b'-')), is(lanes, b'.'));
        vorrq_u8(digit(lanes), vorrq_u8(blank, sign))
    }

    #[inline]
    fn link(lanes: uint8x16_t) -> uint8x16_t {
        let markup = vorrq_u8(is(lanes, b'&'), is(lanes, b'<'));
        let other = vorrq_u8(vorrq_u8(is(lanes, 0), is(lanes, b'=')), is(lanes, b'\\'));
        vorrq_u8(vorrq_u8(markup, other), other_script(lanes))
    }

    #[inline]
    fn lead(lanes: uint8x16_t) -> uint8x16_t {
        let escapes = vorrq_u8(vorrq_u8(is(lanes, b'%'), is(lanes, b'&')), is(lanes, b'\\'));
        vorrq_u8(escapes, other_script(lanes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes from a small generator, most of them of the classes that matter.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        const SPECIAL: &[u8] = b"0123456789 %+-.&<=\\\0MNOLP/:\x7f\x80\xff\xefaz";
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        let byte = |[kind, value, ..]: [u8; 8]| match kind % 4 {
            0 => value,
            1 => b'x',
            _ => SPECIAL[usize::from(value) % SPECIAL.len()],
        };
        (0..length).map(|_| byte(next())).collect()
    }

    #[test]
    fn every_byte_is_classed_alike() {
        for byte in 0..=u8::MAX {
            let lanes = [byte; LANES];
            assert_eq!(Kernel::detect().masks(&lanes), Kernel::Portable.masks(&lanes), "{byte:#x}");
        }
    }

    #[test]
    fn vectors_and_their_portable_twin_agree() {
        for seed in 1..2000_u64 {
            let text = noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 700);
            for lanes in text.as_chunks::<LANES>().0 {
                assert_eq!(Kernel::detect().masks(lanes), Kernel::Portable.masks(lanes));
            }
            assert_eq!(Kernel::detect().quiet(&text), Kernel::Portable.quiet(&text));
            let sparse: Vec<u8> = text.iter().map(|&b| if b % 5 == 0 { b } else { b'x' }).collect();
            assert_eq!(Kernel::detect().quiet(&sparse), Kernel::Portable.quiet(&sparse));
        }
    }
}
