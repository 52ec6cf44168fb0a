//! Writes over what was found: in place and as long as before, or as a text of another length.

use zeroize::Zeroizing;

use crate::card::{MaskedPan, PAN_DIGITS_MAX, iin, luhn};

use super::find::{Coding, Medium};
use super::glyph::{self, Class, Glyph};
use super::view::View;
use super::{Find, FindKind, base64, cluster, hexed, track};

/// The digit that stands for a hidden one where only digits may stand.
const BLANK: u8 = b'0';

impl Find {
    /// Writes `digits` over the number's own, one for one, keeping separators and the way each digit
    /// is written (escape, full-width, base64, …). `run` is the run the find came with.
    pub fn write_digits(&self, run: &mut [u8], digits: &[u8]) {
        self.change(run, |text| {
            write_over(text, self.beside.own(&places(text, is_digit)), digits);
        });
    }

    /// Masks the number, with another that shares digits with it: first six and last four stay, the
    /// rest becomes `*` in the writing of the place; a JSON number stays a JSON number of as many
    /// digits that fails Luhn.
    pub fn mask(&self, run: &mut [u8]) {
        self.change(run, |text| self.mask_text(text));
    }

    /// Changes the characters of the find; those that are encoded are laid open and encoded again.
    fn change(&self, run: &mut [u8], change: impl FnOnce(&mut [u8])) {
        let text = run.get_mut(self.span.clone()).unwrap_or_default();
        match self.coding {
            Coding::Base64 { skew } => {
                let mut inner = Zeroizing::new(base64::decode(text, skew));
                change(&mut inner);
                base64::overwrite(text, skew, &inner);
            }
            Coding::Hex => {
                let mut inner = Zeroizing::new(hexed::decode(text));
                change(&mut inner);
                hexed::overwrite(text, &inner);
            }
            Coding::Plain => change(text),
        }
    }

    fn mask_text(&self, text: &mut [u8]) {
        let places = match self.kind {
            FindKind::TrackTail if self.medium == Medium::Text => places(text, track::is_word),
            _ => places(text, is_digit),
        };
        let hidden = self.hidden(places.len());
        if matches!(self.medium, Medium::Counted | Medium::Text) {
            for (at, glyph) in places.get(hidden).unwrap_or_default() {
                put(text, *at, glyph, glyph.star());
            }
            return;
        }
        if matches!(self.kind, FindKind::TrackTail) {
            return write_over(text, &places, &vec![BLANK; places.len()]);
        }
        let digits: Vec<u8> = places.iter().filter_map(|(_, glyph)| digit(glyph)).collect();
        write_over(text, &places, &blanked(digits, hidden));
    }

    /// Which digits a mask hides.
    fn hidden(&self, count: usize) -> std::ops::Range<usize> {
        match self.kind {
            FindKind::Cvv(_) | FindKind::TrackTail => 0..count,
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
        self.medium == Medium::Text && self.coding == Coding::Plain
    }

    /// What stands in place of the whole span when `text` takes the place of what was found, whatever
    /// its length: escapes and separators go, markup and the zero bytes of UTF-16 stay.
    #[must_use]
    pub fn replaced(&self, run: &[u8], text: &[u8]) -> Vec<u8> {
        if let FindKind::Token(_) = self.kind {
            return text.to_vec();
        }
        let own = run.get(self.span.clone()).unwrap_or_default();
        let places = places(own, is_digit);
        let places = self.beside.own(&places);
        let wide = places.iter().zip(places.iter().skip(1)).all(|((at, _), (next, _))| {
            own.get(at + 1..*next).is_some_and(|gap| gap.first() == Some(&0))
        });
        let mut replaced = if wide { widened(text) } else { text.to_vec() };
        for ((at, glyph), (next, _)) in places.iter().zip(places.iter().skip(1)) {
            let gap = own.get(at + glyph.length..*next).unwrap_or_default();
            if gap.contains(&b'<') {
                replaced.extend_from_slice(gap);
            }
        }
        let end = |(at, glyph): &(usize, Glyph)| at + glyph.length;
        let before = own.get(..places.first().map_or(0, |(at, _)| *at)).unwrap_or_default();
        let behind = own.get(places.last().map_or(own.len(), end)..).unwrap_or_default();
        [before, &replaced, behind].concat()
    }
}

fn write_over(text: &mut [u8], places: &[(usize, Glyph)], digits: &[u8]) {
    for ((at, glyph), &digit) in places.iter().zip(digits) {
        put(text, *at, glyph, glyph.with_digit(digit));
    }
}

/// Where the characters that are asked for are, and how they are written.
fn places(text: &[u8], wanted: impl Fn(&Glyph) -> bool) -> Vec<(usize, Glyph)> {
    let view = View::new(text, true);
    let mut places = Vec::with_capacity(PAN_DIGITS_MAX);
    let mut at = 0;
    while let Some(glyph) = glyph::read(&view, at) {
        if wanted(&glyph) {
            places.push((at, glyph));
            at += glyph.length;
            continue;
        }
        // What stands between digits is walked as the finder walked it: tags have digits too.
        at = cluster::read_gap(&view, at).map_or(at + glyph.length, |(next, _)| next);
    }
    places
}

/// ASCII as UTF-16 but for the zero byte beside it that stays where it is.
fn widened(text: &[u8]) -> Vec<u8> {
    let mut wide: Vec<u8> = text.iter().flat_map(|byte| [*byte, 0]).collect();
    wide.pop();
    wide
}

fn is_digit(glyph: &Glyph) -> bool {
    digit(glyph).is_some()
}

fn digit(glyph: &Glyph) -> Option<u8> {
    match glyph.class() {
        Class::Digit(digit) => Some(digit),
        Class::Dash | Class::Dot | Class::Invisible | Class::Other | Class::Plus | Class::Space => {
            None
        }
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
    // With another zero, too: a number with an exponent may leave out the last ones.
    let valid = |digits: &[u8]| luhn::holds(digits) || luhn::holds(&[digits, b"0"].concat());
    for digit in b"12" {
        if valid(&digits)
            && let Some(last) = digits.get_mut(hidden.end.saturating_sub(1))
        {
            *last = *digit;
        }
    }
    if iin::issuer(&digits).is_some_and(|issuer| !issuer.luhn) {
        // A range without check digits: the prefix goes too.
        if let Some(head) = digits.get_mut(..hidden.end) {
            head.fill(b'9');
        }
    }
    digits
}
