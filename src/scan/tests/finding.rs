//! What is found, and what is left alone.

use std::sync::Arc;

use bytes::Bytes;

use super::{finds, masked, named, request, response, scan};
use crate::card::{OPAQUE_RANDOM, Token};
use crate::scan::{Carrier, FieldRules, FindKind, Rules, Stream, find_all};

#[test]
fn other_numbers_are_left_alone() {
    let cases = [
        "3.4111111111111111",
        "x4111111111111111",
        "4111111111111112",
        "41111111111111111111",
        "4111-1111-1111-1111-1111",
        r#"{"order_id":"4111111111111111","ean":4012888888881881}"#,
        "411111******1111",
        "411111******1111=*******cc4111111111111111",
        "40808667-0844-9814-9520-484637630675",
        "DE12 4111 1111 1111 1111 00",
        ".4111.1111.1111.1111",
        "x=41111111.11111111 y=1",
        "/img/4111111111111111.jpg",
        r#"{"t":"4222222222222"}"#,
        "<script>fbq('init', '378282246310005');</script>",
        r#"fbq("init","4111111111111111",{})"#,
        "<a href=\"/p?variant=4111111111111111\">",
    ];
    for body in cases {
        assert_eq!(masked(response, Carrier::Text, body), body);
    }
}

#[test]
fn a_weak_number_needs_a_word_about_cards() {
    let body = r#"{"card":"4222222222222"}"#;
    assert_eq!(masked(response, Carrier::Json, body), r#"{"card":"42222****2222"}"#);
}

#[test]
fn codes_are_found_in_requests_only_and_keep_their_shape() {
    let cases = [
        (Carrier::Form, "cvv=123&exp=0930", "cvv=***&exp=0930"),
        (Carrier::Form, "cvv=12%33&exp=0930", "cvv=**%2A&exp=0930"),
        (
            Carrier::Json,
            r#"{"cvc":123,"securityCode":"1234"}"#,
            r#"{"cvc":100,"securityCode":"****"}"#,
        ),
        (Carrier::Xml, "<CVV>123</CVV>", "<CVV>***</CVV>"),
        (Carrier::Xml, "<CVV><![CDATA[123]]></CVV>", "<CVV><![CDATA[***]]></CVV>"),
        (Carrier::Xml, "<a:cvv>\r\n\t123\r\n</a:cvv>", "<a:cvv>\r\n\t***\r\n</a:cvv>"),
        (Carrier::Xml, "<cvNumber>123</cvNumber>", "<cvNumber>***</cvNumber>"),
        (Carrier::Text, "cvv: 123", "cvv: ***"),
        (Carrier::Json, r#"{"cvv":"12345","zip":"123"}"#, r#"{"cvv":"12345","zip":"123"}"#),
    ];
    for (carrier, body, expected) in cases {
        assert_eq!(masked(request, carrier, body), expected);
        assert_eq!(masked(response, carrier, body), body);
    }
    let part = "--b\r\nContent-Disposition: form-data; name=\"cvv\"\r\n\r\n123\r\n--b--\r\n";
    assert_eq!(masked(request, Carrier::Multipart, part), part.replace("123", "***"));
}

#[test]
fn a_code_beside_its_card_is_found_however_the_pair_is_written() {
    let cases = [
        (Carrier::Text, "{Number:4111111111111111 CVV:123 exp:0330}", "cvv"),
        (Carrier::Text, "Number: 4111-1111-1111-1111 CVV: 123", "cvv"),
        (
            Carrier::Form,
            "data=%7B%22number%22%3A%224111111111111111%22%2C%22cvv%22%3A%22123%22%7D",
            "cvv",
        ),
        (Carrier::Form, "n=4111111111111111&d=%7B%22n%22%3A1%2C%22cvv%22%3A123%7D", "cvv"),
        (Carrier::Form, "n=4111111111111111&d=%7B%22cvv%22%3A+%221234%22%7D", "cvv"),
        (Carrier::Form, "n=4111111111111111&cvv=+123", "cvv"),
        (Carrier::Json, r#"[{"n":"4111111111111111"},{"name":"cvv","value":"123"}]"#, "cvv"),
        (Carrier::Json, r#"[{"n":"4111111111111111"},{"value":123,"key":"cvv"}]"#, "cvv"),
        (
            Carrier::Json,
            r#"{\"n\":\"4111111111111111\"},{\"name\":\"cvv\",\"value\":\"123\"}"#,
            "cvv",
        ),
        (Carrier::Json, r#"{"n":"4111111111111111","cvv":{"value":"123"}}"#, "cvv"),
        (Carrier::Json, r#"{"n":"4111111111111111","cvv" : {"t":1, "value" : 123}}"#, "cvv"),
        (Carrier::Json, r#"{\"n\":\"4111111111111111\",\"cvv\":{\"value\":\"123\"}}"#, "cvv"),
        (
            Carrier::Xml,
            "<n>4111111111111111</n><member><name>cvv</name>\n<value><string>123</string>",
            "cvv",
        ),
        (
            Carrier::Xml,
            "<n>4111111111111111</n><member><name> cvv </name><value><int>123</int>",
            "cvv",
        ),
        (Carrier::Xml, "<n>4111111111111111</n><field name=\"cvv\">123</field>", "cvv"),
        (Carrier::Form, "n=4111111111111111&cvv=123+", "cvv"),
        (Carrier::Form, "n=4111111111111111&cvv=%20123%20&exp=0330", "cvv"),
    ];
    for (carrier, body, name) in cases {
        let found = finds(request(), carrier, body);
        let [card, code] = &found[..] else { panic!("{} found: {body}", found.len()) };
        let kinds = (&card.kind, &code.kind);
        assert!(matches!(kinds, (FindKind::Card { .. }, FindKind::Cvv(_))), "{body}");
        assert_eq!(code.field, name, "{body}");
        let once = masked(request, carrier, body);
        assert_eq!(masked(request, carrier, &once), once);
    }
}

#[test]
fn configured_fields_decide() {
    let find = |body| finds(named(), Carrier::Form, body);
    assert!(matches!(find("payment_no=4111111111111112")[0].kind, FindKind::InvalidCard { .. }));
    assert!(matches!(find("payment_no=4222222222222")[0].kind, FindKind::Card { .. }));
    assert!(matches!(find("pruefziffer=123")[0].kind, FindKind::Cvv(_)));
    assert!(find("skip=4111111111111111").is_empty());
    let both = find("payment_no=411111111111112+4111+1111+1111+1111");
    assert!(matches!(both[0].kind, FindKind::InvalidCard { .. }));
    assert!(matches!(both[1].kind, FindKind::Card { .. }));
    assert_eq!((both[0].span.len(), both[1].span.len()), (15, 19));
    assert_eq!(find("Order[payment_no]=4111111111111112")[0].field, "order[payment_no]");
}

#[test]
fn strict_rules_lift_the_veto_of_names() {
    let body = r#"{"order_id":"4111111111111111"}"#;
    let expected = r#"{"order_id":"411111******1111"}"#;
    assert_eq!(masked(|| response().strict(), Carrier::Json, body), expected);
}

#[test]
fn cards_in_a_row_are_all_found() {
    let cards =
        ["5555 5555 5555 4444", "4111 1111 1111 1111", "4012 8888 8888 1881", "3782 822463 10005"];
    for length in [2, 3, 9, 12, 40] {
        for turn in 0..cards.len() {
            let row: Vec<_> = cards.into_iter().cycle().skip(turn).take(length).collect();
            let text = Bytes::from(row.join(" "));
            let finds = find_all(&Arc::new(response()), Carrier::Text, &text);
            assert_eq!(finds.len(), length, "{row:?}");
        }
    }
}

#[test]
fn numbers_are_found_wherever_people_put_them() {
    let utf16: String = "card 4111 1111 1111 1111.".chars().flat_map(|c| [c, '\0']).collect();
    let cases = [
        "POST /pay/4111111111111111/confirm HTTP/1.1",
        "GET /x?a=%224111111111111111%22&b=1",
        "(4111111111111111), [5555555555554444]; {378282246310005}",
        "Card:\t4111-1111-1111-1111\tvalid 03/29",
        "4111111111111111/03/29/123",
        "4111111111111111:03:29:123",
        "Zahlung mit Kartennr.4111 1111 1111 1111!",
        "my card (4111 1111 1111 1111) and my phone +49 170 1234567",
        "4111 1111 =\r\n1111 1111",
        "**Karte**-4111111111111111",
        "<td>4111 1111 1111 1111</td><td>12</td>",
        "<b>4111</b> <b>1111</b> <b>1111</b> <b>1111</b>",
        r#"{"a":"\u003cb\u003e4111111111111111\u003c/b\u003e"}"#,
        r#"{"html":"<b>4111<\/b><b>1111<\/b><b>1111<\/b><b>1111<\/b>"}"#,
        r#"{\"pan\":\"4111111111111111\"}"#,
        r"var card = 4111111111111111n;",
        "line one\\n4111111111111111\\nline three",
        "2026-11-02 10:22:07 4111111111111111 ok",
        "\u{1b}[1;31m4111111111111111\u{1b}[0m",
        r"\u001b[31m4111111111111111\u001b[0m",
        "eyJuIjoiNDExMTExMTExMTExMTExMSJ9",
        "to=%252Fpay%253Fpan%253D4111111111111111%2526x%253D1",
        "j=%257B%2522n%2522%253A%25224111%25201111%25201111%25201111%2522%257D",
        "9F6B134111111111111111D29121010000012300000F",
        &utf16,
    ];
    for body in cases {
        let text = Bytes::copy_from_slice(body.as_bytes());
        assert!(!find_all(&Arc::new(response()), Carrier::Text, &text).is_empty(), "{body}");
    }
}

#[test]
fn numbers_left_alone_for_their_name_are_counted() {
    let body = r#"{"order_id":"4111111111111111","ean":4012888888881881,"n":"5555555555554444"}"#;
    let mut stream = Stream::new(Arc::new(response()), Carrier::Json);
    let mut decided = Vec::new();
    for piece in body.as_bytes().chunks(3) {
        stream.push(Bytes::copy_from_slice(piece), &mut decided);
    }
    stream.finish(&mut decided);
    assert_eq!(stream.vetoed(), 2);
}

fn opaque() -> String {
    Token::opaque(&[41; OPAQUE_RANDOM]).to_string()
}

#[test]
fn an_opaque_token_is_found_in_requests_wherever_it_stands_and_however_it_is_cut() {
    let token = opaque();
    for body in [
        format!("a=1&source={token}&b=2"),
        format!("{{\"card\":{{\"number\":\"{token}\"}}}}"),
        format!("%22{token}%22 tok_visa tok_{}", "4".repeat(30)),
        format!("<n>{token}</n> to tok tok_"),
        token.clone(),
    ] {
        for chunk in [1, 2, 5, 25, 26, 27, 500] {
            let runs = scan(request(), Carrier::Json, &body, chunk);
            let finds: Vec<_> = runs
                .iter()
                .flat_map(|run| run.finds.iter().map(|find| &run.bytes[find.span.clone()]))
                .collect();
            assert_eq!(finds, [token.as_bytes()], "{chunk}: {body}");
        }
        assert!(finds(response(), Carrier::Json, &body).is_empty(), "an answer passes: {body}");
    }
}

#[test]
fn what_only_looks_like_an_opaque_token_is_left_alone() {
    let token = opaque();
    for body in [
        "tok_1NnZ2LHMNvFVnyEbhDyXYZ".to_owned(),
        "tok_visa".to_owned(),
        format!("{token}x"),
        format!("{token}_2"),
        token[..25].to_owned(),
        token.to_uppercase(),
    ] {
        assert!(finds(request(), Carrier::Text, &body).is_empty(), "{body}");
    }
}

#[test]
fn a_number_that_fails_luhn_is_found_on_the_way_to_a_gateway_only() {
    let rules = || Rules::gateway(FieldRules::default());
    for body in ["number=4111111111111112&x=1", "n=5555+5555+5555+4445", "a=378282246310006"] {
        let found = finds(rules(), Carrier::Form, body);
        assert!(matches!(found[0].kind, FindKind::InvalidCard { .. }), "{body}");
        assert!(finds(request(), Carrier::Form, body).is_empty(), "{body}");
    }
    for body in ["n=9111111111111112", "n=x4111111111111112", "n=41111111111111121234"] {
        assert!(finds(rules(), Carrier::Form, body).is_empty(), "{body}");
    }
}
