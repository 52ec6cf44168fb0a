//! Cards in requests: what the shop receives instead (issue item 5, promises P1, P3 and P8).

use std::io::Write;
use std::process::{Command, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::harness::{Setup, Sidecar, Upstream, cards, eventually};

#[test]
fn p1_the_shop_receives_a_token_for_a_card_in_a_form() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let answer = sidecar.https().form("/pay", &format!("name=Ada+L&number={card}&note=%C3%A9"));
    assert_eq!(answer.status, 200);
    let seen = shop.last();
    let token = seen.form("number");
    cards::assert_brand_four(&token, &card);
    assert_eq!(seen.text(), format!("name=Ada+L&number={token}&note=%C3%A9"));
}

#[test]
fn p1_every_brand_becomes_a_token_of_its_brand_and_length() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    for brand in ["visa", "mastercard", "amex", "discover", "jcb"] {
        let card = cards::fresh(brand);
        assert_eq!(client.form("/pay", &format!("number={card}")).status, 200);
        cards::assert_brand_four(&shop.last().form("number"), &card);
    }
}

#[test]
fn separators_stay_where_the_customer_typed_them() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    for separator in ["+", "-", "%20", "%2D"] {
        let card = cards::fresh("visa");
        let body = format!("number={}&x=1", cards::grouped(&card, separator));
        assert_eq!(client.form("/pay", &body).status, 200);
        let value = shop.last().form("number");
        let token = value.replace(separator, "");
        cards::assert_brand_four(&token, &card);
        assert_eq!(value, cards::grouped(&token, separator));
    }
}

#[test]
fn p8_a_json_string_stays_a_string_and_a_number_stays_a_number() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let (text, number) = (cards::fresh("visa"), cards::fresh("mastercard"));
    let around = |a: &str, b: &str| {
        format!("{{ \"card\":{{\"number\" : \"{a}\",\"alt\":{b}}},\n\t\"qty\": 1.50, \"é\":null}}")
    };
    let answer = sidecar.https().json("/api/pay", &around(&text, &number));
    assert_eq!(answer.status, 200);
    let seen = shop.last();
    let first = seen.json()["card"]["number"].as_str().unwrap().to_owned();
    let second = seen.json()["card"]["alt"].as_u64().unwrap().to_string();
    cards::assert_brand_four(&first, &text);
    cards::assert_brand_four(&second, &number);
    assert_eq!(seen.text(), around(&first, &second), "only the digits may differ");
}

#[test]
fn multipart_text_parts_are_tokenized_and_files_arrive_bit_for_bit() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let picture: Vec<u8> = (0..=255).cycle().take(5_000).collect();
    let build = |number: &str| {
        let mut body = format!(
            "--Q7\r\nContent-Disposition: form-data; name=\"card_number\"\r\n\r\n{number}\r\n\
             --Q7\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\
             Content-Type: image/png\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(&picture);
        body.extend_from_slice(b"\r\n--Q7--\r\n");
        body
    };
    let answer = sidecar.https().post("/pay", "multipart/form-data; boundary=Q7", build(&card));
    assert_eq!(answer.status, 200);
    let seen = shop.last();
    let start = build("").windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let token = std::str::from_utf8(&seen.body[start..start + card.len()]).unwrap().to_owned();
    cards::assert_brand_four(&token, &card);
    assert_eq!(seen.body, build(&token));
}

#[test]
fn plain_text_is_tokenized() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("amex");
    let answer =
        sidecar.https().post("/note", "text/plain", format!("please charge {card}, thanks"));
    assert_eq!(answer.status, 200);
    let text = shop.last().text();
    let token = text.strip_prefix("please charge ").unwrap().strip_suffix(", thanks").unwrap();
    cards::assert_brand_four(token, &card);
}

#[test]
fn one_card_has_one_token_and_a_token_posted_again_is_left() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    let card = cards::fresh("visa");
    let mut post = |body: String| {
        assert_eq!(client.form("/pay", &body).status, 200);
        shop.last().form("number")
    };
    let token = post(format!("number={card}"));
    assert_eq!(post(format!("number={card}")), token);
    assert_eq!(post(format!("number={token}")), token);
}

#[test]
fn a_card_over_http2_is_tokenized() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let fields = [("content-type", "application/json")];
    let body = format!("{{\"pan\":\"{card}\"}}");
    assert_eq!(sidecar.h2().request("POST", "/pay", &fields, body.as_bytes()).status, 200);
    cards::assert_brand_four(shop.last().json()["pan"].as_str().unwrap(), &card);
}

