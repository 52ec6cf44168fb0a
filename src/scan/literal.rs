//! Where digits stand as a value of their own: number literals, and ends of values.

use super::Carrier;
use super::find::Medium;
use super::glyph::{self, Class};
use super::view::{LOOK_AHEAD, LOOK_BACK, View, leading_digits};

/// How the digits from `start` to `end` are written.
pub(super) fn medium(view: &View<'_>, start: usize, end: usize, carrier: Carrier) -> Medium {
    let plain = is_literal(view.seen(start, end));
    let speaks = matches!(carrier, Carrier::Json | Carrier::JavaScript | Carrier::EventStream);
    if !plain || !(speaks && opens(view, start) || carrier == Carrier::Html && tight(view, start)) {
        return if counted(view, start) { Medium::Counted } else { Medium::Text };
    }
    let end = end + fraction(view, end);
    // As far as may be looked: a star in a number behind which a page of blanks stands breaks the JSON.
    let blank = |at: &usize| view.byte(*at).is_some_and(|byte| byte.is_ascii_whitespace());
    let blanks = (end..end + LOOK_AHEAD).take_while(blank).count();
    let closes = match view.byte(end + blanks) {
        None => carrier == Carrier::Json,
        Some(byte) => matches!(byte, b',' | b'}' | b']' | b')' | b';' | b'n'),
    };
    if closes { Medium::Number } else { Medium::Text }
}

/// Whether a text is digits alone, or two groups that a point parts: a number literal where one may
/// stand (RFC 8259 §6).
fn is_literal(text: &[u8]) -> bool {
    let rest = text.get(leading_digits(text).len()..).unwrap_or_default();
    let fraction = rest.strip_prefix(b".").filter(|fraction| !fraction.is_empty());
    rest.is_empty() || fraction.is_some_and(|it| leading_digits(it).len() == it.len())
}

/// Whether a length stands before the text that begins at `start`: that of PHP's `s:16:"…"`, or a
/// byte that no text has, as binary formats put it there (Protocol Buffers, MessagePack, BSON).
fn counted(view: &View<'_>, start: usize) -> bool {
    let before = view.before(start);
    let Some((&last, head)) = before.split_last() else { return false };
    match last {
        b'"' => {
            let head = head.strip_suffix(b"\\").unwrap_or(head);
            let length = head.strip_suffix(b":").unwrap_or_default();
            let digits = length.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            digits > 0 && length.get(..length.len() - digits).is_some_and(|it| it.ends_with(b"s:"))
        }
        // UTF-16 has a zero byte beside every digit.
        0 => view.byte(start + 1) != Some(0),
        b'\t' | b'\n' | b'\r' => false,
        0..0x20 | 0x7F => true,
        0x80.. => !ends_character(before),
        _ => false,
    }
}

/// Whether a whole character of UTF-8 ends a text.
fn ends_character(text: &[u8]) -> bool {
    (2..=4).any(|length| {
        let start = text.len().checked_sub(length);
        start
            .and_then(|start| text.get(start..))
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .is_some_and(|character| character.chars().count() == 1)
    })
}

/// How far the rest of a number literal is followed: as far as may be looked, for behind it stands what
/// tells a literal.
const REST_MAX: usize = LOOK_AHEAD;

/// The length of `.0`, `.25e3` or `e15` (RFC 8259 §6).
fn fraction(view: &View<'_>, at: usize) -> usize {
    let digits = |from: usize| {
        (from..from + REST_MAX)
            .take_while(|&place| view.byte(place).is_some_and(|byte| byte.is_ascii_digit()))
            .count()
    };
    let point = if view.byte(at) == Some(b'.') { 1 + digits(at + 1) } else { 0 };
    let mark = at + point;
    if !matches!(view.byte(mark), Some(b'e' | b'E')) {
        return point;
    }
    let sign = usize::from(matches!(view.byte(mark + 1), Some(b'+' | b'-')));
    match digits(mark + 1 + sign) {
        0 => point,
        count => point + 1 + sign + count,
    }
}

fn opens(view: &View<'_>, start: usize) -> bool {
    let before = view.before(start);
    let unsigned = before.strip_suffix(b"-").unwrap_or(before);
    let head = unsigned.trim_ascii_end();
    match head.last() {
        // Fewer bytes than are kept: the text begins here, however it was cut.
        None => before.len() < LOOK_BACK,
        Some(byte) => matches!(byte, b':' | b',' | b'[' | b'(' | b'='),
    }
}

/// In a page, only what stands right after the punctuation of a script.
fn tight(view: &View<'_>, start: usize) -> bool {
    matches!(view.before(start).last(), Some(b':' | b',' | b'[' | b'(' | b'='))
}

/// Whether the value of a field ends at `at`.
pub(super) fn ends_value(view: &View<'_>, at: usize) -> bool {
    let Some(next) = glyph::read(view, at) else { return true };
    match u8::try_from(next.code) {
        Ok(
            b'"' | b'\'' | b'&' | b'<' | b',' | b'}' | b']' | b')' | b';' | b'\n' | b'\r' | b'|',
        ) => true,
        // A form writes a blank so.
        Ok(b' ' | b'\t' | b'+') => match glyph::read(view, at + next.length) {
            None => true,
            Some(after) => !matches!(after.class(), Class::Digit(_)),
        },
        Ok(b'.') => glyph::read(view, at + next.length)
            .is_none_or(|after| !matches!(after.class(), Class::Digit(_))),
        _ => false,
    }
}
