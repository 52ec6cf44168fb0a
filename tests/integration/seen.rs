//! Looking before enforcing (issue item 6): what is counted where, and never a digit of it.

use std::process::Command;

use serde_json::Value;

use crate::harness::frames::{Shop, TEXT, WebSocket};
use crate::harness::{Setup, Sidecar, Upstream, cards, eventually, gzip};

const OBSERVE: &str = "[cards]\nrequests = \"observe\"\nresponses = \"observe\"";

fn seen(sidecar: &Sidecar, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .args(["cards", "seen", "--config"])
        .arg(sidecar.config())
        .args(arguments)
        .output()
        .unwrap();
    let cried = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{cried}");
    String::from_utf8(output.stdout).unwrap()
}

/// The list as rows of `direction where what field carrier action count`, once the process has ended.
fn rows(sidecar: &Sidecar) -> Vec<String> {
    sidecar.sigterm();
    sidecar.exit_status();
    let list: Value = serde_json::from_str(&seen(sidecar, &["--json"])).unwrap();
    let rows = list["rows"].as_array().unwrap().iter();
    rows.map(|row| {
        assert!(row["first"].as_u64() <= row["last"].as_u64());
        let names = ["direction", "where", "what", "field", "carrier", "action"];
        let words: Vec<_> = names.iter().map(|name| row[name].as_str().unwrap()).collect();
        format!("{} {}", words.join(" "), row["count"])
    })
    .collect()
}

fn audit(sidecar: &Sidecar) -> Vec<Value> {
    let text = std::fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["event"] == "unexpected_card").collect()
}

#[test]
fn p8_an_observing_route_passes_coded_bodies_bit_for_bit_and_sees_what_they_hold() {
    let card = cards::quiet("visa");
    let text = format!("card {card} on file");
    let body = gzip(text.as_bytes());
    let answer = body.clone();
    let shop = Upstream::start(move |exchange| {
        let fields =
            [("content-type", "text/plain"), ("content-encoding", "gzip"), ("etag", "\"1\"")];
        exchange.answer(200, &fields, &answer)
    });
    let sidecar = Sidecar::start(&shop, OBSERVE);
    let fields = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let answer = sidecar.https().request("POST", "/", &fields, &body);
    assert_eq!((&answer.body, answer.field("etag")), (&body, Some("\"1\"")));
    assert_eq!(shop.last().body, body);
    for direction in ["request", "response"] {
        let labels = ["action=\"observed\"", direction];
        assert_eq!(sidecar.metric("tillgate_cards_found_total", &labels), 1.0, "{direction}");
    }
}

#[test]
fn an_observing_route_refuses_nothing_that_it_cannot_read() {
    // What an operator would see refused after enforcing, counted beforehand.
    let shop = Upstream::start(|exchange| {
        let fields = [("content-type", "text/plain"), ("content-encoding", "compress")];
        exchange.answer(200, &fields, b"\x1f\x9d\x90")
    });
    let sidecar = Sidecar::start(&shop, OBSERVE);
    for coding in ["compress", "gzip"] {
        let fields = [("content-type", "text/plain"), ("content-encoding", coding)];
        let answer = sidecar.https().request("POST", "/", &fields, b"\x1f\x8b no gzip");
        assert_eq!((answer.status, &answer.body[..]), (200, &b"\x1f\x9d\x90"[..]), "{coding}");
        assert_eq!(shop.last().body, b"\x1f\x8b no gzip");
    }
    let unread = |direction| sidecar.metric("tillgate_bodies_unread_total", &[direction]);
    assert_eq!((unread("request"), unread("response")), (2.0, 2.0));
}

