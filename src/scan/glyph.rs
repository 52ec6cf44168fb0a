//! One character as a body writes it: raw, percent-encoded, backslash-escaped or as an entity.

use super::view::View;

/// How a character is written; the same form can be written over it with another character.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// `\u0034`, `\x34`: hex digits at the end.
    Backslash,
    /// `&#52;`
    Decimal,
    /// `&#x34;`
    Hex,
    /// `&nbsp;`
    Named,
    /// `%34`, `%EF%BC%94`
    Percent,
    /// UTF-8, or one byte of Latin-1.
    Raw,
}

/// A character with its writing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Glyph {
    pub(super) code: u32,
    pub(super) form: Form,
    pub(super) length: usize,
}

/// What a character means inside a number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Class {
    Dash,
    Digit(u8),
    Dot,
    /// Takes no place: zero-width, soft hyphen, variation selectors, the zero bytes of UTF-16.
    Invisible,
    Other,
    Plus,
    Space,
}

/// Stands for bytes that are no character.
const UNKNOWN: u32 = 0xFFFD;

/// The zeros of the decimal scripts that are read.
const ZEROS: [u32; 8] = [0x30, 0x660, 0x6F0, 0x966, 0x9E6, 0xE50, 0xE66, 0xFF10];

impl Glyph {
    pub(super) fn class(&self) -> Class {
        classify(self.code)
    }

    /// The character that stands for `digit` in this glyph's script.
    pub(super) fn with_digit(&self, digit: u8) -> u32 {
        let value = u32::from(digit.wrapping_sub(b'0'));
        zero_of(self.code).map_or(self.code, |zero| zero + value)
    }

    /// The star that takes as many bytes as this digit: an ASCII one where the form allows it.
    pub(super) fn star(&self) -> u32 {
        let utf8_width = match self.form {
            Form::Percent => self.length / 3,
            Form::Raw => self.length,
            Form::Backslash | Form::Decimal | Form::Hex | Form::Named => 1,
        };
        match utf8_width {
            2 => 0x66D,
            3 => 0xFF0A,
            _ => 0x2A,
        }
    }

    /// Whether it is one of those stars.
    pub(super) fn is_star(&self) -> bool {
        matches!(self.code, 0x2A | 0x66D | 0xFF0A)
    }

    /// Writes `code` over this glyph's own bytes, in its form.
    pub(super) fn overwrite(&self, place: &mut [u8], code: u32) {
        match self.form {
            Form::Backslash => write_number(place, code, 16),
            Form::Decimal => write_number(before_semicolon(place), code, 10),
            Form::Hex => write_number(before_semicolon(place), code, 16),
            Form::Named => {}
            Form::Percent => write_percent(place, code),
            Form::Raw => write_raw(place, code),
        }
    }
}

pub(super) fn classify(code: u32) -> Class {
    if let Ok(byte @ 0..0x80) = u8::try_from(code) {
        return classify_ascii(byte);
    }
    if let Some(zero) = zero_of(code) {
        return Class::Digit(u8::try_from(code - zero).unwrap_or(0) + b'0');
    }
    match code {
        0xA0 | 0x2000..=0x200A | 0x202F | 0x205F | 0x3000 => Class::Space,
        0xFF0B => Class::Plus,
        0x2010..=0x2015 | 0x2212 | 0xFE58 | 0xFE63 | 0xFF0D => Class::Dash,
        0xB7 | 0xFF0E => Class::Dot,
        0xAD | 0x180E | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x2069 => Class::Invisible,
        0x20E3 | 0xFE0F | 0xFEFF => Class::Invisible,
        _ => Class::Other,
    }
}

/// The quick answer for most characters: a quarter of the work of reading a cluster was to look for
/// the digits of other scripts.
fn classify_ascii(byte: u8) -> Class {
    match byte {
        b'0'..=b'9' => Class::Digit(byte),
        b' ' => Class::Space,
        b'+' => Class::Plus,
        b'-' => Class::Dash,
        b'.' => Class::Dot,
        0 => Class::Invisible,
        _ => Class::Other,
    }
}

fn zero_of(code: u32) -> Option<u32> {
    ZEROS.into_iter().find(|&zero| (zero..zero + 10).contains(&code))
}

