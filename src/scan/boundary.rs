//! Whether a number ends where its digits end, or is part of something longer.

use std::iter;

use super::cluster::{Cluster, Group};
use super::glyph::{self, hex};
use super::names;
use super::track::TAIL_DIGITS_MIN;
use super::view::View;

/// Whether the first group may begin a number, by what stands before it.
pub(super) fn opens(view: &View<'_>, group: &Group, digits: usize) -> bool {
    let before = view.before(group.start);
    let Some((&last, head)) = before.split_last() else { return true };
    // Most numbers stand behind a space, a quote or a tag.
    let joins = |byte: u8| matches!(byte, b'+' | b'-' | b'.' | b'_' | 0x80..);
    if let Some((star, head)) = last_star(before) {
        // Stars mask: what follows is the rest of a number. A single one may delimit (EDI).
        let one = last_star(head).is_none() && head.last().is_none_or(u8::is_ascii_alphanumeric);
        return star == u32::from(b'*') && one;
    }
    if !last.is_ascii_alphanumeric() && !joins(last) || ends_escape(before) || ends_colour(before) {
        return true;
    }
    match last {
        b'a'..=b'z' | b'A'..=b'Z' | b'_' => named_before(before),
        b'0'..=b'9' => false,
        b'.' => named_before(head) || ["no", "No", "nr", "Nr"].iter().any(|n| ends_word(head, n)),
        b'-' => match head.last() {
            Some(byte) if byte.is_ascii_alphanumeric() || *byte == b'_' => named_before(head),
            // What a mask hides joined it, too: the data of a track.
            _ => !ends_with_stars(head, TAIL_DIGITS_MIN),
        },
        // `+49…` is a telephone number (ITU-T E.164 allows 15 digits).
        b'+' => head.last().is_some_and(u8::is_ascii_alphanumeric) || digits > 15,
        _ => true,
    }
}

/// Whether at least so many stars end a text.
fn ends_with_stars(text: &[u8], count: usize) -> bool {
    iter::successors(Some(text), |text| Some(last_star(text)?.1)).nth(count).is_some()
}

/// The star that ends a text, in whatever script and writing a mask has it, and what stands before.
fn last_star(text: &[u8]) -> Option<(u32, &[u8])> {
    /// The longest writing, an entity with leading zeros.
    const LENGTH_MAX: usize = 11;
    // The ends of `*`, `&#42;`, `%2A`, `%EF%BC%8A`, `%D9%AD`, `\u002a` and of stars in UTF-8.
    let may_end = |byte: &u8| matches!(byte, b'*' | b';' | b'A' | b'D' | b'a' | b'd' | 0x80..);
    text.last().filter(|byte| may_end(byte))?;
    let view = View::new(text, true);
    let mut starts = (1..=LENGTH_MAX).filter_map(|length| text.len().checked_sub(length));
    starts.find_map(|at| {
        let glyph = glyph::read(&view, at).filter(|glyph| at + glyph.length == text.len())?;
        glyph.is_star().then_some((glyph.code, text.get(..at)?))
    })
}

/// Whether the place lies within a run of digits that began before it.
pub(super) fn continues(view: &View<'_>, at: usize) -> bool {
    let before = view.before(at);
    before.last().is_some_and(u8::is_ascii_digit) && !ends_escape(before)
}

/// Whether the last group may end a number, by what stands after it.
pub(super) fn closes(view: &View<'_>, group: &Group) -> bool {
    let Some(next) = glyph::read(view, group.end) else { return true };
    let after = group.end + next.length;
    match u8::try_from(next.code) {
        // `4111111111111111n`: a BigInt literal.
        Ok(b'n') => !word_at(view, after),
        Ok(b'a'..=b'z' | b'A'..=b'Z' | b'_') => code_follows(view, group.end),
        Ok(b'0'..=b'9') => false,
        Ok(b'*') => view.byte(after) != Some(b'*'),
        Ok(b'.') => !extension(view, after),
        Ok(b'-') => !word_at(view, after),
        _ => true,
    }
}

/// `CC4111111111111111CVV123`
fn code_follows(view: &View<'_>, at: usize) -> bool {
    [&b"CVV"[..], b"CVC", b"EXP", b"cvv", b"cvc", b"exp"].iter().any(|word| view.has(at, word))
}

