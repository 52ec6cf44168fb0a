//! The parameters of fields such as `Content-Type` and `Content-Disposition`, for two kinds of reader.
//!
//! Servers read them differently. Who must overlook nothing asks [`parameters`], which reads as loosely
//! as any of them; who must not be misled asks [`plain`], which reads nothing where two of them may
//! disagree.

/// The parameters of a field value: separated by semicolons or commas outside quotes, with blanks
/// allowed everywhere (RFC 9110 §5.6.6, and what servers accept besides); names in lower case.
#[must_use]
pub fn parameters(value: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let (mut name, mut text) = (None, String::new());
    let (mut left, mut quote) = (value.chars(), None);
    while let Some(c) = left.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            ('\\', Some(_)) => text.extend(left.next()),
            (c, Some(_)) => text.push(c),
            ('"' | '\'', None) if name.is_some() && text.trim().is_empty() => quote = Some(c),
            ('=', None) if name.is_none() => name = Some(std::mem::take(&mut text)),
            (';' | ',', None) => push(&mut found, name.take(), std::mem::take(&mut text)),
            (c, None) => text.push(c),
        }
    }
    push(&mut found, name, text);
    found
}

fn push(found: &mut Vec<(String, String)>, name: Option<String>, value: String) {
    if let Some(name) = name {
        found.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    }
}

/// What stands before the parameters, and those, where there is one way only to read them: neither in
/// names nor in values stands anything that ends or escapes something to some server. All in lower
/// case but the values.
pub(super) fn plain(value: &str) -> Option<(String, Vec<(String, &str)>)> {
    let mut pieces = value.split(';').map(str::trim).filter(|piece| !piece.is_empty());
    let kind = pieces.next().filter(|kind| is_plain(kind, "/+-.")).map(str::to_ascii_lowercase)?;
    let parameters = pieces.map(|piece| {
        let (name, value) = piece.split_once('=').filter(|(name, _)| is_plain(name, "-"))?;
        Some((name.to_ascii_lowercase(), plain_value(value)?))
    });
    Some((kind, parameters.collect::<Option<_>>()?))
}

fn plain_value(value: &str) -> Option<&str> {
    let Some(quoted) = value.strip_prefix('"') else {
        return is_plain(value, "+-._[]$").then_some(value);
    };
    let quoted = quoted.strip_suffix('"').filter(|value| !value.is_empty())?;
    let odd = |c: char| c.is_control() || matches!(c, '"' | '\\');
    (!quoted.contains(odd)).then_some(quoted)
}

fn is_plain(text: &str, others: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || others.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_server_reads_alike_is_plain() {
        for (value, expected) in [
            ("multipart/form-data; boundary=a-B", vec![("boundary", "a-B")]),
            (
                "multipart/form-data;Boundary=\"a=B\";charset=utf-8;",
                vec![("boundary", "a=B"), ("charset", "utf-8")],
            ),
            ("form-data; name=\"card[number]\"", vec![("name", "card[number]")]),
            ("application/json", vec![]),
        ] {
            let (kind, read) = plain(value).unwrap();
            assert!(value.starts_with(&kind));
            assert!(read.iter().map(|(name, value)| (name.as_str(), *value)).eq(expected));
        }
    }

    #[test]
    fn what_two_servers_read_differently_is_not() {
        for value in [
            "multipart/form-data; boundary=b,x",
            "multipart/form-data, x/y; boundary=b",
            "multipart/form-data; boundary=\"b\\c\"",
            "multipart/form-data; boundary=b x",
            "multipart/form-data; boundary =b",
            "multipart/form-data; boundary='b'",
            "multipart/form-data; boundary=a=b",
            "multipart/form-data; boundary=\"a;b\"",
            "multipart/form-data; boundary*=utf-8''b",
            "multipart/form-data; boundary",
            "multipart/form-data; boundary=\"\"",
            "form-data; name=\"a\\\"; x=\\\"b\"",
            "form-data; name=\"a\"b",
            "",
        ] {
            assert_eq!(plain(value), None, "{value}");
        }
    }
}
