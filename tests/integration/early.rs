//! Answers that come before their time, and those that are not the last word (RFC 9110 section 15.2,
//! RFC 9112 section 9.3).

use std::sync::Arc;

use crate::harness::raw_h2::{DATA, END_STREAM, RST_STREAM};
use crate::harness::{Exchange, HOST, Outcome, RawH2, Sidecar, Upstream, Watched};

const POST: &str = "POST /up HTTP/1.1\r\nhost: shop.example\r\ncontent-type: text/plain\r\n\
                    content-length: 100000\r\n\r\n";

/// Where nothing is looked into nothing is waited for; else the shop hears of a request once enough of its
/// body has come to be decided on.
const UNSEEN: &str = "[cards]\nrequests = \"off\"\nresponses = \"off\"";

fn refuse(exchange: &mut Exchange) -> std::io::Result<()> {
    exchange.arrived();
    exchange.begin(403, &[("content-length", "2"), ("connection", "close")])?;
    exchange.raw(b"no")?;
    exchange.close();
    Ok(())
}

/// Refuses what goes to `/up` before its body has come.
fn hasty() -> Upstream {
    Upstream::start(|exchange| match exchange.target() {
        "/up" => refuse(exchange),
        _ => exchange.answer(200, &[("content-type", "text/plain")], b"ok"),
    })
}

#[test]
fn an_answer_before_the_end_of_the_body_reaches_the_client_and_the_rest_is_no_request() {
    let shop = hasty();
    let sidecar = Sidecar::start(&shop, UNSEEN);
    let mut client = sidecar.http();
    client.send(POST);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text().as_str()), (403, "no"));
    // What was announced as a body stays one, whatever it looks like.
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: shop.example\r\n\r\n".repeat(10);
    let _ended = client.try_send(smuggled.as_bytes());
    drop(client);
    assert_eq!(sidecar.http().get("/next").status, 200);
    assert!(shop.seen().iter().all(|seen| seen.target() != "/smuggled"));
}

#[test]
fn a_client_that_sends_its_whole_body_all_the_same_may_go_on_or_is_told_to_close() {
    let shop = hasty();
    let sidecar = Sidecar::start(&shop, UNSEEN);
    let mut client = sidecar.http();
    client.send(POST);
    let answer = client.answer();
    assert_eq!(answer.status, 403);
    let _ended = client.try_send(&vec![b'x'; 100_000]);
    let next = client.try_request("GET", "/next", &[], b"");
    match answer.field("connection") {
        Some("close") => assert!(next.is_err()),
        _ => assert!(next.is_err() || next.is_ok_and(|next| next.text() == "ok")),
    }
}

#[test]
fn an_early_answer_on_one_stream_leaves_the_others_alone() {
    // RFC 9113 section 8.1.
    let shop = hasty();
    let sidecar = Sidecar::start(&shop, UNSEEN);
    let mut client = RawH2::connect(sidecar.address("https"));
    let head =
        |path| [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", path)];
    client.head(1, &head("/up"), 0);
    client.frame(DATA, 0, 1, b"beginning").unwrap();
    assert!(matches!(client.outcome(1), Outcome::Answered(_)));
    assert_eq!(client.data(1, 2).as_deref(), Some(&b"no"[..]));
    let _reset_before = client.frame(DATA, END_STREAM, 1, b"end");
    client.head(3, &head("/next"), END_STREAM);
    assert_eq!(client.outcome(3), Outcome::Answered(200));
}

#[test]
fn a_stream_given_up_by_its_client_ends_at_the_shop_too() {
    // RFC 9113 section 5.4.2: CANCEL.
    let ended: Arc<Watched<bool>> = Arc::default();
    let tell = Arc::clone(&ended);
    let shop = Upstream::start(move |exchange| {
        exchange.request()?;
        exchange.begin(200, &[("content-type", "text/plain"), ("transfer-encoding", "chunked")])?;
        while exchange.chunk(&[b'x'; 1 << 14]).is_ok() {}
        tell.update(|ended| *ended = true);
        exchange.close();
        Ok(())
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = RawH2::connect(sidecar.address("https"));
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", HOST), (":path", "/")];
    client.head(1, &fields, END_STREAM);
    assert_eq!(client.outcome(1), Outcome::Answered(200));
    client.frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]).unwrap();
    assert_eq!(ended.wait_for(|ended| ended.then_some(())), Some(()), "the shop still sends");
}

#[test]
fn interim_answers_are_never_taken_for_the_last_word() {
    // RFC 9110 section 15.2, RFC 8297.
    let shop = Upstream::start(|exchange| {
        exchange.request()?;
        for _ in 0..3 {
            exchange.raw(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n")?;
        }
        exchange.raw(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n")?;
        exchange.answer(200, &[("content-type", "text/plain")], b"ok")
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    for _ in 0..3 {
        let answer = client.get("/");
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        assert_eq!(answer.field("link"), None);
    }
    assert_eq!(sidecar.h2().get("/").text(), "ok");
}

#[test]
fn an_upstream_that_answers_twice_answers_nobody_else() {
    // RFC 9112 section 6.3: bytes behind an answer belong to nobody.
    let shop = Upstream::start(|exchange| {
        exchange.answer(200, &[("content-type", "text/plain")], b"ok")?;
        exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    for _ in 0..20 {
        let answer = client.get("/");
        assert!(answer.status == 502 || answer.text() == "ok", "{answer:?}");
    }
}
