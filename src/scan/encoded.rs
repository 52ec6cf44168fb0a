//! Text that is encoded in another, one level down: it is read with the same rules.

use std::cell::{Cell, RefCell};

use super::cluster::{self, Cluster};
use super::judge::{self, Setting};
use super::lists::Lists;
use super::table::Table;
use super::view::View;
use super::{Carrier, Find, FindKind, boundary};

/// How far before its first certain digit a number may begin, with those beside it.
const HEAD_MAX: usize = 40;

/// A decoded stretch around a place that promises a number.
pub(super) struct Inner<'a> {
    pub(super) bytes: &'a [u8],
    /// Where the digits are that promise it.
    pub(super) first: usize,
    /// Where numbers may begin ends: those behind it are found from there.
    pub(super) until: usize,
    /// Where they are encoded.
    pub(super) place: usize,
}

impl Inner<'_> {
    /// The numbers there, with spans in the decoded bytes. Where they have no name of their own they
    /// have that of the field which holds the encoded text.
    pub(super) fn finds(&self, outer: &View<'_>, setting: &Setting<'_>) -> Vec<Find> {
        let holder = judge::field_of(outer, self.place, setting);
        if holder.as_ref().is_some_and(|field| setting.rules.is_ignored_field(&field.name)) {
            return Vec::new();
        }
        let view = View::new(self.bytes, true);
        let nested = Setting {
            rules: setting.rules,
            carrier: self.carrier(),
            table: &Table::default(),
            lists: &Lists::default(),
            holder,
            offset: 0,
            vetoed: Cell::new(0),
            cluster: RefCell::default(),
        };
        let mut finds = self.numbers(&view, &nested);
        setting.vetoed.set(setting.vetoed.get() + nested.vetoed.get());
        if setting.rules.finds_codes() && !finds.is_empty() {
            self.codes(&view, &nested, &mut finds);
        }
        finds
    }

    /// The numbers among digits that nothing but separators interrupts: the first may be no card where
    /// a later one is.
    fn numbers(&self, view: &View<'_>, nested: &Setting<'_>) -> Vec<Find> {
        let start = self.start();
        let (mut finds, mut at) = (Vec::new(), start);
        while at == start || at < self.until {
            view.focus(at);
            if cluster::read_digit(view, at).is_none() {
                if !view.byte(at).is_some_and(is_plain) {
                    break;
                }
                at += 1;
                continue;
            }
            let cluster = Cluster::read(view, at);
            if at > start && boundary::continues(view, at) {
                at = cluster.groups().first().map_or(at + 1, |group| group.end);
                continue;
            }
            judge::judge(view, &cluster, nested, &mut finds);
            let end = finds.last().map_or(0, |find| find.span.end);
            at = end.max(cluster.resume).max(at + 1);
        }
        finds
    }

    /// Verification codes behind a number.
    fn codes(&self, view: &View<'_>, nested: &Setting<'_>, finds: &mut Vec<Find>) {
        let mut at = finds.last().map_or(0, |find| find.span.end);
        while at < self.bytes.len() {
            if cluster::read_digit(view, at).is_none() {
                at += 1;
                continue;
            }
            view.focus(at);
            let cluster = Cluster::read(view, at);
            let mut codes = Vec::new();
            judge::judge(view, &cluster, nested, &mut codes);
            finds.extend(codes.into_iter().filter(|find| matches!(find.kind, FindKind::Cvv(_))));
            at = cluster.groups().first().map_or(at + 1, |group| group.end);
        }
    }

    /// What the text is, as far as numbers go: in JSON they must stay numbers.
    fn carrier(&self) -> Carrier {
        match memchr::memmem::find(self.bytes, b"\":") {
            Some(_) => Carrier::JavaScript,
            None => Carrier::Text,
        }
    }

    /// Where the digits begin that go on at `first`.
    fn start(&self) -> usize {
        let head = self.bytes.get(..self.first).unwrap_or_default();
        let plain = head.iter().rev().take(HEAD_MAX).take_while(|byte| is_plain(**byte)).count();
        let length = plain
            - head
                .get(head.len() - plain..)
                .unwrap_or_default()
                .iter()
                .take_while(|byte| !byte.is_ascii_digit())
                .count();
        self.first - length
    }
}

/// A digit, or what separates groups of them.
pub(super) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b' ' | b'-' | b'.')
}

#[cfg(test)]
mod tests {
    use super::super::tests::{finds, masked, response};
    use super::super::{Carrier, FieldRules, FindKind, Rules};

