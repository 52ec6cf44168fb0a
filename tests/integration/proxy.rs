//! What a proxy owes both sides (issue item 3, promises P7 and P8).

use std::sync::Mutex;
use std::sync::mpsc;
use std::time::Duration;

use crate::harness::raw_h2::{END_STREAM, get};
use crate::harness::{
    Client, DEADLINE, HOST, Identity, Outcome, RawH2, Setup, Sidecar, Tls, Upstream, cards,
    certificates,
};

#[test]
fn a_request_arrives_whole_over_http1_and_http2() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let fields = [("content-type", "text/plain"), ("x-custom", "a, b"), ("cookie", "k=v")];
    sidecar.https().request("PUT", "/a%2Fb/;x?q=%20&r=+", &fields, b"body");
    sidecar.h2().request("PUT", "/a%2Fb/;x?q=%20&r=+", &fields, b"body");
    for seen in shop.wait(2) {
        assert!(seen.head.start.starts_with("PUT /a%2Fb/;x?q=%20&r=+"), "{}", seen.head.start);
        assert_eq!(seen.field("host"), Some(HOST));
        assert_eq!(seen.field("x-custom"), Some("a, b"));
        assert_eq!(seen.field("cookie"), Some("k=v"));
        assert_eq!(seen.text(), "body");
    }
}

#[test]
fn an_https_upstream_is_verified() {
    let shop = Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(200, &[("content-type", "text/plain")], b"private")
    });
    let trusting = Setup::new(&shop).site("ca = \"tls/ca.pem\"").start();
    assert_eq!(trusting.https().get("/").text(), "private");
    let setup = Setup::new(&shop).site("ca = \"tls/ca.pem\"");
    let doubting = setup.file("tls/ca.pem", &certificates::stranger_pem()).start();
    doubting.https().get("/").assert_refused(502);
    let system = Setup::new(&shop).start();
    system.https().get("/").assert_refused(502);
    assert_eq!(shop.count(), 1, "a request went to an upstream nobody vouched for");
}

#[test]
fn connections_to_the_upstream_are_kept_and_used_again() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).top("workers = 1").start();
    let mut client = sidecar.https();
    for n in 0..20 {
        assert_eq!(client.get(&format!("/{n}")).status, 200);
    }
    assert_eq!(shop.connections(), 1);
}

