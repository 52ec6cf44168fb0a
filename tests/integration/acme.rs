//! Certificates that are asked of an authority, on the wire of both.

use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use crate::confine::{NOBODY, is_root};
use crate::harness::{
    Client, Identity, Pebble, PebbleSetup, Setup, Sidecar, Tls, Upstream, Watched, eventually,
    free_ports, program,
};

const NAME: &str = "new.example";

/// Longer than any wait of these tests: certificates that end soon must first be about to.
const PATIENCE: Duration = Duration::from_secs(60);

fn start(pebble: &Pebble, upstream: &Upstream, names: &[&str], challenge: &str) -> Sidecar {
    Setup::new(upstream).tables(&pebble.tables(names, challenge)).start()
}

/// Waits until what was issued is served too.
fn await_certificate(sidecar: &Sidecar, mark: usize) {
    sidecar.wait_for_log(mark, "certificate issued");
    sidecar.wait_for_log(mark, "certificates reloaded");
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn serves(pebble: &Pebble, name: &str) {
    let mut client = pebble.client(name).connect(pebble.tls_address()).unwrap();
    assert_eq!(client.get("/").status, 200);
}

#[test]
fn a_first_certificate_comes_by_http_01_past_a_redirect_and_past_bad_nonces() {
    let Some(pebble) = PebbleSetup::default().start() else { return };
    let upstream = Upstream::ok();
    let sidecar = start(&pebble, &upstream, &[NAME, "www.new.example"], "http-01");
    await_certificate(&sidecar, 0);
    serves(&pebble, NAME);
    serves(&pebble, "www.new.example");

    let folder = sidecar.data().join("acme");
    let file = folder.join("certificates").join("new.example.pem");
    assert_eq!(
        (mode(&folder), mode(&file), mode(&folder.join("memory.json"))),
        (0o700, 0o600, 0o600)
    );
    for account in std::fs::read_dir(folder.join("accounts")).unwrap() {
        assert_eq!(mode(&account.unwrap().path()), 0o600);
    }
    let issued = ["authority=\"pebble\"", "outcome=\"issued\""];
    assert_eq!(sidecar.metric("tillgate_acme_attempts_total", &issued), 1.0);
    let next = sidecar.metric("tillgate_acme_next_attempt_timestamp_seconds", &[NAME]);
    let expiry = sidecar.metric("tillgate_certificate_expiry_timestamp_seconds", &[NAME]);
    assert!((expiry - 1300.0..expiry - 1000.0).contains(&next), "{next} for {expiry}");

    // Nobody is proving anything any more: what comes there is answered like anything else.
    let answer = Client::plain(pebble.http_address()).get("/.well-known/acme-challenge/abc");
    assert_eq!(answer.status, 308);
}

#[test]
fn a_server_without_any_certificate_starts_and_says_what_it_waits_for() {
    let Some(pebble) = PebbleSetup::default().start() else { return };
    pebble.relay.cut();
    let setup = Setup::new(&Upstream::ok()).without_certificate();
    let sidecar = setup.tables(&pebble.tables(&[NAME], "http-01")).start();

    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    let checked = command.args(["check", "--config"]).arg(sidecar.config()).output().unwrap();
    let said = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && said.contains("has not been issued yet"), "{said}");
    let warned = sidecar.wait_for_log(0, "certificate warning")["problem"].to_string();
    assert!(warned.contains("new.example.pem has not been issued yet"), "{warned}");
    let refused = Tls::new(NAME).connect(pebble.tls_address()).err().unwrap().to_string();
    assert!(refused.contains("UnrecognisedName"), "{refused}");
    let counted = || sidecar.metric("tillgate_tls_handshake_failures_total", &["unknown_name"]);
    eventually("the refusal is counted", || (counted() >= 1.0).then_some(()));
    assert_eq!(Client::plain(pebble.http_address()).get("/").status, 308);
    pebble.relay.mend();
    await_certificate(&sidecar, 0);
    serves(&pebble, NAME);
}

#[test]
fn a_first_certificate_comes_by_tls_alpn_01() {
    let Some(pebble) = PebbleSetup::default().start() else { return };
    let upstream = Upstream::ok();
    let sidecar = start(&pebble, &upstream, &[NAME], "tls-alpn-01");
    await_certificate(&sidecar, 0);
    serves(&pebble, NAME);
}

