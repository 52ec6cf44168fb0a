//! What a decision may look at: a bounded stretch before and after the place in question.
//!
//! Every forward look goes through [`View::byte`], which notes a look past what has arrived. A
//! decision that starved is void and made again when more is there; that, and bounded looks back,
//! is why the answer cannot depend on how the body was cut.

use std::cell::Cell;

/// How far before a candidate its surroundings count.
pub(super) const LOOK_BACK: usize = 1024;
/// How far after its beginning.
pub(super) const LOOK_AHEAD: usize = 1024;

/// The bytes at hand.
pub(super) struct View<'a> {
    text: &'a [u8],
    /// No more bytes will come.
    ended: bool,
    limit: Cell<usize>,
    starved: Cell<bool>,
}

impl<'a> View<'a> {
    pub(super) fn new(text: &'a [u8], ended: bool) -> Self {
        Self { text, ended, limit: Cell::new(text.len()), starved: Cell::new(false) }
    }

    /// All that is at hand, for what is remembered from one decision to the next: a decision itself
    /// may not depend on what it may not look at.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Begins the decision about the place `at`.
    pub(super) fn focus(&self, at: usize) {
        self.limit.set(at.saturating_add(LOOK_AHEAD));
        self.starved.set(false);
    }

    /// Whether the decision since [`View::focus`] wanted bytes that have not arrived.
    pub(super) fn starved(&self) -> bool {
        self.starved.get() && !self.ended
    }

    /// The byte at `at`; `None` past the end of the body or of the look-ahead.
    pub(super) fn byte(&self, at: usize) -> Option<u8> {
        if at >= self.limit.get() {
            return None;
        }
        let byte = self.text.get(at).copied();
        if byte.is_none() {
            self.starved.set(true);
        }
        byte
    }

    /// The bytes from `at` on, as far as they have arrived and may be looked at. Who needs those
    /// behind them has to say so to [`View::want`].
    pub(super) fn ahead(&self, at: usize) -> &'a [u8] {
        let end = self.limit.get().min(self.text.len());
        self.text.get(at..end).unwrap_or_default()
    }

    /// The ASCII digits from `at` on, at most `most` of them.
    pub(super) fn digits(&self, at: usize, most: usize) -> &'a [u8] {
        let ahead = self.ahead(at);
        let run = leading_digits(ahead.get(..most).unwrap_or(ahead));
        if run.len() < most {
            self.want(at + run.len());
        }
        run
    }

    /// Notes that the decision depends on the byte at `at`, which [`View::ahead`] did not reach.
    pub(super) fn want(&self, at: usize) {
        let _ = self.byte(at);
    }

    /// Whether `needle` stands at `at`.
    pub(super) fn has(&self, at: usize, needle: &[u8]) -> bool {
        needle.iter().enumerate().all(|(place, &wanted)| self.byte(at + place) == Some(wanted))
    }

    /// The bytes before `at` that a decision may consult.
    pub(super) fn before(&self, at: usize) -> &'a [u8] {
        self.text.get(at.saturating_sub(LOOK_BACK)..at).unwrap_or_default()
    }

    /// Bytes that have been looked at before.
    pub(super) fn seen(&self, from: usize, to: usize) -> &'a [u8] {
        self.text.get(from..to.min(self.text.len())).unwrap_or_default()
    }
}

/// The ASCII digits that begin a text; eight at once, which takes a quarter of what it takes to ask
/// each.
pub(super) fn leading_digits(text: &[u8]) -> &[u8] {
    const SIXES: u64 = 0x0606_0606_0606_0606;
    const THREES: u64 = 0x3030_3030_3030_3030;
    const UPPER: u64 = 0xF0F0_F0F0_F0F0_F0F0;
    const ASCII: u64 = 0x7F7F_7F7F_7F7F_7F7F;
    let mut rest = text;
    while let Some((eight, behind)) = rest.split_first_chunk() {
        // A digit has three in its upper half, and still has after six is added.
        let bytes = u64::from_le_bytes(*eight);
        let moved = (bytes & ASCII) + SIXES;
        let other = ((bytes ^ THREES) | (moved ^ THREES)) & UPPER;
        if other != 0 {
            let count = usize::try_from(other.trailing_zeros() / u8::BITS).unwrap_or(0);
            return text.get(..text.len() - rest.len() + count).unwrap_or_default();
        }
        rest = behind;
    }
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    text.get(..text.len() - rest.len() + count).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_told_from_all_other_bytes_at_every_place() {
        for length in 0..20 {
            for byte in 0..=u8::MAX {
                let mut text = vec![b'7'; length];
                text.push(byte);
                text.extend_from_slice(b"04 2345678901234x");
                let by_one = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
                assert_eq!(leading_digits(&text).len(), by_one, "{length} {byte:#x}");
            }
        }
    }
}
