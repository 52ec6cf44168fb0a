//! Bodies built as carriers are: what a blind mutation would take long to write.
//!
//! The input is a list of fields, each a byte for its name and shape and a text in which bytes from
//! 0x80 on stand for [`FRAGMENTS`].

use serde::de::IgnoredAny;
use tillgate::scan::Carrier;

use super::scan::{Setting, owed};

/// Names that say card, code, something else, or nothing.
const NAMES: [&str; 16] = [
    "card_number",
    "cc",
    "cvv",
    "securityCode",
    "order_id",
    "ean",
    "payment_no",
    "pruefziffer",
    "skip",
    "note",
    "customer[card][number]",
    "phone",
    "exp",
    "value",
    "email",
    "x",
];

/// Numbers of the providers' test pages, whole and in parts, and what may stand around digits.
const FRAGMENTS: [&str; 64] = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "378282246310005",
    "3782 822463 10005",
    "5555555555554444",
    "6011000990139424",
    "30569309025904",
    "4222222222222",
    "2223003122003222",
    "6304000000000000",
    "4111",
    "1111",
    "41111111",
    "11111111",
    "411111",
    "%34111",
    "%20",
    "+",
    "%2D",
    "\\u0034",
    "\\u0031",
    "\\u00a0",
    "\\\\u0031",
    "\\n",
    "\\\"",
    "&#52;",
    "&#x31;",
    "&nbsp;",
    "&amp;",
    "</b><b>",
    "<b>",
    "</b>",
    "<td>",
    "<!-- 1 -->",
    "<span class=\"n\">",
    "\u{ff14}",
    "\u{ff11}",
    "\u{661}",
    "\u{a0}",
    "\u{200b}",
    "\u{2013}",
    "\u{0}",
    "%B",
    "^DOE/J^2512101000000?",
    "=25121010000?",
    ";",
    "5A08",
    "9F2602",
    "57",
    "F",
    ".0",
    "3.",
    "n",
    "*",
    "card ",
    "123",
    "0930",
    " - ",
    "NDExMTExMTExMTExMTExMQ",
    "eyJuIjoiNDExMTExMTExMTExMTExMSJ9",
    "DE12 ",
    ".jpg",
    "\r\n",
];

/// Reads a byte for the setting, one for the carrier, and the others as fields.
pub fn check(data: &[u8]) {
    let [selector, family, written @ ..] = data else { return };
    let fields: Vec<Field> = written.split(|&byte| byte == 0).filter_map(Field::read).collect();
    let (carrier, body) = match family % 7 {
        0 => (Carrier::Form, joined(&fields, "&", Field::form)),
        1 => (Carrier::Json, format!("{{{}}}", joined(&fields, ",\n", Field::json))),
        2 => (Carrier::Multipart, joined(&fields, "", Field::part) + "--b--\r\n"),
        3 => (Carrier::Xml, format!("<r>{}</r>", joined(&fields, "\n", Field::element))),
        4 => (Carrier::Html, format!("<form>{}</form>", joined(&fields, "", Field::input))),
        5 => (Carrier::EventStream, joined(&fields, "", Field::event)),
        _ => (Carrier::Csv, table(&fields)),
    };
    let masked = owed(&Setting::of(*selector).with_carrier(carrier), body.as_bytes());
    if carrier == Carrier::Json && is_json(body.as_bytes()) {
        assert!(is_json(&masked), "a mask breaks the JSON: {}", masked.escape_ascii());
    }
}

/// A name, a value, and one of two ways to write it.
struct Field {
    name: &'static str,
    value: String,
    bare: bool,
}

impl Field {
    fn read(written: &[u8]) -> Option<Self> {
        let (&first, text) = written.split_first()?;
        Some(Self {
            name: NAMES[usize::from(first) % NAMES.len()],
            value: spelt(text),
            bare: first & 0x10 != 0,
        })
    }

    fn form(&self) -> String {
        if self.bare {
            return format!("{}={}", self.name, self.value);
        }
        let plain = |byte: u8| match byte {
            b' ' => "+".to_owned(),
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        };
        format!("{}={}", self.name, self.value.bytes().map(plain).collect::<String>())
    }

    fn json(&self) -> String {
        let literal = self.bare && is_json(self.value.as_bytes());
        let quoted = format!("\"{}\"", self.value);
        let value = match (literal, is_json(quoted.as_bytes())) {
            (true, _) => self.value.clone(),
            (false, true) => quoted,
            (false, false) => serde_json::Value::from(self.value.as_str()).to_string(),
        };
        format!("\"{}\": {value}", self.name)
    }

    fn part(&self) -> String {
        let file = if self.bare { "; filename=\"a.txt\"\r\nContent-Type: text/plain" } else { "" };
        let head = format!("Content-Disposition: form-data; name=\"{}\"{file}", self.name);
        format!("--b\r\n{head}\r\n\r\n{}\r\n", self.value)
    }

    fn element(&self) -> String {
        let name: String = self.name.chars().filter(char::is_ascii_alphanumeric).collect();
        if self.bare {
            return format!("<{name}><![CDATA[{}]]></{name}>", self.value);
        }
        format!("<{name}>{}</{name}>", self.value)
    }

    fn input(&self) -> String {
        if self.bare {
            return format!(
                "<p>{}: {}</p><script>var x={}</script>",
                self.name, self.value, self.value
            );
        }
        format!("<input value=\"{}\" name=\"{}\">", self.value, self.name)
    }

    fn event(&self) -> String {
        let start = if self.bare { "event: order\n" } else { "" };
        format!("{start}data: {{{}}}\n\n", self.json())
    }
}

/// The text that bytes stand for.
pub fn spelt(written: &[u8]) -> String {
    let piece = |byte: &u8| match usize::from(*byte) {
        ascii @ 0..0x80 => char::from_u32(u32::try_from(ascii).ok()?).map(String::from),
        index => Some(FRAGMENTS[index % FRAGMENTS.len()].to_owned()),
    };
    written.iter().filter_map(piece).collect()
}

fn table(fields: &[Field]) -> String {
    let cell = |field: &Field| match field.bare {
        true => field.value.clone(),
        false => format!("\"{}\"", field.value.replace('"', "\"\"")),
    };
    let head = joined(fields, ",", |field| field.name.to_owned());
    format!("{head}\n{}\n", joined(fields, ",", cell))
}

fn joined(fields: &[Field], between: &str, write: impl Fn(&Field) -> String) -> String {
    fields.iter().map(write).collect::<Vec<_>>().join(between)
}

fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}
