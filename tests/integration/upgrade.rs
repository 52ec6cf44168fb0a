//! The binary replaced under traffic (promise P5): SIGUSR2.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustls::HandshakeKind;

use crate::harness::frames::{Shop, TEXT, WebSocket};
use crate::harness::{
    Client, H2, HOST, Identity, ONLY_ACCOUNTS, Purchases, Setup, Sidecar, Tls, Upstream, cards,
    eventually,
};

/// How often everything is replaced where nobody says; 60 is what a release is held to.
const UPGRADES: usize = 3;

/// A binary of the test's own, to be replaced.
pub(crate) struct Binary {
    folder: tempfile::TempDir,
}

impl Binary {
    pub(crate) fn new() -> Self {
        let binary = Self { folder: tempfile::tempdir().unwrap() };
        binary.put(Path::new(env!("CARGO_BIN_EXE_tillgate")));
        binary
    }

    /// One that every user may start.
    pub(crate) fn for_everybody() -> Self {
        let binary = Self { folder: tempfile::tempdir().unwrap() };
        let (program, path) = (env!("CARGO_BIN_EXE_tillgate"), binary.path());
        fs::set_permissions(binary.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::hard_link(program, &path).or_else(|_| fs::copy(program, &path).map(|_| ())).unwrap();
        binary
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("tillgate")
    }

    /// As a package manager does: the old file is gone, and a running process has it still.
    pub(crate) fn put(&self, program: &Path) {
        let link = self.folder.path().join("next");
        std::os::unix::fs::symlink(program, &link).unwrap();
        fs::rename(&link, self.path()).unwrap();
    }

    pub(crate) fn put_script(&self, text: &str) {
        let script = self.folder.path().join("script");
        let _gone = fs::remove_file(&script);
        fs::write(&script, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        self.put(&script);
    }
}

#[test]
fn an_upgrade_takes_over_the_addresses_and_the_old_process_ends() {
    let shop = Upstream::ok();
    let mut sidecar = Setup::new(&shop).top("pid_file = \"tillgate.pid\"").start();
    let file = sidecar.folder().join("tillgate.pid");
    let named = || fs::read_to_string(&file).unwrap().trim().parse::<u32>().unwrap();
    let (before, mut kept) = (sidecar.pid(), sidecar.https());
    assert_eq!(named(), before);
    assert_eq!(kept.get("/").status, 200);
    let old = sidecar.upgrade();
    assert_ne!(sidecar.pid(), before);
    assert_eq!(sidecar.https().get("/").status, 200);
    assert_eq!(sidecar.http().get("/").status, 200);
    assert_eq!(sidecar.metric("tillgate_upgrades_total", &["accepted"]), 1.0);
    // The old process stays for those whom it has until it is clear that the new one does not crash.
    eventually("it says that it was the last", || {
        let last = kept.get("/");
        assert_eq!(last.status, 200);
        (last.field("connection") == Some("close")).then_some(())
    });
    assert_eq!(old.exit_status().code(), Some(0));
    // And once more, by the one that was started so.
    let old = sidecar.upgrade();
    assert_eq!(sidecar.http().get("/").status, 200);
    assert_eq!(old.exit_status().code(), Some(0));
    assert_eq!(named(), sidecar.pid());
    sidecar.sigterm();
    assert_eq!(sidecar.exit_status().code(), Some(0));
    assert!(!file.exists());
}

#[test]
fn clients_resume_their_sessions_after_an_upgrade() {
    let mut sidecar = Sidecar::start(&Upstream::ok(), "");
    let tls = Tls::new(HOST);
    assert_eq!(tls.connect(sidecar.address("https")).unwrap().get("/").status, 200);
    let _old = sidecar.upgrade();
    let resumed = tls.connect(sidecar.address("https")).unwrap();
    assert_eq!(resumed.handshake().kind, Some(HandshakeKind::Resumed));
}

#[test]
fn a_program_that_cannot_take_over_leaves_the_old_one_which_says_why() {
    let (shop, binary) = (Upstream::ok(), Binary::new());
    let tables = "[timeouts]\nupgrade = \"3s\"";
    let setup = Setup::new(&shop).program(&binary.path()).tables(tables);
    let mut sidecar = setup.start();
    let pid = sidecar.pid();
    let mut kept = sidecar.https();
    let cases = [
        ("exit 1", "exited", "exit status: 1", 1.0),
        ("kill -9 $$", "exited", "signal: 9", 2.0),
        ("exec sleep 60", "stalled", "3s", 1.0),
    ];
    for (script, result, words, count) in cases {
        binary.put_script(script);
        let problem = refused(&sidecar);
        assert!(problem.contains(words), "{problem}");
        assert_eq!(sidecar.metric("tillgate_upgrades_total", &[result]), count);
        assert_eq!((kept.get("/").status, sidecar.http().get("/").status), (200, 200));
    }
    fs::remove_file(binary.path()).unwrap();
    let problem = refused(&sidecar);
    assert!(problem.contains("cannot start"), "{problem}");

    binary.put(Path::new(env!("CARGO_BIN_EXE_tillgate")));
    let mark = sidecar.mark();
    sidecar.write_config("[[listen]]\nadress = \"127.0.0.1:0\"");
    sidecar.wait_for_log(mark, "reload refused");
    let problem = refused(&sidecar);
    assert!(problem.contains("adress") && problem.contains("tillgate.toml"), "{problem}");

    assert_eq!(sidecar.pid(), pid);
    let mark = sidecar.mark();
    sidecar.write_config(&Setup::new(&shop).text());
    sidecar.wait_for_log(mark, "reloaded");
    sidecar.upgrade();
    assert_eq!(sidecar.http().get("/").status, 200);
}

/// Asks for an upgrade that cannot be; gives what the process says of it.
pub(crate) fn refused(sidecar: &Sidecar) -> String {
    let mark = sidecar.mark();
    sidecar.sigusr2();
    sidecar.wait_for_log(mark, "upgrade refused")["problem"].as_str().unwrap().to_owned()
}

#[test]
fn p6_an_upgrade_forgives_nobody_and_forgets_no_token() {
    let shop = Upstream::start(|exchange| match exchange.target() {
        "/login" => exchange.answer(401, &[], b"wrong"),
        _ => exchange.answer(200, &[], b""),
    });
    let mut sidecar = Setup::new(&shop)
        .site("[[site.login]]\npath = \"/login\"\naccount_field = \"email\"")
        .tables(ONLY_ACCOUNTS)
        .start();
    let card = cards::fresh("visa");
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    let token = shop.last().form("number");
    for _ in 0..10 {
        assert_eq!(sidecar.https().form("/login", "email=ada&password=w").status, 401);
    }
    sidecar.upgrade();
    sidecar.https().form("/login", "email=ada&password=w").assert_refused(429);
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    assert_eq!(shop.last().form("number"), token);
}

#[test]
fn a_code_kept_before_an_upgrade_is_charged_after_it_once() {
    let purchases = Purchases::new();
    let mut sidecar = purchases.setup("").start();
    let card = cards::fresh("visa");
    sidecar.https().form("/buy", &format!("number={card}&cvv=834"));
    let (token, code) = (purchases.shop.last().form("number"), purchases.shop.last().form("cvv"));
    // One connection stays with the old process, where the code is no longer.
    let mut stays = sidecar.gateway("pay");
    assert_eq!(stays.get("/").status, 200);
    sidecar.upgrade();
    let body = format!("number={token}&cvv={code}");
    assert_eq!(sidecar.gateway("pay").form("/charge", &body).status, 200);
    assert_eq!(purchases.provider.last().form("cvv"), "834");
    assert_ne!(stays.form("/charge", &body).status, 200, "a code is charged once");
}

#[test]
fn a_successor_that_dies_after_it_was_ready_leaves_everything_as_it_was() {
    let (purchases, binary) = (Purchases::new(), Binary::new());
    let mut sidecar = purchases.setup("").program(&binary.path()).start();
    let card = cards::fresh("visa");
    sidecar.https().form("/buy", &format!("number={card}&cvv=834"));
    let (token, code) = (purchases.shop.last().form("number"), purchases.shop.last().form("cvv"));
    binary.put_script("printf '\\001\\000\\000\\000\\000' >&0\nexit 7");
    let problem = refused(&sidecar);
    assert!(problem.contains("exit status: 7"), "{problem}");
    let body = format!("number={token}&cvv={code}");
    assert_eq!(sidecar.gateway("pay").form("/charge", &body).status, 200);
    assert_eq!(purchases.provider.last().form("cvv"), "834");
    binary.put(Path::new(env!("CARGO_BIN_EXE_tillgate")));
    sidecar.upgrade();
    assert_eq!(sidecar.http().get("/").status, 200);
}

#[test]
fn p2_tokens_of_two_processes_at_once_are_neither_lost_nor_doubled() {
    let mut purchases = Purchases::new();
    let mut sidecar = purchases.setup("").start();
    let address = sidecar.address("http");
    for _ in 0..3 {
        purchases.during(&[address], || {
            let seen = purchases.shop.count();
            purchases.shop.wait(seen + 30);
            sidecar.upgrade();
            purchases.shop.wait(purchases.shop.count() + 30);
        });
        purchases.assert_kept(&sidecar);
    }
    purchases.assert_all_kept(&sidecar);
    purchases.cards();
    let (_, refused) = purchases.outcomes();
    assert_eq!(refused, 0);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .args(["audit", "verify", "--config"])
        .arg(sidecar.config())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// What the load has seen.
#[derive(Default)]
struct Load {
    stop: AtomicBool,
    done: AtomicUsize,
    reconnected: AtomicUsize,
}

impl Load {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }

    /// Requests over connections that are kept for as long as the server keeps them.
    fn http1(&self, connect: impl Fn() -> io::Result<Client>) {
        let mut client = connect().unwrap();
        while self.goes_on() {
            let answer = client.try_request("GET", "/", &[], b"").unwrap();
            assert_eq!((answer.status, answer.body.len()), (200, 600));
            self.done.fetch_add(1, Ordering::Relaxed);
            if answer.field("connection") == Some("close") {
                client = connect().unwrap();
                self.reconnected.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn http2(&self, connect: impl Fn() -> H2) {
        let mut client = connect();
        while self.goes_on() {
            match client.try_get("/") {
                Some(answer) => {
                    assert_eq!((answer.status, answer.body.len()), (200, 600));
                    self.done.fetch_add(1, Ordering::Relaxed);
                }
                // It was told that the connection takes no more.
                None => {
                    client = connect();
                    self.reconnected.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

/// The figure: 60 s under load with a reload, a certificate change and an upgrade every second.
#[test]
fn p5_no_request_fails_while_the_binary_is_replaced_under_load() {
    let rounds = std::env::var("TILLGATE_UPGRADES").map_or(UPGRADES, |it| it.parse().unwrap());
    let shop = Shop::beside(Vec::new(), Some("<p>hello</p>".repeat(50)));
    let build = |round: usize| {
        // A WebSocket stays with its process for as long as that may take.
        let tables = format!("[timeouts]\ndrain = \"3m\"\n[limits]\nbody = \"{}MiB\"", round + 1);
        Setup::new(&shop.upstream).tables(&tables)
    };
    let mut sidecar = build(0).start();
    let (http, https) = (sidecar.address("http"), sidecar.address("https"));
    let (load, begun) = (Load::default(), Instant::now());
    let folder = sidecar.folder().to_owned();
    let mut socket = WebSocket::open(&sidecar);
    thread::scope(|scope| {
        let load = &load;
        for _ in 0..4 {
            scope.spawn(move || load.http1(|| Client::try_plain(http)));
            scope.spawn(move || load.http1(|| Tls::new(HOST).connect(https)));
            scope.spawn(move || load.http2(|| H2::connect(https, HOST)));
        }
        let stopping = Stop(&load.stop);
        for round in 1..=rounds {
            let due = begun + Duration::from_secs(1) * u32::try_from(round).unwrap();
            let mark = sidecar.mark();
            sidecar.write_config(&build(round).text());
            Identity::new(&[HOST, &format!("*.{HOST}")]).write(&folder.join("tls"), "shop");
            sidecar.wait_for_log(mark, "reloaded");
            sidecar.upgrade();
            socket.send(true, TEXT, format!("round {round}"));
            assert_eq!(socket.message(), format!("round {round}"));
            while Instant::now() < due {
                let before = load.done.load(Ordering::Relaxed);
                eventually("requests go on", || {
                    (load.done.load(Ordering::Relaxed) > before).then_some(())
                });
            }
        }
        eventually("the old processes let go of those whom they had", || {
            (load.reconnected.load(Ordering::Relaxed) >= rounds).then_some(())
        });
        drop(stopping);
    });
    let (done, again) = (load.done.into_inner(), load.reconnected.into_inner());
    eprintln!(
        "{rounds} reloads, certificates and upgrades in {:.0?} under 12 connections: {done} requests, \
         0 failed, 0 resets; {again} connections ended as announced; 1 WebSocket throughout",
        begun.elapsed()
    );
    assert!(done > 100 && again >= rounds);
}

/// Ends the load even where the rounds fail.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
