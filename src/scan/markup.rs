//! Markup between the digits of a number: which tags may stand there, and how long they are.

use super::glyph::{self, Class};
use super::view::{LOOK_AHEAD, View};
use crate::card::PAN_DIGITS_MIN;

/// Tags, spaces and line breaks between two digits.
const TAG_PIECES_MAX: usize = 32;
/// The longest tag that may split a number.
const TAG_LENGTH_MAX: usize = 96;
/// Letters of a tag's name that are looked at; no name of [`is_inline`] has as many.
const NAME_LENGTH_MAX: usize = 8;

/// Those of [`is_inline`] that begin with an `s`.
const STYLES: [&[u8]; 6] = [b"span", b"strong", b"small", b"sup", b"sub", b"samp"];

/// What begins with `<`.
enum Tag {
    /// The text ends before it is known.
    Cut,
    /// Markup within a word, of so many bytes.
    Inline(usize),
    /// Anything else.
    Other,
}

/// Where the digit after inline markup and white space begins.
pub(super) fn gap(view: &View<'_>, at: usize) -> Option<usize> {
    let mut place = at;
    for _ in 0..TAG_PIECES_MAX {
        let glyph = glyph::read(view, place)?;
        place += match (glyph.class(), glyph.code) {
            (Class::Digit(_), _) => return Some(place),
            (_, 0x3C) => inline_tag(view, place)?,
            (Class::Space | Class::Invisible, _) | (_, 0x09 | 0x0A | 0x0D) => glyph.length,
            _ => return None,
        };
    }
    None
}

/// Whether a run of `digits` digits, with a tag behind it at `at`, may go on to as many as a card
/// has. Most digits before a tag do not; a page of a hundred KiB with one in every line is read in
/// a fifth of the instructions since this is asked before anything is decided.
pub(super) fn may_split(text: &[u8], at: usize, mut digits: usize) -> bool {
    let text = text.get(..at + LOOK_AHEAD).unwrap_or(text);
    let mut rest = text.get(at..).unwrap_or_default();
    while digits < PAN_DIGITS_MIN {
        // Another gap than markup ends the number: it is split by markup throughout.
        rest = match rest.first() {
            Some(b'<') => rest,
            first => return first.is_none_or(|&byte| may_write_digit(byte) || byte == b'='),
        };
        rest = match skimmed(rest) {
            Some(after) => after,
            None => return false,
        };
        let run = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        digits += run;
        rest = rest.get(run..).unwrap_or_default();
    }
    true
}

/// What follows inline markup and white space, if it may be a digit.
fn skimmed(mut rest: &[u8]) -> Option<&[u8]> {
    for _ in 0..TAG_PIECES_MAX {
        let length = match rest.first() {
            Some(b'<') => match tag(rest) {
                Tag::Cut => return Some(&[]),
                Tag::Inline(length) => length,
                Tag::Other => return None,
            },
            Some(b' ' | b'\t' | b'\n' | b'\r') => 1,
            Some(&byte) if !byte.is_ascii_digit() && !may_write_digit(byte) => return None,
            _ => return Some(rest),
        };
        rest = rest.get(length..).unwrap_or_default();
    }
    None
}

/// Whether a byte may begin what is read as a digit or as nothing: an escape, another script, NUL.
fn may_write_digit(byte: u8) -> bool {
    matches!(byte, 0 | b'%' | b'&' | b'\\' | 0x80..)
}

/// The length of the inline tag or comment at `at`.
fn inline_tag(view: &View<'_>, at: usize) -> Option<usize> {
    let rest = view.ahead(at);
    match tag(rest) {
        Tag::Inline(length) => Some(length),
        Tag::Other => None,
        Tag::Cut => {
            view.want(at + rest.len());
            None
        }
    }
}

/// Reads what `text` begins with; `<\\/` closes a tag within a script.
fn tag(text: &[u8]) -> Tag {
    let bars = match text {
        [_, b'/' | b'\\', b'/' | b'\\', ..] => 2,
        [_, b'/' | b'\\', ..] => 1,
        _ => 0,
    };
    let name = text.get(1 + bars..).unwrap_or_default();
    if name.first().is_some_and(|first| begins_none(first.to_ascii_lowercase())) {
        return Tag::Other;
    }
    let letters = name.iter().take(NAME_LENGTH_MAX);
    let length = letters.take_while(|byte| byte.is_ascii_alphabetic()).count();
    let Some(&next) = name.get(length) else { return Tag::Cut };
    let comment = length == 0 && bars == 0;
    match name.get(..length) {
        Some(name) if is_inline(name) => {}
        _ if comment && text.starts_with(b"<!--") => {}
        _ if comment && b"<!--".starts_with(text) => return Tag::Cut,
        _ => return Tag::Other,
    }
    // Most tags have no attributes.
    if next == b'>' {
        return Tag::Inline(1 + bars + length + 1);
    }
    if !comment && !next.is_ascii_whitespace() && next != b'/' {
        return Tag::Other;
    }
    // Another tag within: what stands before it may be a part of what follows this one.
    let inside = text.get(1..TAG_LENGTH_MAX).or(text.get(1..)).unwrap_or_default();
    let end = memchr::memchr2(b'<', b'>', inside);
    match end.and_then(|end| inside.split_at_checked(end)) {
        Some((_, [b'<', ..])) => Tag::Other,
        Some((inside, _)) if comment && !inside.ends_with(b"--") => Tag::Other,
        Some((inside, _)) if holds_number(inside) => Tag::Other,
        Some((inside, _)) => Tag::Inline(1 + inside.len() + 1),
        None if text.len() < TAG_LENGTH_MAX => Tag::Cut,
        None => Tag::Other,
    }
}

