//! Who may call a gateway.

use super::{buy, provider};
use crate::harness::{
    Answer, H2, HOST, Identity, Setup, Sidecar, Tls, Upstream, cards, certificates, eventually,
};

const WORD: &str = "correct-horse-battery-staple";

fn guarded(lines: &str) -> (Upstream, Upstream, Sidecar) {
    let (shop, provider) = (Upstream::ok(), provider());
    let setup = Setup::new(&shop).gateway_with("pay", &provider, lines);
    let sidecar = setup.file("gateway.key", &format!("{WORD}\n"));
    let sidecar = sidecar.file("tls/callers.pem", certificates::authority_pem()).start();
    (shop, provider, sidecar)
}

fn call(sidecar: &Sidecar, name: &str, value: &str, body: &str) -> Answer {
    let fields = [("content-type", "application/json"), (name, value)];
    sidecar.gateway("pay").request("POST", "/charges", &fields, body.as_bytes())
}

#[test]
fn a_gateway_with_a_secret_serves_only_who_shows_it() {
    let (shop, provider, sidecar) = guarded("access = { bearer = { file = \"gateway.key\" } }");
    let card = cards::fresh("visa");
    let (token, _) = buy(&sidecar, &shop, &card);
    let body = format!("{{\"pan\":\"{token}\"}}");
    let missing = sidecar.gateway("pay").json("/charges", &body);
    missing.assert_refused(401);
    assert!(missing.field("www-authenticate").unwrap().starts_with("Bearer"));
    call(&sidecar, "x-tillgate-key", "correct-horse-battery-stapler", &body).assert_refused(403);
    call(&sidecar, "authorization", &format!("Bearer {WORD}"), &body).assert_refused(401);
    assert_eq!(provider.count(), 0);
    for (name, value) in
        [("x-tillgate-key", WORD.to_owned()), ("proxy-authorization", format!("Bearer {WORD}"))]
    {
        assert_eq!(call(&sidecar, name, &value, &body).status, 200);
        let received = provider.last();
        assert_eq!(received.json()["pan"], card.as_str());
        let told = received.head.fields.iter().any(|(_, value)| value.contains(WORD));
        assert!(!told, "the provider was told the secret");
    }
    assert_eq!(sidecar.metric("tillgate_gateway_refusals_total", &["caller_refused"]), 1.0);
    assert_eq!(sidecar.metric("tillgate_gateway_refusals_total", &["caller_unknown"]), 2.0);
    assert!(!sidecar.written().contains(WORD));
    for reason in ["caller_refused", "caller_unknown"] {
        eventually(reason, || {
            let text = std::fs::read_to_string(sidecar.data().join("audit.log")).ok()?;
            assert!(!text.contains(WORD));
            text.contains(reason).then_some(())
        });
    }
}

#[test]
fn guessing_a_secret_is_slowed_and_the_right_one_waits_too() {
    let (_shop, provider, sidecar) = guarded("access = { bearer = { file = \"gateway.key\" } }");
    let refused = (0..30).map(|n| call(&sidecar, "x-tillgate-key", &format!("guess {n}"), "{}"));
    let slowed = refused.filter(|answer| answer.status == 429).count();
    assert!(slowed >= 19, "only {slowed} of 30 guesses were slowed");
    let right = call(&sidecar, "x-tillgate-key", WORD, "{}");
    right.assert_refused(429);
    assert!(right.field("retry-after").is_some());
    assert_eq!(provider.count(), 0);
}

#[test]
fn a_caller_cannot_guess_faster_by_naming_others() {
    let (shop, provider) = (Upstream::ok(), provider());
    let lines = "access = { bearer = { file = \"gateway.key\" } }";
    let setup = Setup::new(&shop).top("trusted_proxies = [\"127.0.0.0/8\"]");
    let setup = setup.gateway_with("pay", &provider, lines).file("gateway.key", WORD);
    let sidecar = setup.start();
    let guess = |n: u8| {
        let (word, other) = (format!("guess {n}"), format!("192.0.2.{n}"));
        let fields = [("x-tillgate-key", &*word), ("x-forwarded-for", &*other)];
        sidecar.gateway("pay").request("POST", "/charges", &fields, b"{}").status
    };
    let slowed = (0..30).map(guess).filter(|status| *status == 429).count();
    assert!(slowed >= 19, "only {slowed} of 30 guesses were slowed");
    assert_eq!(provider.count(), 0);
}

#[test]
fn a_changed_secret_is_read_again() {
    let (_shop, _provider, sidecar) = guarded("access = { bearer = { file = \"gateway.key\" } }");
    assert_eq!(call(&sidecar, "x-tillgate-key", WORD, "{}").status, 200);
    let mark = sidecar.mark();
    let changed = "another-word-for-the-gateway";
    std::fs::write(sidecar.folder().join("gateway.key"), changed).unwrap();
    sidecar.sighup();
    sidecar.wait_for_log(mark, "reloaded");
    assert_eq!(call(&sidecar, "x-tillgate-key", changed, "{}").status, 200);
    call(&sidecar, "x-tillgate-key", WORD, "{}").assert_refused(403);
}

