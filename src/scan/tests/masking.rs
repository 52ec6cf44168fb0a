//! What is written over a find, and what stays.

use std::sync::Arc;

use bytes::Bytes;

use super::{finds, masked, named, request, response, scan};
use crate::scan::{Carrier, Rules, find_all};

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
    // However long the fraction is.
    let digits = "0111104222222222".repeat(14);
    let long = format!(r#"{{"payment_no": 41114222222222222.{digits}}}"#);
    let once = masked(named, Carrier::Json, &long);
    assert_eq!(once, format!(r#"{{"payment_no": 41114200000002222.{digits}}}"#));
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
fn a_masked_code_changes_no_name() {
    let body = "name,card_number,order_i\"cvv\":123,d\nann,4222222222222,4111111111111111\n";
    let once = masked(request, Carrier::Csv, body);
    assert!(once.contains("\"cvv\":***") && once.contains("42222****2222"), "{once}");
    assert_eq!(masked(request, Carrier::Csv, &once), once);
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
        // So it does behind the data of a track.
        "%B4111111111111111^DOE/J^251210100000-5555555555554444",
        ";4111111111111111=25121010000-5555555555554444",
        // A name is told by the words behind the last number, whether that is masked or not.
        "<p>order_id%20 4111-1111-1111-1111%20 A%20='4111-1111-1111-1111</p>",
        // What could be a number between two is none behind what a mask leaves of the first, and lists
        // the second as it does before.
        "41114111%2D44444111 1111 1111 1111 4111-1111-1111-1111",
        "41114111%2D44444111 1111 1111 1111 4111 1111 1111 1111",
    ];
    for body in cases {
        let once = masked(response, Carrier::Html, body);
        assert_eq!(masked(response, Carrier::Html, &once), once, "{body}");
    }
}
