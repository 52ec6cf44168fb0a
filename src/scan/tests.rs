use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::card::{OPAQUE_RANDOM, Token};

fn scan(rules: Rules, carrier: Carrier, body: &str, chunk: usize) -> Vec<Decided> {
    let mut stream = Stream::new(Arc::new(rules), carrier);
    let mut decided = Vec::new();
    for piece in body.as_bytes().chunks(chunk.max(1)) {
        stream.push(Bytes::copy_from_slice(piece), &mut decided);
    }
    stream.finish(&mut decided);
    decided
}

pub(super) fn finds(rules: Rules, carrier: Carrier, body: &str) -> Vec<Find> {
    scan(rules, carrier, body, 64).into_iter().flat_map(|run| run.finds).collect()
}

/// The body with every find masked; cut in every way, it must be the same.
pub(super) fn masked(rules: fn() -> Rules, carrier: Carrier, body: &str) -> String {
    let mask = |chunk| {
        let mut text = Vec::new();
        for decided in scan(rules(), carrier, body, chunk) {
            let mut run = decided.bytes.to_vec();
            decided.finds.iter().for_each(|find| find.mask(&mut run));
            text.extend_from_slice(&run);
        }
        String::from_utf8_lossy(&text).into_owned()
    };
    let whole = mask(body.len());
    for chunk in [1, 2, 3, 5, 17] {
        assert_eq!(mask(chunk), whole, "cut into {chunk}: {body}");
    }
    whole
}

pub(super) fn response() -> Rules {
    Rules::responses(FieldRules::default())
}

fn request() -> Rules {
    Rules::requests(FieldRules::default())
}

fn named() -> Rules {
    let list = |name: &str| vec![name.to_owned()];
    Rules::requests(FieldRules {
        card: list("payment_no"),
        cvv: list("pruefziffer"),
        ignored: list("skip"),
    })
}

#[test]
fn numbers_are_masked_in_the_writing_of_the_place() {
    let cases = [
        (Carrier::Form, "pan=4111111111111111&x=1", "pan=411111******1111&x=1"),
        (Carrier::Form, "n=4111+1111+1111+1111", "n=4111+11**+****+1111"),
        (Carrier::Form, "n=4111%201111%201111%201111", "n=4111%2011**%20****%201111"),
        (Carrier::Form, "c=3782822463%31%300%305", "c=378282****%2A%300%305"),
        (
            Carrier::Json,
            r#"{"n":"4111\u0031111\u00311111111"}"#,
            r#"{"n":"4111\u00311**\u002a***1111"}"#,
        ),
        (
            Carrier::Html,
            "<b>4111&nbsp;1111&nbsp;1111&nbsp;1111</b>",
            "<b>4111&nbsp;11**&nbsp;****&nbsp;1111</b>",
        ),
        (Carrier::Html, "<i>41111</i><i>1111111111</i>1", "<i>41111</i><i>1******111</i>1"),
        (Carrier::Xml, "<n>&#52;111111111&#x31;11111</n>", "<n>&#52;11111****&#x2a;*1111</n>"),
        (
            Carrier::Text,
            "４１１１　１１１１　１１１１　１１１１",
            "４１１１　１１＊＊　＊＊＊＊　１１１１",
        ),
        (
            Carrier::Text,
            "%B4111111111111111^DOE/J^2512101000000?",
            "%B411111******1111^DOE/J^*************?",
        ),
        (Carrier::Text, "5A0841111111111111119F360212AB", "5A0841111100000011119F360212AB"),
    ];
    for (carrier, body, expected) in cases {
        assert_eq!(masked(response, carrier, body), expected);
    }
}

#[test]
fn numbers_that_share_a_group_are_masked_together() {
    let cases = [
        // 378282246310005 behind digits that make 4111 1111 1511 3782 of it.
        ("4111 1111 1511 3782 822463 10005", "4111 11** **** **** ****** *0005"),
        ("5555 5555 5555 4444 822463 10005", "5555 55** **** 4444 822463 10005"),
        // The last four of one begin the other, behind a star in another writing.
        ("41111141111111&#x31;3782 822463 10005", "411111********&#x2a;3782 822463 10005"),
    ];
    for (body, expected) in cases {
        let once = masked(response, Carrier::Text, body);
        assert_eq!(once, expected);
        assert_eq!(masked(response, Carrier::Text, &once), once);
    }
}