/// Reads the character that begins at `at`.
pub(super) fn read(view: &View<'_>, at: usize) -> Option<Glyph> {
    let first = view.byte(at)?;
    match first {
        b'%' => Some(percent(view, at).unwrap_or(raw(first))),
        b'&' => Some(entity(view, at).unwrap_or(raw(first))),
        b'\\' => Some(backslash(view, at)),
        0..0x80 => Some(raw(first)),
        _ => Some(utf8(view, at, first)),
    }
}

fn raw(byte: u8) -> Glyph {
    Glyph { code: u32::from(byte), form: Form::Raw, length: 1 }
}

fn utf8(view: &View<'_>, at: usize, first: u8) -> Glyph {
    let decoded = multibyte(first, |place| view.byte(at + place));
    match decoded {
        Some((code, length)) => Glyph { code, form: Form::Raw, length },
        // A lone byte: Latin-1 writes its no-break space and soft hyphen so.
        None if matches!(first, 0xA0 | 0xAD) => raw(first),
        None => Glyph { code: UNKNOWN, form: Form::Raw, length: 1 },
    }
}

/// Decodes two and three byte sequences; digits and separators need no more.
fn multibyte(first: u8, next: impl Fn(usize) -> Option<u8>) -> Option<(u32, usize)> {
    let length = match first {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        _ => return None,
    };
    let mut code = u32::from(first) & if length == 2 { 0x1F } else { 0x0F };
    for place in 1..length {
        let byte = next(place).filter(|byte| byte & 0xC0 == 0x80)?;
        code = code << 6 | u32::from(byte & 0x3F);
    }
    Some((code, length))
}

fn percent(view: &View<'_>, at: usize) -> Option<Glyph> {
    let octet = |place: usize| {
        let start = at + place * 3;
        if view.byte(start) != Some(b'%') {
            return None;
        }
        Some(hex(view.byte(start + 1)?)? << 4 | hex(view.byte(start + 2)?)?)
    };
    let first = octet(0)?;
    if let Some(code) = twice(view, at, first) {
        return Some(Glyph { code: u32::from(code), form: Form::Percent, length: 5 });
    }
    if first < 0x80 {
        return Some(Glyph { code: u32::from(first), form: Form::Percent, length: 3 });
    }
    // Other lone octets are no text: `%B4…` begins track 1.
    let latin = matches!(first, 0xA0 | 0xAD).then_some((u32::from(first), 1));
    let (code, octets) = multibyte(first, octet).or(latin)?;
    Some(Glyph { code, form: Form::Percent, length: octets * 3 })
}

/// The punctuation of a URL within a URL, whose percent sign is encoded itself: `%253D`, `%2522`.
fn twice(view: &View<'_>, at: usize, first: u8) -> Option<u8> {
    if first != b'%' {
        return None;
    }
    let code = hex(view.byte(at + 3)?)? << 4 | hex(view.byte(at + 4)?)?;
    is_punctuation(code).then_some(code)
}

/// What may stand beside a number in a URL or in JSON.
pub(super) fn is_punctuation(byte: u8) -> bool {
    b" \"&'()+,-./:;<=>?[]{|}".contains(&byte)
}

/// `\u0034`, `\x34`, `\n`; backslashes double where JSON stands inside JSON.
fn backslash(view: &View<'_>, at: usize) -> Glyph {
    let bars = (1..4).take_while(|&place| view.byte(at + place) == Some(b'\\')).count() + 1;
    let plain = |code: u32, length| Glyph { code, form: Form::Backslash, length: bars + length };
    let digits = match view.byte(at + bars) {
        Some(b'u') => 4,
        Some(b'x') => 2,
        Some(b'n' | b'r' | b't' | b'f' | b'b') => return plain(0x0A, 1),
        Some(byte @ (b'"' | b'\'' | b'/')) => return plain(u32::from(byte), 1),
        _ => return plain(0x5C, 0),
    };
    let mut code = 0;
    for place in 1..=digits {
        let Some(value) = view.byte(at + bars + place).and_then(hex) else { return plain(0x5C, 0) };
        code = code << 4 | u32::from(value);
    }
    plain(code, 1 + digits)
}

