//! Known attacks on HTTP/2, by a client that says what no library would.

use crate::harness::raw_h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::harness::{HOST, Outcome, RawH2, Sidecar, Upstream};

type Fields<'f> = Vec<(&'f str, &'f str)>;

fn with<'f>(field: (&'f str, &'f str)) -> Fields<'f> {
    let mut fields = get("/");
    fields.push(field);
    fields
}

/// The same request with one of its pseudo-fields said otherwise.
fn but<'f>(name: &str, value: &'f str) -> Fields<'f> {
    let mut fields: Fields<'f> = get("/");
    fields.iter_mut().filter(|field| field.0 == name).for_each(|field| field.1 = value);
    fields
}

fn without(name: &str) -> Fields<'static> {
    get("/").into_iter().filter(|field| field.0 != name).collect()
}

fn outcome(sidecar: &Sidecar, fields: &[(&str, &str)]) -> Outcome {
    let mut client = RawH2::connect(sidecar.address("https"));
    client.head(1, fields, END_STREAM);
    client.outcome(1)
}

/// What must hold after a flood: others are served, and the memory is bounded.
fn assert_unmoved(sidecar: &Sidecar) {
    assert_eq!(sidecar.h2().get("/").status, 200);
    assert!(sidecar.memory_peak_kib() < 256 << 10, "{} KiB", sidecar.memory_peak_kib());
}

/// Sends these frames again and again, until so many bytes are sent or nobody takes them.
fn flood(client: &mut RawH2, frames: &[u8], bytes: usize) {
    client.be_impatient();
    let block = frames.repeat((64 << 10) / frames.len() + 1);
    for _ in 0..bytes / block.len() + 1 {
        if client.send(&block).is_err() {
            return;
        }
    }
}

#[test]
fn what_would_split_a_request_on_its_way_to_http1_reaches_no_shop() {
    // RFC 9113 sections 8.2.1, 8.3.1 and 10.3; CVE-2021-33193, CVE-2021-21295.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let attempts = [
        but(":path", "/ HTTP/1.1\r\nhost: evil\r\n\r\nGET /x"),
        but(":path", "/a b"),
        but(":path", "/\0"),
        but(":path", "/\n"),
        but(":path", ""),
        but(":path", "a"),
        but(":path", "*"),
        but(":path", "http://evil.example/"),
        but(":path", "@evil.example/"),
        but(":method", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET"),
        but(":method", "GET "),
        but(":method", ""),
        but(":method", "CONNECT"),
        but(":method", "TRACE"),
        but(":scheme", "ftp"),
        but(":scheme", "https://evil/"),
        but(":authority", "shop.example\r\nx: y"),
        but(":authority", "shop.example x"),
        but(":authority", "u@shop.example"),
        but(":authority", "shop.example/x"),
        but(":authority", "shop.example:x"),
        without(":path"),
        without(":method"),
        without(":scheme"),
        without(":authority"),
        with((":path", "/again")),
        with((":foo", "bar")),
        with((":status", "200")),
        with(("host", "evil.example")),
        with(("x-a", "b\r\nx-c: d")),
        with(("x-a", "b\nc")),
        with(("x-a", "b\0")),
        with(("x a", "b")),
        with(("x-a: b\r\nx-c", "d")),
        with(("x:a", "b")),
        with(("", "b")),
        with(("X-Upper", "b")),
        with(("connection", "x-a")),
        with(("connection", "close")),
        with(("transfer-encoding", "chunked")),
        with(("keep-alive", "1")),
        with(("proxy-connection", "close")),
        with(("upgrade", "h2c")),
        with(("te", "gzip")),
        with(("content-length", "5")),
        with(("content-length", "+0")),
        [vec![("x-a", "b")], get("/")].concat(),
    ];
    for fields in attempts {
        let outcome = outcome(&sidecar, &fields);
        assert_ne!(outcome, Outcome::Answered(200), "{fields:?}");
    }
    assert!(shop.seen().is_empty(), "{:?}", shop.seen());
    assert_eq!(outcome(&sidecar, &get("/")), Outcome::Answered(200));
}

#[test]
fn a_body_that_is_not_as_long_as_it_says_is_not_finished() {
    // RFC 9113 section 8.1.1: a length that the frames do not add up to.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for (length, body) in [("2", "abcd"), ("4", "ab"), ("0", "a")] {
        let mut client = RawH2::connect(sidecar.address("https"));
        let mut fields = but(":method", "POST");
        fields.push(("content-length", length));
        client.head(1, &fields, 0);
        let _answered_before = client.frame(DATA, END_STREAM, 1, body.as_bytes());
        assert_ne!(client.outcome(1), Outcome::Answered(200), "{length} {body}");
    }
    assert!(shop.seen().is_empty(), "{:?}", shop.seen());
}

#[test]
fn more_streams_than_allowed_are_refused_and_the_others_are_served() {
    // RFC 9113 section 5.1.2: 128 at once.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = RawH2::connect(sidecar.address("https"));
    let mut fields = but(":method", "POST");
    fields.push(("content-length", "1"));
    for stream in (1..=257).step_by(2) {
        client.head(stream, &fields, 0);
    }
    // REFUSED_STREAM: it may be sent again.
    assert_eq!(client.outcome(257), Outcome::Reset(7));
    client.frame(DATA, END_STREAM, 1, b"x").unwrap();
    assert_eq!(client.outcome(1), Outcome::Answered(200));
    assert_unmoved(&sidecar);
}

