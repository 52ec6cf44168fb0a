//! HTTP/2 and HPACK section by section, in the order of the h2spec suite: what must end a connection or a
//! stream does, what must be ignored is.

use crate::harness::raw_h2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, block, frame, get,
};
use crate::harness::{HOST, Outcome, RawH2, Sidecar, Tls, Upstream};

const PUSH_PROMISE: u8 = 5;
const PADDED: u8 = 8;
const ACK: u8 = 1;

/// What the peer makes of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Made {
    /// An error of the stream or of the connection. Which one is the library's choice: for HPACK and for
    /// sizes of frames it says PROTOCOL_ERROR.
    Error,
    /// Nothing: the next request is answered.
    Nothing,
}
use Made::{Error, Nothing};

/// A section, what is sent, and what is made of it.
type Case = (&'static str, &'static str, Vec<Vec<u8>>, Made);

/// A whole request on this stream.
fn asked(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block(&get("/")))
}

/// A request whose body is still to come.
fn open(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &post(&[]))
}

fn post(more: &[(&str, &str)]) -> Vec<u8> {
    let fields = [(":method", "POST"), (":scheme", "https"), (":authority", HOST), (":path", "/")];
    block(&[&fields[..], more].concat())
}

fn setting(id: u16, value: u32) -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

fn window(stream: u32, size: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, 0, stream, &size.to_be_bytes())
}

/// A head whose block ends in these bytes.
fn coded(bytes: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 1, &[&block(&get("/"))[..], bytes].concat())
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])
}

/// How the connection, or this stream of it, ended; answers on it are passed over.
fn end(client: &mut RawH2, stream: u32) -> Outcome {
    loop {
        match client.outcome(stream) {
            Outcome::Answered(_) => {}
            other => return other,
        }
    }
}

