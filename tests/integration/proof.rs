//! The proof of work: a browser gets through by itself, once; nothing of the form is kept.

use std::process::{Child, Command, Stdio};

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use crate::harness::{Answer, Client, HOST, Setup, Sidecar, Upstream, program};

const ALWAYS: &str = "[proof_of_work]\nalways = true\nbits = 12\n";

fn shop() -> Upstream {
    Upstream::start(|exchange| exchange.answer(401, &[], b"wrong password"))
}

fn guess(client: &mut Client, fields: &[(&str, &str)]) -> Answer {
    let form = ("content-type", "application/x-www-form-urlencoded");
    let fields = [&[form], fields].concat();
    client.request("POST", "/login", &fields, b"email=ada&password=very-secret")
}

/// What a program is told to do.
pub(crate) fn terms(answer: &Answer) -> Value {
    answer.assert_refused(429);
    let value: Value = serde_json::from_slice(&answer.body).unwrap();
    value["proof_of_work"].clone()
}

/// Does the work as the terms say.
pub(crate) fn solve(terms: &Value) -> String {
    let (challenge, bits) = (terms["challenge"].as_str().unwrap(), terms["bits"].as_u64().unwrap());
    let shown = (0_u64..).map(|n| format!("{challenge}.{n}")).find(|shown| {
        let hash = digest(&SHA256, shown.as_bytes());
        let head = u64::from_be_bytes(hash.as_ref()[..8].try_into().unwrap());
        u64::from(head.leading_zeros()) >= bits
    });
    shown.unwrap()
}

#[test]
fn a_program_that_does_the_work_logs_in_once() {
    let shop = shop();
    let sidecar = Sidecar::start(&shop, ALWAYS);
    let mut client = sidecar.https();
    let json = ("accept", "application/json");
    let answer = guess(&mut client, &[json]);
    assert_eq!(answer.field("retry-after"), Some("300"));
    let terms = terms(&answer);
    assert_eq!((&terms["bits"], &terms["header"]), (&12.into(), &"x-tillgate-proof".into()));
    assert_eq!(shop.count(), 0, "the shop has not seen the attempt");

    let proof = solve(&terms);
    let cookie = format!("cart=1; __Host-tillgate-proof={proof}");
    assert_eq!(guess(&mut client, &[("cookie", &cookie)]).status, 401);
    assert_eq!(shop.last().field("cookie"), Some("cart=1"), "the proof is for us alone");
    assert_eq!(guess(&mut client, &[json, ("cookie", &cookie)]).status, 429, "used twice");
    assert_eq!(guess(&mut client, &[json, ("x-tillgate-proof", &proof)]).status, 429);
    assert_eq!(shop.count(), 1);
    for (outcome, count) in [("missing", 1.0), ("accepted", 1.0), ("spent", 2.0)] {
        assert_eq!(sidecar.metric("tillgate_login_proofs_total", &[outcome]), count, "{outcome}");
    }
}

#[test]
fn a_proof_of_another_network_admits_nobody() {
    let shop = shop();
    let setup = Setup::new(&shop).top("trusted_proxies = [\"127.0.0.1\"]");
    let lists = "[networks]\nallow = [\"203.0.113.0/24\"]";
    let sidecar = setup.tables(ALWAYS).tables(lists).start();
    let mut client = sidecar.http();
    let json = ("accept", "application/json");
    let from = |address| ("x-forwarded-for", address);
    let proof = solve(&terms(&guess(&mut client, &[json, from("192.0.2.1")])));
    let show = ("x-tillgate-proof", proof.as_str());
    assert_eq!(guess(&mut client, &[json, show, from("192.0.2.2")]).status, 429);
    assert_eq!(guess(&mut client, &[json, show, from("192.0.2.1")]).status, 401);
    assert_eq!(guess(&mut client, &[from("203.0.113.9")]).status, 401, "allowed without");
}

#[test]
fn only_attempts_are_asked_for_work_and_the_page_holds_nothing_of_them() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, ALWAYS);
    let mut client = sidecar.https();
    assert_eq!(client.get("/login").status, 200);
    assert_eq!(client.form("/search", "q=password").status, 200);
    let page = guess(&mut client, &[("accept", "text/html")]);
    page.assert_refused(429);
    let text = page.text();
    assert!(!text.contains("very-secret") && !text.contains("email=") && !text.contains("ada"));
    assert!(text.contains("<noscript>") && text.contains("in about 5 minutes"), "{text}");
    let policy = page.field("content-security-policy").unwrap();
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert!(text.contains(&format!("<script nonce=\"{nonce}\"")) && !text.contains("{{"));
    assert!(!text.contains("src=") && !text.contains("href="), "nothing is loaded");
}

/// A browser without a window; ended when dropped.
struct Browser(Child, #[expect(dead_code, reason = "holds its profile")] tempfile::TempDir);

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Browser {
    fn open(url: &str) -> Option<Self> {
        let (chromium, profile) = (program("chromium")?, tempfile::tempdir().unwrap());
        let child = Command::new(chromium)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
            .args(["--no-first-run", "--disable-extensions", "--ignore-certificate-errors"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(format!("--host-resolver-rules=MAP {HOST} 127.0.0.1"))
            // Without it there is a first load, and then the browser is done.
            .arg("--remote-debugging-port=0")
            .arg(url)
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Some(Self(child.unwrap(), profile))
    }
}

/// A shop whose login page sends its form by itself, as a customer would.
const FORM: &[u8] = b"<!doctype html><form method=post action=/login><input name=email value=ada>\
    <input name=password type=password value=very-secret></form>\
    <script>document.forms[0].submit()</script>";

#[test]
fn a_browser_does_the_work_and_sends_its_form_again() {
    for scheme in ["https", "http"] {
        let shop = Upstream::start(|exchange| match (exchange.method(), exchange.target()) {
            ("GET", "/login") => exchange.answer(200, &[("content-type", "text/html")], FORM),
            ("POST", _) => exchange.answer(302, &[("location", "/in"), ("set-cookie", "s=1")], b""),
            _ => exchange.answer(200, &[("content-type", "text/html")], b"welcome"),
        });
        // As many bits as by default: this is also a test of the script's speed.
        let tables = ALWAYS.replace("bits = 12", "bits = 18");
        let sidecar = Sidecar::start(&shop, &tables);
        let port = sidecar.address(scheme).port();
        let url = format!("{scheme}://{HOST}:{port}/login");
        let Some(_browser) = Browser::open(&url) else { return };
        let welcome = |exchanges: &[crate::harness::Seen]| {
            exchanges.iter().any(|seen| seen.target() == "/in")
        };
        let mut count = 1;
        while !welcome(&shop.wait(count)) {
            count = shop.count() + 1;
        }
        let posts: Vec<_> =
            shop.seen().into_iter().filter(|seen| seen.method() == "POST").collect();
        assert_eq!(posts.len(), 1, "{scheme}");
        assert_eq!(posts[0].text(), "email=ada&password=very-secret", "{scheme}");
        assert_eq!(posts[0].field("cookie"), None, "{scheme}");
        for (outcome, times) in [("missing", 1.0), ("accepted", 1.0)] {
            let seen = sidecar.metric("tillgate_login_proofs_total", &[outcome]);
            assert_eq!(seen, times, "{scheme}: {outcome}");
        }
    }
}