#[test]
fn p7_streams_opened_and_reset_at_once_end_the_connection() {
    // CVE-2023-44487, rapid reset.
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let mut client = RawH2::connect(sidecar.address("https"));
    let block = block(&get("/"));
    for stream in (1..40_000).step_by(2) {
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        let reset = frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]);
        if client.send(&[head, reset].concat()).is_err() {
            break;
        }
    }
    let outcome = client.outcome(u32::MAX);
    assert!(matches!(outcome, Outcome::GoneAway(11) | Outcome::Closed), "{outcome:?}");
    assert_unmoved(&sidecar);
}

#[test]
fn p7_streams_that_we_are_made_to_reset_end_the_connection() {
    // CVE-2025-8671, MadeYouReset: a window that overflows resets a stream on our side.
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let mut client = RawH2::connect(sidecar.address("https"));
    let block = block(&get("/"));
    for stream in (1..40_000).step_by(2) {
        let head = frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        let overflow = frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]);
        if client.send(&[head, overflow].concat()).is_err() {
            break;
        }
    }
    let outcome = client.outcome(u32::MAX);
    assert!(matches!(outcome, Outcome::GoneAway(11) | Outcome::Closed), "{outcome:?}");
    assert_unmoved(&sidecar);
}

#[test]
fn p7_a_head_in_endless_continuations_is_given_up() {
    // CVE-2024-27316 and its like: CONTINUATION without END_HEADERS.
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    for piece in [block(&[("x-a", "b")]), Vec::new()] {
        let mut client = RawH2::connect(sidecar.address("https"));
        client.frame(HEADERS, END_STREAM, 1, &block(&get("/"))).unwrap();
        flood(&mut client, &frame(CONTINUATION, 0, 1, &piece), 8 << 20);
        let outcome = client.outcome(1);
        assert_ne!(outcome, Outcome::Answered(200));
        assert_unmoved(&sidecar);
    }
}

#[test]
fn p7_a_field_repeated_by_reference_does_not_fill_the_memory() {
    // CVE-2016-6581, the HPACK bomb: one large field enters the table, each byte then repeats it.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let mut client = RawH2::connect(sidecar.address("https"));
    let mut bomb = block(&get("/"));
    // Literal with indexing, named "x"; 3,000 bytes as a 7-bit-prefix integer.
    bomb.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0xb9, 0x16]);
    bomb.extend_from_slice(&[b'a'; 3_000]);
    bomb.extend_from_slice(&[0xbe; 12_000]);
    for stream in (1..200).step_by(2) {
        if client.frame(HEADERS, END_HEADERS | END_STREAM, stream, &bomb).is_err() {
            break;
        }
    }
    assert_ne!(client.outcome(1), Outcome::Answered(200));
    assert_eq!(shop.count(), 0);
    assert_unmoved(&sidecar);
}

#[test]
fn p7_floods_of_frames_that_cost_an_answer_or_nothing_do_not_stop_the_service() {
    // CVE-2019-9511 to CVE-2019-9518: answers are owed to a client that reads none of them.
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let floods = [
        ("SETTINGS", frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])),
        ("empty SETTINGS", frame(SETTINGS, 0, 0, &[])),
        ("PING", frame(PING, 0, 0, &[7; 8])),
        ("PRIORITY", frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1])),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("an unknown frame", frame(0x77, 0, 0, &[0; 64])),
    ];
    for (name, bytes) in floods {
        let mut client = RawH2::connect(sidecar.address("https"));
        flood(&mut client, &bytes, 8 << 20);
        assert_eq!(sidecar.h2().get("/").status, 200, "{name}");
    }
    let mut client = RawH2::connect(sidecar.address("https"));
    client.head(1, &but(":method", "POST"), 0);
    flood(&mut client, &frame(DATA, 0, 1, &[]), 8 << 20);
    assert_unmoved(&sidecar);
}

#[test]
fn p7_answers_that_a_client_gives_no_window_for_are_cut_off() {
    // CVE-2019-9517: the socket is read, the window stays shut.
    let shop = Upstream::fixed("text/plain", vec![b'x'; 4 << 20]);
    let sidecar = Sidecar::start(&shop, "[timeouts]\nclient_write = \"300ms\"");
    let mut client = RawH2::connect(sidecar.address("https"));
    // SETTINGS_INITIAL_WINDOW_SIZE.
    client.frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]).unwrap();
    for stream in (1..100).step_by(2) {
        client.head(stream, &get("/"), END_STREAM);
    }
    let ended = std::iter::repeat_with(|| client.next_frame()).find_map(|next| match next {
        Ok((GOAWAY, ..)) => Some(true),
        Ok(_) => None,
        Err(error) => Some(error.kind() != std::io::ErrorKind::WouldBlock),
    });
    assert_eq!(ended, Some(true), "the connection stays open");
    assert_unmoved(&sidecar);
}

#[test]
fn cookies_in_crumbs_are_one_field_for_the_shop() {
    // RFC 9113 section 8.2.3.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let fields = [with(("cookie", "a=b")), vec![("cookie", "c=d")]].concat();
    assert_eq!(outcome(&sidecar, &fields), Outcome::Answered(200));
    assert_eq!(shop.last().head.all("cookie"), ["a=b; c=d"]);
    assert_eq!(shop.last().head.all("host"), [HOST]);
}
