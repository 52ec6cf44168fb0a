//! Clients that are slow, idle or too many (promise P7): they are cut off, and nobody else is.

use std::io;
use std::net::IpAddr;
use std::process::Command;
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use crate::harness::frames::{Shop, WebSocket};
use crate::harness::raw_h2::{END_STREAM, SETTINGS, WINDOW_UPDATE, get};
use crate::harness::{Answer, Client, DEADLINE, RawH2, Setup, Sidecar, Tls, Upstream, eventually};

/// Another customer than the tests' usual one.
const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 2));

/// How long a trickling client waits between two bytes.
const DRIP: Duration = Duration::from_millis(40);

/// A shop that holds each request to `/slow` until it is told to go on.
fn held_shop() -> (Upstream, mpsc::Sender<()>) {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let shop = Upstream::start(move |exchange| {
        exchange.request()?;
        if exchange.target() == "/slow" {
            gate.lock().unwrap().recv_timeout(DEADLINE).map_err(io::Error::other)?;
        }
        exchange.answer(200, &[("content-type", "text/plain")], b"done")
    });
    (shop, go)
}

/// With one worker, which takes connections in the order in which they come.
fn alone(shop: &Upstream, tables: &str) -> Sidecar {
    Setup::new(shop).top("workers = 1").tables(tables).start()
}

/// Connections that say nothing.
fn silent(count: usize, sidecar: &Sidecar, listener: &str) -> Vec<Client> {
    (0..count).map(|_| Client::plain(sidecar.address(listener))).collect()
}

fn await_refusals(sidecar: &Sidecar, reason: &str, count: f64) {
    let label = format!("reason=\"{reason}\"");
    let refused = || sidecar.metric("tillgate_connections_refused_total", &[&label]);
    eventually("the refusals are counted", || (refused() >= count).then_some(()));
}

#[test]
fn p7_a_network_has_its_share_of_connections_and_another_one_is_served() {
    let sidecar = alone(&Upstream::ok(), "[limits]\nconnections_per_network = 2");
    let address = sidecar.address("http");
    let mut kept = sidecar.http();
    assert_eq!(kept.get("/").status, 200);
    let _other = silent(1, &sidecar, "http");
    let mut third = sidecar.http();
    let refused = third.try_answer("GET").unwrap();
    assert_eq!((refused.status, refused.field("retry-after")), (503, Some("5")));
    assert_eq!(Client::plain_from(STRANGER, address).unwrap().get("/").status, 200);
    assert_eq!(kept.get("/").status, 200, "who was let in stays");
    await_refusals(&sidecar, "network", 1.0);
    drop(kept);
    eventually("its place is free again", || {
        sidecar.http().try_request("GET", "/", &[], b"").ok().filter(|answer| answer.status == 200)
    });
}

#[test]
fn p7_a_network_that_the_operator_allows_and_a_trusted_proxy_have_no_share() {
    for (top, tables) in
        [("trusted_proxies = [\"127.0.0.0/8\"]", ""), ("", "[networks]\nallow = [\"127.0.0.1\"]")]
    {
        let tables = format!("[limits]\nconnections_per_network = 1\n{tables}");
        let sidecar =
            Setup::new(&Upstream::ok()).top("workers = 1").top(top).tables(&tables).start();
        let _held = silent(5, &sidecar, "http");
        assert_eq!(sidecar.http().get("/").status, 200);
    }
}

#[test]
fn p7_behind_a_balancer_each_of_its_clients_has_a_share() {
    let tables = "[limits]\nconnections_per_network = 1\n\
                  [[listen]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true";
    let top = "trusted_proxies = [\"127.0.0.1\"]";
    let sidecar = Setup::new(&Upstream::ok()).top("workers = 1").top(top).tables(tables).start();
    let ask = |client: &str| {
        let mut connection = sidecar.http();
        connection.send(format!("PROXY TCP4 {client} 192.0.2.9 4000 80\r\n"));
        connection.send("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n");
        let status = connection.try_answer("GET").map(|answer| answer.status);
        (connection, status.ok())
    };
    let held = ask("198.51.100.1");
    assert_eq!(held.1, Some(200));
    assert_eq!(ask("198.51.100.1").1, None);
    assert_eq!(ask("198.51.100.2").1, Some(200));
}