#[test]
fn an_observing_route_changes_nothing_and_lists_what_it_saw() {
    let card = cards::quiet("visa");
    let page = format!("<p>card on file: {card}</p>");
    let shop = Upstream::fixed("text/html", page.clone());
    let sidecar = Setup::new(&shop).site("hosts = [\"shop.example\"]").tables(OBSERVE).start();
    assert_eq!(seen(&sidecar, &[]), "no card number has been seen\n");
    let mut client = sidecar.https();
    for _ in 0..2 {
        let body = format!("{{\"items12\":{{\"card_number\":\"{card}\",\"cvv\":\"123\"}}}}");
        assert_eq!(client.json("/pay", &body).text(), page);
        assert_eq!(shop.last().text(), body);
    }
    assert!(sidecar.metric("tillgate_cards_found_total", &["action=\"observed\""]) >= 4.0);
    let rows = rows(&sidecar);
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert!(rows[0].starts_with("request body card "), "{rows:?}");
    assert!(rows[0].contains("card_number") && rows[0].ends_with(" json observed 2"), "{rows:?}");
    assert_eq!(rows[1], "request body code cvv json observed 2");
    assert!(rows[2].starts_with("response body card "), "{rows:?}");
    assert!(rows[2].ends_with(" html observed 2"), "{rows:?}");
    let table = seen(&sidecar, &[]);
    assert!(table.starts_with("SITE "), "{table}");
    let lines: Vec<_> = table.lines().collect();
    assert!(lines[1].starts_with("shop.example  default"), "{table}");
    for text in [table, std::fs::read_to_string(sidecar.data().join("cards-seen.json")).unwrap()] {
        assert!(!text.contains(&card) && !text.contains(&card[..6]), "{text}");
    }
}

#[test]
fn the_list_goes_on_after_a_restart_and_names_every_action() {
    let shop = Upstream::ok();
    let mut sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}&cvc=123")).status, 200);
    sidecar.restart();
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    let token = shop.last().form("number");
    assert_eq!(sidecar.https().form("/pay", &format!("number={token}")).status, 200);
    assert_eq!(
        rows(&sidecar),
        [
            "request body card number form kept 1",
            "request body card number form tokenized 2",
            "request body code cvc form tokenized 1",
        ]
    );
}

#[test]
fn a_message_is_listed_as_one() {
    let shop = Shop::echo();
    let sidecar = Sidecar::start(&shop.upstream, "");
    let mut socket = WebSocket::open(&sidecar);
    socket.send(true, TEXT, format!("{{\"pan\":\"{}\"}}", cards::fresh("visa")));
    socket.message();
    drop(socket);
    assert_eq!(
        rows(&sidecar),
        ["request message card pan json tokenized 1", "response message card pan json kept 1"]
    );
}

#[test]
fn a_card_in_the_head_of_a_request_is_an_audit_event_without_the_card() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let number = || cards::fresh("visa");
    let referrer = format!("https://shop.example/?pan={}", number());
    let cookie = format!("last={}", number());
    let note = format!("note {}", number());
    let fields =
        [("referer", &*referrer), ("cookie", &cookie), ("x-note", &note), ("x-request-id", "r-1")];
    let target = format!("/search?q={}", number());
    assert_eq!(sidecar.https().request("GET", &target, &fields, b"").status, 200);
    assert_eq!(sidecar.https().form("/pay", &format!("number={}", number())).status, 200);
    let told = eventually("four audit records", || {
        let told = audit(&sidecar);
        (told.len() == 4).then_some(told)
    });
    let of =
        |name: &str| -> Vec<&str> { told.iter().map(|it| it[name].as_str().unwrap()).collect() };
    let mut places = of("where");
    places.sort_unstable();
    assert_eq!(places, ["cookie", "header", "referrer", "target"]);
    assert!(of("field").contains(&"x-note"), "{told:?}");
    assert!(of("site").iter().all(|site| *site == "default"));
    let ids = of("request_id");
    assert!(ids.iter().all(|id| *id == ids[0] && !id.is_empty()), "{ids:?}");
    assert_eq!(sidecar.metric("tillgate_cards_unexpected_total", &[]), 4.0);
}

#[test]
fn a_flood_of_unexpected_cards_does_not_flood_the_audit_log() {
    let sidecar = Sidecar::start(&Upstream::ok(), OBSERVE);
    let mut client = sidecar.http();
    for _ in 0..200 {
        assert_eq!(client.get(&format!("/?q={}", cards::quiet("visa"))).status, 200);
    }
    assert_eq!(sidecar.metric("tillgate_cards_unexpected_total", &["target"]), 200.0);
    sidecar.sigterm();
    sidecar.exit_status();
    // The minute may have changed on the way.
    let told = audit(&sidecar).len();
    assert!((60..=120).contains(&told), "{told}");
}
