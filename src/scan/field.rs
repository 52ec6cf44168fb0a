//! The name of the field that holds a number, read backwards from the number.
//!
//! One reader serves every carrier: what introduces a value is a quote, `=`, `:`, `>` or the blank
//! line after a part's headers, whatever the body was declared to be.

use std::borrow::Cow;

use super::filter::Codes;
use super::lists::Lists;
use super::pair;
use super::rows;
use super::view::View;

/// Characters of a value between its beginning and the number that are walked over.
const VALUE_MAX: usize = 160;
/// The longest name kept.
const NAME_MAX: usize = 64;

/// A field and how the number stands in it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Field<'a> {
    /// As written; a copy only where it is percent-encoded.
    pub(super) name: Cow<'a, str>,
    /// The number begins the value.
    pub(super) direct: bool,
}

/// The field whose value begins with the byte at `at`. Most short numbers begin none: what stands
/// before them says so at the first byte.
pub(super) fn begun<'a>(view: &View<'a>, at: usize, lists: &Lists) -> Option<Field<'a>> {
    let blank = |byte: &&u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\\');
    let before = view.before(at);
    if opens_escaped(before) {
        return escaped(before).filter(|field| field.direct);
    }
    let mark = before.iter().rev().take(VALUE_MAX).find(|byte| !blank(byte))?;
    let opens =
        matches!(mark, b'"' | b'\'' | b'`' | b'=' | b':' | b'>' | b'\n' | b',' | b'[' | b'(');
    let opens = opens || before.last() == Some(&b'\t') && rows::may_be_copied(view, at, lists);
    let field = opens.then(|| of(view, at, lists)).flatten().filter(|field| field.direct)?;
    let name = pair::name(view, at, &field.name).map_or(field.name, decode);
    Some(Field { name, direct: true })
}

/// Whether a value that a form writes begins behind `before`: after a blank of its own, `=+` or
/// `=%20`, or after the punctuation of encoded JSON.
fn opens_escaped(before: &[u8]) -> bool {
    /// Blanks that are passed.
    const BLANKS_MAX: usize = 8;
    let mut head = before;
    for _ in 0..BLANKS_MAX {
        let Some(rest) = head.strip_suffix(b"+").or(head.strip_suffix(b"%20")) else { break };
        head = rest;
    }
    let blanks = head.len() < before.len();
    match head {
        [.., b'%', b'2', b'2' | b'7' | b'C' | b'c'] => true,
        [.., b'%', b'3', b'A' | b'D' | b'E' | b'a' | b'd' | b'e'] => true,
        [.., b'%', b'5', b'B' | b'b'] => true,
        [.., b'=' | b':'] => blanks,
        _ => false,
    }
}

/// The field of the value that begins behind `before`, as that reads decoded.
fn escaped<'a>(before: &[u8]) -> Option<Field<'a>> {
    let near_first = before.len().saturating_sub(VALUE_MAX);
    let mut text = unescape(before.get(near_first..)?);
    text.iter_mut().filter(|byte| **byte == b'+').for_each(|byte| *byte = b' ');
    let field = near(&View::new(&text, true), text.len())?;
    Some(Field { name: Cow::Owned(field.name.into_owned()), direct: field.direct })
}

/// Whether a field that is named for a verification code may begin with the byte at `at`.
pub(super) fn may_begin_code(text: &[u8], at: usize, codes: Codes<'_>) -> bool {
    let view = View::new(text, false);
    view.focus(at);
    let field = begun(&view, at, codes.lists);
    view.starved() || field.is_some_and(|field| codes.rules.names_code(&field.name))
}

/// Finds the field whose value holds the byte at `at`, or the column named apart from it.
pub(super) fn of<'a>(view: &View<'a>, at: usize, lists: &Lists) -> Option<Field<'a>> {
    let apart = || {
        let name = decode(&rows::column(view, at, lists)?).into_owned();
        Some(Field { name: Cow::Owned(name), direct: true })
    };
    near(view, at).or_else(apart)
}