#[test]
fn p7_a_full_house_refuses_newcomers_alone_and_still_answers_the_operator_and_the_shop() {
    let provider = Upstream::ok();
    let setup = Setup::new(&Upstream::ok()).tables("[limits]\nconnections = 3");
    let url = provider.url();
    let gateway =
        format!("[[gateway]]\nname = \"bank\"\nlisten = \"127.0.0.1:0\"\nupstream = \"{url}\"");
    let sidecar = setup.tables(&gateway).top("workers = 1").start();
    let mut kept = sidecar.https();
    assert_eq!(kept.get("/").status, 200);
    let _held = silent(2, &sidecar, "http");
    assert!(Tls::new("shop.example").connect(sidecar.address("https")).is_err());
    assert_eq!(sidecar.http().try_answer("GET").unwrap().status, 503);
    assert_eq!(kept.get("/").status, 200);
    assert_eq!(sidecar.gateway("bank").get("/").status, 200);
    assert_eq!(sidecar.admin("/readyz").status, 200);
    await_refusals(&sidecar, "connections", 2.0);
}

#[test]
fn p7_handshakes_that_do_not_end_make_room() {
    let tables = "[limits]\nhandshakes = 2\n[timeouts]\nhandshake = \"1s\"";
    let sidecar = alone(&Upstream::ok(), tables);
    let mut kept = sidecar.https();
    assert_eq!(kept.get("/").status, 200);
    let _held = silent(2, &sidecar, "https");
    assert!(Tls::new("shop.example").connect(sidecar.address("https")).is_err());
    assert_eq!(kept.get("/").status, 200);
    await_refusals(&sidecar, "handshakes", 1.0);
    eventually("handshakes that took too long are over", || {
        Tls::new("shop.example").connect(sidecar.address("https")).ok()
    });
}

#[test]
fn p7_who_never_asks_is_hung_up_on_long_before_who_has() {
    let sidecar = Sidecar::start(&Upstream::ok(), "[timeouts]\nrequest_head = \"300ms\"");
    let mut kept = sidecar.http();
    assert_eq!(kept.get("/").status, 200);
    assert_eq!(sidecar.http().rest(), b"");
    let mut h2 = RawH2::connect(sidecar.address("https"));
    while h2.next_frame().is_ok() {}
    assert_eq!(kept.get("/").status, 200);
}

#[test]
fn p7_a_head_that_trickles_is_answered_408_counted_and_logged() {
    let sidecar = Sidecar::start(&Upstream::ok(), "[timeouts]\nrequest_head = \"300ms\"");
    let mut client = sidecar.http();
    client.send("GET / HTTP/1.1\r\nhost: shop.example\r\n");
    let answer = trickle(&mut client, b"x-a: b\r\n");
    answer.assert_refused(408);
    let label = "phase=\"head\"";
    assert_eq!(sidecar.metric("tillgate_connections_cut_total", &[label]), 1.0);
    let id = answer.field("x-request-id").unwrap();
    let line = sidecar.wait_for_access(|line| line.contains(id));
    assert_eq!((&line["status"], &line["rejection"]), (&408.into(), &"head_timeout".into()));
    assert!(line["duration_s"].as_f64().unwrap() >= 0.3, "{line}");
}

/// Sends these bytes, one at a time and again and again, until there is an answer.
fn trickle(client: &mut Client, bytes: &[u8]) -> Answer {
    client.tcp().set_read_timeout(Some(DRIP)).unwrap();
    let end = std::time::Instant::now() + DEADLINE;
    for byte in bytes.iter().cycle() {
        assert!(std::time::Instant::now() < end, "it may trickle for ever");
        let _may_be_over = client.try_send(&[*byte]);
        match client.try_answer("GET") {
            Ok(answer) => return answer,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("no answer: {error}"),
        }
    }
    unreachable!("a cycle has no end")
}