#[test]
fn a_connection_the_upstream_closed_meanwhile_costs_no_request() {
    let shop = Upstream::start(|exchange| {
        exchange.answer(200, &[("content-type", "text/plain")], b"ok")?;
        exchange.close();
        Ok(())
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    for n in 0..30 {
        assert_eq!(client.get(&format!("/{n}")).status, 200, "request {n}");
    }
}

#[test]
fn an_upload_is_streamed_before_its_end() {
    let (arrived, waiting) = mpsc::channel();
    let arrived = Mutex::new(arrived);
    let shop = Upstream::start(move |exchange| {
        exchange.arrived();
        let first = exchange.some()?;
        arrived.lock().unwrap().send(first.len()).map_err(std::io::Error::other)?;
        while !exchange.some()?.ends_with(b"0\r\n\r\n") {}
        exchange.raw(b"HTTP/1.1 204 No Content\r\n\r\n")?;
        exchange.close();
        Ok(())
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.http();
    client.send(
        "POST /up HTTP/1.1\r\nhost: shop.example\r\ncontent-type: application/octet-stream\r\n\
         transfer-encoding: chunked\r\n\r\n10000\r\n",
    );
    client.send([0xb1; 0x10000]);
    client.send("\r\n");
    let first = waiting.recv_timeout(DEADLINE).expect("nothing came through before the end");
    assert!(first > 0);
    client.send("1\r\nx\r\n0\r\n\r\n");
    assert_eq!(client.answer().status, 204);
}

#[test]
fn p7_a_slow_shop_holds_the_uploader_back() {
    const TOTAL: usize = 96 << 20;
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let shop = Upstream::start(move |exchange| {
        exchange.arrived();
        gate.lock().unwrap().recv_timeout(DEADLINE * 2).map_err(std::io::Error::other)?;
        let mut left = TOTAL;
        while left > 0 {
            left -= exchange.some()?.len();
        }
        exchange.raw(b"HTTP/1.1 204 No Content\r\n\r\n")
    });
    let sidecar = Sidecar::start(&shop, "[limits]\nbody = \"512MiB\"");
    let mut client = sidecar.http();
    client.send(format!(
        "POST /up HTTP/1.1\r\nhost: shop.example\r\ncontent-type: application/octet-stream\r\n\
         content-length: {TOTAL}\r\n\r\n"
    ));
    client.tcp().set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    let block = vec![0xb1; 1 << 20];
    let mut sent = 0;
    while let Ok(count) = client.push(&block) {
        sent += count;
        assert!(sent < 48 << 20, "nobody holds the client back");
    }
    assert!(sidecar.memory_peak_kib() < 256 << 10, "{} KiB", sidecar.memory_peak_kib());
    go.send(()).unwrap();
    client.tcp().set_write_timeout(Some(DEADLINE)).unwrap();
    while sent < TOTAL {
        sent += client.push(&block[..block.len().min(TOTAL - sent)]).unwrap();
    }
    assert_eq!(client.answer().status, 204);
}

#[test]
fn p7_a_slow_client_holds_the_shop_back() {
    const TOTAL: usize = 96 << 20;
    let (stalled, waiting) = mpsc::channel();
    let stalled = Mutex::new(stalled);
    let shop = Upstream::start(move |exchange| {
        exchange.request()?;
        let length = TOTAL.to_string();
        let fields = [("content-type", "application/octet-stream"), ("content-length", &length)];
        exchange.begin(200, &fields)?;
        exchange.tcp().set_write_timeout(Some(Duration::from_secs(2)))?;
        let block = vec![0xb1; 1 << 16];
        let mut sent = 0;
        let mut socket = exchange.tcp();
        while let Ok(count) = std::io::Write::write(&mut socket, &block) {
            sent += count;
            if sent >= TOTAL {
                break;
            }
        }
        stalled.lock().unwrap().send(sent).map_err(std::io::Error::other)?;
        exchange.tcp().set_write_timeout(Some(DEADLINE))?;
        while sent < TOTAL {
            sent += std::io::Write::write(&mut socket, &block[..block.len().min(TOTAL - sent)])?;
        }
        Ok(())
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.http();
    client.send("GET /big HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    let sent = waiting.recv_timeout(DEADLINE * 2).unwrap();
    assert!(sent < 48 << 20, "{sent} bytes were taken for a client that read none");
    assert!(sidecar.memory_peak_kib() < 256 << 10, "{} KiB", sidecar.memory_peak_kib());
    assert_eq!(client.answer().body.len(), TOTAL);
}

#[test]
fn an_event_arrives_before_the_stream_ends() {
    let (next, events) = mpsc::channel::<()>();
    let events = Mutex::new(events);
    let shop = Upstream::start(move |exchange| {
        exchange.request()?;
        let fields = [("content-type", "text/event-stream"), ("transfer-encoding", "chunked")];
        exchange.begin(200, &fields)?;
        for n in 0..3 {
            exchange.chunk(format!("data: event {n}\n\n").as_bytes())?;
            events.lock().unwrap().recv_timeout(DEADLINE).map_err(std::io::Error::other)?;
        }
        exchange.raw(b"0\r\n\r\n")
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    client.send("GET /events HTTP/1.1\r\nhost: shop.example\r\naccept: text/event-stream\r\n\r\n");
    assert_eq!(client.head().field("content-type"), Some("text/event-stream"));
    for n in 0..3 {
        let expected = format!("data: event {n}\n\n");
        let mut event = Vec::new();
        while event.len() < expected.len() {
            event.extend(client.piece().expect("the stream ended early"));
        }
        assert_eq!(event, expected.as_bytes());
        next.send(()).unwrap();
    }
    assert_eq!(client.piece(), None);
}

#[test]
fn a_websocket_on_a_route_without_cards_is_a_pipe() {
    let shop = Upstream::start(|exchange| {
        exchange.arrived();
        let fields =
            [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-accept", "x")];
        exchange.begin(101, &fields)?;
        loop {
            let bytes = exchange.some()?;
            if bytes.is_empty() {
                exchange.close();
                return Ok(());
            }
            exchange.raw(&bytes)?;
        }
    });
    let off = "[cards]\nrequests = \"off\"\nresponses = \"off\"";
    let sidecar = Sidecar::start(&shop, off);
    let mut client = sidecar.https();
    let fields = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ];
    let answer = client.request("GET", "/ws", &fields, b"");
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("sec-websocket-accept"), Some("x"));
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    assert_eq!(shop.last().field("sec-websocket-version"), Some("13"));
    let extensions = shop.last().field("sec-websocket-extensions").map(str::to_owned);
    assert_eq!(extensions.as_deref(), Some("permessage-deflate"));
    // RFC 6455 section 5.7: a masked text frame, "Hello"; then a binary one.
    let text = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let binary = [0x82, 0x82, 1, 2, 3, 4, 0xff, 0x00];
    for frame in [&text[..], &binary[..]] {
        client.send(frame);
        assert_eq!(client.bytes(frame.len()), frame);
    }
}

#[test]
fn trailers_go_both_ways() {
    let shop = Upstream::start(|exchange| {
        exchange.request()?;
        let fields = [
            ("content-type", "text/plain"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-sum"),
        ];
        exchange.begin(200, &fields)?;
        exchange.chunk(b"ok")?;
        exchange.raw(b"0\r\nx-sum: 7\r\n\r\n")
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    client.send(
        "POST / HTTP/1.1\r\nhost: shop.example\r\nte: trailers\r\ntrailer: x-check\r\n\
         transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-check: 5\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!(answer.text(), "ok");
    assert_eq!(answer.trailers, [("x-sum".to_owned(), "7".to_owned())]);
    let seen = shop.last();
    assert_eq!(seen.text(), "hi");
    assert_eq!(seen.trailers, [("x-check".to_owned(), "5".to_owned())]);
    assert_eq!(sidecar.h2().get("/").trailers, [("x-sum".to_owned(), "7".to_owned())]);
}

#[test]
fn p1_a_trailer_field_with_a_card_passes_in_neither_direction() {
    let told = cards::fresh("visa");
    let answer = told.clone();
    let shop = Upstream::start(move |exchange| {
        exchange.request()?;
        let fields = [
            ("content-type", "text/plain"),
            ("transfer-encoding", "chunked"),
            ("trailer", "x-sum, x-card"),
        ];
        exchange.begin(200, &fields)?;
        exchange.chunk(b"ok")?;
        exchange.raw(format!("0\r\nx-sum: 7\r\nx-card: {answer}\r\n\r\n").as_bytes())
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    client.send(format!(
        "POST / HTTP/1.1\r\nhost: shop.example\r\nte: trailers\r\ntrailer: x-check, x-card\r\n\
         transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-check: 5\r\nx-card: {}\r\n\r\n",
        cards::fresh("mastercard")
    ));
    assert_eq!(client.answer().trailers, [("x-sum".to_owned(), "7".to_owned())]);
    assert_eq!(shop.last().trailers, [("x-check".to_owned(), "5".to_owned())]);
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    client.send(
        "POST / HTTP/1.1\r\nhost: shop.example\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\
         content-type: text/plain\r\n\r\n",
    );
    assert_eq!(client.head().status, 100);
    client.send("body");
    assert_eq!(client.answer().status, 200);
    assert_eq!(shop.last().text(), "body");
}

#[test]
fn a_client_that_waits_with_too_much_is_refused_without_its_body() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "[limits]\nbody = \"1KiB\"");
    let mut client = sidecar.https();
    client.send(
        "POST / HTTP/1.1\r\nhost: shop.example\r\nexpect: 100-continue\r\ncontent-length: 5000\r\n\r\n",
    );
    let answer = client.head();
    assert_eq!(answer.status, 413);
}

#[test]
fn answers_without_a_body_are_framed_without_one() {
    let shop = Upstream::start(|exchange| match exchange.target() {
        "/none" => {
            exchange.request()?;
            exchange.begin(204, &[])
        }
        "/same" => {
            exchange.request()?;
            exchange.begin(304, &[("etag", "\"1\""), ("content-length", "5")])
        }
        _ => exchange.answer(200, &[("content-type", "text/html")], b"hello"),
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    let none = client.get("/none");
    assert_eq!((none.status, none.field("content-length")), (204, None));
    assert_eq!(none.field("transfer-encoding"), None);
    let same = client.get("/same");
    assert_eq!((same.status, same.field("etag")), (304, Some("\"1\"")));
    let head = client.request("HEAD", "/page", &[], b"");
    assert_eq!((head.status, head.field("content-length")), (200, Some("5")));
    assert_eq!(shop.last().method(), "HEAD");
    // Every answer above left the connection in step.
    assert_eq!(client.get("/page").text(), "hello");
    let mut browser = sidecar.h2();
    assert_eq!(browser.get("/none").status, 204);
    assert_eq!(browser.get("/same").status, 304);
    assert_eq!(browser.request("HEAD", "/page", &[], b"").body, b"");
}

#[test]
fn fields_for_one_hop_stay_on_their_hop() {
    let shop = Upstream::start(|exchange| {
        let fields = [
            ("connection", "x-shop-private"),
            ("x-shop-private", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authenticate", "Basic"),
            ("x-shop-public", "1"),
        ];
        exchange.answer(200, &fields, b"ok")
    });
    let sidecar = Sidecar::start(&shop, "");
    let fields = [
        ("connection", "close, x-private"),
        ("x-private", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic QQ=="),
        ("te", "gzip"),
        ("upgrade", "h2c"),
        ("x-public", "1"),
    ];
    let answer = sidecar.https().request("GET", "/", &fields, b"");
    let seen = shop.last();
    for name in ["x-private", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade"] {
        assert_eq!(seen.field(name), None, "{name} reached the shop");
    }
    assert_eq!(seen.field("x-public"), Some("1"));
    for name in ["x-shop-private", "keep-alive", "proxy-authenticate"] {
        assert_eq!(answer.field(name), None, "{name} reached the client");
    }
    assert_eq!(answer.field("x-shop-public"), Some("1"));
}

#[test]
fn the_shop_learns_who_asked_and_believes_no_stranger() {
    let lies = [
        ("x-forwarded-for", "6.6.6.6"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=6.6.6.6;host=evil.example"),
        ("x-real-ip", "6.6.6.6"),
    ];
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    sidecar.https().request("GET", "/", &lies, b"");
    let seen = shop.last();
    assert_eq!(seen.field("x-forwarded-for"), Some("127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    assert_eq!(seen.field("x-forwarded-host"), Some(HOST));
    let forwarded = seen.field("forwarded").unwrap().to_lowercase();
    assert!(
        forwarded.contains("for=127.0.0.1") || forwarded.contains("for=\"127.0.0.1"),
        "{forwarded}"
    );
    assert!(forwarded.contains("proto=https") && forwarded.contains("host=shop.example"));
    assert!(
        seen.head.fields.iter().all(|(_, value)| !value.contains("6.6.6.6")),
        "{:?}",
        seen.head
    );
    sidecar.http().get("/");
    assert_eq!(shop.last().field("x-forwarded-proto"), Some("http"));
}

#[test]
fn a_trusted_proxy_is_believed() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).top("trusted_proxies = [\"127.0.0.0/8\"]").start();
    let fields = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-proto", "https")];
    sidecar.http().request("GET", "/", &fields, b"");
    let seen = shop.last();
    assert_eq!(seen.field("x-forwarded-for"), Some("203.0.113.9, 127.0.0.1"));
    assert_eq!(seen.field("x-forwarded-proto"), Some("https"));
    let access = sidecar.wait_for_access(|line| line.contains("203.0.113.9"));
    assert!(access.is_object());
}

#[test]
fn request_ids_and_traces_are_passed_or_made() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let fields = [("x-request-id", "order-17.a_B"), ("traceparent", parent)];
    let answer = client.request("GET", "/", &fields, b"");
    assert_eq!(answer.field("x-request-id"), Some("order-17.a_B"));
    assert_eq!(shop.last().field("x-request-id"), Some("order-17.a_B"));
    let trace = shop.last().field("traceparent").unwrap().to_owned();
    assert!(trace.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{trace}");
    let made = client.get("/");
    let id = made.field("x-request-id").unwrap();
    assert_eq!(shop.last().field("x-request-id"), Some(id));
    let trace = shop.last().field("traceparent").unwrap().to_owned();
    // W3C Trace Context section 3.2: version, 32, 16 and 2 hex digits.
    assert_eq!(trace.split('-').map(str::len).collect::<Vec<_>>(), [2, 32, 16, 2], "{trace}");
    let other = client.get("/");
    assert_ne!(other.field("x-request-id"), made.field("x-request-id"));
    let hostile = client.request("GET", "/", &[("x-request-id", "\"><script>")], b"");
    assert_ne!(hostile.field("x-request-id"), Some("\"><script>"));
}

#[test]
fn a_body_over_the_limit_is_413() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "[limits]\nbody = \"1KiB\"");
    let big = vec![b'a'; 1_025];
    let fields = [("content-type", "text/plain")];
    sidecar.https().request("POST", "/", &fields, &big).assert_refused(413);
    sidecar.h2().request("POST", "/", &fields, &big).assert_refused(413);
    assert_eq!(sidecar.https().request("POST", "/", &fields, &big[..1_024]).status, 200);
    let mut client = sidecar.https();
    client
        .send("POST / HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n401\r\n");
    client.send(&big);
    client.send("\r\n0\r\n\r\n");
    client.answer().assert_refused(413);
}

#[test]
fn too_many_cards_in_one_body_are_413() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "[limits]\ncards = 3");
    let cards = |count: usize| {
        let list: Vec<_> = (0..count).map(|_| format!("\"{}\"", cards::fresh("visa"))).collect();
        format!("{{\"cards\":[{}]}}", list.join(","))
    };
    assert_eq!(sidecar.https().json("/", &cards(3)).status, 200);
    sidecar.https().json("/", &cards(4)).assert_refused(413);
    assert_eq!(shop.count(), 1);
}

#[test]
fn a_shop_that_is_down_or_breaks_is_502() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let down = Setup::to(&format!("http://{free}")).start();
    down.https().get("/").assert_refused(502);
    let shop = Upstream::start(|exchange| {
        exchange.request()?;
        match exchange.target() {
            "/nonsense" => exchange.raw(b"SMTP ready\r\n\r\n")?,
            "/silent" => {}
            _ => exchange
                .raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!")?,
        }
        exchange.close();
        Ok(())
    });
    let sidecar = Sidecar::start(&shop, "");
    for target in ["/nonsense", "/silent", "/two-lengths"] {
        sidecar.https().form(target, "a=b").assert_refused(502);
    }
}

#[test]
fn a_shop_that_does_not_answer_is_504() {
    let shop = Upstream::start(|exchange| {
        exchange.request()?;
        // Holds the connection until the other side gives up.
        exchange.some().map(|_| exchange.close())
    });
    let sidecar = Sidecar::start(&shop, "[timeouts]\nresponse_head = \"300ms\"");
    sidecar.https().get("/").assert_refused(504);
    sidecar.h2().get("/").assert_refused(504);
}

#[test]
fn an_answer_that_is_cut_short_is_cut_for_the_client_too() {
    let shop = Upstream::start(|exchange| {
        exchange.request()?;
        exchange.raw(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 100\r\n\r\nhalf",
        )?;
        exchange.close();
        Ok(())
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    assert!(client.try_request("GET", "/", &[], b"").is_err(), "a cut answer looks whole");
    let mut client = RawH2::connect(sidecar.address("https"));
    client.head(1, &get("/"), END_STREAM);
    assert_eq!(client.outcome(1), Outcome::Answered(200));
    const INTERNAL_ERROR: u32 = 2;
    assert_eq!(client.outcome(1), Outcome::Reset(INTERNAL_ERROR));
}

#[test]
fn a_host_that_is_not_served_is_not_forwarded() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).site("hosts = [\"shop.example\", \"*.shop.example\"]").start();
    for (host, served) in [
        ("shop.example", true),
        ("www.shop.example", true),
        ("SHOP.example:8443", true),
        ("evil.example", false),
    ] {
        let mut client = sidecar.http();
        client.host = host.to_owned();
        let answer = client.get("/");
        if served {
            assert_eq!(answer.status, 200, "{host}");
        } else {
            answer.assert_refused(if answer.status == 421 { 421 } else { 404 });
        }
    }
    assert_eq!(shop.count(), 3);
}

#[test]
fn a_connection_opened_for_one_site_is_not_used_for_another() {
    // RFC 9110 section 15.5.20: the client is told to open its own.
    let (a, b) = (Identity::new(&["a.example"]), Identity::new(&["b.example"]));
    let other = Upstream::ok();
    let setup = Setup::new(&Upstream::ok())
        .file("tls/a.pem", &a.chain)
        .file("tls/a.key", &a.key)
        .file("tls/b.pem", &b.chain)
        .file("tls/b.key", &b.key)
        .tables("[[certificate]]\nchain = \"tls/a.pem\"\nkey = \"tls/a.key\"")
        .tables("[[certificate]]\nchain = \"tls/b.pem\"\nkey = \"tls/b.key\"")
        .tables(&format!("[[site]]\nhosts = [\"b.example\"]\nupstreams = [\"{}\"]", other.url()));
    let sidecar = setup.start();
    let mut client = Tls::new("a.example").connect(sidecar.address("https")).unwrap();
    assert_eq!(client.get("/").status, 200);
    client.host = "b.example".to_owned();
    client.get("/").assert_refused(421);
}

#[test]
fn several_upstreams_share_the_work() {
    let (one, two) = (Upstream::ok(), Upstream::ok());
    let sidecar =
        Setup::to(&format!("{}\", \"{}", one.url(), two.url())).top("workers = 1").start();
    for n in 0..20 {
        assert_eq!(sidecar.http().get(&format!("/{n}")).status, 200);
    }
    assert!(one.count() > 0 && two.count() > 0, "{} and {}", one.count(), two.count());
}

#[test]
fn many_streams_of_one_http2_connection_are_answered() {
    let shop = Upstream::start(|exchange| {
        let target = exchange.target().to_owned();
        exchange.answer(200, &[("content-type", "text/plain")], target.as_bytes())
    });
    let sidecar = Sidecar::start(&shop, "");
    let paths: Vec<_> = (0..80).map(|n| format!("/{n}")).collect();
    let answers = sidecar.h2().get_all(&paths);
    for (path, answer) in paths.iter().zip(answers) {
        assert_eq!(answer.text(), *path);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let shop = Upstream::start(|exchange| {
        let target = exchange.target().to_owned();
        exchange.answer(200, &[("content-type", "text/plain")], target.as_bytes())
    });
    let sidecar = Sidecar::start(&shop, "");
    let mut client: Client = sidecar.https();
    let requests: String =
        (0..5).map(|n| format!("GET /{n} HTTP/1.1\r\nhost: shop.example\r\n\r\n")).collect();
    client.send(requests);
    for n in 0..5 {
        assert_eq!(client.answer().text(), format!("/{n}"));
    }
}

#[test]
fn http_1_0_is_answered_and_closed() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let mut client = sidecar.http();
    client.send("GET / HTTP/1.0\r\nhost: shop.example\r\n\r\n");
    let all = String::from_utf8(client.rest()).unwrap();
    assert!(all.starts_with("HTTP/1.") && all.ends_with("ok"), "{all}");
}

#[test]
fn a_shop_without_tls_needs_no_certificate() {
    let shop = Upstream::ok();
    let with = Setup::new(&shop);
    let sidecar = with.start();
    let mark = sidecar.mark();
    let text = with.text();
    let plain = text
        .replace("tls = true\n", "")
        .replace("[[certificate]]\nchain = \"tls/shop.pem\"\nkey = \"tls/shop.key\"\n", "");
    assert!(!plain.contains("tls"), "{plain}");
    sidecar.write_config(&plain);
    sidecar.wait_for_log(mark, "reloaded");
    assert_eq!(sidecar.http().get("/").text(), "ok");
}

#[test]
fn an_answer_with_both_lengths_is_read_by_its_chunks() {
    // RFC 9112 section 6.3: the transfer coding overrides the length.
    let shop = Upstream::start(|exchange| {
        exchange.raw(
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n\
              5\r\nhello\r\n0\r\n\r\n",
        )
    });
    let sidecar = Sidecar::start(&shop, "");
    assert_eq!(sidecar.https().get("/").text(), "hello");
}

#[test]
fn a_way_round_a_route_is_no_way_round_its_rules() {
    let shop = Upstream::ok();
    let tables = "[[site.route]]\npath = \"/static/*\"\ncards = { requests = \"off\" }\n\
                  [[site.route]]\npath = \"/api/*\"\ncards = { requests = \"reject\" }";
    let sidecar = Sidecar::start(&shop, tables);
    for path in ["/static/../pay", "/static/%2e%2e/pay"] {
        let card = cards::fresh("visa");
        assert_eq!(sidecar.https().form(path, &format!("number={card}")).status, 200, "{path}");
        assert_ne!(shop.last().form("number"), card, "{path}");
    }
    for path in ["//api/x", "/%61pi/x", "/./api/x"] {
        let card = cards::fresh("visa");
        sidecar.https().form(path, &format!("number={card}")).assert_refused(422);
    }
}

#[test]
fn p1_a_card_in_a_name_goes_nowhere() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let mut client = sidecar.https();
    client.host = format!("{card}.example");
    client.get("/").assert_refused(400);
    let field = format!("x-{card}");
    sidecar.https().request("GET", "/", &[(&field, "1")], b"").assert_refused(400);
    let id = format!("a-{card}");
    let answer = sidecar.https().request("GET", "/", &[("x-request-id", &id)], b"");
    assert_eq!(answer.status, 200);
    assert_ne!(answer.field("x-request-id"), Some(id.as_str()));
}
