//! Heads that are none: what becomes of them, who is told, and what comes behind them.

use crate::harness::{Client, Sidecar, Upstream};

const HEAD: &str = "GET /a HTTP/1.1\r\nhost: shop.example\r\n\r\n";

fn send(sidecar: &Sidecar, bytes: &str) -> Client {
    let mut client = sidecar.http();
    client.send(bytes);
    client
}

#[test]
fn a_bare_line_feed_ends_no_line_of_a_head() {
    // RFC 9112 section 2.2: a proxy before us may read such a line as a part of the one before it.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for head in [
        "GET / HTTP/1.1\nhost: shop.example\n\n",
        "GET / HTTP/1.1\r\nhost: shop.example\nx-a: b\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: shop.example\r\nx-a: b\ntransfer-encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: shop.example\r\n\n",
        "\nGET / HTTP/1.1\r\nhost: shop.example\r\n\r\n",
        "GET /\nHTTP/1.1\r\nhost: shop.example\r\n\r\n",
    ] {
        let mut client = send(&sidecar, head);
        let answer = client.answer();
        answer.assert_refused(400);
        assert_eq!(answer.field("connection"), Some("close"), "{head:?}");
        assert!(client.rest().is_empty(), "{head:?}");
    }
    assert_eq!(shop.count(), 0);
    // Empty lines before a request mean nothing.
    assert_eq!(send(&sidecar, &format!("\r\n\r\n{HEAD}")).answer().status, 200);
}

#[test]
fn a_bare_line_feed_is_noticed_behind_a_body_too_and_harmless_within_one() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let post = "POST /a HTTP/1.1\r\nhost: shop.example\r\n";
    let bad = HEAD.replace("example\r\n", "example\nx: y\r\n");
    for framed in [
        "content-length: 6\r\n\r\n\n{\n}\r\n",
        "transfer-encoding: chunked\r\n\r\n6\r\n\n{\n}\r\n\r\n0\r\n\r\n",
    ] {
        let before = shop.count();
        let mut client = send(&sidecar, &format!("{post}{framed}{HEAD}{bad}{HEAD}"));
        assert_eq!((client.answer().status, client.answer().status), (200, 200));
        client.answer().assert_refused(400);
        assert!(client.rest().is_empty());
        assert_eq!(shop.wait(before + 2)[before].body, b"\n{\n}\r\n");
        assert_eq!(shop.count(), before + 2);
    }
    let trailer = "transfer-encoding: chunked\r\n\r\n0\r\nx: y\nz: 1\r\n\r\n";
    send(&sidecar, &format!("{post}{trailer}")).answer().assert_refused(400);
}

#[test]
fn what_is_no_request_is_answered_with_an_id_that_the_log_knows() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(65_535));
    let fields = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(70_000));
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\n{many}\r\n");
    for (head, status) in [
        ("nonsense\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nx y: z\r\n\r\n", 400),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0", 400),
        (&long, 431),
        (&fields, 431),
        (&many, 431),
    ] {
        let mut client = send(&sidecar, head);
        let answer = client.answer();
        answer.assert_refused(status);
        let id = answer.field("x-request-id").unwrap();
        assert!(answer.text().contains(id) && answer.field("date").is_some(), "{answer:?}");
        let line = sidecar.wait_for_access(|line| line.contains(id));
        assert_eq!((&line["status"], &line["rejection"]), (&status.into(), &"malformed".into()));
        assert!(client.rest().is_empty());
    }
    // Behind a good one as well, whose own answer is whole.
    let mut client = send(&sidecar, &format!("{HEAD}nonsense\r\n\r\n"));
    assert_eq!(client.answer().text(), "ok");
    client.answer().assert_refused(400);
    assert_eq!(shop.count(), 1);
}
