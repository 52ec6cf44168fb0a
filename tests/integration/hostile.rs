//! Known attacks, each with the RFC or CVE that describes it (promises P3 and P7).

use std::io::Write;
use std::net::IpAddr;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::harness::{
    Client, HOST, ONLY_ACCOUNTS, Setup, Sidecar, Tls, Upstream, cards, eventually,
};

/// Sends these bytes; the status of the answer, or `None` where the connection was closed at once.
fn verdict(sidecar: &Sidecar, bytes: &[u8]) -> Option<u16> {
    let mut client = sidecar.http();
    // A refusal may arrive, and the connection end, before everything is written.
    let _ = client.try_send(bytes);
    client.try_answer("GET").ok().map(|answer| answer.status)
}

fn zeros(count: usize) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let block = vec![b'0'; 1 << 20];
    for _ in 0..count >> 20 {
        gzip.write_all(&block).unwrap();
    }
    gzip.finish().unwrap()
}

#[test]
fn smuggling_attempts_reach_no_shop() {
    // RFC 9112 sections 2.2, 5.1, 5.2, 6.1 and 6.3; CVE-2019-18277, CVE-2021-40346, CVE-2022-26377.
    let attempts: [(&str, &str); 16] = [
        ("two lengths", "content-length: 4\r\ncontent-length: 5\r\n\r\nabcde"),
        ("a list of lengths", "content-length: 4, 5\r\n\r\nabcde"),
        ("a signed length", "content-length: +4\r\n\r\nabcd"),
        ("a hexadecimal length", "content-length: 0x4\r\n\r\nabcd"),
        ("a negative length", "content-length: -1\r\n\r\n"),
        ("a length beyond 64 bits", "content-length: 18446744073709551620\r\n\r\nabcd"),
        ("an unknown coding", "transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
        ("chunked not last", "transfer-encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
        (
            "chunked twice",
            "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        ),
        ("space before the colon", "transfer-encoding : chunked\r\n\r\n0\r\n\r\n"),
        ("a folded line", "x-a: b\r\n transfer-encoding: chunked\r\n\r\n"),
        ("a bad chunk size", "transfer-encoding: chunked\r\n\r\n-1\r\nabc\r\n0\r\n\r\n"),
        (
            "a chunk size beyond 64 bits",
            "transfer-encoding: chunked\r\n\r\n10000000000000004\r\nabcd\r\n0\r\n\r\n",
        ),
        ("a nul in a value", "x-a: b\0c\r\n\r\n"),
        ("two hosts", "host: other.example\r\n\r\n"),
        ("a name with a space", "x a: b\r\n\r\n"),
    ];
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for (name, rest) in attempts {
        let bytes = format!("POST /{} HTTP/1.1\r\nhost: shop.example\r\n{rest}", name.len());
        let status = verdict(&sidecar, bytes.as_bytes());
        assert!(matches!(status, None | Some(400 | 411 | 413 | 501)), "{name}: {status:?}");
    }
    // What has a body that turned out wrong may have been begun; none may have been finished.
    assert!(shop.seen().is_empty(), "{:?}", shop.seen());
    assert_eq!(sidecar.http().get("/").status, 200);
}

/// Around the ends of 63 and 64 bits, where sums of lengths overflow and marks beside them may lie.
const LENGTHS: [&str; 8] = [
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551611",
    "18446744073709551612",
    "18446744073709551613",
    "18446744073709551614",
    "18446744073709551615",
    "18446744073709551616",
];

#[test]
fn a_request_longer_than_can_be_counted_is_refused_and_hides_none_behind_it() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "[limits]\nbody = \"1000000GiB\"");
    // Chunks, to whoever takes such a length for a mark of them.
    let behind = "0\r\n\r\nGET /behind HTTP/1.1\r\nhost: shop.example\r\n\r\n";
    for length in LENGTHS {
        let mut client = sidecar.http();
        client.send(format!(
            "POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {length}\r\n\r\n{behind}"
        ));
        let answers = String::from_utf8(client.rest()).unwrap();
        let status = answers.get(9..12).unwrap_or_default();
        assert!(["400", "413", "431"].contains(&status), "{length}: {answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{length}: {answers}");
    }
    assert!(shop.seen().is_empty(), "{:?}", shop.seen());
    assert_eq!(sidecar.http().get("/").status, 200);
    assert!(!sidecar.written().contains("panicked"), "{}", sidecar.written());
}

#[test]
fn an_answer_longer_than_can_be_counted_is_502_or_breaks_off() {
    let shop = Upstream::start(|exchange| {
        exchange.request()?;
        let (content_type, length) = exchange.target()[1..].split_once('?').unwrap();
        let fields = [("content-type", content_type), ("content-length", length)];
        let fields = fields.map(|(name, value)| (name, value.to_owned()));
        let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        exchange.begin(200, &fields)?;
        exchange.close();
        exchange.raw(b"the beginning of an answer")
    });
    let sidecar = Sidecar::start(&shop, "");
    for content_type in ["application/json", "application/octet-stream", "text/html"] {
        for length in LENGTHS {
            let mut client = sidecar.https();
            let target = format!("/{content_type}?{length}");
            client.send(format!("GET {target} HTTP/1.1\r\nhost: shop.example\r\n\r\n"));
            let head = client.head();
            match head.status {
                200 => assert!(client.rest().len() <= 26, "{target}"),
                status => assert_eq!(status, 502, "{target}"),
            }
        }
    }
    assert!(!sidecar.written().contains("panicked"), "{}", sidecar.written());
}

#[test]
fn a_request_with_both_lengths_is_refused_or_read_as_chunked_alone() {
    // RFC 9112 section 6.3: a possible attempt at smuggling; refuse, or drop the length and close.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.http();
    client.send(
        "POST /first HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 6\r\n\
         transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: shop.example\r\n\r\n",
    );
    let answer = client.answer();
    assert!(matches!(answer.status, 200 | 400), "{}", answer.status);
    client.rest();
    for seen in shop.seen() {
        assert_eq!(seen.target(), "/first");
        let framings =
            ["content-length", "transfer-encoding"].map(|name| seen.head.all(name).len());
        assert_eq!(framings.iter().sum::<usize>(), 1, "{:?}", seen.head);
        assert!(seen.body.is_empty());
    }
}

#[test]
fn a_request_without_a_host_is_400() {
    // RFC 9112 section 3.2.
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    assert_eq!(verdict(&sidecar, b"GET / HTTP/1.1\r\n\r\n"), Some(400));
    let bad = verdict(&sidecar, b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n");
    assert!(matches!(bad, None | Some(400)), "{bad:?}");
}

#[test]
fn huge_heads_are_431() {
    // RFC 6585 section 5.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let one = format!("GET / HTTP/1.1\r\nhost: shop.example\r\nx: {}\r\n\r\n", "a".repeat(2 << 20));
    assert!(matches!(verdict(&sidecar, one.as_bytes()), None | Some(431)));
    let many: String = (0..5_000).map(|n| format!("x-{n}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nhost: shop.example\r\n{many}\r\n");
    assert!(matches!(verdict(&sidecar, many.as_bytes()), None | Some(431)));
    let long = format!("GET /{} HTTP/1.1\r\nhost: shop.example\r\n\r\n", "a".repeat(1 << 20));
    assert!(matches!(verdict(&sidecar, long.as_bytes()), None | Some(414 | 431)));
    let modest = "a".repeat(100_000);
    sidecar.http().request("GET", "/", &[("x", &modest)], b"").assert_refused(431);
    assert_eq!(sidecar.http().request("GET", "/", &[("x", &modest[..6_000])], b"").status, 200);
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    // Slowloris, CVE-2007-6750.
    let sidecar = Sidecar::start(&Upstream::ok(), "[timeouts]\nrequest_head = \"300ms\"");
    let mut client = sidecar.http();
    client.send("GET / HTTP/1.1\r\nhost: shop.example\r\nx-a:");
    let said = String::from_utf8(client.rest()).unwrap();
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
}

#[test]
fn a_body_that_never_ends_is_408() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "[timeouts]\nrequest_body_idle = \"300ms\"");
    let mut client = sidecar.http();
    client.send(
        "POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-type: application/json\r\n\
         content-length: 100\r\n\r\n{",
    );
    client.answer().assert_refused(408);
    assert_eq!(shop.count(), 0);
}

#[test]
fn a_handshake_that_never_ends_is_given_up() {
    let sidecar = Sidecar::start(&Upstream::ok(), "[timeouts]\nhandshake = \"300ms\"");
    let mut client = Client::plain(sidecar.address("https"));
    client.send([0x16, 0x03, 0x01, 0x02, 0x00]);
    client.rest();
}

#[test]
fn http2_rapid_reset_does_not_stop_the_service() {
    // CVE-2023-44487.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let tls = Tls::with(HOST, rustls::ALL_VERSIONS, &[b"h2"]);
    let mut attacker = tls.connect(sidecar.address("https")).unwrap();
    attacker.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00");
    // RFC 7541 appendix A: GET, /, https, and the authority as a literal.
    let mut block = vec![0x82, 0x84, 0x87, 0x41, u8::try_from(HOST.len()).unwrap()];
    block.extend_from_slice(HOST.as_bytes());
    for stream in (1..20_000u32).step_by(2) {
        let id = stream.to_be_bytes();
        let mut frames = vec![0, 0, u8::try_from(block.len()).unwrap(), 1, 5];
        frames.extend_from_slice(&id);
        frames.extend_from_slice(&block);
        frames.extend_from_slice(&[0, 0, 4, 3, 0]);
        frames.extend_from_slice(&id);
        frames.extend_from_slice(&[0, 0, 0, 8]);
        if attacker.try_send(&frames).is_err() {
            break;
        }
    }
    assert_eq!(sidecar.h2().get("/").status, 200);
    assert!(sidecar.memory_peak_kib() < 256 << 10, "{} KiB", sidecar.memory_peak_kib());
}

#[test]
fn p7_a_gzip_bomb_in_a_request_is_413() {
    // CWE-409. 128 MiB in about 128 KiB.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let fields = [("content-type", "application/json"), ("content-encoding", "gzip")];
    sidecar.https().request("POST", "/", &fields, &zeros(128 << 20)).assert_refused(413);
    assert_eq!(shop.count(), 0);
    assert!(sidecar.memory_peak_kib() < 256 << 10, "{} KiB", sidecar.memory_peak_kib());
}

/// As long as what it holds.
fn stored(count: usize) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::none());
    gzip.write_all(&vec![b'x'; count]).unwrap();
    gzip.finish().unwrap()
}

