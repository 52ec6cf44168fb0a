//! WebSockets that begin on a stream of HTTP/2 (RFC 8441).

use crate::harness::frames::{self, Frame, Shop, TEXT};
use crate::harness::raw_h2::{DATA, END_STREAM, SETTINGS, get};
use crate::harness::{HOST, Outcome, RawH2, Sidecar, Upstream, cards};

const KEY: Option<[u8; 4]> = Some([1, 2, 3, 4]);

fn connect(protocol: &str) -> [(&str, &str); 7] {
    [
        (":method", "CONNECT"),
        (":protocol", protocol),
        (":scheme", "https"),
        (":path", "/ws"),
        (":authority", HOST),
        ("sec-websocket-version", "13"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ]
}

/// One whole frame of this stream.
fn receive(client: &mut RawH2, stream: u32) -> Frame {
    let mut bytes = Vec::new();
    loop {
        if let Some((frame, _)) = frames::parse(&bytes) {
            return frame;
        }
        bytes.extend(client.data(stream, 1).expect("the stream has ended"));
    }
}

#[test]
fn p1_a_websocket_over_http2_reaches_a_shop_that_speaks_http1_and_is_looked_into() {
    let shop = Shop::echo();
    let sidecar = Sidecar::start(&shop.upstream, "[timeouts]\nkeep_alive = \"300ms\"");
    let mut client = RawH2::connect(sidecar.address("https"));
    client.head(1, &connect("websocket"), 0);
    assert_eq!(client.outcome(1), Outcome::Answered(200));
    let seen = shop.upstream.last();
    assert_eq!(seen.head.start, "GET /ws HTTP/1.1");
    assert_eq!(seen.field("upgrade"), Some("websocket"));
    assert_eq!(seen.field("sec-websocket-version"), Some("13"));
    assert_eq!(seen.field("sec-websocket-extensions"), None);
    let card = cards::fresh("visa");
    let message = frames::write(true, TEXT, KEY, format!("charge {card}").as_bytes());
    client.frame(DATA, 0, 1, &message).unwrap();
    let text = shop.message().0;
    cards::assert_brand_four(text.strip_prefix("charge ").unwrap(), &card);
    assert_eq!(receive(&mut client, 1).text(), text);
    // Requests beside it are served; and without any, the connection outlives one that is idle.
    client.head(3, &get("/"), END_STREAM);
    assert!(matches!(client.outcome(3), Outcome::Answered(_) | Outcome::Reset(_)));
    let mut idle = RawH2::connect(sidecar.address("https"));
    while idle.next_frame().is_ok() {}
    client.frame(DATA, 0, 1, &frames::write(true, TEXT, KEY, b"still there?")).unwrap();
    assert_eq!(receive(&mut client, 1).text(), "still there?");
    client.frame(DATA, END_STREAM, 1, &frames::write(true, frames::CLOSE, KEY, &[3, 232])).unwrap();
    assert_eq!(receive(&mut client, 1).close().0, 1000);
}

#[test]
fn extended_connect_is_announced_and_only_for_websockets() {
    // RFC 8441 section 3: SETTINGS_ENABLE_CONNECT_PROTOCOL; RFC 9220 section 3: 501 for the others.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = RawH2::connect(sidecar.address("https"));
    let (kind, _, _, settings) = client.next_frame().unwrap();
    assert_eq!(kind, SETTINGS);
    assert!(settings.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "{settings:?}");
    for (stream, protocol) in [(1, "connect-udp"), (3, "h2c"), (5, "")] {
        client.head(stream, &connect(protocol), 0);
        assert_ne!(client.outcome(stream), Outcome::Answered(200), "{protocol}");
    }
    let mut plain = connect("websocket").to_vec();
    plain.remove(1);
    client.head(7, &plain, 0);
    assert_ne!(client.outcome(7), Outcome::Answered(200));
    let mut other = connect("websocket");
    other[0].1 = "GET";
    client.head(9, &other, END_STREAM);
    assert_ne!(client.outcome(9), Outcome::Answered(200));
    assert_eq!(shop.count(), 0);
}

#[test]
fn a_shop_that_does_not_agree_opens_no_tunnel() {
    let shop =
        Upstream::start(|exchange| match exchange.head.field("x-case").unwrap_or_default() {
            "denied" => exchange.answer(403, &[("content-type", "text/plain")], b"no"),
            "cached" => {
                exchange.arrived();
                exchange.close();
                let fields = [
                    ("connection", "upgrade"),
                    ("upgrade", "websocket"),
                    ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                ];
                exchange.begin(101, &fields)
            }
            _ => exchange.answer(200, &[("content-type", "text/plain")], b"a page"),
        });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = RawH2::connect(sidecar.address("https"));
    for (stream, case) in [(1, "denied"), (3, "page"), (5, "cached")] {
        let fields = [&connect("websocket")[..], &[("x-case", case)]].concat();
        client.head(stream, &fields, 0);
        let outcome = client.outcome(stream);
        assert!(matches!(outcome, Outcome::Answered(0 | 403 | 502)), "{case}: {outcome:?}");
    }
    let reasons = ["upgrade_ignored", "unasked_upgrade"];
    for reason in reasons {
        assert_eq!(sidecar.metric("tillgate_requests_rejected_total", &[reason]), 1.0, "{reason}");
    }
}