#[test]
fn digits_of_another_number_stay_where_a_number_is_replaced() {
    let body = "4111 1111 1511 3782 822463 10005";
    let [find] = &finds(response(), Carrier::Text, body)[..] else { panic!("not one find") };
    let mut written = body.as_bytes().to_vec();
    find.write_digits(&mut written, b"5555555555554444");
    assert_eq!(written, b"5555 5555 5555 4444 822463 10005");
    assert_eq!(find.replaced(body.as_bytes(), b"tok"), b"tok 822463 10005");
}

#[test]
fn a_json_number_stays_a_number_and_is_no_card() {
    let body = r#"{"card":4111111111111111,"float":[5555555555554444.0]}"#;
    let once = masked(response, Carrier::Json, body);
    assert_eq!(once, r#"{"card":4111110000001111,"float":[5555550000004444.0]}"#);
    assert_eq!(masked(response, Carrier::Json, &once), once);
    let blanks = " ".repeat(3000);
    let once = masked(response, Carrier::Json, &format!("[4111111111111111{blanks}]"));
    assert_eq!(once, format!("[4111110000001111{blanks}]"));
    // Also where the point stands in the middle, and only its field makes it a card number.
    let fraction = r#"{"payment_no": 41111111.0111190}"#;
    let once = masked(named, Carrier::Json, fraction);
    assert_eq!(once, r#"{"payment_no": 41111100.0001190}"#);
}

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
fn a_number_within_a_tag_is_no_gap_of_another() {
    let cases = [
        (
            r#"4111<b x="5555555555554444">1111</b>11111111"#,
            r#"4111<b x="555555******4444">1111</b>11111111"#,
        ),
        ("4111<b:1>1111</b>11111111", "4111<b:1>1111</b>11111111"),
    ];
    for (body, expected) in cases {
        let once = masked(response, Carrier::Html, body);
        assert_eq!(once, expected);
        assert_eq!(masked(response, Carrier::Html, &once), once);
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
fn a_masked_code_changes_no_name() {
    let body = "name,card_number,order_i\"cvv\":123,d\nann,4222222222222,4111111111111111\n";
    let once = masked(request, Carrier::Csv, body);
    assert!(once.contains("\"cvv\":***") && once.contains("42222****2222"), "{once}");
    assert_eq!(masked(request, Carrier::Csv, &once), once);
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

#[test]
fn a_whole_text_is_searched_at_once() {
    let text = Bytes::from("a 4111 1111 1111 1111 b 5555555555554444");
    let finds = find_all(&Arc::new(response()), Carrier::Text, &text);
    let spans: Vec<_> = finds.iter().map(|find| find.span.clone()).collect();
    assert_eq!(spans, [2..21, 24..40]);
}

#[test]
fn a_body_without_cards_is_handed_on_as_the_buffer_it_came_in() {
    let body = Bytes::from("<p>no numbers here, only 12 words</p>".repeat(400));
    let mut stream = Stream::new(Arc::new(response()), Carrier::Html);
    let mut decided = Vec::new();
    stream.push(body.clone(), &mut decided);
    stream.finish(&mut decided);
    assert_eq!(decided.len(), 1);
    assert_eq!(decided[0].bytes.as_ptr(), body.as_ptr());
}

#[test]
fn what_cannot_go_on_is_not_held_back() {
    let events = [
        "data: {\"price\": 12}\n\n",
        "data: 4111 1111 1111 1111\n\n",
        "data: 5&nbsp;€ or 10%</span> of 7 €\n\n",
        "data: {\"pan\":\"4111111111111111\"}\n\n",
        "id: 17\ndata: a=b;c=d&e=%34\n\n",
    ];
    let mut stream = Stream::new(Arc::new(response()), Carrier::EventStream);
    for event in events {
        let mut decided = Vec::new();
        stream.push(Bytes::from(event), &mut decided);
        let passed: usize = decided.iter().map(|run| run.bytes.len()).sum();
        assert_eq!(passed, event.len(), "{event}");
    }
}

#[test]
fn little_is_held_back_of_anything() {
    for text in
        ["1", "1 ", "4111-", "<b>4</b>", "%34", "&#52;", "MTExMTExMTEx", "5A08", "\u{200b}1"]
    {
        let mut stream = Stream::new(Arc::new(request()), Carrier::Html);
        let mut decided = Vec::new();
        let body = text.repeat(100_000 / text.len());
        stream.push(Bytes::from(body.clone()), &mut decided);
        let passed: usize = decided.iter().map(|run| run.bytes.len()).sum();
        assert!(body.len() - passed <= 1024, "{text}: {} held", body.len() - passed);
    }
}

fn opaque() -> String {
    Token::opaque(&[41; OPAQUE_RANDOM]).to_string()
}

/// The body with every find written over by `text`.
fn replaced(rules: Rules, carrier: Carrier, body: &[u8], text: &[u8]) -> Vec<u8> {
    let body = Bytes::copy_from_slice(body);
    let mut edited = body.to_vec();
    for find in find_all(&Arc::new(rules), carrier, &body).into_iter().rev() {
        edited.splice(find.span.clone(), find.replaced(&body, text));
    }
    edited
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

#[test]
fn a_text_takes_the_place_of_a_number_in_every_writing() {
    let cases = [
        (Carrier::Form, "n=4111+1111+1111+1111&x=1", "n=T&x=1"),
        (Carrier::Form, "c=3782822463%31%300%305", "c=T"),
        (Carrier::Json, r#"{"n":"4111\u0031111\u00311111111"}"#, r#"{"n":"T"}"#),
        (
            Carrier::Html,
            "<b>4111</b><b>1111</b><b>1111</b><b>1111</b>",
            "<b>T</b><b></b><b></b><b></b>",
        ),
        (Carrier::Text, "４１１１　１１１１　１１１１　１１１１.", "T."),
    ];
    for (carrier, body, expected) in cases {
        let edited = replaced(response(), carrier, body.as_bytes(), b"T");
        assert_eq!(String::from_utf8_lossy(&edited), expected);
    }
    let wide = |text: &str| -> Vec<u8> { text.bytes().flat_map(|byte| [byte, 0]).collect() };
    let edited = replaced(response(), Carrier::Text, &wide("n 4111111111111111."), b"tok");
    assert_eq!(edited, wide("n tok."));
}

#[test]
fn no_text_takes_the_place_of_a_number_whose_length_is_told() {
    let holds = |carrier, body: &[u8]| {
        let body = Bytes::copy_from_slice(body);
        find_all(&Arc::new(response()), carrier, &body)[0].holds_text()
    };
    for body in [
        &b"{\"card\":4111111111111111}"[..],
        b"s:6:\"ccnumb\";s:16:\"4111111111111111\";",
        b"\"s:16:\\\"4111111111111111\\\"\"",
        b"\x0a\x104111111111111111",
        b"\x82\xb04111111111111111",
        b"\x11\x00\x00\x004111111111111111\x00",
        b"eyJuIjoiNDExMTExMTExMTExMTExMSJ9",
    ] {
        assert!(!holds(Carrier::Json, body), "{}", body.escape_ascii());
    }
    for body in ["\"4111111111111111\"", "\"\t4111111111111111\"", "n：4111111111111111"] {
        assert!(holds(Carrier::Json, body.as_bytes()), "{body}");
    }
}

#[test]
fn written_digits_keep_the_writing_of_each() {
    let body = r"3\u00378282246310005";
    let mut runs = scan(response(), Carrier::Json, body, 64);
    let decided = runs.remove(runs.len() - 1);
    let mut run = decided.bytes.to_vec();
    decided.finds[0].write_digits(&mut run, b"340000000000009");
    assert_eq!(String::from_utf8_lossy(&run), r"3\u00340000000000009");
}

#[test]
fn masking_leaves_nothing_for_a_second_pass() {
    let cases = [
        // The comment ends where a tag in it does, and the second number begins in it.
        "[\"378282246310005<!-- \",\"601100\u{0}099013</b><b>9424\"]",
        "378282246310005<!-- 6011</b>0009<b>9013</b>9424",
        // The dash joins the number to the five before it, also when what stands before that is masked.
        "4111 1111 1111 1111 5 %2D 4111 1111 1111 1111 5",
        "4111 1111 1111 1111 5 &#45; 4111 1111 1111 1111 5",
    ];
    for body in cases {
        let once = masked(response, Carrier::Html, body);
        assert_eq!(masked(response, Carrier::Html, &once), once, "{body}");
    }
}
