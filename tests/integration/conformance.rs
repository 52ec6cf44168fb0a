//! What the RFCs say of a proxy, section by section. What an attacker would make of it is in
//! `hostile.rs`, and for HTTP/2 in `hostile_h2.rs`.

use crate::harness::{Answer, Sidecar, Upstream, eventually};

/// The answer to these bytes.
fn ask(sidecar: &Sidecar, bytes: &str) -> Answer {
    let mut client = sidecar.http();
    client.send(bytes);
    client.answer()
}

fn post(fields: &str) -> String {
    format!("POST /a HTTP/1.1\r\nhost: shop.example\r\n{fields}\r\n0\r\n\r\n")
}

fn get(target: &str, fields: &str) -> String {
    format!("GET {target} HTTP/1.1\r\nhost: shop.example\r\n{fields}\r\n")
}

#[test]
fn a_transfer_coding_other_than_chunked_is_501_and_ends_the_connection() {
    // RFC 9112 section 6.1: chunked only once and last, 501 for what is not understood.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for coding in [
        "gzip, chunked",
        "identity, chunked",
        ",chunked",
        "chunked, chunked",
        "chunked\r\ntransfer-encoding: chunked",
        "x\r\ntransfer-encoding: chunked",
    ] {
        let mut client = sidecar.http();
        client.send(post(&format!("transfer-encoding: {coding}\r\n")));
        let answer = client.answer();
        answer.assert_refused(501);
        assert_eq!(answer.field("connection"), Some("close"), "{coding}");
        assert!(client.rest().is_empty(), "{coding}");
    }
    for coding in [
        "chunked, identity",
        "identity",
        "xchunked",
        "\"chunked\"",
        "chunked,",
        "chunked;x=1",
        "\u{b}chunked",
        "",
    ] {
        assert_eq!(ask(&sidecar, &post(&format!("transfer-encoding: {coding}\r\n"))).status, 400);
    }
    let old =
        "POST /a HTTP/1.0\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(ask(&sidecar, old).status, 400);
    assert!(shop.seen().is_empty(), "{:?}", shop.seen());
    // Case and white space mean nothing.
    assert_eq!(ask(&sidecar, &post("transfer-encoding:\tChunked \r\n")).status, 200);
}

#[test]
fn a_length_beside_chunks_is_dropped_and_the_connection_ends() {
    // RFC 9112 section 6.1 and 6.3.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: chunked\r\ncontent-length: 5\r\n",
    ] {
        let mut client = sidecar.http();
        client.send(post(fields) + &get("/smuggled", ""));
        assert_eq!(client.answer().field("connection"), Some("close"));
        assert!(client.rest().is_empty(), "the connection went on");
    }
    for seen in shop.seen() {
        assert_eq!(seen.target(), "/a");
        // The length of what the chunks held, as we frame it.
        assert_eq!((seen.field("content-length"), &*seen.body), (Some("0"), &b""[..]));
    }
}

#[test]
fn chunks_are_read_to_the_letter() {
    // RFC 9112 section 7.1, and 7.1.1: extensions go no further than here.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let head = "POST /a HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\r\n";
    for body in [
        "2;a\nxx\r\nab\r\n0\r\n\r\n",
        "2\nab\n0\n\n",
        " 2\r\nab\r\n0\r\n\r\n",
        "0x2\r\nab\r\n0\r\n\r\n",
        "2\r\nabXX0\r\n\r\n",
        "\r\nab\r\n0\r\n\r\n",
        "2_\r\nab\r\n0\r\n\r\n",
    ] {
        ask(&sidecar, &format!("{head}{body}")).assert_refused(400);
    }
    assert!(shop.seen().is_empty(), "{:?}", shop.seen());
    assert_eq!(ask(&sidecar, &format!("{head}2;a=\"b\"\r\nab\r\n0\r\n\r\n")).status, 200);
    assert_eq!(shop.last().body, b"ab");
}