/// The named entities that may stand between or inside digits, by their first letter.
fn named(first: u8) -> &'static [(&'static [u8], u32)] {
    match first {
        b'd' => &[(b"&dash;", 0x2010)],
        b'e' => &[(b"&ensp;", 0x2002), (b"&emsp;", 0x2003)],
        b'h' => &[(b"&hairsp;", 0x200A), (b"&hyphen;", 0x2010)],
        b'm' => &[(b"&mdash;", 0x2014), (b"&minus;", 0x2212)],
        b'n' => &[(b"&nbsp;", 0xA0), (b"&ndash;", 0x2013), (b"&numsp;", 0x2007)],
        b'p' => &[(b"&period;", 0x2E), (b"&plus;", 0x2B), (b"&puncsp;", 0x2008)],
        b's' => &[(b"&shy;", 0xAD)],
        b't' => &[(b"&thinsp;", 0x2009)],
        b'z' => &[(b"&zwj;", 0x200D), (b"&zwnj;", 0x200C)],
        _ => &[],
    }
}

/// Whether `&` and these two bytes may begin an entity that stands between or inside digits: most,
/// as `&euro;` after a price, do not, which costs a tenth of comparing names.
pub(super) fn may_begin_entity(second: u8, third: u8) -> bool {
    second == b'#' || named(second).iter().any(|(name, _)| name.get(2) == Some(&third))
}

/// The most digits of a numeric entity that are read, leading zeros included.
const ENTITY_DIGITS_MAX: usize = 7;

fn entity(view: &View<'_>, at: usize) -> Option<Glyph> {
    let second = view.byte(at + 1)?;
    if second != b'#' {
        let &(name, code) = named(second).iter().find(|(name, _)| view.has(at, name))?;
        return Some(Glyph { code, form: Form::Named, length: name.len() });
    }
    let is_hex = matches!(view.byte(at + 2)?, b'x' | b'X');
    let (form, radix, digits) = if is_hex { (Form::Hex, 16, 3) } else { (Form::Decimal, 10, 2) };
    let mut code = 0;
    for place in 0..=ENTITY_DIGITS_MAX {
        let byte = view.byte(at + digits + place)?;
        if byte == b';' && place > 0 {
            return Some(Glyph { code, form, length: digits + place + 1 });
        }
        let value = hex(byte).map(u32::from).filter(|&value| value < radix)?;
        code = code * radix + value;
    }
    None
}

/// The value of a hexadecimal digit.
pub(super) fn hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

fn before_semicolon(place: &mut [u8]) -> &mut [u8] {
    let end = place.len().saturating_sub(1);
    place.get_mut(..end).unwrap_or_default()
}

/// Writes `code` right-aligned over the number that ends `place`, up to its first other byte.
fn write_number(place: &mut [u8], code: u32, radix: u32) {
    let mut left = code;
    for byte in place.iter_mut().rev().take_while(|byte| byte.is_ascii_hexdigit()) {
        *byte = char::from_digit(left % radix, radix)
            .and_then(|c| u8::try_from(c).ok())
            .unwrap_or(b'0');
        left /= radix;
    }
}

fn write_raw(place: &mut [u8], code: u32) {
    let mut buffer = [0; 4];
    let text = char::from_u32(code).unwrap_or('*').encode_utf8(&mut buffer);
    if text.len() == place.len() {
        place.copy_from_slice(text.as_bytes());
    }
}

fn write_percent(place: &mut [u8], code: u32) {
    let mut buffer = [0; 4];
    let text = char::from_u32(code).unwrap_or('*').encode_utf8(&mut buffer);
    if text.len() * 3 != place.len() {
        return;
    }
    for (triple, byte) in place.chunks_exact_mut(3).zip(text.bytes()) {
        let nibble =
            |value: u8| b"0123456789ABCDEF".get(usize::from(value)).copied().unwrap_or(b'0');
        if let [_, high, low] = triple {
            (*high, *low) = (nibble(byte >> 4), nibble(byte & 0x0F));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entity_that_is_read_passes_the_quick_look() {
        for first in b'a'..=b'z' {
            for (name, _) in named(first) {
                assert!(may_begin_entity(name[1], name[2]), "{}", name.escape_ascii());
                assert_eq!(name[1], first);
            }
        }
        assert!(may_begin_entity(b'#', b'5'));
        assert!(!may_begin_entity(b'e', b'u') && !may_begin_entity(b'a', b'm'));
    }

    #[test]
    fn ascii_is_classed_as_in_other_scripts() {
        assert_eq!(classify(0x35), Class::Digit(b'5'));
        assert_eq!(classify(0xFF15), Class::Digit(b'5'));
        assert_eq!(classify(0x20), Class::Space);
        assert_eq!(classify(0), Class::Invisible);
        assert_eq!(classify(u32::from(b'x')), Class::Other);
    }
}
