//! Writes over what was found: in place and as long as before, or as a text of another length.

use crate::card::{MaskedPan, PAN_DIGITS_MAX, iin, luhn};

use super::find::Medium;
use super::glyph::{self, Class, Glyph};
use super::view::View;
use super::{Find, FindKind, base64, cluster};

/// The digit that stands for a hidden one where only digits may stand.
const BLANK: u8 = b'0';

impl Find {
    /// Writes `digits` over the number's own, one for one, keeping separators and the way each digit
    /// is written (escape, full-width, …). `run` is the run the find came with.
    pub fn write_digits(&self, run: &mut [u8], digits: &[u8]) {
        if let Medium::Base64 { skew } = self.medium {
            let text = run.get_mut(self.span.clone()).unwrap_or_default();
            return base64::overwrite(text, skew, digits);
        }
        put_digits(run, &self.places(run), digits);
    }

    /// Masks the number: first six and last four stay, the rest becomes `*` in the writing of the
    /// place; a JSON number stays a JSON number of as many digits that fails Luhn.
    pub fn mask(&self, run: &mut [u8]) {
        if let Medium::Base64 { skew } = self.medium {
            let text = run.get(self.span.clone()).unwrap_or_default();
            let mut digits = base64::digits(text, skew);
            let hidden = self.hidden(digits.len());
            digits.get_mut(hidden).unwrap_or_default().fill(b'*');
            return self.write_digits(run, &digits);
        }
        let places = self.places(run);
        let hidden = self.hidden(places.len());
        if matches!(self.medium, Medium::Counted | Medium::Text) {
            for (at, glyph) in places.get(hidden).unwrap_or_default() {
                put(run, *at, glyph, glyph.star());
            }
            return;
        }
        let digits: Vec<u8> = places.iter().filter_map(|(_, glyph)| digit(glyph)).collect();
        put_digits(run, &places, &blanked(digits, hidden));
    }

    /// Which digits a mask hides.
    fn hidden(&self, count: usize) -> std::ops::Range<usize> {
        match self.kind {
            FindKind::Cvv(_) => 0..count,
            FindKind::Card { .. } | FindKind::InvalidCard { .. } | FindKind::Track { .. } => {
                MaskedPan::hidden(count)
            }
            FindKind::Token(_) => 0..0,
        }
    }

    /// Whether the digits are a number literal of JSON or JavaScript, where only digits may stand and
    /// the first must not be zero (RFC 8259 §6).
    #[must_use]
    pub fn is_number(&self) -> bool {
        self.medium == Medium::Number
    }

    /// Whether a text of any length may stand in the number's place: neither a number literal, nor
    /// digits within base64 or hex, nor a string whose length is told before it.
    #[must_use]
    pub fn holds_text(&self) -> bool {
        self.medium == Medium::Text
    }

    /// What stands in place of the whole span when `text` takes the place of what was found, whatever
    /// its length: escapes and separators go, markup and the zero bytes of UTF-16 stay.
    #[must_use]
    pub fn replaced(&self, run: &[u8], text: &[u8]) -> Vec<u8> {
        if let FindKind::Token(_) = self.kind {
            return text.to_vec();
        }
        let places = self.places(run);
        let wide = places.iter().zip(places.iter().skip(1)).all(|((at, _), (next, _))| {
            run.get(at + 1..*next).is_some_and(|gap| gap.first() == Some(&0))
        });
        let mut replaced = if wide { widened(text) } else { text.to_vec() };
        for ((at, glyph), (next, _)) in places.iter().zip(places.iter().skip(1)) {
            let gap = run.get(at + glyph.length..*next).unwrap_or_default();
            if gap.contains(&b'<') {
                replaced.extend_from_slice(gap);
            }
        }
        replaced
    }

    /// Where the digits are, and how they are written.
    fn places(&self, run: &[u8]) -> Vec<(usize, Glyph)> {
        let view = View::new(run, true);
        let mut places = Vec::with_capacity(PAN_DIGITS_MAX);
        let mut at = self.span.start;
        while at < self.span.end {
            let Some(glyph) = glyph::read(&view, at) else { break };
            if digit(&glyph).is_some() {
                places.push((at, glyph));
                at += glyph.length;
                continue;
            }
            // What stands between digits is walked as the finder walked it: tags have digits too.
            at = cluster::read_gap(&view, at).map_or(at + glyph.length, |(next, _)| next);
        }
        places
    }
}

/// ASCII as UTF-16 but for the zero byte beside it that stays where it is.
fn widened(text: &[u8]) -> Vec<u8> {
    let mut wide: Vec<u8> = text.iter().flat_map(|byte| [*byte, 0]).collect();
    wide.pop();
    wide
}

fn digit(glyph: &Glyph) -> Option<u8> {
    match glyph.class() {
        Class::Digit(digit) => Some(digit),
        Class::Dash | Class::Dot | Class::Invisible | Class::Other | Class::Plus | Class::Space => {
            None
        }
    }
}

fn put_digits(run: &mut [u8], places: &[(usize, Glyph)], digits: &[u8]) {
    for ((at, glyph), &digit) in places.iter().zip(digits) {
        put(run, *at, glyph, glyph.with_digit(digit));
    }
}

fn put(run: &mut [u8], at: usize, glyph: &Glyph, code: u32) {
    if let Some(place) = run.get_mut(at..at + glyph.length) {
        glyph.overwrite(place, code);
    }
}

/// The digits with the hidden ones blanked, such that they are no card number.
fn blanked(mut digits: Vec<u8>, hidden: std::ops::Range<usize>) -> Vec<u8> {
    let leads = hidden.start == 0;
    if let Some(middle) = digits.get_mut(hidden.clone()) {
        middle.fill(BLANK);
    }
    if let Some(first) = digits.first_mut().filter(|_| leads) {
        // A JSON number does not begin with zero (RFC 8259 §6).
        *first = b'1';
    }
    if luhn::holds(&digits)
        && let Some(last) = digits.get_mut(hidden.end.saturating_sub(1))
    {
        *last = b'1';
    }
    if iin::issuer(&digits).is_some_and(|issuer| !issuer.luhn) {
        // A range without check digits: the prefix goes too.
        if let Some(head) = digits.get_mut(..hidden.end) {
            head.fill(b'9');
        }
    }
    digits
}