#[test]
fn p7_a_body_below_the_rate_is_answered_408_though_it_never_pauses() {
    // Slow POST: each byte comes well within the time that a pause may last.
    let tables = "[limits]\nclient_rate = \"1KB\"\n[timeouts]\nrequest_body_idle = \"1s\"";
    let sidecar = Sidecar::start(&Upstream::ok(), tables);
    let mut client = sidecar.http();
    client.send("POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 100000\r\n\r\n");
    // What comes early earns nothing for later.
    client.send([b'x'; 50_000]);
    assert_eq!(trickle(&mut client, b"x").status, 408);
    let refused = sidecar.metric("tillgate_requests_rejected_total", &["body_timeout"]);
    assert_eq!(refused, 1.0);
}

#[test]
fn a_body_at_the_rate_arrives_however_long_it_takes() {
    let shop = Upstream::ok();
    let tables = "[limits]\nclient_rate = \"1B\"\n[timeouts]\nrequest_body_idle = \"500ms\"";
    let sidecar = Sidecar::start(&shop, tables);
    let mut client = sidecar.http();
    client.send("POST / HTTP/1.1\r\nhost: shop.example\r\ncontent-length: 30\r\n\r\n");
    assert_eq!(trickle(&mut client, b"x").status, 200);
    assert_eq!(shop.last().body, [b'x'; 30]);
}

#[test]
fn p7_an_answer_that_is_read_below_the_rate_is_cut_off() {
    // Slow read: a little is taken in well within the time that a client may take nothing.
    let shop = Upstream::fixed("text/plain", vec![b'x'; 64 << 20]);
    let tables = "[limits]\nclient_rate = \"10MB\"\n[timeouts]\nclient_write = \"1s\"";
    let sidecar = Sidecar::start(&shop, tables);
    let mut client = sidecar.http();
    client.send("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    client.head();
    let cut = || sidecar.metric("tillgate_connections_cut_total", &["phase=\"answer\""]);
    // A page of metrics takes about a millisecond: a tenth of the rate.
    eventually("it is cut off", || {
        client.bytes(1 << 10);
        (cut() == 1.0).then_some(())
    });
}

#[test]
fn p7_more_requests_than_there_is_room_for_are_answered_503_and_gateways_go_on() {
    let (shop, go) = held_shop();
    let provider = Upstream::ok();
    let url = provider.url();
    let tables = format!(
        "[limits]\nrequests = 1\n[[gateway]]\nname = \"bank\"\nlisten = \"127.0.0.1:0\"\n\
         upstream = \"{url}\""
    );
    let sidecar = Sidecar::start(&shop, &tables);
    let mut slow = sidecar.http();
    slow.send("GET /slow HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    shop.wait(1);
    let refused = sidecar.h2().get("/");
    refused.assert_refused(503);
    assert_eq!(refused.field("retry-after"), Some("5"));
    assert_eq!(sidecar.gateway("bank").get("/").status, 200);
    go.send(()).unwrap();
    assert_eq!(slow.answer().status, 200);
    assert_eq!(slow.get("/").status, 200);
}

#[test]
fn p7_a_websocket_keeps_its_place_for_as_long_as_it_lasts() {
    let shop = Shop::echo();
    let sidecar = alone(&shop.upstream, "[limits]\nconnections = 1");
    let socket = WebSocket::open(&sidecar);
    shop.upstream.wait(1);
    assert_eq!(sidecar.metric("tillgate_connections_open", &["https"]), 1.0);
    assert_eq!(sidecar.http().try_answer("GET").unwrap().status, 503);
    drop(socket);
    eventually("its place is free again", || {
        let answer = sidecar.http().try_request("GET", "/", &[], b"");
        answer.ok().filter(|answer| answer.status != 503)
    });
}

/// How many files a process may open from now on.
fn limit_files(sidecar: &Sidecar, limit: usize) {
    let status = Command::new("prlimit")
        .args([format!("--pid={}", sidecar.pid()), format!("--nofile={limit}:")])
        .status();
    assert!(status.unwrap().success());
}

fn files_open(sidecar: &Sidecar) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", sidecar.pid())).unwrap().count()
}

#[test]
fn p7_without_file_descriptors_customers_and_the_operator_are_served_and_it_is_said_once() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).top("workers = 1").start();
    let mut kept = sidecar.https();
    assert_eq!(kept.get("/").status, 200);
    let mark = sidecar.mark();
    limit_files(&sidecar, files_open(&sidecar) + 3);
    let mut held = silent(40, &sidecar, "http");
    sidecar.wait_for_log(mark, "cannot accept connections");
    await_refusals(&sidecar, "files", 5.0);
    assert_eq!(kept.get("/").status, 200, "an old customer");
    assert_eq!(sidecar.admin("/readyz").status, 200);
    held.clear();
    limit_files(&sidecar, 4096);
    eventually("new customers are served", || {
        let answer = sidecar.http().try_request("GET", "/", &[], b"");
        answer.ok().filter(|answer| answer.status == 200)
    });
    eventually("and it says so", || {
        let _asked = sidecar.http().try_request("GET", "/", &[], b"");
        (sidecar.log_count(mark, "accepting again") > 0).then_some(())
    });
    assert_eq!(sidecar.log_count(mark, "cannot accept connections"), 1);
}

