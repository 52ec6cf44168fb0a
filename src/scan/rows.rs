//! Names of columns that stand apart from the rows: `INSERT INTO t (id, card) VALUES (…)`, `COPY t
//! (id, card) FROM stdin`, `{"columns": ["id", "card"], "rows": [[…]]}` in either order.
//!
//! Only what a decision may look at counts: a list that is further away names nothing.

use std::ops::Range;

use memchr::memmem;

use super::lists::{Element, Lists, Mark};
use super::view::View;

/// The name of the column whose value begins at `at`.
pub(super) fn column(view: &View<'_>, at: usize, lists: &Lists) -> Option<Vec<u8>> {
    let before = view.before(at);
    let value = before.strip_suffix(b"\"").or(before.strip_suffix(b"'")).unwrap_or(before);
    if matches!(value.last()?, b'\t' | b'\n') {
        return copied(view, at, value, lists);
    }
    if !matches!(value.trim_ascii_end().last(), Some(b',' | b'[' | b'(')) {
        return None;
    }
    let start = at - before.len();
    let ahead = at..at + view.ahead(at).len();
    // Most arrays have no list of names near.
    let before = |mark| lists.last(view.text(), mark, &(start..at)).is_some();
    let after =
        || ahead.end == view.text().len() || lists.first(view.text(), Mark::Key, &ahead).is_some();
    if ![Mark::Key, Mark::Values, Mark::SmallValues].into_iter().any(before) && !after() {
        return None;
    }
    let (open, place) = row(value, start, lists)?;
    let head = value.get(..open)?.trim_ascii_end();
    let range = start..start + head.len();
    match value.get(open)? {
        b'(' => inserted(view, &range, place, lists),
        _ if !matches!(head.last(), Some(b'[' | b',')) => None,
        _ => {
            let last = lists.last(view.text(), Mark::Key, &range);
            let named = last.and_then(|key| nth(view.seen(key.end, range.end), place));
            named.or_else(|| {
                // All that may be looked at must have arrived: a list may be there.
                view.want(ahead.end);
                let first = lists.first(view.text(), Mark::Key, &ahead)?;
                nth(view.seen(first.end, ahead.end), place)
            })
        }
    }
}

/// Where the row opens whose element ends the text, which begins at `start`, and how many elements
/// stand before it. A row is walked over once, for an element goes on from the one before: a MiB of
/// numbers in one row behind a list of columns took 0.86 s, and takes 0.05 s.
fn row(text: &[u8], start: usize, lists: &Lists) -> Option<(usize, usize)> {
    let end = start + text.len();
    let known = lists.element().filter(|known| (start..end).contains(&known.end));
    let from = known.as_ref().map_or(0, |known| known.end - start);
    let row = match element(text.get(from..)?) {
        Walk::Row(open, place) => Some((start + from + open, place)),
        Walk::Begins(place) => {
            known.and_then(|known| known.row).map(|(open, before)| (open, before + place))
        }
        Walk::Inside if from > 0 => match element(text) {
            Walk::Row(open, place) => Some((start + open, place)),
            Walk::Begins(_) | Walk::Inside => None,
        },
        Walk::Inside => None,
    };
    lists.keep_element(Element { end, row });
    row.filter(|(open, _)| *open >= start).map(|(open, place)| (open - start, place))
}

/// Where a walk back from an element ends.
enum Walk {
    /// At the bracket that opens the row, with so many elements before the one.
    Row(usize, usize),
    /// At the beginning of the text, where another element of the same row may end.
    Begins(usize),
    /// In something else.
    Inside,
}

/// Walks back from the element that ends the text.
fn element(text: &[u8]) -> Walk {
    let mut quote = None;
    let (mut depth, mut place) = (0_usize, 0);
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
            b'(' | b'[' if depth == 0 => return Walk::Row(at, place),
            b'(' | b'[' | b'{' if depth > 0 => depth -= 1,
            b',' if depth == 0 => place += 1,
            b'{' | b';' => return Walk::Inside,
            _ => {}
        }
    }
    if depth == 0 && quote.is_none() { Walk::Begins(place) } else { Walk::Inside }
}

/// The column of a tuple of `INSERT` that opens behind a range.
fn inserted(view: &View<'_>, head: &Range<usize>, place: usize, lists: &Lists) -> Option<Vec<u8>> {
    let values = lists.last(view.text(), Mark::Values, head);
    let values = values.or_else(|| lists.last(view.text(), Mark::SmallValues, head))?;
    let rows = view.seen(values.end, head.end).trim_ascii();
    if !rows.is_empty() && !rows.ends_with(b",") {
        return None;
    }
    names(view.seen(head.start, values.start), place)
}

/// Whether a line of `COPY … FROM stdin` may hold the byte at `at`.
pub(super) fn may_be_copied(view: &View<'_>, at: usize, lists: &Lists) -> bool {
    let start = at - view.before(at).len();
    lists.last(view.text(), Mark::Copy, &(start..at)).is_some()
}

/// The column of PostgreSQL's `COPY … FROM stdin`, whose rows are lines of cells between tabs.
fn copied(view: &View<'_>, at: usize, before: &[u8], lists: &Lists) -> Option<Vec<u8>> {
    let start = at - view.before(at).len();
    let end = start + before.len();
    let head = start..lists.last(view.text(), Mark::Copy, &(start..end))?.start;
    let line = before.get(memchr::memrchr(b'\n', before)? + 1..)?;
    names(view.seen(head.start, head.end), memchr::memchr_iter(b'\t', line).count())
}

/// One of the names of a list in parentheses that ends the text.
fn names(text: &[u8], place: usize) -> Option<Vec<u8>> {
    let list = text.trim_ascii_end().strip_suffix(b")")?;
    let list = list.get(memchr::memrchr(b'(', list)? + 1..)?;
    let name = list.split(|&byte| byte == b',').nth(place)?.trim_ascii();
    let quoted = |byte: &u8| matches!(byte, b'`' | b'"' | b'[' | b']');
    Some(name.iter().copied().filter(|byte| !quoted(byte)).collect())
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
    use super::super::tests::{finds, response};
    use super::super::{Carrier, FieldRules, Rules};

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

    #[test]
    fn an_element_is_counted_from_the_one_before_as_from_the_beginning() {
        // In requests each short number asks for its column too.
        let request = || Rules::requests(FieldRules::default());
        let rows = [
            r#"[[1,"a",4222222222222],[2,"b",4222222222222]]"#,
            r#"[["x;y",[3,{"n":4}],4222222222222]]"#,
            r#"[[1,"a \" [",4222222222222,5,6]]"#,
        ];
        for rows in rows {
            let body = format!(r#"{{"columns":["id","name","karta"],"rows":{rows}}}"#);
            let found = finds(request(), Carrier::Json, &body);
            assert_eq!(found.len(), rows.matches("4222222222222").count(), "{body}");
            assert!(found.iter().all(|find| find.field == "karta"), "{body}");
        }
        let body = r#"{"columns":["karta","id"],"rows":[[1,2],[3,4222222222222]]}"#;
        assert!(finds(request(), Carrier::Json, body).is_empty());
    }
}