/// The field named right before the value that holds the byte at `at`. Goes from mark to mark: most
/// bytes of a value say nothing, and cost a quarter of what it takes to look at each by itself.
fn near<'a>(view: &View<'a>, at: usize) -> Option<Field<'a>> {
    let before = view.before(at);
    let base = at - before.len();
    let first = before.len().saturating_sub(VALUE_MAX);
    let mut walked = Walked::default();
    let mut rest = before.get(first..)?;
    while let Some(place) = last_mark(rest) {
        walked.pass(rest.get(place + 1..)?);
        let (end, byte) = (first + place, *rest.get(place)?);
        rest = rest.get(..place)?;
        let head = before.get(..end)?;
        let direct = !walked.words;
        let found = |name: Option<&'a [u8]>| Some(Field { name: decode(name?), direct });
        match byte {
            b'\'' if apostrophe(before, end) => walked.words = true,
            b'"' | b'\'' | b'`' => return found(quoted_name(view, head, base)),
            b'=' if !walked.spaced => return found(name_before(head)),
            b':' if !before.get(end + 1..)?.starts_with(b"//") => {
                return found(label_before(head));
            }
            b'>' => return found(element_name(head)),
            b'\n' => return found(part_name(before.get(..=end)?).or_else(|| element_before(head))),
            b'[' if head.ends_with(b"<![CDATA") => {
                return found(element_before(head.strip_suffix(b"<![CDATA")?));
            }
            b',' | b'[' | b'(' if direct => return found(array_name(before.get(..=end)?)),
            b'&' | b'?' | b'<' | b'{' | b'}' | b';' | b'|' => return None,
            b'(' | b'[' | b',' => {}
            _ => walked.words = true,
        }
    }
    walked.pass(rest);
    let whole = before.len() == at && before.len() < VALUE_MAX;
    whole.then_some(Field { name: Cow::Borrowed(""), direct: !walked.words })
}

/// What stands between a place and the number.
#[derive(Default)]
struct Walked {
    words: bool,
    /// White space before a word.
    spaced: bool,
}

impl Walked {
    /// Adds what stands before it, without marks.
    fn pass(&mut self, text: &[u8]) {
        let says = |byte: &u8| !matches!(byte, b' ' | b'\t' | b'\r' | b'\\');
        let before = if self.words { Some(text.len()) } else { text.iter().rposition(says) };
        let Some(before) = before else { return };
        self.words = true;
        let head = text.get(..before).unwrap_or_default();
        self.spaced |= memchr::memchr2(b' ', b'\t', head).is_some();
    }
}

/// Where the last mark of a text stands; sixteen bytes of words and numbers are passed at once, which
/// takes an eighth of what it takes to ask each.
fn last_mark(mut text: &[u8]) -> Option<usize> {
    while let Some((head, bytes)) = text.split_last_chunk::<16>() {
        let plain = |byte: u8| {
            ((byte | 0x20).wrapping_sub(b'a') < 26)
                | (byte.wrapping_sub(b'0') < 10)
                | (byte == b' ')
        };
        if !bytes.iter().fold(true, |all, &byte| all & plain(byte))
            && bytes.iter().fold(false, |any, &byte| any | is_mark(byte))
        {
            break;
        }
        text = head;
    }
    text.iter().rposition(|&byte| is_mark(byte))
}

/// Whether a byte may introduce or end a value.
fn is_mark(byte: u8) -> bool {
    MARKS.get(usize::from(byte)).copied().unwrap_or(false)
}

/// A table, which costs a third of a match.
static MARKS: [bool; 256] = {
    const ALL: &[u8] = b"\"'`=:>\n,[(&?<{};|";
    let mut table = [false; 256];
    let (mut place, mut byte) = (0, 0_u8);
    while place < table.len() {
        let mut mark = 0;
        while mark < ALL.len() {
            table[place] |= ALL[mark] == byte;
            mark += 1;
        }
        (place, byte) = (place + 1, byte.wrapping_add(1));
    }
    table
};

fn apostrophe(before: &[u8], at: usize) -> bool {
    let letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    let previous = at.checked_sub(1).and_then(|place| before.get(place));
    letter(previous) && letter(before.get(at + 1))
}

/// The name before an opening quote: a JSON key, an attribute, an assignment.
fn quoted_name<'a>(view: &View<'a>, head: &'a [u8], base: usize) -> Option<&'a [u8]> {
    let head = trim(head);
    let (&mark, rest) = head.split_last()?;
    match mark {
        b':' => label_before(rest),
        b'=' => {
            let name = name_before(rest)?;
            let generic =
                [&b"value"[..], b"content"].iter().any(|known| name.eq_ignore_ascii_case(known));
            if !generic {
                return Some(name);
            }
            sibling_name(view, rest, base + head.len()).or(Some(name))
        }
        b',' | b'[' | b'(' => array_name(head),
        _ => None,
    }
}

