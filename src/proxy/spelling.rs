//! What a shop may read where a request says something: rules must hold for every spelling of it.

use std::borrow::Cow;

use super::login::{Plus, decode, decode_bytes, normalise, views};

/// A path, as it is written and as servers read it.
pub struct Paths<'t> {
    written: &'t str,
    read: Cow<'t, str>,
    /// Some servers decode twice.
    again: Option<String>,
    /// Without what is taken out on the way: a hole may be in just that.
    decoded: Option<String>,
}

impl<'t> Paths<'t> {
    /// All spellings of a path, without its query.
    #[must_use]
    pub fn of(written: &'t str) -> Self {
        let read = normalise(written);
        let again = match normalise(&read) {
            Cow::Owned(again) => Some(again),
            Cow::Borrowed(_) => None,
        };
        let decoded = written.contains('%').then(|| decode(written.as_bytes(), Plus::Literal));
        Self { written, read, again, decoded }
    }

    /// Each path that a shop may act on.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let again = self.again.as_deref().into_iter().flat_map(views);
        [self.written].into_iter().chain(views(&self.read)).chain(again)
    }

    /// The same, and what is not yet free of dot segments and the like.
    pub fn with_raw(&self) -> impl Iterator<Item = &str> {
        self.iter().chain(self.decoded.as_deref())
    }
}

/// A text as it is written, and decoded once and twice where that makes a difference. `plus` is what a
/// plus stands for.
pub(super) fn decodings(text: &[u8], plus: Plus) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let step = move |text: &[u8]| {
        let coded = |byte: &u8| *byte == b'%' || (plus == Plus::Space && *byte == b'+');
        text.iter().any(coded).then(|| decode_bytes(text, plus))
    };
    let once = step(text);
    let twice = once.as_deref().and_then(step);
    [Some(Cow::Borrowed(text)), once.map(Cow::Owned), twice.map(Cow::Owned)].into_iter().flatten()
}

/// A text without the escapes of JSON (RFC 8259 §7): `\u0027` is an apostrophe, which no escape need
/// hide. `None` where there are none.
#[must_use]
pub fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'\\', text)?;
    let mut plain = Vec::with_capacity(text.len());
    let mut left = text;
    while let Some((&byte, rest)) = left.split_first() {
        left = rest;
        let Some((&escape, after)) = rest.split_first().filter(|_| byte == b'\\') else {
            plain.push(byte);
            continue;
        };
        left = after;
        match escape {
            b'b' => plain.push(8),
            b'f' => plain.push(12),
            b'n' => plain.push(b'\n'),
            b'r' => plain.push(b'\r'),
            b't' => plain.push(b'\t'),
            b'u' => {
                let Some((letter, length)) = code_unit(after) else {
                    plain.extend_from_slice(b"\\u");
                    continue;
                };
                plain.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                left = after.get(length..).unwrap_or_default();
            }
            other => plain.push(other),
        }
    }
    Some(plain)
}

/// The character of four digits, or of a pair of surrogates, and how long that is.
fn code_unit(text: &[u8]) -> Option<(char, usize)> {
    let high = hex(text.get(..4)?)?;
    let low = text.get(4..10).and_then(|next| hex(next.strip_prefix(b"\\u")?));
    let units = [Some(high), low.filter(|low| (0xdc00..0xe000).contains(low))];
    let length = if char::from_u32(high.into()).is_some() { 4 } else { 10 };
    let letter = char::decode_utf16(units.into_iter().flatten()).next()?;
    match letter {
        Ok(letter) => Some((letter, length)),
        Err(_) => Some((char::REPLACEMENT_CHARACTER, 4)),
    }
}

fn hex(digits: &[u8]) -> Option<u16> {
    let sound = digits.iter().all(u8::is_ascii_hexdigit);
    u16::from_str_radix(str::from_utf8(digits).ok().filter(|_| sound)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_seen_as_it_is_written_and_as_it_is_read() {
        let paths = Paths::of("/cgi-bin/.%2e/%2561dmin");
        let seen: Vec<_> = paths.with_raw().collect();
        let expected = ["/cgi-bin/.%2e/%2561dmin", "/%61dmin", "/admin", "/cgi-bin/../%61dmin"];
        assert_eq!(seen, expected);
        assert_eq!(Paths::of("/a").iter().collect::<Vec<_>>(), ["/a", "/a"]);
    }

    #[test]
    fn a_query_is_decoded_until_nothing_changes_or_twice() {
        let all = |text: &str| -> Vec<String> {
            let all = decodings(text.as_bytes(), Plus::Space);
            all.map(|text| String::from_utf8(text.into_owned()).unwrap()).collect()
        };
        assert_eq!(all("a=b"), ["a=b"]);
        assert_eq!(all("a=%27+or"), ["a=%27+or", "a=' or"]);
        assert_eq!(all("%2527"), ["%2527", "%27", "'"]);
    }

    #[test]
    fn escapes_of_json_hide_nothing() {
        let plain =
            |text: &str| unescaped(text.as_bytes()).map(|it| String::from_utf8(it).unwrap());
        assert_eq!(plain("{}"), None);
        assert_eq!(plain(r#""\u0027\/\"\\\n""#).as_deref(), Some("\"'/\"\\\n\""));
        assert_eq!(plain(r"\ud83d\ude00\u12").as_deref(), Some("\u{1f600}\\u12"));
        assert_eq!(plain(r"\ud83d\u0027").as_deref(), Some("\u{fffd}'"));
        assert_eq!(plain("\\").as_deref(), Some("\\"));
    }
}
