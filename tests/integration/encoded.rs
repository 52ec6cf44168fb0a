//! Cards one level down (issue item 3) and in tracks: what arrives is decoded again and compared.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::harness::{Sidecar, Upstream, cards};

/// A way to write a text in a field, and to read it again.
struct Encoding {
    name: &'static str,
    write: fn(&str) -> String,
    read: fn(&str) -> String,
}

const ENCODINGS: [Encoding; 4] = [
    Encoding {
        name: "base64",
        write: |text| STANDARD.encode(text),
        read: |text| String::from_utf8(STANDARD.decode(text).unwrap()).unwrap(),
    },
    Encoding {
        name: "base64 in lines",
        write: |text| lines(&STANDARD.encode(text)),
        read: |text| String::from_utf8(STANDARD.decode(text.replace("\r\n", "")).unwrap()).unwrap(),
    },
    Encoding {
        name: "token",
        write: |text| format!("eyJhbGciOiJub25lIn0.{}.c2ln", URL_SAFE_NO_PAD.encode(text)),
        read: |text| {
            let payload = text.split('.').nth(1).unwrap();
            String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
        },
    },
    Encoding {
        name: "hexadecimal",
        write: |text| text.bytes().map(|byte| format!("{byte:02X}")).collect(),
        read: |text| {
            let octet = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            String::from_utf8((0..text.len()).step_by(2).map(octet).collect()).unwrap()
        },
    },
];

/// Lines of 76 characters (RFC 2045 §6.8).
fn lines(text: &str) -> String {
    let lines = text.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap());
    lines.collect::<Vec<_>>().join("\r\n")
}

fn inner(number: &str) -> String {
    format!(
        "{{\"name\":\"Ada Löw\",\"card\":{{\"number\":\"{number}\",\"to\":\"1230\"}},\"n\":[1.5]}}"
    )
}

fn body(text: &str) -> String {
    serde_json::json!({ "data": text, "amount": 1250 }).to_string()
}

#[test]
fn p1_an_encoded_card_reaches_the_shop_as_an_encoded_token() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    for Encoding { name, write, read } in ENCODINGS {
        let card = cards::fresh("visa");
        let sent = body(&write(&inner(&card)));
        assert_eq!(client.json("/pay", &sent).status, 200, "{name}");
        let seen = shop.last();
        let text = read(seen.json()["data"].as_str().unwrap());
        let token = serde_json::from_str::<serde_json::Value>(&text).unwrap()["card"]["number"]
            .as_str()
            .unwrap()
            .to_owned();
        cards::assert_brand_four(&token, &card);
        assert_eq!(text, inner(&token), "{name}: only the digits may differ");
        assert_eq!(seen.text(), body(&write(&text)), "{name}: nor may the writing");
    }
}

#[test]
fn p1_an_encoded_card_in_an_answer_is_masked_in_its_encoding() {
    for Encoding { name, write, read } in ENCODINGS {
        let card = cards::fresh("mastercard");
        let shop = Upstream::fixed("application/json", body(&write(&inner(&card))));
        let answer = Sidecar::start(&shop, "").https().get("/orders");
        let value: serde_json::Value = serde_json::from_str(&answer.text()).unwrap();
        let text = read(value["data"].as_str().unwrap());
        assert_eq!(text, inner(&cards::masked(&card)), "{name}");
    }
}

#[test]
fn nothing_of_a_track_is_left_behind_the_number_in_an_answer() {
    let card = cards::fresh("visa");
    let page = |number: &str, first: &str, second: &str| {
        format!("{{\"t1\":\"%B{number}^DOE/J^{first}?\",\"t2\":\";{number}={second}?\"}}")
    };
    let body = page(&card, "3012101X0000", "30121010000012345678");
    let shop = Upstream::fixed("application/json", body);
    let answer = Sidecar::start(&shop, "").https().get("/terminal");
    let expected = page(&cards::masked(&card), &"*".repeat(12), &"*".repeat(20));
    assert_eq!(answer.text(), expected);
}

#[test]
fn a_track_in_any_writing_is_refused() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    let number = || cards::fresh("visa");
    for form in [
        format!("t=%25B{}%5EDOE%2FJ%5E3012101000000%3F", number()),
        format!("t=%3B{}%3D30121010000012345678%3F", number()),
        format!("t={}D30121010000012345678F", number()),
        format!("t={}", STANDARD.encode(format!(";{}=3012101000001234?", number()))),
    ] {
        client.form("/pay", &form).assert_refused(422);
    }
    let json = format!("{{\"t\":\";{}\\u003d30121010000012345678?\"}}", number());
    client.json("/pay", &json).assert_refused(422);
    assert_eq!(shop.count(), 0);
}
