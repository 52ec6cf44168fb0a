//! `application/x-www-form-urlencoded`, as browsers write it and shops read it.

/// The fields of a form, in order.
pub(super) struct Form(Vec<(String, String)>);

impl Form {
    /// Reads a body or a query; what is not UTF-8 becomes U+FFFD.
    pub(super) fn parse(text: &[u8]) -> Self {
        let pairs = text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| {
                    let mut sides = pair.splitn(2, |&byte| byte == b'=');
                    let mut side = || decode(sides.next().unwrap_or_default());
                    (side(), side())
                })
                .collect(),
        )
    }

    /// The first field of that name, trimmed; empty where there is none.
    pub(super) fn field(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.trim()).unwrap_or_default()
    }
}

/// Writes fields as a browser would.
pub(super) fn encode(fields: &[(&str, &str)]) -> String {
    let pairs = fields.iter().map(|(key, value)| format!("{}={}", escape(key), escape(value)));
    pairs.collect::<Vec<_>>().join("&")
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' ' => escaped.push('+'),
            b'*' | b'-' | b'.' | b'_' => escaped.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("%{byte:02X}")),
        }
    }
    escaped
}

fn decode(text: &[u8]) -> String {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'+', _) => decoded.push(b' '),
            (b'%', &[high, low, ref tail @ ..]) => match hex(high, low) {
                Some(value) => {
                    decoded.push(value);
                    rest = tail;
                }
                None => decoded.push(byte),
            },
            _ => decoded.push(byte),
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

fn hex(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_browser_writes_is_read_back() {
        let written = encode(&[("card[number]", "4111 1111 1111 1111"), ("name", "Zoë & Co=1%")]);
        assert!(written.starts_with("card%5Bnumber%5D=4111+1111+1111+1111&name=Zo%C3%AB+%26"));
        let form = Form::parse(written.as_bytes());
        assert_eq!(form.field("card[number]"), "4111 1111 1111 1111");
        assert_eq!(form.field("name"), "Zoë & Co=1%");
        assert_eq!(form.field("absent"), "");
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(Form::parse(b"a=%4&b=%zz&c=100%").field("a"), "%4");
        assert_eq!(Form::parse(b"a=%4&b=%zz&c=100%").field("b"), "%zz");
        assert_eq!(Form::parse(b"a=%4&b=%zz&c=100%").field("c"), "100%");
        assert_eq!(Form::parse(b"a=%ff").field("a"), "\u{fffd}");
    }
}
