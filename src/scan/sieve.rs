//! Which long numbers are certainly no card's: the search passes them without a decision.

use crate::card::iin::{self, LengthsByHead};

use super::classes::{LUHN_LANES, Vectors};
use super::filter::Numbers;
use super::shape::{self, Luhn};
use super::stretch::Starts;

/// As many digits as the shortest card number has, as masks count.
pub(super) const TWELVE: u32 = 12;

/// As many digits as nearly all numbers have, and a byte on both sides.
const WINDOW: usize = LUHN_LANES + 2;

/// What may be said about a place without a decision.
pub(super) enum Promise {
    None,
    Perhaps,
    /// The place is worth one: it need not be asked again.
    Sure,
}

/// Tells numbers of twelve digits and more by themselves.
#[derive(Clone, Copy)]
pub(super) struct Sieve<'a> {
    text: &'a [u8],
    numbers: Numbers,
    lengths: &'static LengthsByHead,
}

impl<'a> Sieve<'a> {
    pub(super) fn new(text: &'a [u8], numbers: Numbers) -> Self {
        Self { text, numbers, lengths: iin::lengths() }
    }

    /// What a long run of digits may be: as [`shape::ruled_out`] says too, where the bytes on both
    /// sides leave no doubt that it is a number by itself.
    #[inline(always)]
    pub(super) fn promise(&self, vectors: impl Vectors, place: usize, digits: u32) -> Promise {
        if self.numbers == Numbers::Any {
            return Promise::Perhaps;
        }
        let length = usize::try_from(digits).unwrap_or(0);
        let end = place + length;
        match self.text.get(..=end).and_then(<[u8]>::last_chunk) {
            Some(window) if length <= LUHN_LANES => self.usual(vectors, window, length),
            _ => self.unusual(place, end),
        }
    }

    /// The same for a number that ends before the last byte of a window.
    #[inline(always)]
    fn usual(&self, vectors: impl Vectors, window: &[u8; WINDOW], length: usize) -> Promise {
        let [_, lanes @ .., after] = window;
        let Some([before, tens, ones, ..]) = window.get(LUHN_LANES - length..) else {
            return Promise::Perhaps;
        };
        if !(ends_word(*before) & ends_word(*after)) {
            return Promise::Perhaps;
        }
        if !self.lengths.of([*tens, *ones]).fit(length, vectors.luhn(lanes, length)) {
            return Promise::None;
        }
        let run = lanes.get(LUHN_LANES - length..).unwrap_or_default();
        of_card(shape::issuer_of(run, Luhn::Holds).is_some())
    }

    /// The same for a long number, and at the beginning of a text.
    #[inline(never)]
    fn unusual(&self, place: usize, end: usize) -> Promise {
        let around = place.checked_sub(1).and_then(|before| self.text.get(before..=end));
        match around {
            Some([before, run @ .., after]) if ends_word(*before) && ends_word(*after) => {
                of_card(shape::may_be_card(run))
            }
            _ => Promise::Perhaps,
        }
    }

    /// The `runs` of digits of a stretch that begins at `base`, from the first on that may be a card's.
    /// Asked while the masks are in registers, so that a catalogue is walked without leaving the loop: it
    /// takes 2.2 instructions a byte, and took 2.8 when each number was handed to the search.
    #[inline(always)]
    pub(super) fn rest(
        &self,
        vectors: impl Vectors,
        (base, mut runs): (usize, u64),
        (here, ahead): (u64, u64),
    ) -> Starts {
        while runs != 0 {
            let bit = runs.trailing_zeros();
            let digits = run_length(here, ahead, bit);
            let place = base + usize::try_from(bit).unwrap_or(0);
            if !(TWELVE..u64::BITS).contains(&digits) {
                break;
            }
            match self.promise(vectors, place, digits) {
                Promise::None => runs &= runs - 1,
                Promise::Perhaps => break,
                Promise::Sure => return Starts { any: runs, sure: 1 << bit, encoded: 0 },
            }
        }
        Starts { any: runs, ..Starts::default() }
    }
}

fn of_card(may_be: bool) -> Promise {
    if may_be { Promise::Sure } else { Promise::None }
}

/// How many bits are set from one on, up to 64.
#[inline(always)]
pub(super) fn run_length(here: u64, ahead: u64, bit: u32) -> u32 {
    (here >> bit | ahead << 1 << (63 - bit)).trailing_ones()
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
