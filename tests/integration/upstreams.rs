//! Several servers of one shop, and what a customer notices when one of them fails (issue item 5).

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;

use crate::harness::{Client, DEADLINE, Setup, Sidecar, Upstream, eventually, program};

/// A shop that writes down each payment before it answers.
const SHOP: &str = "
import http.server, os, sys
paid = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
class Shop(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        self.send_response(200)
        self.send_header('content-length', '2')
        self.end_headers()
        self.wfile.write(b'ok')
    def do_POST(self):
        body = self.rfile.read(int(self.headers['content-length']))
        os.write(paid, body + b'\\n')
        self.do_GET()
    def log_message(self, *words):
        pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
server = Server(('127.0.0.1', int(sys.argv[2])), Shop)
print(server.server_port, flush=True)
server.serve_forever()
";

/// Servers that fail are found within this many requests.
const PLENTY: usize = 400;

/// A server that can die.
struct Mortal {
    process: Child,
    port: u16,
}

impl Mortal {
    fn start(python: &Path, paid: &Path, port: u16) -> Self {
        let mut process = Command::new(python)
            .args(["-c", SHOP])
            .arg(paid)
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { process, port: line.trim().parse().unwrap() }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// As `kill -9`.
    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A shop that answers `/healthz` as it is told to, and everything else with its name.
fn named(name: &'static str, healthy: &Arc<AtomicBool>) -> Upstream {
    let healthy = Arc::clone(healthy);
    Upstream::start(move |exchange| {
        let status =
            if exchange.target() != "/healthz" || healthy.load(SeqCst) { 200 } else { 500 };
        exchange.answer(status, &[("content-type", "text/plain")], name.as_bytes())
    })
}

fn always() -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(true))
}

/// How many of so many requests each of the two servers answers.
fn shares(client: &mut Client, count: usize) -> (usize, usize) {
    let answers = (0..count).map(|_| client.get("/").text());
    let ones = answers.filter(|text| text == "one").count();
    (ones, count - ones)
}

fn gauge(sidecar: &Sidecar, state: &str) -> f64 {
    sidecar.metric("tillgate_upstream_servers", &[&format!("state=\"{state}\"")])
}

#[test]
fn the_kill_of_one_of_two_servers_fails_no_request_that_may_be_repeated_and_pays_nothing_twice() {
    let Some(python) = program("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let paid = folder.path().join("paid");
    let one = Mortal::start(&python, &paid, 0);
    let mut other = Mortal::start(&python, &paid, 0);
    let health = "[site.health]\nslow_start = \"1s\"\neject = \"1s\"";
    let sidecar = Setup::among(&[&one.url(), &other.url()]).site(health).start();
    let (address, told) = (sidecar.address("http"), Arc::new(AtomicUsize::new(0)));
    let ending = Arc::new(AtomicBool::new(false));
    let customers: Vec<_> = (0..8)
        .map(|customer| {
            let (told, ending) = (Arc::clone(&told), Arc::clone(&ending));
            thread::spawn(move || {
                let (mut client, mut lost) = (Client::plain(address), 0);
                let mut turn = 0;
                while !ending.load(SeqCst) {
                    turn += 1;
                    let body = format!("payment {customer}-{turn}");
                    let (status, repeatable) = match turn % 4 {
                        0 => (client.request("POST", "/pay", &[], body.as_bytes()).status, false),
                        1 => {
                            let key = [("idempotency-key", body.as_str())];
                            let body = format!("known {body}");
                            (client.request("POST", "/pay", &key, body.as_bytes()).status, true)
                        }
                        _ => (client.get("/").status, true),
                    };
                    assert!(status == 200 || !repeatable, "{status} in turn {turn}");
                    lost += usize::from(status != 200);
                    told.fetch_add(1, SeqCst);
                }
                lost
            })
        })
        .collect();
    let reach =
        |count| eventually("enough requests", || (told.load(SeqCst) >= count).then_some(()));
    reach(PLENTY);
    other.kill();
    reach(told.load(SeqCst) + PLENTY);
    let port = other.port;
    drop(other);
    // It comes back where it was, and dies again.
    let mut again = Mortal::start(&python, &paid, port);
    eventually("both servers are used again", || (gauge(&sidecar, "used") == 2.0).then_some(()));
    reach(told.load(SeqCst) + PLENTY);
    again.kill();
    reach(told.load(SeqCst) + PLENTY);
    ending.store(true, SeqCst);
    let lost: usize = customers.into_iter().map(|customer| customer.join().unwrap()).sum();
    eprintln!(
        "{} requests, {lost} payments without a key answered with an error",
        told.load(SeqCst)
    );
    let text = std::fs::read_to_string(&paid).unwrap();
    let mut seen: Vec<_> = text.lines().filter(|line| !line.starts_with("known")).collect();
    let all = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), all, "a payment without a key was sent twice");
    assert!(sidecar.metric("tillgate_upstream_ejections_total", &[]) >= 1.0);
}