#[test]
fn a_wildcard_comes_by_a_hook_which_takes_its_records_away_again() {
    let Some(pebble) = PebbleSetup::default().start() else { return };
    let upstream = Upstream::ok();
    let (hook, done) = pebble.hook();
    let tables = pebble.tables(&["*.new.example"], "dns-01");
    let hook = format!("hook = {{ command = [{hook:?}], propagation = \"1ms\" }}\n");
    let sidecar = Setup::new(&upstream).tables(&(tables + &hook)).start();
    await_certificate(&sidecar, 0);
    serves(&pebble, "any.new.example");
    let done = std::fs::read_to_string(done).unwrap();
    let expected = "present _acme-challenge.new.example\ncleanup _acme-challenge.new.example\n";
    assert_eq!(done, expected);
}

#[test]
fn a_hook_of_a_server_that_was_root_works_as_its_user_and_writes_no_further_than_that() {
    if !is_root("a hook of a dropped user") {
        return;
    }
    let Some(pebble) = PebbleSetup::default().start() else { return };
    let (hook, done) = pebble.hook();
    // Open to every user of the machine, and none of the folders of the sandbox.
    let outside = format!("/dev/shm/tillgate-hook-{}", std::process::id());
    let (hook, file) = (hook.display(), done.display());
    let script = format!("id -u >> {file}; touch {outside}; exec {hook}");
    let command = format!("[\"/bin/sh\", \"-c\", {script:?}]");
    let hook = format!("hook = {{ command = {command}, propagation = \"1ms\" }}\n");
    let upstream = Upstream::ok();
    let tables = pebble.tables(&["*.new.example"], "dns-01") + &hook;
    let sidecar = Setup::new(&upstream).top("user = \"nobody\"").tables(&tables).start();
    await_certificate(&sidecar, 0);
    serves(&pebble, "any.new.example");
    let actions = ["present", "cleanup"].map(|action| format!("{action} _acme-challenge.{NAME}\n"));
    let expected = actions.map(|line| format!("{NOBODY}\n{line}")).concat();
    assert_eq!(std::fs::read_to_string(done).unwrap(), expected);
    let confined = sidecar.metric("tillgate_protection", &["landlock"]) == 1.0;
    let wrote = std::fs::remove_file(&outside).is_ok();
    assert!(!(confined && wrote), "it wrote to {outside}");
}

#[test]
fn an_account_is_bound_to_one_that_the_operator_has() {
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let setup = PebbleSetup { bound: Some(("kid-1", key)), ..PebbleSetup::default() };
    let Some(pebble) = setup.start() else { return };
    let upstream = Upstream::ok();
    let bound = "external_account = { key_id = \"kid-1\", hmac_key = { env = \"EAB\" } }\n";
    let tables = pebble.tables(&[NAME], "http-01") + bound;
    let sidecar = Setup::new(&upstream).variable("EAB", key).tables(&tables).start();
    await_certificate(&sidecar, 0);
    assert!(!sidecar.written().contains(key));
}

#[test]
fn a_renewal_disturbs_no_handshake_and_no_connection() {
    let setup = PebbleSetup { valid_s: 20, ..PebbleSetup::default() };
    let Some(pebble) = setup.start() else { return };
    let upstream = Upstream::ok();
    let sidecar = start(&pebble, &upstream, &[NAME], "http-01");
    await_certificate(&sidecar, 0);
    let mark = sidecar.mark();
    let client = pebble.client(NAME);
    let mut held = client.connect(pebble.tls_address()).unwrap();
    let first = held.handshake().leaf.clone();
    let (stop, made) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let loading = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let mut one = client.connect(pebble.tls_address()).unwrap();
                assert_eq!(one.get("/").status, 200);
                made.fetch_add(1, Ordering::Relaxed);
                assert_eq!(held.get("/").status, 200);
            }
        });
        await_certificate(&sidecar, mark);
        let seen = made.load(Ordering::Relaxed);
        while made.load(Ordering::Relaxed) < seen + 3 && !loading.is_finished() {
            thread::yield_now();
        }
        stop.store(true, Ordering::Relaxed);
        loading.join().unwrap();
    });
    assert_ne!(leaf(&pebble), first);
    assert!(made.load(Ordering::Relaxed) > 10);
}

/// What a client is shown that was never here before: one that resumes remembers what it was shown.
fn leaf(pebble: &Pebble) -> CertificateDer<'static> {
    let client = pebble.client(NAME).connect(pebble.tls_address()).unwrap();
    client.handshake().leaf.clone()
}