#[test]
fn a_head_with_a_control_character_is_400() {
    // RFC 9110 section 5.5, RFC 9112 sections 2.2, 3, 5.1 and 5.2.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let heads = [
        get("/a", "x-a: b\r\n c\r\n"),
        get("/a", " x-a: b\r\n"),
        get("/a", "x-a : b\r\n"),
        get("/a", "x-a: b\rc\r\n"),
        get("/a", "x-a: b\0\r\n"),
        get("/a", "x-a: b\u{1}\r\n"),
        get("/a", "x-a: b\u{7f}\r\n"),
        get("/a", "x\u{1}: b\r\n"),
        get("/a\u{1}", ""),
        get("/a\u{7f}", ""),
        get(" /a", ""),
        get("/a ", ""),
        get("/a b", ""),
        "GET\t/a\tHTTP/1.1\r\nhost: shop.example\r\n\r\n".to_owned(),
        "G(T /a HTTP/1.1\r\nhost: shop.example\r\n\r\n".to_owned(),
        "GET /a HTTP/1.2\r\nhost: shop.example\r\n\r\n".to_owned(),
        "GET /a http/1.1\r\nhost: shop.example\r\n\r\n".to_owned(),
        "GET /a HTTP/2.0\r\nhost: shop.example\r\n\r\n".to_owned(),
    ];
    for head in &heads {
        let mut client = sidecar.http();
        client.send(head);
        assert_eq!(client.answer().status, 400, "{head:?}");
        assert!(client.rest().is_empty(), "{head:?}");
    }
    assert_eq!(shop.count(), 0);
    eventually("every one to be counted", || {
        let told = sidecar.metric("tillgate_requests_rejected_total", &["malformed"]);
        (told >= 18.0).then_some(())
    });
    assert_eq!(ask(&sidecar, &get("/a", "x-a: b\tc\r\n")).status, 200);
    assert_eq!(shop.last().field("x-a"), Some("b\tc"));
}

#[test]
fn a_target_is_a_path_or_the_whole_server_for_options() {
    // RFC 9112 sections 3.2.1 to 3.2.4.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for target in ["*", "a", "shop.example:80", "ftp://shop.example/a", "http://u@shop.example/"] {
        ask(&sidecar, &get(target, "")).assert_refused(400);
    }
    assert_eq!(shop.count(), 0);
    assert_eq!(ask(&sidecar, &get("http://shop.example?x=1", "")).status, 200);
    assert_eq!(shop.last().target(), "/?x=1");
    assert_eq!(sidecar.http().request("OPTIONS", "*", &[], b"").status, 200);
    assert_eq!(shop.last().target(), "*");
}

#[test]
fn a_host_is_one_name_with_a_sound_port_and_the_same_as_the_targets() {
    // RFC 9112 section 3.2, RFC 9110 section 7.2.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for host in [
        "",
        "shop.example, evil",
        "shop.example/x",
        "evil@shop.example",
        "shop%2eexample",
        "shop.example:abc",
        "shop.example:99999",
        "shop.example:80:80",
        "shop.example\r\nhost: shop.example",
    ] {
        let request = format!("GET /a HTTP/1.1\r\nhost: {host}\r\n\r\n");
        ask(&sidecar, &request).assert_refused(400);
    }
    let absolute = "GET http://shop.example/a HTTP/1.1\r\n";
    ask(&sidecar, &format!("{absolute}\r\n")).assert_refused(400);
    ask(&sidecar, &format!("{absolute}host: other.example\r\n\r\n")).assert_refused(400);
    assert_eq!(shop.count(), 0);
    assert_eq!(ask(&sidecar, &format!("{absolute}host: shop.example\r\n\r\n")).status, 200);
    assert_eq!(shop.last().head.all("host"), ["shop.example"]);
}

