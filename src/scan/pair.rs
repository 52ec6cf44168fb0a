//! The name of a value that stands beside it in a pair: `{"name":"cvv","value":"123"}`,
//! `<field name="cvv">123</field>`, or around it: `{"cvv":{"value":"123"}}`.

use super::field;
use super::view::View;

/// How far on each side of the value the pair is read.
const PAIR_MAX: usize = 256;

/// What names the value at `at`, whose own field is called no more than `field`.
pub(super) fn name<'a>(view: &View<'a>, at: usize, field: &str) -> Option<&'a [u8]> {
    const ELEMENTS: [&str; 12] = [
        "attribute",
        "data",
        "entry",
        "field",
        "i4",
        "int",
        "item",
        "param",
        "parameter",
        "property",
        "string",
        "value",
    ];
    let known = ELEMENTS.iter().any(|known| field.eq_ignore_ascii_case(known));
    if !known {
        return None;
    }
    let before = view.before(at);
    let head = before.get(before.len().saturating_sub(PAIR_MAX)..)?;
    if let Some(tag) = head.trim_ascii_end().strip_suffix(b">") {
        return attribute(tag.get(memchr::memrchr(b'<', tag)?..)?).or_else(|| rpc_member(head));
    }
    if !field.eq_ignore_ascii_case("value") {
        return None;
    }
    let open = memchr::memrchr(b'{', head)?;
    let beside = member(head.get(open..)?).or_else(|| member(rest_of_object(view, at)));
    beside.or_else(|| key_of_object(head.get(..open)?))
}

/// The key of the object that begins behind `head`.
fn key_of_object(head: &[u8]) -> Option<&[u8]> {
    let key = head.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"")?;
    let key = field::trim_bars(key);
    key.get(memchr::memrchr(b'"', key)? + 1..)
}

/// The name of XML-RPC's `<member><name>cvv</name><value><string>123`.
fn rpc_member(head: &[u8]) -> Option<&[u8]> {
    const END: &[u8] = b"</name>";
    let end = memchr::memmem::rfind(head, END)?;
    let tags = head.get(end + END.len()..)?;
    let mut within = false;
    let only_tags = tags.iter().all(|byte| {
        within = *byte == b'<' || within && *byte != b'>';
        within || *byte == b'>' || byte.is_ascii_whitespace()
    });
    let name = head.get(..end)?;
    name.get(memchr::memrchr(b'>', name)? + 1..).filter(|_| only_tags).map(<[u8]>::trim_ascii)
}

/// What stands between `at` and the end of its object.
fn rest_of_object<'a>(view: &View<'a>, at: usize) -> &'a [u8] {
    let ahead = view.ahead(at);
    let rest = ahead.get(..PAIR_MAX).unwrap_or(ahead);
    let end = memchr::memchr2(b'{', b'}', rest);
    if end.is_none() && rest.len() < PAIR_MAX {
        view.want(at + rest.len());
    }
    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
}

/// The value of `"name"` or `"key"` among the members of an object, which may be JSON within JSON.
fn member(members: &[u8]) -> Option<&[u8]> {
    [&b"\"name"[..], b"\"key"].iter().find_map(|key| {
        let at = memchr::memmem::find(members, key)?;
        let rest = members.get(at + key.len()..)?;
        let marks = |byte: &&u8| matches!(byte, b'\\' | b'"' | b':' | b' ');
        let opened = matches!(rest.first(), Some(b'"' | b'\\'));
        let value = rest.get(rest.iter().take_while(marks).count()..)?;
        word(value).filter(|_| opened)
    })
}

fn attribute(tag: &[u8]) -> Option<&[u8]> {
    [&b" name="[..], b" key=", b" id="].iter().find_map(|name| {
        let at = memchr::memmem::find(tag, name)?;
        let value = tag.get(at + name.len()..)?;
        word(value.strip_prefix(b"\"").or(value.strip_prefix(b"'")).unwrap_or(value))
    })
}

fn word(text: &[u8]) -> Option<&[u8]> {
    let held = |byte: &&u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(byte);
    text.get(..text.iter().take_while(held).count()).filter(|word| !word.is_empty())
}
