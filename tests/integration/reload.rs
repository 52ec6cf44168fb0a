//! Configurations replaced under traffic (issue item 9, promises P4, P5 and P6).

use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Client, DEADLINE, HOST, Identity, ONLY_ACCOUNTS, Setup, Sidecar, Tls, Upstream, cards,
    eventually,
};

/// A shop that answers `/slow` only when told.
fn held_shop(name: &'static str) -> (Upstream, mpsc::Sender<()>) {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let shop = Upstream::start(move |exchange| {
        exchange.request()?;
        if exchange.target() == "/slow" {
            gate.lock().unwrap().recv_timeout(DEADLINE).map_err(std::io::Error::other)?;
        }
        exchange.answer(200, &[("content-type", "text/plain")], name.as_bytes())
    });
    (shop, go)
}

fn publish(sidecar: &Sidecar, text: &str) {
    let mark = sidecar.mark();
    sidecar.write_config(text);
    sidecar.wait_for_log(mark, "reloaded");
}

#[test]
fn a_changed_file_is_published_without_a_signal() {
    let shop = Upstream::ok();
    let setup = Setup::new(&shop);
    let sidecar = setup.start();
    let body = vec![b'a'; 2_000];
    assert_eq!(sidecar.https().post("/", "text/plain", &body).status, 200);
    publish(&sidecar, &Setup::new(&shop).tables("[limits]\nbody = \"1KiB\"").text());
    sidecar.https().post("/", "text/plain", &body).assert_refused(413);
    assert_eq!(sidecar.metric("tillgate_config_reloads_total", &["accepted"]), 1.0);
}

#[test]
fn a_configuration_renamed_over_the_old_one_is_published() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).start();
    let (mark, next) = (sidecar.mark(), sidecar.folder().join("next.toml"));
    std::fs::write(&next, Setup::new(&shop).tables("[limits]\nbody = \"1KiB\"").text()).unwrap();
    std::fs::rename(&next, sidecar.config()).unwrap();
    sidecar.wait_for_log(mark, "reloaded");
    sidecar.https().post("/", "text/plain", vec![b'a'; 2_000]).assert_refused(413);
}

#[test]
fn sighup_publishes_one_change_once() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).start();
    let mark = sidecar.mark();
    for round in 1..=3 {
        let before = sidecar.mark();
        let text = Setup::new(&shop).tables(&format!("[limits]\nbody = \"{round}KiB\"")).text();
        sidecar.write_config(&text);
        sidecar.sighup();
        sidecar.sighup();
        sidecar.wait_for_log(before, "reloaded");
    }
    assert_eq!(sidecar.log_count(mark, "reloaded"), 3, "byte-identical files must do nothing");
}

#[test]
fn p5_what_is_in_flight_finishes_under_the_old_configuration() {
    let (old, go) = held_shop("old");
    let new = Upstream::fixed("text/plain", "new");
    let sidecar = Setup::new(&old).start();
    let mut slow = sidecar.https();
    slow.send("GET /slow HTTP/1.1\r\nhost: shop.example\r\n\r\n");
    old.wait(1);
    // An upload that the new limit would refuse.
    let mut upload = sidecar.http();
    upload.send(
        "POST /up HTTP/1.1\r\nhost: shop.example\r\ncontent-type: text/plain\r\n\
         content-length: 5000\r\nexpect: 100-continue\r\n\r\n",
    );
    assert_eq!(upload.head().status, 100);
    let mut idle = sidecar.https();
    assert_eq!(idle.get("/").text(), "old");
    publish(&sidecar, &Setup::new(&new).tables("[limits]\nbody = \"10B\"").text());
    assert_eq!(sidecar.https().get("/").text(), "new");
    assert_eq!(idle.get("/").text(), "new", "an open connection stays on the old configuration");
    go.send(()).unwrap();
    assert_eq!(slow.answer().text(), "old");
    upload.send(vec![b'.'; 5_000]);
    assert_eq!(upload.answer().text(), "old");
}