#[test]
fn an_authority_that_is_away_is_asked_ever_more_seldom_while_the_old_certificate_serves() {
    let setup = PebbleSetup { valid_s: 40, ..PebbleSetup::default() };
    let Some(pebble) = setup.start() else { return };
    let upstream = Upstream::ok();
    let sidecar = start(&pebble, &upstream, &[NAME], "http-01");
    await_certificate(&sidecar, 0);
    let first = leaf(&pebble);
    let mark = sidecar.mark();
    pebble.relay.cut();
    let before = pebble.relay.connections();
    // The waits are one, two and four seconds: nobody waits for more of them here.
    let failures = sidecar.wait_for_logs(mark, "certificate not issued", 3, PATIENCE);
    let asked = pebble.relay.connections() - before;
    // One request fails, and no other is made: twelve at most would be three tries with all retries.
    assert!((3..=6).contains(&asked), "{asked} connections for three attempts");
    for failed in &failures {
        assert_eq!(failed["reason"], "unreachable", "{failed}");
    }
    assert_eq!(leaf(&pebble), first);
    pebble.relay.mend();
    await_certificate(&sidecar, mark);
    assert_ne!(leaf(&pebble), first);
}

#[test]
fn a_restart_asks_nobody_again() {
    let Some(pebble) = PebbleSetup::default().start() else { return };
    let upstream = Upstream::ok();
    let mut sidecar = start(&pebble, &upstream, &[NAME], "http-01");
    await_certificate(&sidecar, 0);
    let asked = pebble.relay.connections();
    sidecar.restart();
    serves(&pebble, NAME);
    await_plan(&sidecar);
    assert_eq!(pebble.relay.connections(), asked);
    assert_eq!(pebble.issued(), 1);
}

/// Waits until it is said when a certificate is asked for next: then everything has been looked at once.
fn await_plan(sidecar: &Sidecar) {
    eventually("a plan", || {
        let at = sidecar.metric("tillgate_acme_next_attempt_timestamp_seconds", &[NAME]);
        (at > 0.0).then_some(())
    });
}

#[test]
fn a_crash_in_the_middle_of_an_attempt_makes_no_loop() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let asked: Arc<Watched<usize>> = Arc::default();
    let count = Arc::clone(&asked);
    thread::spawn(move || {
        for mut stream in silent.incoming().map_while(Result::ok) {
            count.update(|asked| *asked += 1);
            thread::spawn(move || stream.read(&mut [0; 4096]).map(|_| thread::park()));
        }
    });
    let upstream = Upstream::ok();
    let mut sidecar = Setup::new(&upstream)
        .tables(&format!(
            "[[certificate]]\nacme = [\"silent\"]\nnames = [\"{NAME}\"]\n[[acme]]\nname = \"silent\"\n\
             directory = \"https://127.0.0.1:{port}/dir\"\nterms_agreed = true\nretry = \"1h\"\n\
             ca = \"tls/ca.pem\""
        ))
        .start();
    asked.wait_for(|asked| (*asked == 1).then_some(())).unwrap();
    for _ in 0..3 {
        sidecar.kill9();
        sidecar.restart();
        await_plan(&sidecar);
    }
    assert_eq!(*asked.lock(), 1);
}

#[test]
fn the_next_authority_is_asked_when_one_fails() {
    let Some(pebble) = PebbleSetup::default().start() else { return };
    let upstream = Upstream::ok();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let tables =
        pebble.tables(&[NAME], "http-01").replace("[\"pebble\"]", "[\"gone\", \"pebble\"]");
    let gone = format!(
        "[[acme]]\nname = \"gone\"\ndirectory = \"https://127.0.0.1:{nobody}/dir\"\n\
         terms_agreed = true\nca = \"tls/ca.pem\"\nretry = \"1h\""
    );
    let sidecar = Setup::new(&upstream).tables(&(tables + &gone)).start();
    let failed = sidecar.wait_for_log(0, "certificate not issued, and none holds");
    assert_eq!((&failed["authority"], &failed["reason"]), (&"gone".into(), &"unreachable".into()));
    let issued = sidecar.wait_for_log(0, "certificate issued");
    assert_eq!(issued["authority"], "pebble");
}