#[test]
fn p7_bodies_that_are_read_whole_share_a_bounded_room_and_no_network_takes_all_of_it() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "[limits]\nbody = \"1MiB\"\nheld = \"5MiB\"");
    let (large, small) = (stored(900 << 10), stored(10 << 10));
    let fields = [("content-type", "text/plain"), ("content-encoding", "gzip")];
    let from = |last: u8, body: &[u8]| {
        let source = IpAddr::from([127, 0, 0, last]);
        let mut client = Client::plain_from(source, sidecar.address("http")).unwrap();
        client.request("POST", "/", &fields, body)
    };
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: text/plain\r\n\
         content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
        large.len()
    );
    let mut slow =
        Client::plain_from(IpAddr::from([127, 0, 0, 1]), sidecar.address("http")).unwrap();
    slow.send(head);
    let (last, most) = large.split_last().unwrap();
    slow.send(most);
    let uncounted = 64 << 10;
    let held = f64::from(u32::try_from(2 * (most.len() - uncounted)).unwrap());
    eventually("what it has sent is held", || {
        (sidecar.metric("tillgate_bodies_held_bytes", &[]) >= held).then_some(())
    });
    let refused = from(1, &large);
    refused.assert_refused(503);
    assert!(refused.field("retry-after").is_some());
    assert_eq!(from(1, &small).status, 200, "small ones need no room");
    assert_eq!(from(2, &large).status, 200, "nor do its neighbours wait");
    slow.send([*last]);
    assert_eq!(slow.answer().status, 200);
    eventually("the room is given back", || (from(1, &large).status == 200).then_some(()));
    assert!(sidecar.metric("tillgate_requests_rejected_total", &["bodies_held"]) > 0.0);
}