#[test]
fn a_hung_server_costs_no_request_that_may_be_repeated_and_is_then_left_alone() {
    let (hold, held) = mpsc::channel::<()>();
    let held = Mutex::new(held);
    let hung = Upstream::start(move |exchange| {
        exchange.request()?;
        let _until_the_end = held.lock().unwrap().recv_timeout(DEADLINE * 4);
        Ok(())
    });
    let sound = named("one", &always());
    let setup = Setup::among(&[&sound.url(), &hung.url()]);
    let sidecar = setup.tables("[timeouts]\nresponse_head = \"300ms\"").start();
    let mut client = sidecar.http();
    eventually("it is left out", || {
        assert_eq!(client.get("/").status, 200);
        (gauge(&sidecar, "ejected") == 1.0).then_some(())
    });
    let before = hung.count();
    for _ in 0..50 {
        assert_eq!(client.get("/").status, 200);
    }
    assert_eq!(hung.count(), before);
    drop(hold);
}

#[test]
fn a_payment_that_a_server_does_not_answer_is_not_sent_to_another() {
    let counted = || {
        Upstream::start(|exchange| {
            exchange.request()?;
            exchange.close();
            Ok(())
        })
    };
    let (one, other) = (counted(), counted());
    let sidecar = Setup::among(&[&one.url(), &other.url()]).start();
    let mut client = sidecar.http();
    client.form("/pay", "amount=1").assert_refused(502);
    assert_eq!(one.count() + other.count(), 1);
    let key = [("idempotency-key", "1")];
    client.request("POST", "/pay", &key, b"amount=1").assert_refused(502);
    assert_eq!(one.count() + other.count(), 3, "with a key each of the two is asked");
    let bodies: Vec<_> =
        one.seen().into_iter().chain(other.seen()).map(|seen| seen.text()).collect();
    assert_eq!(bodies, ["amount=1"; 3]);
}

#[test]
fn a_server_that_says_it_is_unfit_is_asked_for_and_left_out_until_it_is_fit() {
    let healthy = always();
    let (one, other) = (named("one", &healthy), named("other", &always()));
    let health = "[site.health]\npath = \"/healthz\"\ninterval = \"100ms\"\nfall = 2\nrise = 2\n\
                  slow_start = \"1ms\"";
    let sidecar = Setup::among(&[&one.url(), &other.url()]).site(health).start();
    let mut client = sidecar.http();
    for _flap in 0..2 {
        let (ones, others) = shares(&mut client, 200);
        assert!(ones > 50 && others > 50, "{ones} and {others}");
        healthy.store(false, SeqCst);
        eventually("it is down", || (gauge(&sidecar, "down") == 1.0).then_some(()));
        assert_eq!(shares(&mut client, 100), (0, 100));
        healthy.store(true, SeqCst);
        eventually("it is up", || (gauge(&sidecar, "used") == 2.0).then_some(()));
    }
    let asked = one.seen();
    let check = asked.iter().find(|seen| seen.target() == "/healthz").unwrap();
    assert_eq!(check.field("user-agent"), Some("tillgate-health"));
    assert_eq!(check.field("host"), Some(format!("127.0.0.1:{}", one.address.port()).as_str()));
    sidecar.wait_for_log(0, "server is down");
    sidecar.wait_for_log(0, "server is up");
}