#[test]
fn p4_a_broken_file_changes_nothing_and_says_where_and_what_to_do() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).start();
    let cases = [
        ("[limits]\nbdoy = \"1KiB\"", "bdoy", "body"),
        ("[timeouts]\nconnect = \"5 fortnights\"", "connect", ""),
        ("[cards]\nrequests = \"tokenise\"", "requests", "tokenize"),
        ("[limits\nbody = 1", "", ""),
    ];
    for (round, (tables, key, remedy)) in cases.into_iter().enumerate() {
        let text = Setup::new(&shop).tables(tables).text();
        let part = tables.lines().find(|line| line.contains(key) && !key.is_empty());
        let line = text.lines().position(|line| Some(line) == part).map(|index| index + 1);
        let mark = sidecar.mark();
        sidecar.write_config(&text);
        let refused = sidecar.wait_for_log(mark, "reload refused");
        let all = refused.to_string();
        assert!(all.contains(key) && all.contains(remedy), "{all}");
        let place =
            line.map_or("tillgate.toml:".to_owned(), |line| format!("tillgate.toml:{line}"));
        assert!(refused["problem"].as_str().unwrap().contains(&place), "{place}: {all}");
        assert_eq!(refused["level"], "ERROR");
        assert_eq!(sidecar.https().get("/").status, 200);
        let refused = sidecar.metric("tillgate_config_reloads_total", &["refused"]);
        assert!(refused >= f64::from(u32::try_from(round + 1).unwrap()), "{refused}");

        let output = Command::new(env!("CARGO_BIN_EXE_tillgate"))
            .args(["check", "--config"])
            .arg(sidecar.config())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = [output.stdout, output.stderr].concat();
        assert!(String::from_utf8_lossy(&said).contains(&place), "check does not say {place}");
    }
    assert_eq!(sidecar.metric("tillgate_config_reloads_total", &["accepted"]), 0.0);
    publish(&sidecar, &Setup::new(&shop).tables("[limits]\nbody = \"1KiB\"").text());
}

#[test]
fn check_is_content_with_a_good_file() {
    let sidecar = Setup::new(&Upstream::ok()).start();
    let status = Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .args(["check", "--config"])
        .arg(sidecar.config())
        .output()
        .unwrap()
        .status;
    assert_eq!(status.code(), Some(0));
}

#[test]
fn p6_a_reload_forgives_nobody_and_forgets_no_token() {
    let shop = Upstream::start(|exchange| match exchange.target() {
        "/login" => exchange.answer(401, &[], b"wrong"),
        _ => exchange.answer(200, &[], b""),
    });
    let build = |body: &str| {
        Setup::new(&shop)
            .site("[[site.login]]\npath = \"/login\"\naccount_field = \"email\"")
            .tables(ONLY_ACCOUNTS)
            .tables(&format!("[limits]\nbody = \"{body}\""))
    };
    let sidecar = build("1MiB").start();
    let card = cards::fresh("visa");
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    let token = shop.last().form("number");
    for _ in 0..10 {
        assert_eq!(sidecar.https().form("/login", "email=ada&password=w").status, 401);
    }
    sidecar.https().form("/login", "email=ada&password=w").assert_refused(429);
    publish(&sidecar, &build("2MiB").text());
    sidecar.https().form("/login", "email=ada&password=w").assert_refused(429);
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    assert_eq!(shop.last().form("number"), token);
}

#[test]
fn what_needs_a_restart_is_said_and_left_as_it_was() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).start();
    let mark = sidecar.mark();
    sidecar.write_config(&Setup::new(&shop).text().replace("\"data\"", "\"elsewhere\""));
    let said = sidecar.wait_for_log(mark, "changed, but takes effect only after a restart");
    assert_eq!(said["key"], "data_dir");
    sidecar.wait_for_log(mark, "reloaded");
    assert_eq!(sidecar.https().get("/").status, 200);
    assert!(!sidecar.folder().join("elsewhere").exists());
}