#[test]
fn a_card_cut_by_the_clients_chunks_is_tokenized() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for cut in 1..16 {
        let mut client = sidecar.http();
        let card = cards::fresh("visa");
        let (first, second) = card.split_at(cut);
        client.send(
            "POST /pay HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\
             content-type: application/x-www-form-urlencoded\r\n\r\n",
        );
        client.send(format!("{:x}\r\nnumber={first}\r\n", 7 + first.len()));
        client.send(format!("{:x}\r\n{second}\r\n0\r\n\r\n", second.len()));
        assert_eq!(client.answer().status, 200);
        cards::assert_brand_four(&shop.last().form("number"), &card);
    }
}

#[test]
fn a_card_in_a_gzip_body_is_tokenized() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(format!("{{\"card_number\":\"{card}\"}}").as_bytes()).unwrap();
    let fields = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = sidecar.https().request("POST", "/pay", &fields, &gzip.finish().unwrap());
    assert_eq!(answer.status, 200);
    let seen = shop.last();
    let body = match seen.field("content-encoding") {
        None | Some("identity") => seen.body,
        Some("gzip") => {
            let mut body = Vec::new();
            let mut decoder = flate2::write::GzDecoder::new(&mut body);
            decoder.write_all(&seen.body).unwrap();
            decoder.finish().unwrap();
            body
        }
        Some(other) => panic!("encoded as {other}"),
    };
    let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
    cards::assert_brand_four(value["card_number"].as_str().unwrap(), &card);
}

#[test]
fn p3_a_verification_code_never_reaches_the_shop_or_the_disk() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    let stands: Vec<_> = (0..4)
        .map(|_| {
            let card = cards::fresh("visa");
            let body = format!("card_number={card}&cvv=737&exp=12%2F30");
            assert_eq!(client.form("/pay", &body).status, 200);
            let stand = shop.last().form("cvv");
            assert_eq!(stand.len(), 3);
            assert!(stand.bytes().all(|byte| byte.is_ascii_digit()), "{stand}");
            assert_eq!(shop.last().form("exp"), "12%2F30");
            stand
        })
        .collect();
    assert!(stands.iter().any(|stand| stand != "737"), "the code itself passes: {stands:?}");
    let four = client.json("/pay", r#"{"securityCode":"7379"}"#);
    assert_eq!(four.status, 200);
    let stand = shop.last().json()["securityCode"].as_str().unwrap().to_owned();
    assert!(stand.len() == 4 && stand.bytes().all(|byte| byte.is_ascii_digit()), "{stand}");
}

#[test]
fn p8_a_body_without_a_card_arrives_bit_for_bit() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    let binary: Vec<u8> =
        (0..200_000u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let bodies: [(&str, &[u8]); 6] = [
        ("application/x-www-form-urlencoded", b"a=%41+b&&c&=d&e=1234567890123&f=%zz"),
        ("application/json", b"{\"order_id\" : 4111111111111112 , \"x\":[1,2 ,3]}\n\n"),
        ("application/octet-stream", &binary),
        ("text/plain; charset=iso-8859-1", b"caf\xe9 \xff\xfe 12345"),
        ("application/xml", b"<?xml version=\"1.0\"?><a  b='c'/>"),
        ("", b"no type at all"),
    ];
    for (content_type, body) in bodies {
        let answer = client.post("/any", content_type, body);
        assert_eq!(answer.status, 200, "{content_type}");
        let seen = shop.last();
        assert_eq!(seen.body, body, "{content_type}");
        assert_eq!(seen.field("content-length"), Some(body.len().to_string().as_str()));
    }
}

#[test]
fn p3_an_encoding_nobody_can_read_is_refused_on_a_card_route() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let fields = [("content-type", "application/json"), ("content-encoding", "x-secret")];
    sidecar.https().request("POST", "/pay", &fields, b"????").assert_refused(415);
    let fields = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let broken = sidecar.https().request("POST", "/pay", &fields, b"not gzip at all");
    assert!(matches!(broken.status, 400 | 415), "{}", broken.status);
    assert_eq!(shop.count(), 0, "the shop received what could not be read");
}