#[test]
fn a_server_that_comes_back_begins_with_a_small_share_and_a_reload_does_not_change_that() {
    let healthy = Arc::new(AtomicBool::new(false));
    let (one, other) = (named("one", &healthy), named("other", &always()));
    let health = "[site.health]\npath = \"/healthz\"\ninterval = \"100ms\"\nfall = 1\nrise = 1\n\
                  slow_start = \"1h\"";
    let setup = Setup::among(&[&one.url(), &other.url()]).site(health);
    let sidecar = setup.start();
    eventually("it is down", || (gauge(&sidecar, "down") == 1.0).then_some(()));
    let reload = |lines: &str| {
        let mark = sidecar.mark();
        sidecar.write_config(&format!("{}\n{lines}", setup.text()));
        sidecar.wait_for_log(mark, "reloaded");
    };
    reload("[limits]\nbody = \"1MiB\"");
    assert_eq!(shares(&mut sidecar.http(), 100), (0, 100), "a reload forgets that it is down");
    healthy.store(true, SeqCst);
    eventually("it is up", || (gauge(&sidecar, "used") == 2.0).then_some(()));
    let mut client = sidecar.http();
    let (ones, _) = shares(&mut client, 400);
    assert!((1..80).contains(&ones), "{ones} of 400 at a tenth of a half");
    reload("[limits]\nbody = \"2MiB\"");
    let (ones, _) = shares(&mut sidecar.http(), 400);
    assert!((1..80).contains(&ones), "{ones} of 400 after a reload");
}