fn word_at(view: &View<'_>, at: usize) -> bool {
    view.byte(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// `.jpg`: the number is the name of a file.
fn extension(view: &View<'_>, at: usize) -> bool {
    const EXTENSIONS: [&[u8]; 26] = [
        b"avif", b"bmp", b"css", b"csv", b"gif", b"gz", b"htm", b"ico", b"jpeg", b"jpg", b"js",
        b"json", b"map", b"md", b"mov", b"mp3", b"mp4", b"pdf", b"php", b"png", b"svg", b"txt",
        b"webm", b"webp", b"xml", b"zip",
    ];
    EXTENSIONS.iter().any(|name| view.has(at, name))
}

/// Whether the word that ends `before` says that a card number follows: `PAN4111…`, `card-4111…`.
fn named_before(before: &[u8]) -> bool {
    let letters = before.iter().rev().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let word = before.get(before.len() - letters..).unwrap_or_default();
    let head = before.get(..before.len() - letters).unwrap_or_default();
    let whole = head.last().is_none_or(|byte| !byte.is_ascii_alphanumeric());
    // What a mask hides was there before the letters, too.
    whole && !ends_with_stars(head, 2) && names::is_card_word(&word.to_ascii_lowercase())
}

fn ends_word(text: &[u8], word: &str) -> bool {
    let head = text.strip_suffix(word.as_bytes());
    head.is_some_and(|head| head.last().is_none_or(|byte| !byte.is_ascii_alphanumeric()))
}

/// Whether the last byte ends an escaped character that is not a letter or digit: `\n`, `%22`,
/// `\u0022`. The sentinel of track 1, `%B`, ends here too.
fn ends_escape(before: &[u8]) -> bool {
    let tail = |length: usize| before.len().checked_sub(length).and_then(|at| before.get(at..));
    let decoded = |digits: &[u8]| {
        digits.iter().try_fold(0, |code, &byte| Some(code << 4 | u32::from(hex(byte)?)))
    };
    let apart = |code: u32| u8::try_from(code).is_ok_and(|byte| !byte.is_ascii_alphanumeric());
    match tail(2) {
        Some([b'\\', b'n' | b'r' | b't' | b'f' | b'b']) => return true,
        Some(b"%B" | b"%b") => return true,
        _ => {}
    }
    if let Some([b'%', digits @ ..]) = tail(3) {
        return decoded(digits).is_some_and(apart);
    }
    if let Some([b'%', b'2', b'5', digits @ ..]) = tail(5) {
        let code = decoded(digits).and_then(|code| u8::try_from(code).ok());
        return code.is_some_and(glyph::is_punctuation);
    }
    match (tail(4), tail(6)) {
        (Some([b'\\', b'x', digits @ ..]), _) | (_, Some([b'\\', b'u', digits @ ..])) => {
            decoded(digits).is_some_and(|code| code > 0xFF || apart(code))
        }
        _ => false,
    }
}

/// Whether a control sequence that sets colours ends there (ECMA-48 §8.3.117), as in logs: `ESC [31m`.
fn ends_colour(before: &[u8]) -> bool {
    let Some(head) = before.strip_suffix(b"m") else { return false };
    let held = |byte: &&u8| byte.is_ascii_digit() || **byte == b';';
    let parameters = head.iter().rev().take_while(held).count();
    let head = head.get(..head.len() - parameters).and_then(|head| head.strip_suffix(b"["));
    let escapes = [&b"\x1b"[..], b"\\u001b", b"\\u001B", b"\\x1b", b"\\x1B", b"\\033", b"\\e"];
    head.is_some_and(|head| escapes.iter().any(|escape| head.ends_with(escape)))
}

/// Whether the cluster is the number of a bank account (ISO 13616): two letters, two check digits,
/// then groups of four.
pub(super) fn is_iban(view: &View<'_>, cluster: &Cluster) -> bool {
    /// The longest IBAN with its spaces.
    const LENGTH_MAX: usize = 42;
    let Some(first) = cluster.groups().first() else { return false };
    let before = view.before(first.start);
    // Without a branch for each byte this is three dozen instructions, and spares most numbers the
    // two thousand of the rest.
    let near = before.get(before.len().saturating_sub(LENGTH_MAX)..).unwrap_or_default();
    if !near.iter().fold(false, |any, byte| any | byte.is_ascii_uppercase()) {
        return false;
    }
    let held = |byte: &&u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || **byte == b' ';
    let length = before.iter().rev().take(LENGTH_MAX).take_while(held).count();
    let tail = before.get(before.len() - length..).unwrap_or_default();
    let check = first.count == 2 || first.count > 10;
    if check && two_letters_end(before) {
        return true;
    }
    tail.windows(4).enumerate().any(|(place, window)| {
        let [a, b, c, d] = window else { return false };
        let head = a.is_ascii_uppercase() && b.is_ascii_uppercase();
        let rest = tail.get(place + 4..).unwrap_or_default();
        let alone = place == 0 || tail.get(place - 1) == Some(&b' ');
        alone && head && c.is_ascii_digit() && d.is_ascii_digit() && in_fours(rest)
    })
}

fn two_letters_end(before: &[u8]) -> bool {
    let letters = before.iter().rev().take(3).take_while(|byte| byte.is_ascii_alphanumeric());
    let word = before.get(before.len() - letters.count()..).unwrap_or_default();
    matches!(word, [a, b] if a.is_ascii_uppercase() && b.is_ascii_uppercase())
}

/// ` LOYD 7849 `: what stands between an IBAN's check digits and the cluster.
fn in_fours(rest: &[u8]) -> bool {
    rest.first() == Some(&b' ')
        && rest.last() == Some(&b' ')
        && rest.trim_ascii().split(|&byte| byte == b' ').all(|group| group.len() == 4)
}
