//! Shutdown (promise P5).

use std::io;
use std::net::TcpStream;
use std::sync::{Mutex, mpsc};

use crate::harness::{DEADLINE, Sidecar, Upstream, cards, eventually};

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

fn await_closed_door(sidecar: &Sidecar) {
    let address = sidecar.address("http");
    eventually("new connections are refused", || TcpStream::connect(address).err());
}

#[test]
fn p5_sigterm_finishes_what_is_in_flight_and_exits_with_0() {
    let (shop, go) = held_shop();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let mut slow = sidecar.https();
    let body = format!("number={card}");
    slow.send(format!(
        "POST /slow HTTP/1.1\r\nhost: shop.example\r\ncontent-length: {}\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n{body}",
        body.len()
    ));
    shop.wait(1);
    sidecar.sigterm();
    await_closed_door(&sidecar);
    go.send(()).unwrap();
    let answer = slow.answer();
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert_eq!(sidecar.exit_status().code(), Some(0));
}

#[test]
fn p5_an_http2_request_in_flight_is_finished() {
    let (shop, go) = held_shop();
    let sidecar = Sidecar::start(&shop, "");
    let mut browser = sidecar.h2();
    assert_eq!(browser.get("/").text(), "done");
    let answer = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| browser.get("/slow"));
        shop.wait(2);
        sidecar.sigterm();
        await_closed_door(&sidecar);
        go.send(()).unwrap();
        waiting.join().unwrap()
    });
    assert_eq!((answer.status, answer.text().as_str()), (200, "done"));
    assert_eq!(sidecar.exit_status().code(), Some(0));
}

#[test]
fn idle_connections_do_not_hold_a_shutdown() {
    let (shop, _go) = held_shop();
    let sidecar = Sidecar::start(&shop, "");
    let mut kept = sidecar.https();
    let mut browser = sidecar.h2();
    assert_eq!(kept.get("/").status, 200);
    assert_eq!(browser.get("/").status, 200);
    let begun = std::time::Instant::now();
    sidecar.sigterm();
    assert_eq!(sidecar.exit_status().code(), Some(0));
    assert!(begun.elapsed() < DEADLINE, "it waited for clients that ask for nothing");
}

#[test]
fn a_shutdown_ends_when_its_grace_does() {
    let (shop, _go) = held_shop();
    let sidecar = Sidecar::start(&shop, "[timeouts]\ndrain = \"300ms\"");
    let mut slow = sidecar.http();
    slow.send("GET /slow HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    shop.wait(1);
    let begun = std::time::Instant::now();
    sidecar.sigterm();
    sidecar.exit_status();
    assert!(begun.elapsed() < DEADLINE / 2);
}

#[test]
fn readiness_ends_when_the_drain_begins() {
    let (shop, go) = held_shop();
    let sidecar = Sidecar::start(&shop, "");
    assert_eq!(sidecar.admin("/readyz").status, 200);
    let mut slow = sidecar.http();
    slow.send("GET /slow HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    shop.wait(1);
    sidecar.sigterm();
    await_closed_door(&sidecar);
    // A balancer must be told, or find nobody; it must not be told "ready".
    if TcpStream::connect(sidecar.address("admin")).is_ok() {
        assert_eq!(sidecar.admin("/readyz").status, 503);
    }
    go.send(()).unwrap();
    assert_eq!(slow.answer().status, 200);
    assert_eq!(sidecar.exit_status().code(), Some(0));
}
