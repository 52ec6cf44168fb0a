//! Cards in answers: what the client receives instead (issue item 6, promises P1 and P8).

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::harness::{Sidecar, Upstream, cards};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn page(content_type: &str, card: &str) -> String {
    match content_type {
        "application/javascript" => format!("var o = {{card: '{card}', n: 1}}; // é\n"),
        "application/json" => format!("{{ \"card\":\"{card}\",\"id\": 7 }}\r\n"),
        "application/xml" => format!("<?xml version=\"1.0\"?>\n<o><pan>{card}</pan></o>"),
        "text/html; charset=utf-8" => {
            format!(
                "<!doctype html><td  class=x>Paid with {card}</td><script>var i=12345;</script>"
            )
        }
        _ => format!("Order 17 was paid with {card}.\n\n"),
    }
}

#[test]
fn p1_a_card_in_any_kind_of_page_is_masked_and_nothing_else_changes() {
    let kinds = [
        "application/javascript",
        "application/json",
        "application/xml",
        "text/html; charset=utf-8",
        "text/plain",
    ];
    for content_type in kinds {
        let card = cards::fresh("visa");
        let shop = Upstream::fixed(content_type, page(content_type, &card));
        let sidecar = Sidecar::start(&shop, "");
        let answer = sidecar.https().get("/orders");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.text(), page(content_type, &cards::masked(&card)), "{content_type}");
        assert_eq!(answer.field("content-type"), Some(content_type));
    }
}

#[test]
fn p1_a_card_in_a_gzip_page_is_masked() {
    let card = cards::fresh("mastercard");
    let body = gzip(page("text/html; charset=utf-8", &card).as_bytes());
    let shop = Upstream::start(move |exchange| {
        let fields = [("content-type", "text/html; charset=utf-8"), ("content-encoding", "gzip")];
        exchange.answer(200, &fields, &body)
    });
    let sidecar = Sidecar::start(&shop, "");
    let fields = [("accept-encoding", "gzip")];
    let answer = sidecar.https().request("GET", "/orders", &fields, b"");
    let mut text = String::new();
    if answer.field("content-encoding") == Some("gzip") {
        GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    } else {
        text = answer.text();
    }
    assert_eq!(text, page("text/html; charset=utf-8", &cards::masked(&card)));
}

#[test]
fn p8_a_gzip_page_without_a_card_decodes_to_the_same_bytes() {
    let plain = page("text/html; charset=utf-8", "nothing").repeat(500);
    let body = gzip(plain.as_bytes());
    let shop = Upstream::start(move |exchange| {
        let fields = [("content-type", "text/html; charset=utf-8"), ("content-encoding", "gzip")];
        exchange.answer(200, &fields, &body)
    });
    let sidecar = Sidecar::start(&shop, "");
    let answer = sidecar.https().request("GET", "/", &[("accept-encoding", "gzip")], b"");
    let mut text = String::new();
    if answer.field("content-encoding") == Some("gzip") {
        GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    } else {
        text = answer.text();
    }
    assert!(text == plain, "the page changed");
}

#[test]
fn a_json_number_stays_a_number_of_as_many_digits_that_is_no_card() {
    let card = cards::fresh("visa");
    let shop = Upstream::fixed("application/json", format!("{{\"card_number\": {card} ,\"n\":1}}"));
    let sidecar = Sidecar::start(&shop, "");
    let answer = sidecar.https().get("/api/card");
    let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let shown = value["card_number"].as_u64().unwrap().to_string();
    assert_eq!(shown.len(), card.len());
    assert_ne!(shown, card);
    assert!(!cards::luhn(&shown), "{shown} could be a card");
    assert_eq!(answer.text(), format!("{{\"card_number\": {shown} ,\"n\":1}}"));
}

#[test]
fn separators_stay_in_a_masked_number() {
    for separator in [" ", "-"] {
        let card = cards::fresh("visa");
        let shown = cards::grouped(&card, separator);
        let shop = Upstream::fixed("text/html", format!("<p>{shown}</p>"));
        let sidecar = Sidecar::start(&shop, "");
        let masked = cards::grouped(&cards::masked(&card), separator);
        assert_eq!(sidecar.https().get("/").text(), format!("<p>{masked}</p>"));
    }
}