/// Whether a tag holds what may be a number of its own, masked or not and however it is written: that
/// one is looked for, so it is no part of the gap in another.
fn holds_number(tag: &[u8]) -> bool {
    let counts = |byte: &u8| u8::from(byte.is_ascii_digit() | (*byte == b'*'));
    // Most have too few: a page full of numbers is read in nine tenths of the time. A tag has no more
    // bytes than a byte can count.
    if usize::from(tag.iter().map(counts).fold(0, u8::wrapping_add)) < PAN_DIGITS_MIN {
        return false;
    }
    let mut digits = 0;
    tag.iter().any(|byte| {
        match byte {
            b'0'..=b'9' | b'*' => digits += 1,
            b' ' | b'+' | b'-' | b'.' => {}
            // What escapes are made of, soft line breaks, and other scripts.
            0 | b'#' | b'%' | b'&' | b';' | b'\\' | b'u' | b'x' | b'=' | b'\r' | b'\n' | 0x80.. => {
            }
            _ => digits = 0,
        }
        digits >= PAN_DIGITS_MIN
    })
}

/// Whether no element of [`is_inline`] begins with this letter: ends of paragraphs, cells and
/// headings, in one step.
fn begins_none(letter: u8) -> bool {
    matches!(letter, b'g' | b'h' | b'j' | b'o'..=b'r' | b't' | b'v' | b'x'..=b'z')
}

/// Elements that style a part of a word. Others end a number: cells of a table are not one.
fn is_inline(name: &[u8]) -> bool {
    let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
    // By the first letter: most names are compared with one or two.
    match name {
        [letter] => matches!(letter.to_ascii_lowercase(), b'a' | b'b' | b'i' | b's' | b'u'),
        [b'a' | b'A', ..] => is(b"abbr"),
        [b'b' | b'B', ..] => is(b"bdi") || is(b"bdo") || is(b"big"),
        [b'c' | b'C', ..] => is(b"code"),
        [b'd' | b'D', ..] => is(b"data") || is(b"del"),
        [b'e' | b'E', ..] => is(b"em"),
        [b'f' | b'F', ..] => is(b"font"),
        [b'i' | b'I', ..] => is(b"ins"),
        [b'k' | b'K', ..] => is(b"kbd"),
        [b'l' | b'L', ..] => is(b"label"),
        [b'm' | b'M', ..] => is(b"mark"),
        [b'n' | b'N', ..] => is(b"nobr"),
        [b's' | b'S', ..] => STYLES.iter().any(|known| is(known)),
        [b'w' | b'W', ..] => is(b"wbr"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(text: &[u8]) -> Option<usize> {
        match tag(text) {
            Tag::Inline(length) => Some(length),
            Tag::Cut | Tag::Other => None,
        }
    }

    #[test]
    fn tags_within_a_word_are_told_from_others() {
        let inline = [
            "<b>",
            "</B>",
            "<\\/i>",
            "<em>",
            "<wbr>",
            "<STRONG>",
            "<label for=\"n\">",
            "<samp>",
            "<!-- 1 -->",
            "<span class=\"x\">",
            "<a href=\"/12\">",
        ];
        for text in inline {
            assert_eq!(length(text.as_bytes()), Some(text.len()), "{text}");
        }
        let long = format!("<b class=\"{}\">", "x".repeat(TAG_LENGTH_MAX));
        let other = [
            "<td>",
            "</p>",
            "<br>",
            "<input>",
            "<strongest>",
            "<1>",
            "<>",
            "<!DOCTYPE>",
            &long,
            // Not the end of the comment, and what may begin a number that goes on behind it.
            "<!-- 4111</b>",
            "<!-- 4111<b -->",
            "<a title=\"4111<b\">",
            "<!-- 411111\u{0}111111 -->",
            "<!-- &#52;&#49;&#49;&#49;&#49;&#49;&#49; -->",
        ];
        for text in other {
            assert!(matches!(tag(text.as_bytes()), Tag::Other), "{text}");
        }
        for text in ["<", "</", "<b", "<!-", "<span class=\"x", "<!-- 12"] {
            assert!(matches!(tag(text.as_bytes()), Tag::Cut), "{text}");
        }
    }

    #[test]
    fn only_a_tag_that_twelve_digits_may_go_on_behind_splits() {
        let splits = |text: &str| {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            may_split(text.as_bytes(), digits, digits)
        };
        assert!(splits("4111</b> <b>1111</b><i>1111</i>"));
        assert!(splits("4111</b>&#49;"));
        assert!(splits("4111</b"));
        assert!(splits("4111</b><i>1"));
        assert!(!splits("17</a> <span class=\"price\">21.90"));
        assert!(!splits("12</b><i>84</i></td>"));
        assert!(!splits("12</td><td>34"));
        assert!(!splits("12</b> in stock"));
    }
}