    /// What a body with an encoded text says once the text is decoded, before and after masking.
    fn masked_in(encode: fn(&[u8]) -> String, decode: fn(&str) -> Vec<u8>, text: &str) -> String {
        let masked =
            masked(response, Carrier::Json, &format!(r#"{{"v":"{}"}}"#, encode(text.as_bytes())));
        let value: serde_json::Value = serde_json::from_str(&masked).unwrap();
        String::from_utf8(decode(value["v"].as_str().unwrap())).unwrap()
    }

    #[test]
    fn encoded_numbers_are_masked_in_their_encoding() {
        use ::base64::Engine as _;
        use ::base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        fn hex(text: &[u8]) -> String {
            text.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        fn unhex(text: &str) -> Vec<u8> {
            let pairs = (0..text.len()).step_by(2);
            pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        }
        fn lines(text: &[u8]) -> String {
            let text = STANDARD.encode(text);
            let lines: Vec<&str> =
                text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
            lines.join(r"\r\n")
        }
        fn unlines(text: &str) -> Vec<u8> {
            STANDARD.decode(text.replace("\r\n", "")).unwrap()
        }
        let texts = [
            ("4111111111111111", "411111******1111"),
            ("pan 4111 1111 1111 1111", "pan 4111 11** **** 1111"),
            ("my 3782-822463-10005.", "my 3782-82****-*0005."),
            (r#"{"pan":4111111111111111,"n":1}"#, r#"{"pan":4111110000001111,"n":1}"#),
            (r#"{"card":"4222222222222"}"#, r#"{"card":"42222****2222"}"#),
            (r#"{"t":"4222222222222"}"#, r#"{"t":"4222222222222"}"#),
            (r#"{"order_id":"4111111111111111"}"#, r#"{"order_id":"4111111111111111"}"#),
            ("%B4111111111111111^DOE/J^2512101000?", "%B411111******1111^DOE/J^**********?"),
        ];
        for (text, expected) in texts {
            for pad in ["", "x ", "yy "] {
                let (text, expected) = (format!("{pad}{text}"), format!("{pad}{expected}"));
                let base64 = masked_in(
                    |text| STANDARD.encode(text),
                    |text| STANDARD.decode(text).unwrap(),
                    &text,
                );
                assert_eq!(base64, expected);
                let url = masked_in(
                    |text| URL_SAFE_NO_PAD.encode(text),
                    |text| URL_SAFE_NO_PAD.decode(text).unwrap(),
                    &text,
                );
                assert_eq!(url, expected);
                if !text.contains('-') {
                    assert_eq!(masked_in(hex, unhex, &text), expected);
                }
            }
            let broken = format!("{}{text}", "long lines, ".repeat(4));
            let expected = format!("{}{expected}", "long lines, ".repeat(4));
            assert_eq!(masked_in(lines, unlines, &broken), expected);
        }
    }

    #[test]
    fn a_card_behind_encoded_digits_that_are_none_is_found() {
        use ::base64::Engine as _;
        use ::base64::engine::general_purpose::STANDARD;
        for length in [20, 60, 100, 126, 180, 250, 300, 500, 800] {
            let digits = "123 456 7890 12 ".repeat(60);
            let text = format!("{} 4111111111111111 x", digits.get(..length).unwrap());
            let expected = text.replace("4111111111111111", "411111******1111");
            let encode = |text: &[u8]| STANDARD.encode(text);
            assert_eq!(masked_in(encode, |it| STANDARD.decode(it).unwrap(), &text), expected);
        }
    }

    #[test]
    fn digits_before_base64_are_none_of_it() {
        // 4111111111111111 in base64, behind what a mask hides: then it would be found.
        let encoded = "NDExMTExMTExMTExMTExMQ";
        let lines = [
            "4111 1111 1111 1111=1111111141111111111111",
            "%B4111111111111111^DOE/J^2512101000SETA",
            "4111111111111111",
            "4111 1111 1111 1111=1111111141111111111111N",
        ];
        let rules = || Rules::requests(FieldRules::default());
        for (line, line_break) in lines.iter().flat_map(|line| [(line, "\r\n"), (line, "\\n")]) {
            let once = masked(rules, Carrier::Text, &format!("{line}{line_break}{encoded}"));
            assert!(once.ends_with("NDExMTExKioqKioqMTExMQ"), "{once}");
        }
        let glued = format!("378282246310005D11111111{encoded}");
        assert_eq!(
            masked(rules, Carrier::Text, &glued),
            "378282*****0005D********NDExMTExKioqKioqMTExMQ"
        );
        let lettered = format!("378282246310005D2512101111o{encoded}");
        let once = masked(rules, Carrier::Text, &lettered);
        assert_eq!(masked(rules, Carrier::Text, &once), once);
        let code = format!("cvv=1234\n{encoded}");
        assert_eq!(masked(rules, Carrier::Text, &code), "cvv=****\nNDExMTExKioqKioqMTExMQ");
    }

    #[test]
    fn digits_behind_base64_without_padding_are_none_of_it() {
        // 30569309025904, whose last two digits take three characters.
        let encoded = "MzA1NjkzMDkwMjU5MDQ";
        for (line_break, next) in [("\n", "5"), ("\r\n", "12 34"), ("\\n", "0"), ("%0A", "4111")] {
            let once = masked(response, Carrier::Text, &format!("{encoded}{line_break}{next}"));
            assert_eq!(once, format!("MzA1NjkzKioqKjU5MDQ{line_break}{next}"));
        }
    }

    #[test]
    fn an_encoded_number_has_the_name_of_its_field() {
        let list = |name: &str| vec![name.to_owned()];
        let rules =
            || Rules::requests(FieldRules { ignored: list("skip"), ..FieldRules::default() });
        let found = |body| finds(rules(), Carrier::Form, body).len();
        // 4222222222222, a weak number, and 4111111111111111.
        assert_eq!(found("card=NDIyMjIyMjIyMjIyMg&a=1"), 1);
        assert_eq!(found("t=NDIyMjIyMjIyMjIyMg&a=1"), 0);
        assert_eq!(found("order_id=NDExMTExMTExMTExMTExMQ"), 0);
        assert_eq!(found("skip=NDExMTExMTExMTExMTExMQ"), 0);
        assert_eq!(found("note=NDExMTExMTExMTExMTExMQ"), 1);
        // {"pan":"4111111111111111","cvv":"123"}
        let token = "t=eyJwYW4iOiI0MTExMTExMTExMTExMTExIiwiY3Z2IjoiMTIzIn0";
        let both = finds(rules(), Carrier::Form, token);
        let [FindKind::Card { .. }, FindKind::Cvv(_)] = [&both[0].kind, &both[1].kind] else {
            panic!("the code is not found")
        };
    }
}
