//! Names of columns that stand apart from the rows: `INSERT INTO t (id, card) VALUES (…)`, `COPY t
//! (id, card) FROM stdin`, `{"columns": ["id", "card"], "rows": [[…]]}` in either order.
//!
//! Only what a decision may look at counts: a list that is further away names nothing.

use memchr::memmem;

use super::view::{LOOK_AHEAD, View};

/// Keys of JSON whose arrays name columns.
const KEYS: [&[u8]; 9] = [
    b"\"columns\"",
    b"\"cols\"",
    b"\"fields\"",
    b"\"headers\"",
    b"\"header\"",
    b"\"names\"",
    b"\"columnNames\"",
    b"\"column_names\"",
    b"\"colnames\"",
];

/// The name of the column whose value begins at `at`.
pub(super) fn column(view: &View<'_>, at: usize) -> Option<Vec<u8>> {
    let before = view.before(at);
    let value = before.strip_suffix(b"\"").or(before.strip_suffix(b"'")).unwrap_or(before);
    match value.last()? {
        b'\t' | b'\n' => copied(value),
        _ => {
            let (open, place) = element(value)?;
            let head = value.get(..open)?.trim_ascii_end();
            match value.get(open)? {
                b'(' => inserted(head, place),
                _ if !matches!(head.last(), Some(b'[' | b',')) => None,
                _ => listed_before(head, place).or_else(|| listed_after(view, at, place)),
            }
        }
    }
}

/// Where the row opens whose element ends the text, and how many elements stand before it.
fn element(text: &[u8]) -> Option<(usize, usize)> {
    let mut quote = None;
    let (mut depth, mut place) = (0_usize, 0);
    if !matches!(text.trim_ascii_end().last(), Some(b',' | b'[' | b'(')) {
        return None;
    }
    for (at, &byte) in text.iter().enumerate().rev() {
        if let Some(mark) = quote {
            let escaped = at.checked_sub(1).and_then(|at| text.get(at)) == Some(&b'\\');
            if byte == mark && !escaped {
                quote = None;
            }
            continue;
        }
        match byte {
            b'"' | b'\'' => quote = Some(byte),
            b')' | b']' | b'}' => depth += 1,
            b'(' | b'[' if depth == 0 => return Some((at, place)),
            b'(' | b'[' | b'{' => depth = depth.checked_sub(1)?,
            b',' if depth == 0 => place += 1,
            b';' => return None,
            _ => {}
        }
    }
    None
}

/// The column of a tuple of `INSERT` that opens behind `head`.
fn inserted(head: &[u8], place: usize) -> Option<Vec<u8>> {
    let at = memmem::rfind(head, b"VALUES").or_else(|| memmem::rfind(head, b"values"))?;
    let rows = head.get(at + b"VALUES".len()..)?.trim_ascii();
    if !rows.is_empty() && !rows.ends_with(b",") {
        return None;
    }
    names(head.get(..at)?, place)
}

/// The column of PostgreSQL's `COPY … FROM stdin`, whose rows are lines of cells between tabs.
fn copied(text: &[u8]) -> Option<Vec<u8>> {
    let at = memmem::rfind(text, b" FROM stdin;\n")?;
    let line = text.get(memchr::memrchr(b'\n', text)? + 1..)?;
    names(text.get(..at)?, memchr::memchr_iter(b'\t', line).count())
}

/// One of the names of a list in parentheses that ends the text.
fn names(text: &[u8], place: usize) -> Option<Vec<u8>> {
    let list = text.trim_ascii_end().strip_suffix(b")")?;
    let list = list.get(memchr::memrchr(b'(', list)? + 1..)?;
    let name = list.split(|&byte| byte == b',').nth(place)?.trim_ascii();
    let quoted = |byte: &u8| matches!(byte, b'`' | b'"' | b'[' | b']');
    Some(name.iter().copied().filter(|byte| !quoted(byte)).collect())
}

