//! NEON: 16 bytes at a time.

use std::arch::aarch64::{
    uint8x16_t, vaddlvq_u8, vaddq_u8, vandq_u8, vceqq_u8, vcgeq_u8, vcleq_u8, vdupq_n_u8,
    vgetq_lane_u64, vld1q_u8, vorrq_u8, vpaddq_u8, vreinterpretq_u64_u8, vsubq_u8,
};

use crate::scan::classes::{self, BLOCK, LANES, Masks, Plain, STEP, Tally, Vectors};

const WIDTH: usize = 16;

/// NEON belongs to 64-bit ARM: its instructions need no asking.
#[derive(Clone, Copy)]
pub(super) struct Neon;

impl Vectors for Neon {
    #[inline(always)]
    fn masks(self, lanes: &[u8; LANES]) -> Masks {
        // SAFETY: this module is compiled where every processor has NEON.
        unsafe { masks(lanes) }
    }

    #[inline(always)]
    fn plain(self, lanes: &[u8; LANES]) -> Option<Plain> {
        self.masks(lanes).alone()
    }

    #[inline(always)]
    fn quiet(self, text: &[u8]) -> usize {
        // SAFETY: as above.
        unsafe { quiet(text) }
    }
}

#[inline]
#[target_feature(enable = "neon")]
fn masks(lanes: &[u8; LANES]) -> Masks {
    let four = [load(lanes, 0), load(lanes, 16), load(lanes, 32), load(lanes, 48)];
    Masks {
        digit: bits(four.map(|lanes| digit(lanes))),
        plain: bits(four.map(|lanes| plain(lanes))),
        link: bits(four.map(|lanes| link(lanes))),
        lead: bits(four.map(|lanes| lead(lanes))),
        triple: bits(four.map(|lanes| triple(lanes))),
    }
}

#[target_feature(enable = "neon")]
fn quiet(text: &[u8]) -> usize {
    classes::quiet(text, |step| tally(step))
}

#[inline]
#[target_feature(enable = "neon")]
fn tally(step: &[u8; STEP + 1]) -> Tally {
    let mut tally = Tally::default();
    for start in (0..STEP).step_by(BLOCK) {
        add_block(&mut tally, step, start);
    }
    tally
}

#[inline]
#[target_feature(enable = "neon")]
fn add_block(tally: &mut Tally, step: &[u8; STEP + 1], start: usize) {
    let mut weight = vdupq_n_u8(0);
    let mut triples = vdupq_n_u8(0);
    let mut tags = vdupq_n_u8(0);
    for at in (start..start + BLOCK).step_by(WIDTH) {
        let here = load(step, at);
        let letters = triple(here);
        let counted = vorrq_u8(digit(here), letters);
        let tagged = is(load(step, at + 1), b'<');
        // A lane that matches is all ones, which is minus one.
        weight = vsubq_u8(weight, vorrq_u8(counted, other_script(here)));
        triples = vsubq_u8(triples, letters);
        tags = vsubq_u8(tags, vandq_u8(counted, tagged));
    }
    let sum = |lanes| u64::from(vaddlvq_u8(lanes)) << (start / BLOCK * 32);
    tally.digits += sum(weight) + (sum(tags) << 16);
    tally.triples += sum(triples);
}

#[inline]
#[target_feature(enable = "neon")]
fn load(text: &[u8], at: usize) -> uint8x16_t {
    let Some(lanes) = text.get(at..at + WIDTH) else { return vdupq_n_u8(0) };
    // SAFETY: `lanes` has WIDTH bytes, and the load needs no alignment.
    unsafe { vld1q_u8(lanes.as_ptr()) }
}

/// One bit per lane: each keeps the bit of its place among eight, and pairs are added up.
#[inline]
#[target_feature(enable = "neon")]
fn bits(four: [uint8x16_t; 4]) -> u64 {
    let places = load(&[1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128], 0);
    let [a, b, c, d] = four.map(|lanes| vandq_u8(lanes, places));
    let halves = vpaddq_u8(vpaddq_u8(a, b), vpaddq_u8(c, d));
    vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(halves, halves)))
}

#[inline]
#[target_feature(enable = "neon")]
fn is(lanes: uint8x16_t, byte: u8) -> uint8x16_t {
    vceqq_u8(lanes, vdupq_n_u8(byte))
}

#[inline]
#[target_feature(enable = "neon")]
fn between(lanes: uint8x16_t, first: u8, last: u8) -> uint8x16_t {
    vcleq_u8(vaddq_u8(lanes, vdupq_n_u8(first.wrapping_neg())), vdupq_n_u8(last - first))
}

#[inline]
#[target_feature(enable = "neon")]
fn digit(lanes: uint8x16_t) -> uint8x16_t {
    between(lanes, b'0', b'9')
}

#[inline]
#[target_feature(enable = "neon")]
fn triple(lanes: uint8x16_t) -> uint8x16_t {
    between(lanes, b'M', b'O')
}

#[inline]
#[target_feature(enable = "neon")]
fn other_script(lanes: uint8x16_t) -> uint8x16_t {
    vcgeq_u8(lanes, vdupq_n_u8(0x80))
}

#[inline]
#[target_feature(enable = "neon")]
fn plain(lanes: uint8x16_t) -> uint8x16_t {
    let blank = vorrq_u8(is(lanes, b' '), is(lanes, b'%'));
    let sign = vorrq_u8(vorrq_u8(is(lanes, b'+'), is(lanes, b'-')), is(lanes, b'.'));
    vorrq_u8(digit(lanes), vorrq_u8(blank, sign))
}

#[inline]
#[target_feature(enable = "neon")]
fn link(lanes: uint8x16_t) -> uint8x16_t {
    let markup = vorrq_u8(is(lanes, b'&'), is(lanes, b'<'));
    let other = vorrq_u8(vorrq_u8(is(lanes, 0), is(lanes, b'=')), is(lanes, b'\\'));
    vorrq_u8(vorrq_u8(markup, other), other_script(lanes))
}

#[inline]
#[target_feature(enable = "neon")]
fn lead(lanes: uint8x16_t) -> uint8x16_t {
    let escapes = vorrq_u8(vorrq_u8(is(lanes, b'%'), is(lanes, b'&')), is(lanes, b'\\'));
    let two = vorrq_u8(is(lanes, 0xD9), is(lanes, 0xDB));
    let three = vorrq_u8(is(lanes, 0xE0), is(lanes, 0xEF));
    vorrq_u8(escapes, vorrq_u8(two, three))
}