/// `value="…"`: the name is in another attribute of the same tag, before or after.
fn sibling_name<'a>(view: &View<'a>, head: &'a [u8], after: usize) -> Option<&'a [u8]> {
    /// How far the rest of the tag is read.
    const TAG_MAX: usize = 256;
    let open = head.iter().rposition(|&byte| byte == b'<')?;
    let rest = view.ahead(after);
    let rest = rest.get(..TAG_MAX).unwrap_or(rest);
    let end = memchr::memchr2(b'<', b'>', rest);
    let cut = end.is_none() && rest.len() < TAG_MAX;
    if cut {
        view.want(after + rest.len());
    }
    let tail = rest.get(..if cut { rest.len() } else { end.unwrap_or(0) })?;
    [head.get(open..)?, tail].into_iter().find_map(|text| {
        [&b"name="[..], b"id=", b"itemprop=", b"property="].iter().find_map(|attribute| {
            let at = memchr::memmem::find(text, attribute)?;
            let value = text.get(at + attribute.len()..)?;
            let value = value.strip_prefix(b"\"").or(value.strip_prefix(b"'")).unwrap_or(value);
            let length = value.iter().take_while(|&&byte| is_name(byte)).count();
            value.get(..length).filter(|name| !name.is_empty())
        })
    })
}

/// The key before `:`, quoted or not, or the label of a line.
fn label_before(head: &[u8]) -> Option<&[u8]> {
    let head = trim(head);
    if let Some((&quote @ (b'"' | b'\'' | b'`'), rest)) = head.split_last() {
        let rest = trim_bars(rest);
        let open = rest.iter().rposition(|&byte| byte == quote)?;
        return rest.get(open + 1..);
    }
    let held = |byte: &u8| is_name(*byte) || *byte == b' ' || *byte >= 0x80;
    let length = head.iter().rev().take(NAME_MAX).take_while(|byte| held(byte)).count();
    let label = head.get(head.len() - length..)?.trim_ascii();
    let all_digits = label.iter().all(u8::is_ascii_digit);
    if label == b"s" || all_digits && head.ends_with(label) && !label.is_empty() {
        return serialized_name(head);
    }
    let label = behind_number(label);
    (!label.is_empty()).then_some(label)
}

/// The words of a label behind the last number before them, which is the value of another: of
/// `4111111111111111 CVV` only `CVV`. The number may be a card's, and a name is told; and a name that
/// a number stands in would change when the number is masked.
fn behind_number(label: &[u8]) -> &[u8] {
    let says_nothing = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
    let mut rest = label;
    while let Some((head, words)) = last_blank(rest) {
        let digits = head.iter().rev().take_while(|byte| says_nothing(byte)).count();
        let (before, number) = head.split_at(head.len() - digits);
        let escape = before.ends_with(b"%") && number.starts_with(b"20");
        let length = if escape { digits - 2 } else { digits };
        let apart = |before| last_blank(before).is_some_and(|it| it.1.is_empty());
        let whole = before.is_empty() || escape || apart(before);
        if length > 1 && whole {
            return label.get(rest.len() - words.len()..).unwrap_or(label);
        }
        rest = head;
    }
    label
}

/// What stands before and behind the last blank of a text, however it is written.
fn last_blank(text: &[u8]) -> Option<(&[u8], &[u8])> {
    (0..text.len()).rev().find_map(|place| {
        let (head, tail) = text.split_at_checked(place)?;
        let mut written = [&b" "[..], b"+", b"%20"].into_iter();
        Some((head, written.find_map(|blank| tail.strip_prefix(blank))?))
    })
}

/// PHP's `s:6:"ccnumb";s:16:"…"`: the key is the string before.
fn serialized_name(head: &[u8]) -> Option<&[u8]> {
    let digits = head.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let rest = head.get(..head.len() - digits)?.strip_suffix(b"\";s:")?;
    let open = rest.iter().rposition(|&byte| byte == b'"')?;
    rest.get(open + 1..)
}

