//! The byte classes of `classes` by vector instructions: AVX2 or NEON where the processor has them.
#![expect(unsafe_code, reason = "vector instructions behind detection; loads lie inside slices")]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
mod neon;

#[cfg(any(test, not(all(target_arch = "aarch64", target_feature = "neon"))))]
use super::classes::Portable;
use super::classes::Vectors;

/// The instructions this processor has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
    Neon,
    /// Where there is nothing faster, and what that is measured against.
    #[cfg(any(test, not(all(target_arch = "aarch64", target_feature = "neon"))))]
    Portable,
}

/// What is compiled once for each kind of vector, so that masks stay in registers: a catalogue full
/// of numbers takes 3.0 instructions a byte, and took 5.8 when masks were handed over in memory.
pub(super) trait Loop {
    type Output;
    fn run(self, vectors: impl Vectors) -> Self::Output;
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
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
        {
            return Self::Avx2;
        }
        Self::FIXED
    }

    /// Runs a loop with these instructions.
    pub(super) fn run<L: Loop>(self, work: L) -> L::Output {
        match self {
            // SAFETY: `detect` alone makes the variant, where the processor has what is enabled.
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => unsafe { avx2::run(work) },
            #[cfg(all(target_arch = "aarch64", target_feature = "neon"))]
            Self::Neon => work.run(neon::Neon),
            #[cfg(any(test, not(all(target_arch = "aarch64", target_feature = "neon"))))]
            Self::Portable => work.run(Portable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::classes::{LANES, LUHN_LANES, Masks};

    struct MasksOf<'a>(&'a [u8; LANES]);

    impl Loop for MasksOf<'_> {
        type Output = Masks;
        fn run(self, vectors: impl Vectors) -> Masks {
            vectors.masks(self.0)
        }
    }

    struct QuietOf<'a>(&'a [u8]);

    impl Loop for QuietOf<'_> {
        type Output = usize;
        fn run(self, vectors: impl Vectors) -> usize {
            vectors.quiet(self.0)
        }
    }

    struct LuhnOf<'a>(&'a [u8; LUHN_LANES], usize);

    impl Loop for LuhnOf<'_> {
        type Output = bool;
        fn run(self, vectors: impl Vectors) -> bool {
            vectors.luhn(self.0, self.1)
        }
    }

    /// Bytes from a small generator, most of them of the classes that matter.
    fn noise(seed: u64, length: usize) -> Vec<u8> {
        const SPECIAL: &[u8] = b"0123456789 %+-.&<=\\\0MNOLP/:\x7f\x80\xff\xef\xd9\xe0az";
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
            let fast = Kernel::detect().run(MasksOf(&lanes));
            assert_eq!(fast, Kernel::Portable.run(MasksOf(&lanes)), "{byte:#x}");
        }
    }

    #[test]
    fn vectors_and_their_portable_twin_agree() {
        for seed in 1..1000_u64 {
            let text = noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), 2000);
            let sparse = |every: u8| -> Vec<u8> {
                text.iter().map(|&b| if b % every == 0 { b } else { b'x' }).collect()
            };
            for text in [&text, &sparse(5), &sparse(23)] {
                for lanes in text.as_chunks::<LANES>().0 {
                    let fast = Kernel::detect().run(MasksOf(lanes));
                    assert_eq!(fast, Kernel::Portable.run(MasksOf(lanes)));
                }
                for end in [0, 1, 256, 257, 513, 700, 2000] {
                    let fast = Kernel::detect().run(QuietOf(&text[..end]));
                    assert_eq!(fast, Kernel::Portable.run(QuietOf(&text[..end])));
                }
            }
        }
    }

    #[test]
    fn check_digits_are_told_alike_whatever_stands_before_them() {
        for seed in 1..2000_u64 {
            let mut lanes = [0; LUHN_LANES];
            lanes.copy_from_slice(&noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15), LUHN_LANES));
            for count in 1..=LUHN_LANES {
                let digits = &mut lanes[LUHN_LANES - count..];
                digits.iter_mut().for_each(|byte| *byte = b'0' + *byte % 10);
                let fast = Kernel::detect().run(LuhnOf(&lanes, count));
                assert_eq!(fast, Kernel::Portable.run(LuhnOf(&lanes, count)), "{count}: {lanes:?}");
            }
        }
    }
}