#[test]
fn names_that_fold_into_others_do_not_reach_the_shop() {
    // RFC 3875 section 4.1.18: CGI makes one variable of them.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let fields = [
        ("transfer_encoding", "chunked"),
        ("content_length", "9"),
        ("content.type", "text/html"),
        ("x_forwarded_for", "6.6.6.6"),
        ("x-sign", "1"),
        ("x_sign", "2"),
        ("api_key", "k"),
    ];
    assert_eq!(sidecar.http().request("POST", "/a", &fields, b"ab").status, 200);
    let seen = shop.last();
    assert_eq!(seen.body, b"ab");
    assert_eq!((seen.field("x-sign"), seen.field("api_key")), (Some("1"), Some("k")));
    let mut folding = seen.head.fields.iter().filter(|(name, _)| name.contains(['_', '.']));
    assert!(folding.all(|(name, _)| name == "api_key"), "{:?}", seen.head);
}

#[test]
fn max_forwards_is_counted_down_and_ends_here() {
    // RFC 9110 section 7.6.2; for other methods the field means nothing.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let ask = |method, hops| sidecar.http().request(method, "/a", &[("max-forwards", hops)], b"");
    let answer = ask("OPTIONS", "0");
    assert_eq!(answer.status, 204);
    assert!(answer.field("allow").is_some_and(|allow| allow.contains("OPTIONS")));
    ask("TRACE", "0").assert_refused(405);
    assert_eq!(shop.count(), 0);
    for (method, sent, seen) in [("OPTIONS", "3", "2"), ("GET", "3", "3"), ("GET", "0", "0")] {
        assert_eq!(ask(method, sent).status, 200);
        assert_eq!(shop.last().field("max-forwards"), Some(seen), "{method}");
    }
}

#[test]
fn a_trailer_field_that_frames_routes_or_allows_goes_no_further() {
    // RFC 9110 section 6.5.1.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let request = "POST /a HTTP/1.1\r\nhost: shop.example\r\ntransfer-encoding: chunked\r\n\
        te: trailers\r\nconnection: te\r\n\
        trailer: x-sum, host, authorization, content-type, cookie, x-real-ip\r\n\r\n\
        2\r\nab\r\n0\r\nx-sum: 1\r\nhost: evil\r\nauthorization: b\r\ncontent-type: c\r\n\
        cookie: d=e\r\nx-real-ip: 6.6.6.6\r\n\r\n";
    assert_eq!(ask(&sidecar, request).status, 200);
    assert_eq!(shop.last().trailers, [("x-sum".to_owned(), "1".to_owned())]);
}

#[test]
fn an_upgrade_to_h2c_is_not_passed_on_in_any_spelling() {
    // RFC 9113 section 3.1 and RFC 9110 section 7.8: smuggling by h2c.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    for fields in [
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
        "connection: upgrade\r\nupgrade: H2C\r\nhttp2-settings: AAMAAABk\r\n",
        "connection: upgrade\r\nconnection: http2-settings\r\nupgrade: h2c, websocket\r\n",
    ] {
        assert_eq!(ask(&sidecar, &get("/a", fields)).status, 200);
        let seen = shop.last();
        assert_eq!((seen.field("upgrade"), seen.field("connection")), (None, None));
        assert_eq!(seen.field("http2-settings"), None, "{fields}");
    }
}

#[test]
fn connection_takes_its_fields_away_but_not_those_that_we_stand_on() {
    // RFC 9110 section 7.6.1; CVE-2022-31813 was a proxy that let its own fields be taken away.
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let fields = "connection: close, x-forwarded-for, x-request-id, host, cookie, x-a\r\n\
        cookie: a=b\r\nx-a: 1\r\n";
    assert_eq!(ask(&sidecar, &get("/a", fields)).status, 200);
    let seen = shop.last();
    assert_eq!(seen.field("x-a"), None);
    for name in ["x-forwarded-for", "x-request-id", "host", "cookie"] {
        assert!(seen.field(name).is_some(), "{name} was taken away");
    }
}