#[test]
fn p3_without_the_vault_cards_are_refused_and_the_rest_goes_on() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let database = sidecar.data().join("vault.db");
    let mut holder = Command::new("sqlite3")
        .arg(&database)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = holder.stdin.take().unwrap();
    // In WAL mode this shuts out every other writer, as a stuck backup would.
    writeln!(input, ".timeout 20000\nBEGIN EXCLUSIVE;\nSELECT 'held';").unwrap();
    let mut output = std::io::BufReader::new(holder.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    assert_eq!(line.trim(), "held");

    let card = cards::fresh("visa");
    let refused = sidecar.https().form("/pay", &format!("number={card}"));
    refused.assert_refused(503);
    assert!(refused.field("retry-after").unwrap().parse::<u64>().unwrap() > 0);
    assert_eq!(shop.count(), 0, "the shop saw a request whose card was not stored");
    assert_eq!(sidecar.https().form("/search", "q=shoes").status, 200);
    assert_eq!(sidecar.https().get("/").status, 200);

    writeln!(input, "ROLLBACK;").unwrap();
    drop(input);
    holder.wait().unwrap();
    eventually("cards pass again", || {
        (sidecar.https().form("/pay", &format!("number={card}")).status == 200).then_some(())
    });
}

#[test]
fn a_route_that_rejects_cards_refuses_them_with_422() {
    let shop = Upstream::ok();
    let route = "[[site.route]]\npath = \"/chat/*\"\ncards = { requests = \"reject\" }";
    let sidecar = Setup::new(&shop).site(route).start();
    let card = cards::fresh("visa");
    sidecar.https().json("/chat/1", &format!("{{\"text\":\"{card}\"}}")).assert_refused(422);
    assert_eq!(shop.count(), 0);
    assert_eq!(sidecar.https().json("/chat/1", r#"{"text":"hello"}"#).status, 200);
    assert_eq!(sidecar.https().json("/pay", &format!("{{\"text\":\"{card}\"}}")).status, 200);
    assert_eq!(shop.count(), 2);
}

#[test]
fn an_invalid_number_in_a_card_field_is_passed_or_rejected_as_configured() {
    let shop = Upstream::ok();
    let tables = "[cards]\ncard_fields = [\"pan_field\"]\n";
    let wrong = cards::broken(&cards::quiet("visa"));
    let sidecar = Sidecar::start(&shop, tables);
    assert_eq!(sidecar.https().form("/pay", &format!("pan_field={wrong}")).status, 200);
    assert_eq!(shop.last().form("pan_field"), wrong);
    let sidecar = Sidecar::start(&shop, &format!("{tables}invalid_card = \"reject\""));
    sidecar.https().form("/pay", &format!("pan_field={wrong}")).assert_refused(422);
    assert_eq!(shop.count(), 1);
}

#[test]
fn every_token_format_has_its_shape() {
    for (format, luhn) in [("six-four", true), ("six-four-invalid", false)] {
        let shop = Upstream::ok();
        let sidecar = Sidecar::start(&shop, &format!("[cards]\ntoken_format = \"{format}\""));
        let card = cards::fresh("visa");
        assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
        let token = shop.last().form("number");
        assert_ne!(token, card);
        assert_eq!((&token[..6], &token[12..]), (&card[..6], &card[12..]), "{format}");
        assert_eq!(cards::luhn(&token), luhn, "{format}: {token}");
    }
}

#[test]
fn p1_a_card_in_the_query_does_not_reach_the_shop() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let answer = sidecar.https().get(&format!("/pay?number={card}&x=1"));
    assert!(matches!(answer.status, 200 | 422), "{}", answer.status);
    // The rest is the canary's: neither the shop nor the access line may hold the number.
}

#[test]
fn an_order_number_that_looks_like_a_card_is_left_alone() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let order = cards::quiet("visa");
    assert_eq!(sidecar.https().json("/o", &format!("{{\"order_id\":\"{order}\"}}")).status, 200);
    assert_eq!(shop.last().json()["order_id"], order.as_str());
}

#[test]
fn p1_a_verification_code_in_a_query_or_a_cookie_becomes_a_stand_in() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let fields = [("cookie", "basket=7; cvc=456")];
    assert_eq!(sidecar.https().request("GET", "/pay?cvv=123&x=1", &fields, b"").status, 200);
    let seen = shop.last();
    let query = seen.target().strip_prefix("/pay?cvv=").and_then(|rest| rest.strip_suffix("&x=1"));
    let cookie = seen.field("cookie").and_then(|value| value.strip_prefix("basket=7; cvc="));
    for (stand_in, code) in [(query, "123"), (cookie, "456")] {
        let stand_in = stand_in.unwrap_or_else(|| panic!("{:?}", seen.head));
        assert!(stand_in.len() == 3 && stand_in != code, "{stand_in}");
    }
}
