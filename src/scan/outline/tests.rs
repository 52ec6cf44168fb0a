//! Names around places, in what is plain and in what is not.

use proptest::prelude::*;
use proptest::string::string_regex;

use super::*;

/// The names around the first `#` of a body, however it is cut.
fn around(content_type: &str, body: &str) -> Option<String> {
    let at = body.find('#').unwrap();
    before(content_type, &body.as_bytes()[..at])
}

/// The names around the end of a text, however it is cut.
fn before(content_type: &str, text: &[u8]) -> Option<String> {
    let names = |size: usize| {
        let mut outline = Outline::of(content_type.as_bytes());
        text.chunks(size).for_each(|piece| outline.pass(piece));
        outline.names().map(|names| names.join("/"))
    };
    let whole = names(text.len().max(1));
    assert!([1, 3, 7].iter().all(|size| names(*size) == whole), "{}", text.escape_ascii());
    whole
}

fn is(content_type: &str, table: &[(&str, Option<&str>)]) {
    for (body, expected) in table {
        assert_eq!(around(content_type, body).as_deref(), *expected, "{body}");
    }
}

#[test]
fn a_place_in_json_is_named_by_every_key_around() {
    let deep = format!("{}#", "{\"a\":".repeat(40));
    is(
        "application/json",
        &[
            (r##"{"card":{"number":"#"}}"##, Some("card/number")),
            (r##"{"a":{"b":1},"c":#}"##, Some("c")),
            (r##"{"a":["x",{"n":"#"}]}"##, Some("a/n")),
            (r##"{"a":"{\"card\":","b":"#"}"##, Some("b")),
            (r##"{"a":"\\","b":"#"}"##, Some("b")),
            (r##"{"\u0063ard":"#"}"##, Some("card")),
            (r##"{"note":"card\":{\"number\":\"#"}"##, Some("note")),
            ("{\"a\":1}\n{\"b\":\"#\"}", Some("b")),
            ("\"#\"", Some("")),
            (&deep, None),
        ],
    );
}

#[test]
fn a_place_in_a_form_is_named_by_its_field() {
    is(
        "application/x-www-form-urlencoded; charset=utf-8",
        &[
            ("a=1&source%5Bnumber%5D=4#", Some("source[number]")),
            ("a=b=#", Some("a")),
            ("#", Some("")),
            ("note=card%26number%3D#", Some("note")),
        ],
    );
}

#[test]
fn a_place_in_xml_is_named_by_the_elements_around() {
    is(
        "text/xml",
        &[
            ("<s:Body><p:Pay><Number>#</Number>", Some("Body/Pay/Number")),
            ("<a><b/><c>1</c><d x='>'>#", Some("a/d")),
            ("<a><!-- <card> --><b>#", Some("a/b")),
            ("<?xml version='1.0'?><?q v='4'?><a><![CDATA[<b>#]]>", Some("a")),
            ("<Pay number=\"#\"/>", Some("Pay/number")),
            ("<Pay a='1' card:Number='#'>", Some("Pay/Number")),
            ("<a><b></b>#", Some("a")),
            ("<a b = '#'>", None),
        ],
    );
}

#[test]
fn a_place_in_a_multipart_body_is_named_by_its_part() {
    let head =
        "--b\r\ncontent-disposition: form-data; name=\"card[number]\"; filename=\"x\"\r\n\r\n";
    let long = format!("--b\r\nx-long: {}\r\n{}#", "a".repeat(400), &head[5..]);
    let note = "--b\r\nContent-Disposition: form-data; name=note\r\n\r\n";
    is(
        "multipart/form-data; boundary=\"b\"",
        &[
            (&format!("{head}#"), Some("card[number]")),
            (&format!("{head}1\r\n{note}#"), Some("note")),
            // A text that looks like another part is none: only the boundary begins one.
            (&format!("{note}--x\r\n{}#", head.trim_start_matches("--b\r\n")), Some("note")),
            (&long, Some("card[number]")),
            (&format!("{head}1\r\n--b--\r\n#"), None),
            ("#", None),
        ],
    );
    assert_eq!(around("multipart/form-data", &format!("{head}#")), None);
}

#[test]
fn a_part_that_servers_read_differently_has_no_name() {
    let head = "--b\r\nContent-Disposition: form-data; name=\"card\"";
    for body in [
        // RFC 8187 names beside plain ones, and folded lines (RFC 5322 §2.2.3).
        &format!("{head}; name*=utf-8''note\r\n\r\n#"),
        &format!("{head}\r\n ; name=\"note\"\r\n\r\n#"),
        &format!("{head}\n\n#"),
        &format!("{head}\nX: \r\r\n\r\n#"),
        // A boundary of one reader that is content to another.
        "--b\r\nContent-Disposition: form-data; name=note\r\n\r\n1\n\
         --b\r\nContent-Disposition: form-data; name=card\r\n\r\n#",
        "--b\r\nContent-Disposition: form-data; name=note\r\n\r\n1\r\n\
         --b\nContent-Disposition: form-data; name=card\r\n\r\n#",
        "--b\r\nContent-Disposition: form-data; name=note\r\n\r\n1\r\n\
         --b-x\r\nContent-Disposition: form-data; name=card\r\n\r\n#",
    ] {
        assert_eq!(around("multipart/form-data; boundary=b", body), None, "{body}");
    }
    let two = "multipart/form-data; boundary=b; boundary*=utf-8''c";
    assert_eq!(around(two, &format!("{head}\r\n\r\n#")), None);
}

proptest! {
    #[test]
    fn no_body_panics_and_no_cut_matters(
        kind in 0..4_usize,
        body in string_regex("[a-z{}:\",\\\\<>/!?=&%;\\[\\]\r\n -]{0,200}").unwrap(),
        cut in 0..200_usize,
    ) {
        let kinds = [
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=b",
            "text/xml",
        ];
        let (mut whole, mut pieces) =
            (Outline::of(kinds[kind].as_bytes()), Outline::of(kinds[kind].as_bytes()));
        whole.pass(body.as_bytes());
        let (head, tail) = body.as_bytes().split_at(cut.min(body.len()));
        pieces.pass(head);
        pieces.pass(tail);
        prop_assert_eq!(whole.names(), pieces.names());
    }
}

#[test]
fn a_place_in_anything_else_has_no_name() {
    assert_eq!(around("text/plain", "number=#"), None);
    assert_eq!(around("", "{\"number\":\"#\"}"), None);
}

#[test]
fn what_ordinary_clients_send_has_names() {
    let json = "{ \"note\": null, \"a\":[-1.5e+3,true,\"\\u00e9\\/\"],\r\n\t\"pan\" : \"#";
    let mark = format!("\u{feff}{json}");
    let declared = "<?xml version=\"1.0\" encoding=\"ISO-8859-1\" standalone='yes'?>\n<pan>#";
    let dotnet = "\u{feff}<?xml version=\"1.0\" encoding=\"utf-16\"?><pan >#";
    let soap = "<!-- a - b --><!----><e:E xmlns:e=\"http://e/\" a='1'>\n<e:H/>\n<e:B><pan>\n#";
    let part = |boundary: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"pan\"\r\n\
             Content-Type: text/plain; charset=UTF-8\r\nContent-Length: 16\r\n\r\n#"
        )
    };
    for (content_type, body, name) in [
        ("application/json", json, "pan"),
        ("application/json;charset=UTF-8", &mark, "pan"),
        ("application/vnd.api+json; charset=\"utf-8\"", json, "pan"),
        ("text/xml; charset=iso-8859-1", declared, "pan"),
        ("application/xml", dotnet, "pan"),
        ("application/soap+xml; charset=utf-8; action=\"urn:pay/Pay#Now\"", soap, "E/B/pan"),
        ("application/x-www-form-urlencoded; charset=windows-1252", "a=%3B&pan=#", "pan"),
        // curl, Guzzle and requests; .NET; JavaMail.
        ("multipart/form-data; boundary=--------a-1", &part("--------a-1"), "pan"),
        ("multipart/form-data; boundary=\"0f-1\"", &part("0f-1"), "pan"),
        ("multipart/form-data; boundary=\"----=_Part_0_1.2\"", &part("----=_Part_0_1.2"), "pan"),
        ("multipart/form-data; charset=UTF-8; boundary=b_1", &part("b_1"), "pan"),
    ] {
        assert_eq!(around(content_type, body).as_deref(), Some(name), "{content_type} {body}");
    }
}

/// In each of these some reader finds the number in another place than the names say.
#[test]
fn what_a_second_reader_finds_elsewhere_has_no_name() {
    let json = "application/json";
    let xml = "text/xml";
    let form = "application/x-www-form-urlencoded";
    for (content_type, body) in [
        (json, "{\"card\":{\"number\":\"1\"/*\"*/},\"note\":\"#\"/*\"*/}"),
        (json, "{\"card\":{\"number\":1 /*\"*/},\"note\":\"a\",\"n2\":\"#\" }"),
        (json, "{\"card\":{\"x\":'\"',\"y\":'\"},\"note\":\"#\"',\"number\":\"1\"}}"),
        (json, "{\"card\":{\"number\":0 // \"\n},\"note\":\"#\" // \"\n}"),
        (json, "{\"card\":{\"number\":\"\\u00\",\"x\":\"#"),
        (json, "{\"card\":{\"number\":\"\\x\",\"x\":\"#"),
        (json, "{\"card\":{number:\"#"),
        (json, "{\"card\":{\"number\" \"#"),
        (json, "{\"card\":[1},\"number\":\"#"),
        (json, "{\"card.number\":\"#\"}"),
        (json, "{\"card[number]\":\"#\"}"),
        (json, "{\"number\\u0000\":\"#\"}"),
        (json, "{\"x\":1,}{\"number\":\"#\"}"),
        (json, "{\"\0x\":1,\"number\":\"#\"}"),
        (json, "+ADw-{\"number\":\"#\"}"),
        ("application/json; charset=utf-16", "{\"number\":\"#"),
        ("application/json; charset=shift_jis", "{\"number\":\"#"),
        ("application/json; charset=utf-8; charset=utf-7", "{\"number\":\"#"),
        ("application/json; x=\"; charset=utf-7\"", "{\"number\":\"#"),
        ("text/plain, application/json", "{\"number\":\"#"),
        (xml, "<r><note><!--></note><card><number>-->#<!--></number></card><note>-->"),
        (xml, "<r><note><!---></note><card><number>-->#<!---></number></card><note>-->"),
        (xml, "<r><!-- -- --><number>#"),
        (xml, "<!DOCTYPE r [<!-- ]><r><number> --><!ENTITY e \"> # \">]><r><note>&e;</note></r>"),
        (xml, "<!DOCTYPE r SYSTEM 'x'><r><number>#"),
        (xml, "<?xml version=\"1.0\" encoding=\"UTF-7\"?><r><number>1+ADw-/number+AD4- #"),
        (xml, "<?xml version=\"1.0\" encoding='IBM037'?><r><number>#"),
        (xml, "<r/><?xml version='1.0' encoding='utf-8'?><r><number>#"),
        (xml, "<r><? > <number> ?><number>#"),
        (xml, "<r><?><number>#"),
        (xml, "<r><note></r><number>#"),
        (xml, "<r><note x=a'><number y='>#"),
        (xml, "<r><note x='a'y='<number>#"),
        (xml, "<r><card.number>#"),
        (xml, "<r></r><number>#"),
        (xml, "x<number>#"),
        ("text/xml; charset=utf-7", "<r><number>#"),
        ("text/xml; charset=ibm037", "<r><number>#"),
        (form, "card[number]=1;note=#"),
        (form, "a;card[number]=#"),
        (form, "x\0y=1&card[number]=#"),
        (form, "note%00.number=#"),
        (form, " {\"x\":\"&card[number]=#\"}"),
        ("application/x-www-form-urlencoded; charset=utf-7", "card[number]=#"),
    ] {
        assert_eq!(around(content_type, body), None, "{content_type} {body}");
    }
    let mut query = Outline::of_query();
    query.pass(b"card[number]=1;note=");
    assert_eq!(query.names(), None);
    query.pass(b"1&number=");
    assert_eq!(query.names().unwrap(), ["number"]);
}

#[test]
fn letters_whose_bytes_look_like_others_have_no_name() {
    // UTF-16, in which the second text is ideograms.
    for (content_type, ascii, ideograms) in [
        ("application/json", "{\"note\":\"", "\",\"card\":{\"number\":\"  "),
        ("text/xml", "<r><note>", "<card><number>"),
    ] {
        let wide: Vec<u8> = ascii.bytes().flat_map(|byte| [0, byte]).collect();
        for mark in [&b""[..], b"\xfe\xff"] {
            let text = [mark, &wide, ideograms.as_bytes()].concat();
            assert_eq!(before(content_type, &text), None, "{}", text.escape_ascii());
        }
    }
}

#[test]
fn a_form_in_parts_that_servers_cut_differently_has_no_names() {
    let part = |boundary: &str, name: &str, value: &str| {
        format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        )
    };
    let nested = |inner: &str| part(inner, "note", "#");
    for (content_type, body) in [
        ("multipart/form-data; boundary=b,x", part("b,x", "number", &nested("b"))),
        ("multipart/form-data; x-boundary=n; boundary=c", part("c", "number", &nested("n"))),
        ("multipart/form-data; boundary=\"b\\c\"", part("bc", "number", &nested("b\\c"))),
        ("multipart/form-data; boundary=b x", part("b x", "number", &nested("b"))),
        ("multipart/form-data; boundary=b; boundary=c", part("b", "number", &nested("c"))),
        ("multipart/mixed; boundary=b", part("b", "number", "#")),
        ("multipart/form-data; boundary=b", part("b", "number", &format!("1{}", nested("b")))),
        ("multipart/form-data; boundary=b", part("b", "number", &format!("1\r{}", nested("b")))),
        ("multipart/form-data; boundary=b", part("b", "number", "1\r\n--b#")),
        ("multipart/form-data; boundary=b", format!("number=1\r\n{}", part("b", "number", "#"))),
        ("multipart/form-data; boundary=b", part("b", "number\0", "#")),
        ("multipart/form-data; boundary=b", part("b", "a\"; name=\"number", "#")),
        ("multipart/form-data; boundary=b", part("b", "number\"; filename=\"a;b\\\"", "#")),
        (
            "multipart/form-data; boundary=b",
            "--b\r\nX: --b\r\nContent-Disposition: form-data; name=number\r\n\r\n#".to_owned(),
        ),
        (
            "multipart/form-data; boundary=b",
            "--b\r\nContent-Disposition: form-data; filename=\"name=\"; name=number\r\n\r\n#"
                .to_owned(),
        ),
    ] {
        assert_eq!(around(content_type, &body), None, "{content_type} {body}");
    }
}