#[test]
fn p7_a_gzip_bomb_in_an_answer_does_not_fill_the_memory() {
    let bomb = zeros(256 << 20);
    let shop = Upstream::start(move |exchange| {
        let fields = [("content-type", "text/html"), ("content-encoding", "gzip")];
        exchange.answer(200, &fields, &bomb)
    });
    let sidecar = Sidecar::start(&shop, "");
    let fields = [("accept-encoding", "gzip")];
    // 502, or an answer that is cut where the limit is: never one that looks whole and unscanned.
    if let Ok(answer) = sidecar.https().try_request("GET", "/", &fields, b"") {
        answer.assert_refused(502);
    }
    // Also where the head had left before the refusal.
    eventually("the refusal to be counted", || {
        let told = sidecar.metric("tillgate_requests_rejected_total", &["upstream_coding"]);
        (told >= 1.0).then_some(())
    });
    assert!(sidecar.memory_peak_kib() < 256 << 10, "{} KiB", sidecar.memory_peak_kib());
}

#[test]
fn another_spelling_of_the_login_path_does_not_escape_the_guard() {
    // CWE-289: what a shop's router takes for the same path must count as the same path.
    let shop = Upstream::start(|exchange| exchange.answer(401, &[], b"wrong"));
    let sidecar = Setup::new(&shop)
        .site("[[site.login]]\npath = \"/account/login\"\naccount_field = \"email\"")
        .tables(ONLY_ACCOUNTS)
        .start();
    let mut client = sidecar.http();
    for _ in 0..10 {
        assert_eq!(client.form("/account/login", "email=ada&password=w").status, 401);
    }
    for path in [
        "/account/login?x=1",
        "/account/log%69n",
        "//account/login",
        "/account//login",
        "/./account/login",
        "/x/../account/login",
        "/account/login/",
        "/account%2flogin",
        "/Account/Login",
        "/account/login;jsessionid=1",
    ] {
        let answer = client.form(path, "email=ada&password=w");
        assert!(matches!(answer.status, 400 | 429), "{path} escaped: {}", answer.status);
    }
    assert_eq!(shop.count(), 10);
}