#[test]
fn with_every_server_down_the_answer_is_clear_and_they_are_used_as_soon_as_they_are_back() {
    let Some(python) = program("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let paid = folder.path().join("paid");
    let mut servers = [Mortal::start(&python, &paid, 0), Mortal::start(&python, &paid, 0)];
    let urls = [servers[0].url(), servers[1].url()];
    let sidecar = Setup::among(&[&urls[0], &urls[1]]).start();
    servers.iter_mut().for_each(Mortal::kill);
    let mut client = sidecar.http();
    for _ in 0..10 {
        client.get("/").assert_refused(502);
    }
    eventually("both are left out", || (gauge(&sidecar, "ejected") == 2.0).then_some(()));
    let port = servers[0].port;
    let _back = Mortal::start(&python, &paid, port);
    for _ in 0..20 {
        assert_eq!(client.get("/").status, 200, "nobody waits for a verdict to pass");
    }
}

#[test]
fn a_server_works_on_as_much_as_it_may_and_the_rest_waits_or_is_told_to_come_back() {
    let (go, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let shop = Upstream::start(move |exchange| {
        exchange.request()?;
        gate.lock().unwrap().recv_timeout(DEADLINE).map_err(std::io::Error::other)?;
        exchange.answer(200, &[], b"ok")
    });
    let limits = "[site.balance]\nin_flight = 1\nqueue = 1\nqueue_wait = \"20s\"";
    let sidecar = Setup::new(&shop).site(limits).start();
    let ask = || {
        let mut client = sidecar.http();
        client.send("GET / HTTP/1.1\r\nhost: shop.example\r\n\r\n");
        client
    };
    let mut first = ask();
    shop.wait(0);
    eventually("one is worked on", || {
        (sidecar.metric("tillgate_upstream_requests_in_flight", &[]) == 1.0).then_some(())
    });
    let mut second = ask();
    eventually("one waits", || {
        (sidecar.metric("tillgate_upstream_requests_waiting", &[]) == 1.0).then_some(())
    });
    let refused = sidecar.http().get("/");
    refused.assert_refused(503);
    assert_eq!(refused.field("retry-after"), Some("20"));
    go.send(()).unwrap();
    assert_eq!(first.answer().status, 200);
    go.send(()).unwrap();
    assert_eq!(second.answer().status, 200);
    assert_eq!(shop.count(), 2);
}

#[test]
fn a_cookie_leads_back_to_the_same_server_and_tells_nobody_which() {
    let (one, other) = (named("one", &always()), named("other", &always()));
    let setup = Setup::among(&[&one.url(), &other.url()]);
    let sidecar = setup.site("[site.balance]\nsticky = \"shop-server\"").start();
    let mut client = sidecar.https();
    let first = client.get("/");
    let cookie = first.field("set-cookie").unwrap().to_owned();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax; Secure"), "{cookie}");
    assert!(first.field("cache-control").unwrap().contains("private"));
    let pair = cookie.split(';').next().unwrap();
    for text in ["127.0.0.1", &one.address.port().to_string(), &other.address.port().to_string()] {
        assert!(!pair.contains(text), "{pair}");
    }
    let back = format!("a=1; {pair}; b=2");
    for _ in 0..50 {
        let answer = client.request("GET", "/", &[("cookie", &back)], b"");
        assert_eq!((answer.text(), answer.field("set-cookie")), (first.text(), None));
    }
    let home = if first.text() == "one" { &one } else { &other };
    assert_eq!(home.last().field("cookie"), Some("a=1; b=2"));
    let forged = client.request("GET", "/", &[("cookie", "shop-server=AAAA")], b"");
    assert!(forged.field("set-cookie").is_some());
}

#[test]
fn a_closed_site_says_so_to_all_but_those_who_work_on_it() {
    let shop = Upstream::ok();
    let setup =
        Setup::new(&shop).site("[site.maintenance]\nflag = \"closed\"\nretry_after = \"90s\"");
    let sidecar = setup.start();
    let mut client = sidecar.http();
    assert_eq!(client.get("/").status, 200);
    let flag = sidecar.folder().join("closed");
    std::fs::write(&flag, "").unwrap();
    let closed =
        eventually("it is closed", || Some(client.get("/")).filter(|answer| answer.status == 503));
    assert_eq!(closed.field("retry-after"), Some("90"));
    closed.assert_refused(503);
    let before = shop.count();
    let allowed = setup.text().replace("flag =", "allow = [\"127.0.0.0/8\"]\nflag =");
    sidecar.write_config(&allowed);
    eventually("who works on it is let in", || (client.get("/").status == 200).then_some(()));
    assert!(shop.count() > before);
    let enabled = setup.text().replace("flag = \"closed\"", "enabled = true");
    sidecar.write_config(&enabled);
    eventually("it is closed by the file", || (client.get("/").status == 503).then_some(()));
    std::fs::remove_file(&flag).unwrap();
    sidecar.write_config(&setup.text());
    eventually("it is open", || (client.get("/").status == 200).then_some(()));
}

#[test]
fn a_server_may_be_a_socket_of_this_machine() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("shop.sock");
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                if stream.read(&mut bytes).is_ok_and(|count| count > 0) {
                    let host = bytes.windows(18).any(|part| part == b"host: shop.example");
                    assert!(host, "{}", String::from_utf8_lossy(&bytes));
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsocket";
                    stream.write_all(answer).unwrap();
                }
            });
        }
    });
    let sidecar = Setup::to(&format!("unix:{}", path.display())).start();
    for _ in 0..3 {
        assert_eq!(sidecar.https().get("/").text(), "socket");
    }
    drop(folder);
    sidecar.http().get("/").assert_refused(502);
}