/// One of the names of the last list of columns before the rows.
fn listed_before(head: &[u8], place: usize) -> Option<Vec<u8>> {
    let keys = KEYS.iter().filter_map(|key| Some(memmem::rfind(head, key)? + key.len()));
    keys.max().and_then(|at| nth(head.get(at..)?, place))
}

/// One of the names of the first list of columns behind the rows.
fn listed_after(view: &View<'_>, at: usize, place: usize) -> Option<Vec<u8>> {
    let end = (at..at + LOOK_AHEAD).find(|&place| view.byte(place).is_none());
    let tail = view.seen(at, end.unwrap_or(at + LOOK_AHEAD));
    let keys = KEYS.iter().filter_map(|key| Some(memmem::find(tail, key)? + key.len()));
    keys.min().and_then(|at| nth(tail.get(at..)?, place))
}

/// An element of the array that follows a key: a string, or an object with a string that names it.
fn nth(text: &[u8], place: usize) -> Option<Vec<u8>> {
    let list = text.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"[")?;
    let list = list.get(..memchr::memchr(b']', list)?)?;
    if !list.trim_ascii_start().starts_with(b"{") {
        return list.split(|&byte| byte == b',').nth(place).and_then(string);
    }
    let object = list.split(|&byte| byte == b'}').nth(place)?;
    [&b"\"name\":"[..], b"\"field\":", b"\"key\":", b"\"data\":", b"\"title\":"]
        .iter()
        .find_map(|key| string(object.get(memmem::find(object, key)? + key.len()..)?))
}

/// The string of JSON that begins a text.
fn string(text: &[u8]) -> Option<Vec<u8>> {
    let inner = text.trim_ascii_start().strip_prefix(b"\"")?;
    Some(inner.get(..memchr::memchr(b'"', inner)?)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::Carrier;
    use super::super::tests::{finds, response};

    #[test]
    fn columns_are_named_by_lists_before_and_after_the_rows() {
        // 4222222222222 is a weak number: only its column makes it a card.
        let named = [
            (Carrier::Json, r#"{"columns":["id","karta"],"rows":[[1,4222222222222],[2,0]]}"#),
            (
                Carrier::Json,
                r#"{"rows":[[1,4222222222222],["a,]",4222222222222]],"cols":["id","karta"]}"#,
            ),
            (
                Carrier::Json,
                r#"{"rows":[["1","4222222222222"]],"columns":[{"name":"id"},{"name":"karta"}]}"#,
            ),
            (Carrier::Text, "INSERT INTO `t` (`id`, `karta`) VALUES (1,'4222222222222');"),
            (
                Carrier::Text,
                "INSERT INTO t (id, \"karta\", x) VALUES\n(1,'a (b','c'),\n(2, 4222222222222, 'd');",
            ),
            (
                Carrier::Text,
                "COPY public.t (id, karta, x) FROM stdin;\n1\t\\N\tx\n2\t4222222222222\tx\n",
            ),
        ];
        for (carrier, body) in named {
            let found = finds(response(), carrier, body);
            assert!(!found.is_empty(), "{body}");
            assert!(found.iter().all(|find| find.field == "karta"), "{body}");
        }
        let other = [
            (Carrier::Json, r#"{"columns":["karta","id"],"rows":[[1,4222222222222],[2,0]]}"#),
            (Carrier::Json, r#"{"columns":["order_id","karta"],"rows":[[4111111111111111,0]]}"#),
            (Carrier::Text, "INSERT INTO `t` (`karta`, `id`) VALUES (1,'4222222222222');"),
            (Carrier::Text, "INSERT INTO t (id, order_id) VALUES (1,'4111111111111111');"),
            (Carrier::Text, "COPY t (karta, id) FROM stdin;\n1\t4222222222222\n"),
        ];
        for (carrier, body) in other {
            assert!(finds(response(), carrier, body).is_empty(), "{body}");
        }
    }
}