#[test]
fn a_name_that_is_not_proven_is_told_with_what_the_authority_says() {
    let Some(pebble) = PebbleSetup::default().start() else { return };
    let upstream = Upstream::ok();
    // It looks where nobody listens.
    let tables = pebble.tables(&[NAME], "http-01");
    let port = pebble.http;
    let tables = tables.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0");
    let sidecar = Setup::new(&upstream).tables(&tables.replace("\"1s\"", "\"1h\"")).start();
    let failed = sidecar.wait_for_log(0, "certificate not issued, and none holds");
    assert_eq!(failed["reason"], "challenge", "{failed}");
    assert!(failed["problem"].as_str().unwrap().contains(NAME), "{failed}");
    assert!(pebble.client(NAME).connect(pebble.tls_address()).is_err());
}

#[test]
fn a_certificate_that_a_reload_adds_is_asked_for() {
    let Some(pebble) = PebbleSetup::default().start() else { return };
    let upstream = Upstream::ok();
    let tables = pebble.tables(&[NAME], "http-01");
    let at = tables.find("[[certificate]]").unwrap();
    let (listens, asked) = tables.split_at(at);
    let setup = Setup::new(&upstream).tables(listens);
    let sidecar = setup.start();
    sidecar.write_config(&setup.tables(asked).text());
    await_certificate(&sidecar, 0);
    serves(&pebble, NAME);
}

#[test]
fn a_time_that_the_authority_names_is_kept_and_makes_no_loop() {
    let (Some(nginx), Some(pebble)) =
        (program("nginx"), PebbleSetup { valid_s: 60, ..PebbleSetup::default() }.start())
    else {
        return;
    };
    let upstream = Upstream::ok();
    // Pebble names no times: what stands before it always says "long ago" (RFC 9773 §4.2).
    let folder = tempfile::tempdir().unwrap();
    Identity::new(&["localhost"]).write(folder.path(), "front");
    let (place, behind) = (folder.path().display(), pebble.relay.port());
    let [port] = free_ports();
    let url = format!("https://localhost:{port}");
    let directory = serde_json::json!({
        "newNonce": format!("{url}/nonce-plz"), "newAccount": format!("{url}/sign-me-up"),
        "newOrder": format!("{url}/order-plz"), "renewalInfo": format!("{url}/ari"),
    });
    let window = serde_json::json!({ "suggestedWindow":
        { "start": "2020-01-01T00:00:00Z", "end": "2020-01-02T00:00:00Z" } });
    let config = format!(
        "daemon off; master_process off; pid {place}/pid; error_log stderr; events {{}}\nhttp {{ access_log off;\n\
         client_body_temp_path {place}/a; proxy_temp_path {place}/b; fastcgi_temp_path {place}/c;\n\
         uwsgi_temp_path {place}/d; scgi_temp_path {place}/e; default_type application/json;\n\
         server {{ listen 127.0.0.1:{port} ssl; ssl_certificate {place}/front.pem;\n\
         ssl_certificate_key {place}/front.key;\nlocation = /dir {{ return 200 '{directory}'; }}\n\
         location /ari/ {{ add_header Retry-After 1; return 200 '{window}'; }}\n\
         location / {{ proxy_pass https://127.0.0.1:{behind}; proxy_set_header Host $http_host; }} }} }}"
    );
    std::fs::write(folder.path().join("nginx.conf"), config).unwrap();
    let mut front = Command::new(nginx)
        .args(["-p".as_ref(), folder.path().as_os_str(), "-c".as_ref(), "nginx.conf".as_ref()])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    eventually("the front answers", || Client::try_plain(([127, 0, 0, 1], port).into()).ok());
    let tables = pebble
        .tables(&[NAME], "http-01")
        .replace(&format!("localhost:{behind}"), &format!("localhost:{port}"));
    let sidecar = Setup::new(&upstream).tables(&tables).start();
    let issued = sidecar.wait_for_logs(0, "certificate issued", 2, PATIENCE);
    sidecar.wait_for_log(0, "the authority names a time for renewal");
    let _ = front.kill();
    let _ = front.wait();
    // After a third of its life, which is the soonest, and long before two thirds.
    let at = |line: &serde_json::Value| {
        line["timestamp"].as_str().unwrap()[17..19].parse::<u32>().unwrap()
    };
    let between = (60 + at(&issued[1]) - at(&issued[0])) % 60;
    assert!((19..32).contains(&between), "{between} s: {issued:?}");
    assert_eq!(pebble.issued(), 2);
}
