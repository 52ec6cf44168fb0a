//! What a provider answers, and what the shop is told where that cannot be shown.

use std::io;

use crate::harness::{Exchange, Identity, Setup, Sidecar, Upstream, cards};

const ASK: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept-encoding", "dcb, gzip")];

fn scene(
    lines: &str,
    handler: impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync + 'static,
) -> (Upstream, Upstream, Sidecar) {
    let shop = Upstream::ok();
    let provider = Upstream::start_tls(&Identity::new(&["localhost"]), handler);
    let sidecar = Setup::new(&shop).gateway("pay", &provider).tables(lines).start();
    (shop, provider, sidecar)
}

#[test]
fn p1_no_parts_of_a_report_can_be_put_together() {
    let card = cards::fresh("visa");
    let report = format!("id,card\n1,{card}\n");
    let length = report.len();
    // A server of files, which knows ranges.
    let (_shop, provider, sidecar) = scene("", move |exchange| {
        let range = exchange.head.field("range").and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some(from.parse().ok()?..to.parse().ok()?)
        });
        let fields = [("content-type", "text/csv"), ("accept-ranges", "bytes")];
        match range {
            Some(range) => exchange.answer(206, &fields, &report.as_bytes()[range]),
            None => exchange.answer(200, &fields, report.as_bytes()),
        }
    });
    for range in ["bytes=0-18", "bytes=18-26"] {
        let fields = [("range", range), ("if-range", "\"a\"")];
        let answer = sidecar.gateway("pay").request("GET", "/report.csv", &fields, b"");
        assert_eq!((answer.status, answer.body.len()), (200, length), "all of it");
        assert!(!answer.text().contains(&card));
        assert_eq!([answer.field("accept-ranges"), provider.last().field("range")], [None, None]);
    }
}

#[test]
fn p1_a_part_that_nobody_asked_for_is_not_passed_on() {
    let (_shop, _provider, sidecar) = scene("", |exchange| {
        let fields = [("content-type", "text/csv"), ("content-range", "bytes 8-17/27")];
        exchange.answer(206, &fields, b"1,41111111")
    });
    let answer = sidecar.gateway("pay").get("/report.csv");
    answer.assert_refused(502);
    assert!(!answer.text().contains("41111111"));
    assert_eq!(sidecar.metric("tillgate_requests_rejected_total", &["unasked_part"]), 1.0);
}

/// An answer in one piece, the last one of its connection.
fn in_coding(coding: &str) -> Vec<u8> {
    let head = format!("content-encoding: {coding}\r\nconnection: close\r\ncontent-length: 2");
    format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\nok").into_bytes()
}

/// Whoever tries again may charge the card twice.
#[test]
fn no_failure_after_a_charge_was_sent_invites_to_try_again() {
    let lines = "[timeouts]\nresponse_head = \"2s\"";
    let (_shop, provider, sidecar) = scene(lines, |exchange| {
        exchange.request()?;
        match exchange.target() {
            "/stalls" => while !exchange.some()?.is_empty() {},
            "/is-coded" => exchange.raw(&in_coding("dcb"))?,
            "/is-no-gzip" => exchange.raw(&in_coding("gzip"))?,
            "/is-no-http" => exchange.raw(b"garbage\r\n\r\n")?,
            "/changes" => exchange.begin(101, &[("connection", "upgrade"), ("upgrade", "x")])?,
            _ => {}
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    });
    let paths = ["/drops", "/stalls", "/is-coded", "/is-no-gzip", "/is-no-http", "/changes"];
    for (place, path) in paths.iter().enumerate() {
        let answer = sidecar.gateway("pay").request("POST", path, &ASK, b"{}");
        assert!(matches!(answer.status, 502 | 504), "{path}: {}", answer.status);
        let told = answer.text();
        assert!(told.contains("look the payment up before trying again"), "{path}: {told}");
        assert_eq!(answer.field("retry-after"), None, "{path}");
        assert_eq!(provider.count(), place + 1, "{path} was sent more than once");
        // No coding is asked for that nobody here can read.
        assert_eq!(provider.last().field("accept-encoding"), Some("gzip"));
    }
    let rejected = |reason| sidecar.metric("tillgate_requests_rejected_total", &[reason]);
    assert!(rejected("upstream_timeout") >= 1.0, "what the provider did wrong has its own name");
}

#[test]
fn p1_a_providers_head_tells_no_card() {
    let card = cards::fresh("visa");
    let told = card.clone();
    let (_shop, _provider, sidecar) = scene("", move |exchange| {
        let (name, bearer) = (format!("x-{told}"), format!("Bearer {told}"));
        let file = format!("attachment; filename=\"{told}.txt\"");
        let fields = [
            (name.as_str(), "1"),
            ("authorization", bearer.as_str()),
            ("content-disposition", file.as_str()),
        ];
        exchange.answer(200, &fields, b"ok")
    });
    let answer = sidecar.gateway("pay").get("/");
    assert_eq!(answer.status, 200);
    assert!(!format!("{:?}", answer.head).contains(&card), "{:?}", answer.head);
    assert_eq!(answer.field("content-disposition"), Some("attachment"));
}

#[test]
fn p1_no_field_of_the_shops_answer_is_named_by_a_card() {
    let shop = Upstream::start(|exchange| {
        exchange.answer(200, &[("x-4111111111111111", "1"), ("x-other", "2")], b"ok")
    });
    let answer = Sidecar::start(&shop, "").https().get("/");
    assert_eq!((answer.status, answer.field("x-other")), (200, Some("2")));
    assert_eq!(answer.field("x-4111111111111111"), None);
}