fn check(cases: Vec<Case>) {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let mut wrong = Vec::new();
    for (section, name, frames, made) in cases {
        let mut client = RawH2::connect(sidecar.address("https"));
        for frame in frames {
            let _ended_before = client.send(&frame);
        }
        let _ended_before = client.send(&asked(101));
        let outcome = match made {
            Error => end(&mut client, 1),
            Nothing => client.outcome(101),
        };
        let sound = match outcome {
            Outcome::Answered(status) => made == Nothing && status == 200,
            // INTERNAL_ERROR would be an accident of ours.
            Outcome::Reset(code) | Outcome::GoneAway(code) => {
                made == Error && !matches!(code, 0 | 2)
            }
            Outcome::Closed => false,
        };
        if !sound {
            wrong.push(format!("{section}, {name}: {outcome:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(sidecar.h2().get("/").status, 200);
}

#[test]
fn a_connection_begins_with_the_preface() {
    // RFC 9113 section 3.4.
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    for preface in
        ["INVALID CONNECTION PREFACE\r\n\r\n", "GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n"]
    {
        let tls = Tls::with(HOST, rustls::ALL_VERSIONS, &[b"h2"]);
        let mut client = tls.connect(sidecar.address("https")).unwrap();
        client.send(preface);
        let said = client.rest();
        assert!(!said.starts_with(b"HTTP/1.1 2"), "{said:?}");
    }
}

#[test]
fn frames_streams_and_their_states() {
    // RFC 9113 sections 4 and 5.
    let large = vec![0; 16_385];
    let half = || vec![asked(1)];
    let gone = || vec![open(1), reset(1)];
    let with = |mut frames: Vec<Vec<u8>>, last: Vec<u8>| {
        frames.push(last);
        frames
    };
    let begun = || frame(HEADERS, END_STREAM, 1, &block(&get("/")));
    check(vec![
        ("4.1", "a frame of unknown type", vec![frame(0x77, 0, 0, &[0; 8])], Nothing),
        ("4.1", "undefined flags", vec![frame(PING, 0xfe, 0, &[0; 8])], Nothing),
        ("4.1", "the reserved bit", vec![frame(PING, 0, 1 << 31, &[0; 8])], Nothing),
        ("4.2", "DATA of the largest size", vec![open(1), frame(DATA, 0, 1, &large[1..])], Nothing),
        ("4.2", "DATA beyond it", vec![open(1), frame(DATA, 0, 1, &large)], Error),
        ("4.2", "HEADERS beyond it", vec![frame(HEADERS, 5, 1, &large)], Error),
        ("4.3", "a block that cannot be decoded", vec![coded(&[0x40])], Error),
        ("4.3", "PRIORITY within a block", vec![begun(), frame(PRIORITY, 0, 1, &[0; 5])], Error),
        ("4.3", "another HEADERS within a block", vec![begun(), asked(3)], Error),
        ("5.1", "DATA on an idle stream", vec![frame(DATA, 1, 1, b"x")], Error),
        ("5.1", "RST_STREAM on an idle stream", vec![reset(1)], Error),
        ("5.1", "WINDOW_UPDATE on an idle stream", vec![window(1, 100)], Error),
        ("5.1", "CONTINUATION on an idle stream", vec![frame(CONTINUATION, 4, 1, b"")], Error),
        ("5.1", "DATA behind the end", with(half(), frame(DATA, 1, 1, b"x")), Error),
        ("5.1", "HEADERS behind the end", with(half(), asked(1)), Error),
        ("5.1", "CONTINUATION behind the end", with(half(), frame(CONTINUATION, 4, 1, b"")), Error),
        ("5.1", "HEADERS behind a reset", with(gone(), asked(1)), Error),
        ("5.1", "CONTINUATION behind a reset", with(gone(), frame(CONTINUATION, 4, 1, b"")), Error),
        ("5.1", "WINDOW_UPDATE behind a reset", with(gone(), window(1, 1)), Nothing),
        ("5.1", "a second RST_STREAM", with(gone(), reset(1)), Nothing),
        ("5.1.1", "an even stream", vec![asked(2)], Error),
        ("5.1.1", "a stream below the last", vec![asked(5), asked(3)], Error),
        ("5.5", "an unknown frame within a block", vec![begun(), frame(0x77, 0, 0, b"")], Error),
    ]);
}

#[test]
fn each_type_of_frame() {
    // RFC 9113 section 6.
    let begun = || frame(HEADERS, END_STREAM, 1, &block(&get("/")));
    let rest = || frame(CONTINUATION, END_HEADERS, 1, &block(&[("x-a", "b")]));
    check(vec![
        ("6.1", "DATA on stream 0", vec![frame(DATA, 1, 0, b"x")], Error),
        (
            "6.1",
            "padding as long as the frame",
            vec![open(1), frame(DATA, PADDED, 1, &[2, 0])],
            Error,
        ),
        (
            "6.1",
            "padding of nothing but itself",
            vec![open(1), frame(DATA, PADDED | 1, 1, &[3, b'x', 0, 0, 0])],
            Nothing,
        ),
        ("6.2", "HEADERS on stream 0", vec![frame(HEADERS, 5, 0, &block(&get("/")))], Error),
        (
            "6.2",
            "padding longer than the block",
            vec![frame(HEADERS, 5 | PADDED, 1, &[200, 0x82])],
            Error,
        ),
        ("6.3", "PRIORITY on stream 0", vec![frame(PRIORITY, 0, 0, &[0; 5])], Error),
        ("6.3", "PRIORITY of four bytes", vec![frame(PRIORITY, 0, 1, &[0; 4])], Error),
        (
            "6.3",
            "PRIORITY of an idle stream",
            vec![frame(PRIORITY, 0, 3, &[0, 0, 0, 1, 9])],
            Nothing,
        ),
        ("6.4", "RST_STREAM on stream 0", vec![frame(RST_STREAM, 0, 0, &[0; 4])], Error),
        (
            "6.4",
            "RST_STREAM of three bytes",
            vec![open(1), frame(RST_STREAM, 0, 1, &[0; 3])],
            Error,
        ),
        (
            "6.5",
            "a confirmation that says something",
            vec![frame(SETTINGS, ACK, 0, &[0; 6])],
            Error,
        ),
        ("6.5", "SETTINGS on a stream", vec![frame(SETTINGS, 0, 1, &[0; 6])], Error),
        ("6.5", "SETTINGS of five bytes", vec![frame(SETTINGS, 0, 0, &[0; 5])], Error),
        ("6.5.2", "ENABLE_PUSH of two", vec![setting(2, 2)], Error),
        ("6.5.2", "a window beyond 2^31-1", vec![setting(4, 1 << 31)], Error),
        ("6.5.2", "frames below 2^14", vec![setting(5, 16_383)], Error),
        ("6.5.2", "frames beyond 2^24-1", vec![setting(5, 1 << 24)], Error),
        ("6.5.2", "a setting nobody knows", vec![setting(0xff, 1)], Nothing),
        (
            "6.6",
            "PUSH_PROMISE from a client",
            vec![open(1), frame(PUSH_PROMISE, 4, 1, &[0, 0, 0, 2])],
            Error,
        ),
        ("6.7", "a confirmation nobody waits for", vec![frame(PING, ACK, 0, &[1; 8])], Nothing),
        ("6.7", "PING on a stream", vec![frame(PING, 0, 1, &[0; 8])], Error),
        ("6.7", "PING of six bytes", vec![frame(PING, 0, 0, &[0; 6])], Error),
        ("6.8", "GOAWAY on a stream", vec![frame(GOAWAY, 0, 1, &[0; 8])], Error),
        ("6.9", "a connection's window by nothing", vec![window(0, 0)], Error),
        ("6.9", "a stream's window by nothing", vec![open(1), window(1, 0)], Error),
        ("6.9", "WINDOW_UPDATE of three bytes", vec![frame(WINDOW_UPDATE, 0, 0, &[0; 3])], Error),
        ("6.9.1", "a connection's window beyond 2^31-1", vec![window(0, 0x7fff_ffff)], Error),
        ("6.9.1", "a stream's window beyond 2^31-1", vec![open(1), window(1, 0x7fff_ffff)], Error),
        (
            "6.9.2",
            "a stream's window beyond it by SETTINGS",
            vec![open(1), window(1, 0x7fff_0000), setting(4, 0x7fff_ffff)],
            Error,
        ),
        ("6.10", "a block in pieces", vec![begun(), rest()], Nothing),
        ("6.10", "DATA between them", vec![begun(), frame(DATA, 1, 1, b"x")], Error),
        ("6.10", "CONTINUATION on stream 0", vec![begun(), frame(CONTINUATION, 4, 0, b"")], Error),
        ("6.10", "CONTINUATION behind the end of a block", vec![open(1), rest()], Error),
    ]);
}

#[test]
fn requests_and_their_fields() {
    // RFC 9113 sections 7 and 8.
    let whole = |more: &[(&str, &str)]| {
        vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&[&get("/")[..], more].concat()))]
    };
    let trailer = |flags, fields: &[(&str, &str)]| {
        vec![open(1), frame(HEADERS, END_HEADERS | flags, 1, &block(fields))]
    };
    let length = |said: &str, pieces: &[&[u8]]| {
        let mut frames = vec![frame(HEADERS, END_HEADERS, 1, &post(&[("content-length", said)]))];
        let last = pieces.len() - 1;
        frames.extend(pieces.iter().enumerate().map(|(place, piece)| {
            frame(DATA, if place == last { END_STREAM } else { 0 }, 1, piece)
        }));
        frames
    };
    let without = |name: &str| {
        let fields: Vec<_> = get("/").into_iter().filter(|field| field.0 != name).collect();
        vec![frame(HEADERS, END_HEADERS | END_STREAM, 1, &block(&fields))]
    };
    check(vec![
        (
            "7",
            "an unknown code in RST_STREAM",
            vec![open(1), frame(RST_STREAM, 0, 1, &[0xff; 4])],
            Nothing,
        ),
        ("8.1", "a second HEADERS that does not end", trailer(0, &[("x-a", "b")]), Error),
        (
            "8.1",
            "a pseudo-field in a trailer, which is dropped",
            trailer(1, &[(":method", "GET")]),
            Nothing,
        ),
        ("8.1", "a trailer", trailer(1, &[("x-a", "b")]), Nothing),
        ("8.2.1", "an upper-case name", whole(&[("X-A", "b")]), Error),
        ("8.2.2", "a field of the connection", whole(&[("connection", "keep-alive")]), Error),
        ("8.2.2", "te other than trailers", whole(&[("te", "trailers, deflate")]), Error),
        ("8.2.2", "te: trailers", whole(&[("te", "trailers")]), Nothing),
        ("8.3", "an unknown pseudo-field", whole(&[(":test", "x")]), Error),
        ("8.3", "one of answers", whole(&[(":status", "200")]), Error),
        (
            "8.3",
            "one behind a field",
            vec![frame(HEADERS, 5, 1, &block(&[&[("x-a", "b")], &get("/")[..]].concat()))],
            Error,
        ),
        ("8.3.1", "no method", without(":method"), Error),
        ("8.3.1", "no scheme", without(":scheme"), Error),
        ("8.3.1", "no path", without(":path"), Error),
        ("8.3.1", "two methods", whole(&[(":method", "GET")]), Error),
        ("8.3.1", "two schemes", whole(&[(":scheme", "https")]), Error),
        ("8.3.1", "two paths", whole(&[(":path", "/")]), Error),
        ("8.1.1", "a body shorter than it says", length("4", &[b"ab"]), Error),
        ("8.1.1", "a body longer than it says", length("1", &[b"ab"]), Error),
        ("8.1.1", "the same in pieces", length("3", &[b"ab", b"cd"]), Error),
    ]);
}

#[test]
fn compressed_fields() {
    // RFC 7541.
    check(vec![
        ("2.3.3", "an index beyond the table", vec![coded(&[0xff, 0x50])], Error),
        ("4.2", "a table resized within a block", vec![coded(&[0x20])], Error),
        ("5.1", "an integer without end", vec![coded(&[0xff; 12])], Error),
        (
            "5.2",
            "padding of more than seven bits",
            vec![coded(&[0, 0x83, 0x1c, 0x64, 0xff, 1, b'b'])],
            Error,
        ),
        (
            "5.2",
            "the end of string itself",
            vec![coded(&[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'b'])],
            Error,
        ),
        ("6.1", "index 0", vec![coded(&[0x80])], Error),
        (
            "6.3",
            "a table larger than allowed",
            vec![frame(HEADERS, 5, 1, &[&[0x3f, 0xe1, 0xff, 3][..], &block(&get("/"))].concat())],
            Error,
        ),
    ]);
}