#[test]
fn fewer_files_than_connections_are_told_at_start_and_bound_them() {
    let limits = "[limits]\nconnections = 1000000000\nconnections_per_network = 1000000";
    let sidecar = Sidecar::start(&Upstream::ok(), limits);
    let line =
        sidecar.wait_for_log(0, "fewer connections than configured: too few files may be open");
    assert!(line["connections"].as_u64().unwrap() > 0);
}

/// How much it was at most, once it has not grown for so many answers.
fn settled_peak_kib(sidecar: &Sidecar) -> u64 {
    const ANSWERS: usize = 100;
    let (mut peak, mut same) = (0, 0);
    eventually("the memory grows no more", || {
        let _others_are_served = sidecar.metrics();
        let now = sidecar.memory_peak_kib();
        same = if now == peak { same + 1 } else { 0 };
        peak = now;
        (same == ANSWERS).then_some(peak)
    })
}

#[test]
fn p7_a_connection_that_takes_nothing_in_costs_no_more_memory_than_is_written_down() {
    // README: what one HTTP/2 connection may cost, however many answers it asks for and does not read.
    const CEILING_KIB: u64 = 48 << 10;
    const CONNECTIONS: u64 = 4;
    let shop = Upstream::fixed("text/plain", vec![b'x'; 4 << 20]);
    let sidecar = Sidecar::start(&shop, "[cards]\nresponses = \"off\"");
    assert_eq!(sidecar.h2().get("/").status, 200);
    let before = sidecar.memory_peak_kib();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = RawH2::connect(sidecar.address("https"));
        // SETTINGS_INITIAL_WINDOW_SIZE, and as much for all streams: it is the socket that is full.
        client.frame(SETTINGS, 0, 0, &[0, 4, 0x7f, 0xff, 0xff, 0xff]).unwrap();
        client.frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0, 0]).unwrap();
        for stream in (1..256).step_by(2) {
            client.head(stream, &get("/"), END_STREAM);
        }
        held.push(client);
    }
    shop.wait(1 + usize::try_from(CONNECTIONS).unwrap() * 128);
    let each = (settled_peak_kib(&sidecar) - before) / CONNECTIONS;
    assert!(each < CEILING_KIB, "{each} KiB per connection");
}

#[test]
fn p7_a_slow_reader_over_http1_costs_no_more_memory_than_is_written_down() {
    // README: what one HTTP/1.1 connection may cost.
    const CEILING_KIB: u64 = 768;
    const CONNECTIONS: u64 = 50;
    let shop = Upstream::fixed("text/html", vec![b'x'; 10 << 20]);
    let sidecar = Sidecar::start(&shop, "");
    assert_eq!(sidecar.https().get("/").status, 200);
    let before = sidecar.memory_peak_kib();
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = sidecar.https();
        client.send("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n");
        assert_eq!(client.head().status, 200);
        held.push(client);
    }
    let each = (settled_peak_kib(&sidecar) - before) / CONNECTIONS;
    assert!(each < CEILING_KIB, "{each} KiB per connection");
}