#[test]
fn a_gateway_with_authorities_serves_only_who_shows_a_certificate() {
    let (shop, provider, sidecar) = guarded("tls = true\naccess = { client_ca = \"tls/ca.pem\" }");
    let (token, _) = buy(&sidecar, &shop, &cards::fresh("visa"));
    let body = format!("{{\"pan\":\"{token}\"}}");
    let address = sidecar.address("gateway pay");
    let shop_identity = Identity::new(&["shop.internal"]);
    let mut client = Tls::new(HOST).showing(&shop_identity).connect(address).unwrap();
    assert_eq!(client.json("/charges", &body).status, 200);
    assert_eq!(provider.count(), 1);
    // TLS 1.3 tells a client of its refusal only when it reads.
    let stranger = Tls::new(HOST).connect(address);
    let fields = [("content-type", "application/json")];
    let refused = stranger
        .and_then(|mut client| client.try_request("POST", "/charges", &fields, body.as_bytes()));
    assert!(refused.is_err());
    assert_eq!(provider.count(), 1);
    // The client is told before it is counted.
    eventually("the failed handshake", || {
        let labels = ["client_certificate"];
        let failed = sidecar.metric("tillgate_tls_handshake_failures_total", &labels);
        (failed == 1.0).then_some(())
    });
}

#[test]
fn new_authorities_are_demanded_after_a_reload() {
    let (_shop, provider, sidecar) =
        guarded("tls = true\naccess = { client_ca = \"tls/callers.pem\" }");
    let address = sidecar.address("gateway pay");
    let identity = Identity::new(&["shop.internal"]);
    let ask = || {
        let client = Tls::new(HOST).showing(&identity).connect(address);
        client.and_then(|mut client| client.try_request("GET", "/", &[], b"")).map(|it| it.status)
    };
    assert_eq!(ask().unwrap(), 200);
    let mark = sidecar.mark();
    let other = certificates::stranger_pem();
    std::fs::write(sidecar.folder().join("tls/callers.pem"), other).unwrap();
    sidecar.sighup();
    sidecar.wait_for_log(mark, "reloaded");
    assert!(ask().is_err());
    assert_eq!(provider.count(), 1);
}

#[test]
fn a_gateway_speaks_tls_and_http_2() {
    let (_shop, provider, sidecar) =
        guarded("tls = true\naccess = { bearer = { file = \"gateway.key\" } }");
    let mut client = H2::connect(sidecar.address("gateway pay"), HOST);
    let fields = [("x-tillgate-key", WORD)];
    assert_eq!(client.request("POST", "/charges", &fields, b"{}").status, 200);
    assert_eq!(client.get("/charges").status, 401);
    assert_eq!(provider.count(), 1);
}

#[test]
fn a_secret_that_is_gone_leaves_the_last_one_in_force() {
    let (_shop, _provider, sidecar) = guarded("access = { bearer = { file = \"gateway.key\" } }");
    let mark = sidecar.mark();
    std::fs::remove_file(sidecar.folder().join("gateway.key")).unwrap();
    sidecar.sighup();
    let problem = sidecar.wait_for_log(mark, "reload refused")["problem"].to_string();
    assert!(problem.contains("gateway.access.bearer.file"), "{problem}");
    assert_eq!(call(&sidecar, "x-tillgate-key", WORD, "{}").status, 200);
    sidecar.gateway("pay").get("/").assert_refused(401);
}

#[test]
fn a_gateway_that_others_reach_stays_closed_until_its_address_is_given_up() {
    let (shop, provider) = (Upstream::ok(), provider());
    let table = |listen: &str, access: &str| {
        let upstream = provider.url();
        let lines = format!("listen = \"{listen}:0\"\nupstream = \"{upstream}\"\n{access}");
        Setup::new(&shop)
            .tables(&format!("[[gateway]]\nname = \"pay\"\nca = \"tls/ca.pem\"\n{lines}"))
    };
    let guarded = table("0.0.0.0", "access = { bearer = { file = \"gateway.key\" } }");
    let sidecar = guarded.file("gateway.key", WORD).start();
    let open = table("127.0.0.1", "").text();
    let mark = sidecar.mark();
    // What it says is right for the new address; connections to the old one are still there.
    sidecar.write_config(&open);
    let problem = sidecar.wait_for_log(mark, "reload refused")["problem"].to_string();
    assert!(problem.contains("pay") && problem.contains("`listen` first"), "{problem}");
    sidecar.gateway("pay").get("/").assert_refused(401);
    assert_eq!(provider.count(), 0);
    let mark = sidecar.mark();
    sidecar.write_config(
        &table("127.0.0.1", "access = { bearer = { file = \"gateway.key\" } }").text(),
    );
    sidecar.wait_for_log(mark, "reloaded");
    let mark = sidecar.mark();
    sidecar.write_config(&open);
    sidecar.wait_for_log(mark, "reloaded");
}