#[test]
fn an_issued_token_is_shown_as_it_is() {
    let shop = Upstream::start(|exchange| {
        let body = exchange.request()?.body;
        exchange.answer(200, &[("content-type", "text/html")], &body)
    });
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let mut client = sidecar.https();
    let answer = client.form("/pay", &format!("number={card}"));
    let token = shop.last().form("number");
    cards::assert_brand_four(&token, &card);
    assert_eq!(answer.text(), format!("number={token}"));
}

#[test]
fn p1_a_card_cut_at_any_chunk_boundary_is_masked() {
    let card = cards::fresh("visa");
    let shown = cards::grouped(&card, " ");
    let page = format!("<p>Card: {shown}.</p>");
    let length = page.len();
    let shop = Upstream::start(move |exchange| {
        let cut = exchange.target().trim_start_matches('/').parse().unwrap();
        let (first, second) = page.as_bytes().split_at(cut);
        exchange.chunked(&[("content-type", "text/html")], &[first, second])
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    let masked = format!("<p>Card: {}.</p>", cards::grouped(&cards::masked(&card), " "));
    for cut in 1..length {
        assert_eq!(client.get(&format!("/{cut}")).text(), masked, "cut at {cut}");
    }
}

#[test]
fn p1_a_card_sent_one_byte_at_a_time_is_masked() {
    let card = cards::fresh("amex");
    let page = format!("{{\"pan\":\"{card}\"}}");
    let shop = Upstream::start(move |exchange| {
        let pieces: Vec<_> = page.as_bytes().chunks(1).collect();
        exchange.chunked(&[("content-type", "application/json")], &pieces)
    });
    let sidecar = Sidecar::start(&shop, "");
    let expected = format!("{{\"pan\":\"{}\"}}", cards::masked(&card));
    assert_eq!(sidecar.https().get("/").text(), expected);
    assert_eq!(sidecar.h2().get("/").text(), expected);
}

#[test]
fn p8_an_answer_without_a_card_arrives_bit_for_bit() {
    let binary: Vec<u8> =
        (0..500_000u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let text = "ISBN 9783161484100, order 4111111111111112, π 3.14159265358979323846\n".repeat(200);
    let bodies: [(&str, Vec<u8>); 4] = [
        ("image/png", binary.clone()),
        ("application/octet-stream", binary.clone()),
        ("text/plain", text.into_bytes()),
        ("text/html", binary),
    ];
    for (content_type, body) in bodies {
        let shop = Upstream::fixed(content_type, body.clone());
        let sidecar = Sidecar::start(&shop, "");
        let answer = sidecar.https().get("/");
        assert!(answer.body == body, "{content_type} changed");
        assert_eq!(answer.field("content-length"), Some(body.len().to_string().as_str()));
    }
}

#[test]
fn p1_a_card_in_location_or_a_cookie_is_not_shown() {
    let card = cards::fresh("visa");
    let location = format!("/done?card={card}");
    let shop =
        Upstream::start(move |exchange| exchange.answer(302, &[("location", &location)], b""));
    let sidecar = Sidecar::start(&shop, "");
    let answer = sidecar.https().get("/");
    assert_eq!(answer.status, 302);
    assert!(!answer.field("location").unwrap().contains(&card));
}

#[test]
fn observe_counts_and_changes_nothing() {
    let card = cards::quiet("visa");
    let shop = Upstream::fixed("text/plain", card.clone());
    let sidecar = Sidecar::start(&shop, "[cards]\nresponses = \"observe\"");
    assert_eq!(sidecar.https().get("/").text(), card);
    assert!(sidecar.metric("tillgate_cards_found_total", &["response"]) >= 1.0);
}

#[test]
fn a_strong_tag_and_a_digest_survive_only_where_the_bytes_do() {
    // RFC 9110 section 8.8.1: a strong validator changes when the bytes do.
    let card = cards::fresh("visa");
    let masked = cards::masked(&card);
    let shop = Upstream::start(move |exchange| {
        let body =
            if exchange.target() == "/clean" { "no number".to_owned() } else { card.clone() };
        let fields =
            [("etag", "\"v1\""), ("repr-digest", "sha-256=:AA==:"), ("accept-ranges", "bytes")];
        exchange.answer(200, &fields, body.as_bytes())
    });
    let sidecar = Sidecar::start(&shop, "");
    let clean = sidecar.https().get("/clean");
    assert_eq!(clean.field("etag"), Some("\"v1\""));
    assert_eq!(clean.field("repr-digest"), Some("sha-256=:AA==:"));
    assert_eq!(clean.field("accept-ranges"), Some("bytes"));
    let changed = sidecar.https().get("/changed");
    assert_eq!(changed.text(), masked);
    assert_eq!(changed.field("etag"), Some("W/\"v1\""));
    assert_eq!((changed.field("repr-digest"), changed.field("accept-ranges")), (None, None));
}

#[test]
fn p1_a_card_cannot_be_fetched_in_parts() {
    let card = cards::fresh("visa");
    let (masked, text) = (cards::masked(&card), card.clone());
    let shop = Upstream::start(move |exchange| match exchange.head.field("range") {
        Some(_) => {
            let fields = [("content-range", "bytes 0-7/16"), ("content-type", "text/plain")];
            exchange.answer(206, &fields, &text.as_bytes()[..8])
        }
        None => exchange.answer(200, &[("content-type", "text/plain")], text.as_bytes()),
    });
    let sidecar = Sidecar::start(&shop, "");
    let answer = sidecar.https().request("GET", "/log", &[("range", "bytes=0-7")], b"");
    assert_eq!((answer.status, answer.text()), (200, masked));
}

#[test]
fn a_part_of_a_film_is_passed_as_a_part() {
    let shop = Upstream::start(|exchange| {
        let fields = [("content-range", "bytes 0-3/9"), ("content-type", "video/mp4")];
        exchange.answer(206, &fields, b"\x00\x01\x02\x03")
    });
    let sidecar = Sidecar::start(&shop, "");
    let answer = sidecar.https().request("GET", "/film", &[("range", "bytes=0-3")], b"");
    assert_eq!((answer.status, answer.body.as_slice()), (206, &[0, 1, 2, 3][..]));
    assert_eq!(shop.count(), 1);
}

#[test]
fn a_coded_page_that_is_written_as_it_goes_is_not_held_back() {
    let (go, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let shop = Upstream::start(move |exchange| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(b"first line\n").unwrap();
        encoder.flush().unwrap();
        let first = std::mem::take(encoder.get_mut());
        let fields = [("content-type", "text/plain"), ("content-encoding", "gzip")];
        exchange.begin(200, &[&fields[..], &[("transfer-encoding", "chunked")]].concat())?;
        exchange.chunk(&first)?;
        held.lock().unwrap().recv().ok();
        exchange.chunk(&encoder.finish().unwrap())?;
        exchange.chunk(b"")
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    client.send("GET / HTTP/1.1\r\nhost: shop.example\r\naccept-encoding: gzip\r\n\r\n");
    // The head is here while the shop still waits.
    assert_eq!(client.head().status, 200);
    go.send(()).unwrap();
}

#[test]
fn p1_a_card_beside_the_coded_bytes_goes_nowhere() {
    // RFC 1952 section 2.3: a gzip head may hold a file name.
    let card = cards::fresh("visa");
    let name = format!("card {card}.txt");
    let mut encoder =
        flate2::GzBuilder::new().filename(name).write(Vec::new(), Compression::fast());
    encoder.write_all(b"nothing to see").unwrap();
    let body = encoder.finish().unwrap();
    let (sent, canary) = (body.clone(), card.clone());
    let shop = Upstream::start(move |exchange| {
        let fields = [("content-type", "text/plain"), ("content-encoding", "gzip")];
        exchange.answer(200, &fields, &body)
    });
    let sidecar = Sidecar::start(&shop, "");
    let fields = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let answer = sidecar.https().request("POST", "/", &fields, &sent);
    assert_eq!(answer.status, 200);
    let holds = |bytes: &[u8]| bytes.windows(canary.len()).any(|part| part == canary.as_bytes());
    assert!(!holds(&answer.body) && !holds(&shop.last().body));
    let mut text = String::new();
    GzDecoder::new(&answer.body[..]).read_to_string(&mut text).unwrap();
    assert_eq!(text, "nothing to see");
}