#[test]
fn addresses_come_and_go_and_connections_at_the_others_notice_nothing() {
    let shop = Upstream::ok();
    let setup = Setup::new(&shop);
    let sidecar = setup.start();
    let (mut kept, mut leaving) = (sidecar.https(), sidecar.http());
    assert_eq!((kept.get("/").status, leaving.get("/").status), (200, 200));
    let first = "[[listen]]\naddress = \"127.0.0.1:0\"\n\n[[certificate]]";
    let added = "[[listen]]\naddress = \"127.0.0.2:0\"\n\n[[certificate]]";
    let mark = sidecar.mark();
    publish(&sidecar, &setup.text().replace(first, added));
    let address = sidecar.wait_for_log(mark, "listening")["address"].as_str().unwrap().to_owned();
    assert_eq!(Client::plain(address.parse().unwrap()).get("/").status, 200);
    let gone = sidecar.address("http");
    eventually("nobody listens there", || TcpStream::connect(gone).err());
    let last = leaving.get("/");
    assert_eq!((last.status, last.field("connection")), (200, Some("close")));
    assert_eq!(kept.get("/").field("connection"), None);
    assert_eq!(kept.get("/").status, 200);
}

#[test]
fn p4_an_address_that_is_taken_changes_nothing() {
    let shop = Upstream::ok();
    let setup = Setup::new(&shop);
    let sidecar = setup.start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mark = sidecar.mark();
    let more = format!("[limits]\nbody = \"1KiB\"\n[[listen]]\naddress = \"{address}\"");
    sidecar.write_config(&Setup::new(&shop).tables(&more).text());
    let refused = sidecar.wait_for_log(mark, "reload refused")["problem"].to_string();
    assert!(refused.contains(&address) && refused.contains("in use"), "{refused}");
    assert_eq!(sidecar.https().post("/", "text/plain", vec![b'a'; 2_000]).status, 200);
}

#[test]
fn what_is_spoken_at_an_address_changes_with_the_file() {
    let shop = Upstream::ok();
    let setup = Setup::new(&shop);
    let sidecar = setup.start();
    let plain = "[[listen]]\naddress = \"127.0.0.1:0\"\n\n[[certificate]]";
    let redirect =
        "[[listen]]\naddress = \"127.0.0.1:0\"\nredirect_to_https = true\n\n[[certificate]]";
    assert_eq!(sidecar.http().get("/").status, 200);
    publish(&sidecar, &setup.text().replace(plain, redirect));
    let answer = sidecar.http().get("/");
    let port = sidecar.address("https").port().to_string();
    assert!(answer.status == 308 && answer.field("location").unwrap().contains(&port));
}

/// The last condition: 30 s, 100 connections, ten new configurations and certificates.
#[test]
fn p5_no_request_fails_while_everything_is_replaced_ten_times() {
    const CONNECTIONS: usize = 100;
    const ROUNDS: u32 = 10;
    let spell = Duration::from_secs(30);
    let shop = Upstream::fixed("text/html", "<p>hello</p>".repeat(50));
    let sidecar = Setup::new(&shop).start();
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (address, begun) = (sidecar.address("https"), Instant::now());
    let clients: Vec<_> = (0..CONNECTIONS)
        .map(|n| {
            let (stop, done, tls) = (Arc::clone(&stop), Arc::clone(&done), Tls::new(HOST));
            thread::spawn(move || {
                let mut client = tls.connect(address).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let answer = if n % 4 == 0 {
                        client.form("/buy", "number=none&quantity=1")
                    } else {
                        client.get("/")
                    };
                    assert_eq!((answer.status, answer.body.len()), (200, 600));
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 1..=ROUNDS {
        let mark = sidecar.mark();
        let tables = format!("[limits]\nbody = \"{round}MiB\"");
        sidecar.write_config(&Setup::new(&shop).tables(&tables).text());
        sidecar.wait_for_log(mark, "reloaded");
        let next = Identity::new(&[HOST]);
        next.write(&sidecar.folder().join("tls"), "shop");
        eventually("the new certificate is served", || {
            let shown = Tls::new(HOST).connect(address).ok()?.handshake().leaf.clone();
            (shown == next.leaf()).then_some(())
        });
        // Traffic goes on for this round's part of the spell: requests, not a clock, are awaited.
        while begun.elapsed() < spell * round / ROUNDS {
            let before = done.load(Ordering::Relaxed);
            eventually("requests go on", || (done.load(Ordering::Relaxed) > before).then_some(()));
        }
    }
    stop.store(true, Ordering::Relaxed);
    let failed = clients.into_iter().map(thread::JoinHandle::join).filter(Result::is_err).count();
    assert_eq!(failed, 0, "{failed} of {CONNECTIONS} connections saw a failed request");
    assert!(done.load(Ordering::Relaxed) > CONNECTIONS);
}