/// The name before `=`.
fn name_before(head: &[u8]) -> Option<&[u8]> {
    let head = trim(head);
    let held = |byte: &u8| is_name(*byte) || matches!(byte, b'%' | b'+');
    let length = head.iter().rev().take(NAME_MAX * 2).take_while(|byte| held(byte)).count();
    let name = behind_number(head.get(head.len() - length..)?);
    (!name.is_empty()).then_some(name)
}

/// The element whose text begins with the white space that ends `head`, if any.
fn element_before(head: &[u8]) -> Option<&[u8]> {
    element_name(head.trim_ascii_end().strip_suffix(b">")?)
}

/// The element whose text begins after `head` and `>`; for markup that only styles, its class.
fn element_name(head: &[u8]) -> Option<&[u8]> {
    const STYLING: [&[u8]; 16] = [
        b"a", b"b", b"code", b"dd", b"div", b"em", b"font", b"i", b"label", b"li", b"p", b"pre",
        b"small", b"span", b"strong", b"td",
    ];
    let open = head.iter().rposition(|&byte| byte == b'<')?;
    let tag = head.get(open + 1..)?;
    let length = tag.iter().take_while(|&&byte| is_name(byte) || byte == b':').count();
    let name = tag.get(..length)?;
    if name.is_empty() || name.starts_with(b"/") {
        return None;
    }
    if !STYLING.iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Some(name);
    }
    [&b"class="[..], b"id=", b"name="].iter().find_map(|attribute| {
        let at = memchr::memmem::find(tag, attribute)?;
        let value = tag.get(at + attribute.len()..)?;
        let value = value.strip_prefix(b"\"").or(value.strip_prefix(b"'")).unwrap_or(value);
        let length = value.iter().take_while(|&&byte| is_name(byte)).count();
        value.get(..length).filter(|name| !name.is_empty())
    })
}

/// The `name="…"` of a part whose headers end at the end of `head`.
fn part_name(head: &[u8]) -> Option<&[u8]> {
    let head = head.strip_suffix(b"\r\n\r\n").or(head.strip_suffix(b"\n\n"))?;
    let boundary = memchr::memmem::rfind(head, b"\n--").unwrap_or(0);
    let headers = head.get(boundary..)?;
    let at = memchr::memmem::find(headers, b" name=")?;
    let value = headers.get(at + 6..)?;
    let value = value.strip_prefix(b"\"").unwrap_or(value);
    let length = value.iter().take_while(|&&byte| is_name(byte) || byte == b' ').count();
    value.get(..length)
}

/// The key of the array whose elements end `head`, with its last `,` or `[`.
fn array_name(head: &[u8]) -> Option<&[u8]> {
    let mut depth = 0;
    for at in (0..head.len()).rev().take(VALUE_MAX) {
        match head.get(at)? {
            b']' | b'}' | b')' => depth += 1,
            b'[' if depth == 0 => {
                let rest = trim(head.get(..at)?);
                return label_before(rest.strip_suffix(b":")?);
            }
            b'{' | b'(' if depth == 0 => return None,
            b'[' | b'{' | b'(' => depth -= 1,
            b'\n' => return None,
            _ => {}
        }
    }
    None
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'$' | b'[' | b']' | b'@')
}

/// Without white space and the backslashes of a quote at the end.
fn trim(text: &[u8]) -> &[u8] {
    trim_bars(text.trim_ascii_end()).trim_ascii_end()
}

pub(super) fn trim_bars(mut text: &[u8]) -> &[u8] {
    while let Some(rest) = text.strip_suffix(b"\\") {
        text = rest;
    }
    text
}

/// A name as text: percent escapes decoded, at most [`NAME_MAX`] bytes.
fn decode(name: &[u8]) -> Cow<'_, str> {
    if !name.contains(&b'%') {
        return String::from_utf8_lossy(name.get(..NAME_MAX).unwrap_or(name));
    }
    let mut text = unescape(name);
    text.truncate(NAME_MAX);
    Cow::Owned(String::from_utf8_lossy(&text).into_owned())
}

/// A text with its percent escapes decoded.
fn unescape(escaped: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let escaped = match (first, after) {
            (b'%', [high, low, tail @ ..]) => super::glyph::hex(*high)
                .zip(super::glyph::hex(*low))
                .map(|(high, low)| (high << 4 | low, tail)),
            _ => None,
        };
        match escaped {
            Some((byte, tail)) => {
                text.push(byte);
                rest = tail;
            }
            None => text.push(first),
        }
    }
    text
}
