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