#[test]
fn a_card_cannot_hide_behind_a_wrong_content_type() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for content_type in
        ["image/png", "application/octet-stream", "text/plain;charset=utf-8", "", "nonsense"]
    {
        let card = cards::fresh("visa");
        let answer =
            sidecar.https().post("/pay", content_type, format!("{{\"card_number\":\"{card}\"}}"));
        assert!(matches!(answer.status, 200 | 415 | 422), "{content_type}: {}", answer.status);
    }
}

#[test]
fn a_card_cannot_hide_in_a_form_by_escaping_its_digits() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let escaped: String = card.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = sidecar.https().form("/pay", &format!("number={escaped}"));
    assert!(matches!(answer.status, 200 | 422), "{}", answer.status);
    let escaped: String = card.bytes().map(|byte| format!("\\u00{byte:02x}")).collect();
    let answer = sidecar.https().json("/pay", &format!("{{\"number\":\"{escaped}\"}}"));
    assert!(matches!(answer.status, 200 | 422), "{}", answer.status);
    for seen in shop.seen() {
        assert!(!seen.text().contains(&escaped));
    }
}

#[test]
fn track_data_is_refused() {
    // PCI DSS 3.3.1.1.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let track = format!("{{\"swipe\":\";{card}=30121010000012345678?\"}}");
    sidecar.https().json("/pay", &track).assert_refused(422);
    assert_eq!(shop.count(), 0);
}

#[test]
fn connect_and_absolute_targets_do_not_make_us_an_open_proxy() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).site("hosts = [\"shop.example\"]").start();
    let connect =
        verdict(&sidecar, b"CONNECT evil.example:443 HTTP/1.1\r\nhost: evil.example:443\r\n\r\n");
    assert!(matches!(connect, None | Some(400..=599)), "{connect:?}");
    // RFC 9112 section 3.2.2: the absolute form wins over Host.
    let absolute =
        verdict(&sidecar, b"GET http://evil.example/ HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    assert!(matches!(absolute, Some(400 | 404 | 421)), "{absolute:?}");
    assert_eq!(shop.count(), 0);
}

#[test]
fn p7_a_flood_of_verification_codes_stops_nobody_elses_payment() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = sidecar.https();
    let flood: Vec<String> = (0..1005).map(|n| format!("cvv={:03}", n % 1000)).collect();
    client.form("/pay", &flood.join("&")).assert_refused(413);
    for eight in flood.chunks_exact(8) {
        assert_eq!(sidecar.https().form("/pay", &eight.join("&")).status, 200);
    }
    assert_eq!(sidecar.https().form("/pay", "cvv=123").status, 200);
}

#[test]
fn p7_a_client_that_does_not_read_its_answer_is_cut_off() {
    let ended = std::sync::Arc::new(crate::harness::Watched::<bool>::default());
    let tell = std::sync::Arc::clone(&ended);
    let shop = Upstream::start(move |exchange| {
        exchange.request()?;
        exchange.begin(200, &[("content-type", "text/plain"), ("transfer-encoding", "chunked")])?;
        let piece = vec![b'x'; 64 << 10];
        let broken = loop {
            if let Err(error) = exchange.chunk(&piece) {
                break error;
            }
        };
        tell.update(|ended| *ended = true);
        Err(broken)
    });
    let sidecar = Sidecar::start(&shop, "[timeouts]\nclient_write = \"300ms\"");
    let mut client = sidecar.http();
    client.send("GET /large HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    assert_eq!(ended.wait_for(|ended| ended.then_some(())), Some(()), "the shop still sends");
    drop(client);
}
