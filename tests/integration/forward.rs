//! The proxy of shops whose gateway's address is fixed in code (issue 4, item 6).

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::thread;

use crate::harness::{
    Client, DEADLINE, Identity, Setup, Sidecar, Tls, Upstream, cards, certificates, eventually,
    program,
};

/// What the shop believes to call.
const PAY: &str = "api.pay.example";

/// A provider that answers with what it was sent, as real ones do in their receipts.
fn provider() -> Upstream {
    Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        let seen = exchange.request()?;
        let content_type = seen.field("content-type").unwrap_or("text/plain").to_owned();
        exchange.answer(200, &[("content-type", &content_type)], &seen.body)
    })
}

/// A forward proxy for this provider, with further keys of `[forward_proxy]`.
fn setup(shop: &Upstream, provider: &Upstream, keys: &str) -> Setup {
    Setup::new(shop).tables(&tables(provider, &[PAY], keys))
}

fn tables(provider: &Upstream, hosts: &[&str], keys: &str) -> String {
    let upstream = provider.url();
    format!(
        "[[gateway]]\nname = \"pay\"\nhosts = {hosts:?}\nupstream = \"{upstream}\"\n\
         ca = \"tls/ca.pem\"\n[forward_proxy]\nlisten = \"127.0.0.1:0\"\n{keys}"
    )
}

fn tillgate(sidecar: &Sidecar) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    command.args(["gateway", "ca", "--config"]).arg(sidecar.config()).output().unwrap()
}

/// What the shop is told to trust.
fn authority(sidecar: &Sidecar) -> String {
    let output = tillgate(sidecar);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn trusting(pem: &str, host: &str) -> Tls {
    Tls::trusting(pem, host, rustls::ALL_VERSIONS, &[b"http/1.1"])
}

/// A connection as the shop makes it to its gateway.
fn shop_calls(sidecar: &Sidecar) -> Client {
    let tls = trusting(&authority(sidecar), PAY);
    tls.connect_through(sidecar.address("forward"), &format!("{PAY}:443")).unwrap()
}

/// What a request for a connection is answered.
fn asked(sidecar: &Sidecar, target: &str) -> u16 {
    Client::through(sidecar.address("forward"), target).0.status
}

fn token_for(sidecar: &Sidecar, shop: &Upstream, card: &str) -> String {
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    shop.last().form("number")
}

fn connects(sidecar: &Sidecar, outcome: &str) -> f64 {
    sidecar.metric("tillgate_forward_connects_total", &[outcome])
}

#[test]
fn p1_a_token_that_is_charged_through_the_proxy_reaches_the_provider_as_the_card() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = setup(&shop, &provider, "").start();
    let card = cards::fresh("visa");
    let token = token_for(&sidecar, &shop, &card);
    let mut shop_side = shop_calls(&sidecar);
    let body = format!("{{\"card\":{{\"number\":\"{token}\"}},\"amount\":990}}");
    let answer = shop_side.json("/v1/charges", &body);
    assert_eq!((answer.status, answer.text()), (200, body), "the shop must see its own token");
    let received = provider.last();
    assert_eq!(received.json()["card"]["number"], card.as_str());
    assert_eq!(received.target(), "/v1/charges");
    let host = format!("localhost:{}", provider.address.port());
    assert_eq!(received.field("host"), Some(host.as_str()));
    // The same connection again.
    assert_eq!(shop_side.form("/v1/charges", &format!("n={token}")).status, 200);
    assert_eq!(provider.last().form("n"), card);
    let audit = fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
    assert!(audit.contains("\"card_revealed\"") && audit.contains("\"gateway\":\"pay\""));
    assert_eq!(sidecar.metric("tillgate_gateway_cards_revealed_total", &["pay"]), 2.0);
    assert_eq!(sidecar.metric("tillgate_requests_total", &["\"pay\"", "2xx"]), 2.0);
    assert_eq!(connects(&sidecar, "intercepted"), 1.0);
    assert_eq!(sidecar.metric("tillgate_connections_open", &["forward"]), 1.0);
}

#[test]
fn p1_the_rules_of_a_gateway_hold_for_what_comes_through_the_proxy() {
    let (shop, provider) = (Upstream::ok(), provider());
    let rules = "credentials = { header = \"Authorization\", value = { file = \"gateway.key\" }, \
                 prefix = \"Bearer \" }\nreveal = { fields = [\"card[number]\"] }\n\
                 reveal_limit = \"1/hour\"\n[forward_proxy]";
    let tables = tables(&provider, &[PAY], "").replace("[forward_proxy]", rules);
    let setup = Setup::new(&shop).tables(&tables).file("gateway.key", "key-of-the-provider\n");
    let sidecar = setup.start();
    let card = cards::fresh("visa");
    let token = token_for(&sidecar, &shop, &card);
    let form = format!("card[number]={token}&note={token}");
    let fields = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("authorization", "Bearer of-the-shop"),
        ("x-tillgate-key", "not-for-the-provider"),
    ];
    let mut shop_side = shop_calls(&sidecar);
    assert_eq!(shop_side.request("POST", "/charges", &fields, form.as_bytes()).status, 200);
    let received = provider.last();
    assert_eq!((received.form("card[number]"), received.form("note")), (card, token));
    assert_eq!(received.field("authorization"), Some("Bearer key-of-the-provider"));
    assert_eq!(received.field("x-tillgate-key"), None);
    shop_side.request("POST", "/charges", &fields, form.as_bytes()).assert_refused(429);
    assert_eq!(provider.count(), 1);
}

/// What curl printed of a request through the proxy.
fn curl(sidecar: &Sidecar, arguments: &[&str]) -> Option<Output> {
    let bundle = sidecar.folder().join("authority.pem");
    fs::write(&bundle, authority(sidecar)).unwrap();
    let mut command = Command::new(program("curl")?);
    command.args(["--silent", "--show-error", "--max-time", "20", "--cacert"]).arg(bundle);
    command.args(["--proxy", &format!("http://{}", sidecar.address("forward"))]);
    Some(command.args(arguments).output().unwrap())
}

#[test]
fn p1_curl_charges_a_token_over_both_versions_of_http() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = setup(&shop, &provider, "").start();
    let card = cards::fresh("mastercard");
    let data = format!("number={}", token_for(&sidecar, &shop, &card));
    for (flag, version) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let url = format!("https://{PAY}/charges");
        let arguments = [flag, "--data", &data, "--write-out", "\n%{http_version}", &url];
        let Some(output) = curl(&sidecar, &arguments) else { return };
        let cried = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said, format!("{data}\n{version}"), "{cried}");
        assert_eq!(provider.last().form("number"), card);
    }
}

/// Runs a script of a shop that knows the proxy and the authority by its environment.
fn script(sidecar: &Sidecar, interpreter: &str, text: &str, token: &str) -> Option<String> {
    let (path, bundle) = (sidecar.folder().join("shop"), sidecar.folder().join("authority.pem"));
    fs::write(&path, text).unwrap();
    fs::write(&bundle, authority(sidecar)).unwrap();
    let output = Command::new(program(interpreter)?)
        .arg(path)
        .env("HTTPS_PROXY", format!("http://{}", sidecar.address("forward")))
        .env("SSL_CERT_FILE", bundle)
        .env_remove("NO_PROXY")
        .env("TOKEN", token)
        .output()
        .unwrap();
    let cried = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{interpreter}: {cried}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

const PHP: &str = r#"<?php
$context = stream_context_create([
    'http' => [
        'method' => 'POST',
        'header' => "Content-Type: application/x-www-form-urlencoded\r\n",
        'content' => http_build_query(['number' => getenv('TOKEN')]),
        'proxy' => str_replace('http://', 'tcp://', getenv('HTTPS_PROXY')),
    ],
    'ssl' => ['cafile' => getenv('SSL_CERT_FILE')],
]);
echo file_get_contents('https://api.pay.example/charges', false, $context);
"#;

const PYTHON: &str = r#"
import os, urllib.parse, urllib.request
data = urllib.parse.urlencode({"number": os.environ["TOKEN"]}).encode()
print(urllib.request.urlopen("https://api.pay.example/charges", data).read().decode(), end="")
"#;

#[test]
fn p1_a_php_and_a_python_shop_charge_tokens_without_being_changed() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = setup(&shop, &provider, "").start();
    for (interpreter, text) in [("php", PHP), ("python3", PYTHON)] {
        let card = cards::fresh("visa");
        let token = token_for(&sidecar, &shop, &card);
        let Some(said) = script(&sidecar, interpreter, text, &token) else { continue };
        assert_eq!(said, format!("number={token}"));
        assert_eq!(provider.last().form("number"), card, "{interpreter}");
    }
}

#[test]
fn p1_a_provider_with_a_strangers_certificate_receives_nothing() {
    let (shop, provider) = (Upstream::ok(), provider());
    let setup = setup(&shop, &provider, "");
    let sidecar = setup.file("tls/ca.pem", &certificates::stranger_pem()).start();
    let token = token_for(&sidecar, &shop, &cards::fresh("visa"));
    shop_calls(&sidecar).form("/charges", &format!("number={token}")).assert_refused(502);
    assert_eq!(provider.count(), 0);
    assert_eq!(sidecar.metric("tillgate_gateway_cards_revealed_total", &[]), 0.0);
}

#[test]
fn an_allowed_host_is_tunnelled_bit_for_bit_under_its_own_certificate() {
    let (shop, provider) = (Upstream::ok(), provider());
    let identity = Identity::new(&["localhost"]);
    let other = Upstream::start_tls(&identity, |exchange| {
        let body = exchange.request()?.body;
        exchange.answer(200, &[], &body)
    });
    let port = other.address.port();
    let keys = format!("allow = [\"localhost:{port}\", \"127.0.0.1:{port}\"]");
    let sidecar = setup(&shop, &provider, &keys).start();
    let target = format!("localhost:{port}");
    let tls = Tls::new("localhost");
    let mut client = tls.connect_through(sidecar.address("forward"), &target).unwrap();
    assert_eq!(client.handshake().leaf, identity.leaf(), "somebody else answered");
    let body: Vec<u8> =
        (0..3_000_000_u32).map(|n| n.wrapping_mul(40_503).to_be_bytes()[1]).collect();
    let answer = client.post("/upload", "application/octet-stream", &body);
    assert!(answer.body == body && other.last().body == body, "bytes changed");
    assert_eq!(connects(&sidecar, "tunnelled"), 1.0);
    assert_eq!(sidecar.metric("tillgate_forward_tunnels_open", &[]), 1.0);
    for direction in ["to_client", "to_server"] {
        let count = sidecar.metric("tillgate_forward_tunnel_bytes_total", &[direction]);
        assert!((3e6..4e6).contains(&count), "{direction} {count}");
    }
    drop(client);
    eventually("the tunnel is closed", || {
        (sidecar.metric("tillgate_forward_tunnels_open", &[]) == 0.0).then_some(())
    });
    let line = sidecar.wait_for_access(|line| line.contains("CONNECT"));
    assert_eq!((&line["target"], &line["status"]), (&target.as_str().into(), &200.into()));
}

#[test]
fn a_shop_that_does_not_trust_the_authority_is_told_of_in_the_log() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = setup(&shop, &provider, "").start();
    let untold = Tls::new(PAY);
    let mark = sidecar.mark();
    assert!(untold.connect_through(sidecar.address("forward"), &format!("{PAY}:443")).is_err());
    let line = sidecar.wait_for_log(mark, "the shop did not accept our certificate");
    assert_eq!((&line["host"], &line["reason"]), (&PAY.into(), &"client_alert".into()));
    assert!(line["remedy"].as_str().unwrap().contains("tillgate gateway ca"));
    assert_eq!(sidecar.metric("tillgate_tls_handshake_failures_total", &["client_alert"]), 1.0);
}

#[test]
fn other_hosts_are_refused_and_nobody_is_called() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = setup(&shop, &provider, "allow = [\"api.other.example:8443\"]").start();
    let port = provider.address.port();
    for target in [
        &*format!("localhost:{port}"),
        "api.other.example:443",
        "api.pay.example:444",
        "1.1.1.1:443",
    ] {
        let (answer, _) = Client::through(sidecar.address("forward"), target);
        answer.assert_refused(403);
    }
    assert_eq!(connects(&sidecar, "refused"), 4.0);
    assert_eq!(sidecar.metric("tillgate_requests_rejected_total", &["destination_refused"]), 4.0);
    assert_eq!(provider.connections(), 0);
}

#[test]
fn a_tunnel_never_leads_inside_unless_the_address_itself_is_allowed() {
    let (shop, provider) = (Upstream::ok(), provider());
    let port = provider.address.port();
    let keys = format!("others = \"tunnel\"\nallow = [\"localhost:{port}\", \"127.0.0.2:{port}\"]");
    let sidecar = setup(&shop, &provider, &keys).start();
    // By name, by every spelling of an address, and where clouds tell their machines secrets.
    let targets = [
        &*format!("localhost:{port}"),
        "localhost:443",
        "127.0.0.1:443",
        "127.1:443",
        "2130706433:443",
        "0x7f000001:443",
        "[::1]:443",
        "[::ffff:127.0.0.1]:443",
        "[::ffff:a9fe:a9fe]:443",
        "0.0.0.0:443",
        "10.0.0.1:443",
        "169.254.169.254:443",
        "[fd00:ec2::254]:443",
    ];
    for target in targets {
        assert_eq!(asked(&sidecar, target), 403, "{target}");
    }
    assert_eq!(asked(&sidecar, "169.254.169.254:80"), 403);
    assert_eq!(provider.connections(), 0);
    let inside = ["destination_inside"];
    assert_eq!(sidecar.metric("tillgate_requests_rejected_total", &inside), 13.0);
}

#[test]
fn what_is_inside_must_be_for_whom_the_connection_was_opened() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = setup(&shop, &provider, "").start();
    let mut client = shop_calls(&sidecar);
    for host in ["api.other.example", "api.pay.example:444", "pay.example"] {
        client.host = host.to_owned();
        client.form("/charges", "a=1").assert_refused(421);
    }
    client.host = format!("{}:443", PAY.to_uppercase());
    assert_eq!(client.form("/charges", "a=1").status, 200);
    assert_eq!(provider.count(), 1);

    // The name of the handshake is another one than that of CONNECT.
    let elsewhere = format!("api.other.example:443:{PAY}:443");
    let own = format!("Host: {PAY}");
    for host in ["Host: api.other.example", &own] {
        let arguments = ["--insecure", "--connect-to", &elsewhere, "--header", host];
        let rest = ["--write-out", "%{http_code}", "https://api.other.example/"];
        let Some(output) = curl(&sidecar, &[&arguments[..], &rest].concat()) else { return };
        assert!(String::from_utf8_lossy(&output.stdout).ends_with("421"), "{host}");
    }
    assert_eq!(provider.count(), 1);
}

#[test]
fn anything_but_connect_is_refused_with_a_word() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = setup(&shop, &provider, "others = \"tunnel\"").start();
    let mut client = Client::plain(sidecar.address("forward"));
    for target in ["http://api.pay.example/", "/"] {
        client.host = PAY.to_owned();
        let answer = client.get(target);
        answer.assert_refused(405);
        assert_eq!(answer.field("allow"), Some("CONNECT"));
        assert!(answer.text().contains("HTTPS_PROXY"), "{}", answer.text());
    }
    for target in ["api.pay.example", "api.pay.example:0", "user@api.pay.example:443", "/"] {
        assert_eq!(asked(&sidecar, target), 400, "{target}");
    }
    let mut client = Client::plain(sidecar.address("forward"));
    client.send(format!("CONNECT {PAY}:443 HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello"));
    assert_eq!(client.answer().status, 400);
}

#[test]
fn p1_a_card_number_in_place_of_a_host_is_not_looked_up() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = setup(&shop, &provider, "others = \"tunnel\"").start();
    let card = cards::fresh("visa");
    assert_eq!(asked(&sidecar, &format!("{card}.example:443")), 400);
    assert_eq!(asked(&sidecar, &format!("{card}:443")), 400);
}

#[test]
fn the_authority_survives_a_restart_and_its_key_stays_where_it_is() {
    let (shop, provider) = (Upstream::ok(), provider());
    let mut sidecar = setup(&shop, &provider, "").start();
    let key = sidecar.data().join("forward-ca.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let first = authority(&sidecar);
    assert!(!first.contains("PRIVATE"));
    let leaf = shop_calls(&sidecar).handshake().leaf.clone();
    assert_eq!(shop_calls(&sidecar).handshake().leaf, leaf, "one leaf is kept for all");
    let secret = fs::read_to_string(&key).unwrap().lines().nth(1).unwrap().to_owned();
    assert!(!sidecar.written().contains(&secret));
    sidecar.restart();
    assert_eq!(authority(&sidecar), first);
    assert_eq!(shop_calls(&sidecar).form("/charges", "a=1").status, 200);
    // In the log of what was done, once.
    let audit = fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
    assert_eq!(audit.matches("authority_issued").count(), 1);
    let end = sidecar.metric("tillgate_forward_authority_expiry_timestamp_seconds", &[]);
    assert!(end > 2e9);
}

#[test]
fn before_the_first_run_there_is_no_certificate_to_print() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let output = tillgate(&sidecar);
    assert_eq!(output.status.code(), Some(1));
    let cried = String::from_utf8_lossy(&output.stderr);
    assert!(cried.contains("made when tillgate first runs"), "{cried}");
}

#[test]
fn p4_a_host_that_is_added_by_a_reload_is_answered_for_and_the_old_trust_still_holds() {
    let (shop, provider) = (Upstream::ok(), provider());
    let setup = setup(&shop, &provider, "");
    let sidecar = setup.start();
    let (before, bank) = (authority(&sidecar), "api.bank.example");
    assert_eq!(asked(&sidecar, "api.bank.example:443"), 403);
    let mark = sidecar.mark();
    let hosts = format!("{:?}", [PAY]);
    sidecar.write_config(&setup.text().replace(&hosts, &format!("{:?}", [PAY, bank])));
    sidecar.wait_for_log(mark, "reloaded");
    let issued = sidecar.wait_for_log(mark, "forward proxy authority issued");
    assert!(issued["remedy"].as_str().unwrap().contains("tillgate gateway ca"));
    let after = authority(&sidecar);
    assert_ne!(before, after);
    let proxy = sidecar.address("forward");
    let call =
        |pem: &str, host: &str| trusting(pem, host).connect_through(proxy, &format!("{host}:443"));
    assert_eq!(call(&before, PAY).unwrap().form("/", "a=1").status, 200);
    assert_eq!(call(&after, PAY).unwrap().form("/", "a=1").status, 200);
    assert_eq!(call(&after, bank).unwrap().form("/", "a=1").status, 200);
    assert!(call(&before, bank).is_err(), "trust in one name must not become trust in another");

    // And taken away again: a connection that stands is not answered for it any more.
    let mut standing = call(&after, bank).unwrap();
    let mark = sidecar.mark();
    sidecar.write_config(&setup.text());
    sidecar.wait_for_log(mark, "reloaded");
    standing.form("/", "a=1").assert_refused(404);
    assert_eq!(asked(&sidecar, "api.bank.example:443"), 403);
}

/// A server that answers with what it was sent once the client has ended its half.
fn patient_server() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let accepting = listener.try_clone().unwrap();
    thread::spawn(move || {
        for tcp in accepting.incoming() {
            let mut tcp = tcp.unwrap();
            thread::spawn(move || {
                let mut said = Vec::new();
                tcp.read_to_end(&mut said).unwrap();
                tcp.write_all(&said).unwrap();
            });
        }
    });
    listener
}

#[test]
fn a_tunnel_ends_each_half_by_itself() {
    let (shop, provider, server) = (Upstream::ok(), provider(), patient_server());
    let target = server.local_addr().unwrap().to_string();
    let sidecar = setup(&shop, &provider, &format!("allow = [\"{target}\"]")).start();
    let (answer, mut client) = Client::through(sidecar.address("forward"), &target);
    assert_eq!(answer.status, 200);
    client.send("a last word");
    client.tcp().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"a last word");
    // What came right behind CONNECT belongs to the other side too.
    let mut client = Client::plain(sidecar.address("forward"));
    client.send(format!("CONNECT {target} HTTP/1.1\r\nhost: x\r\n\r\nat once"));
    assert_eq!(client.head().status, 200);
    client.tcp().shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.rest(), b"at once");
}

#[test]
fn a_silent_tunnel_is_ended_and_a_dead_end_is_told() {
    let (shop, provider, server) = (Upstream::ok(), provider(), patient_server());
    let (target, free) = (server.local_addr().unwrap().to_string(), dead_end());
    let keys = format!("allow = [{target:?}, {free:?}]\n[timeouts]\nupgrade_idle = \"300ms\"");
    let sidecar = setup(&shop, &provider, &keys).start();
    let (answer, mut client) = Client::through(sidecar.address("forward"), &target);
    assert_eq!(answer.status, 200);
    assert_eq!(client.rest(), b"");
    let (answer, _) = Client::through(sidecar.address("forward"), &free);
    answer.assert_refused(502);
    assert_eq!(connects(&sidecar, "failed"), 1.0);
}

#[test]
fn what_may_be_reached_changes_with_a_reload_and_open_tunnels_stay() {
    let (shop, provider, server) = (Upstream::ok(), provider(), patient_server());
    let target = server.local_addr().unwrap().to_string();
    let setup = setup(&shop, &provider, "allow = []");
    let sidecar = setup.start();
    assert_eq!(asked(&sidecar, &target), 403);
    let reload = |text: &str| {
        let mark = sidecar.mark();
        sidecar.write_config(text);
        sidecar.wait_for_log(mark, "reloaded");
    };
    reload(&setup.text().replace("allow = []", &format!("allow = [{target:?}]")));
    let (answer, mut tunnel) = Client::through(sidecar.address("forward"), &target);
    assert_eq!(answer.status, 200);
    reload(&setup.text());
    assert_eq!(asked(&sidecar, &target), 403);
    tunnel.send("still there");
    tunnel.tcp().shutdown(Shutdown::Write).unwrap();
    assert_eq!(tunnel.rest(), b"still there");
}

#[test]
fn there_are_no_more_tunnels_than_there_may_be() {
    let (shop, provider, server) = (Upstream::ok(), provider(), patient_server());
    let target = server.local_addr().unwrap().to_string();
    let sidecar = setup(&shop, &provider, &format!("allow = [{target:?}]\ntunnels = 2")).start();
    let proxy = sidecar.address("forward");
    let (first, second) = (Client::through(proxy, &target), Client::through(proxy, &target));
    assert_eq!((first.0.status, second.0.status), (200, 200));
    let (full, _) = Client::through(proxy, &target);
    full.assert_refused(503);
    assert!(full.field("retry-after").is_some());
    // The way to the gateway does not wait for them.
    assert_eq!(shop_calls(&sidecar).form("/charges", "a=1").status, 200);
    drop(first);
    eventually("a place is free again", || {
        (Client::through(proxy, &target).0.status == 200).then_some(())
    });
}

/// An address where nobody listens.
fn dead_end() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn p5_what_is_under_way_through_the_proxy_is_finished_by_a_shutdown() {
    let (shop, server) = (Upstream::ok(), patient_server());
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let provider = Upstream::start_tls(&Identity::new(&["localhost"]), move |exchange| {
        exchange.request()?;
        gate.lock().unwrap().recv_timeout(DEADLINE).map_err(std::io::Error::other)?;
        exchange.answer(200, &[], b"charged")
    });
    let target = server.local_addr().unwrap().to_string();
    let sidecar = setup(&shop, &provider, &format!("allow = [\"{target}\"]")).start();
    let (_, mut tunnel) = Client::through(sidecar.address("forward"), &target);
    tunnel.send("half");
    let mut charge = shop_calls(&sidecar);
    charge.send(format!("GET /charges HTTP/1.1\r\nhost: {PAY}\r\n\r\n"));
    provider.wait(1);
    sidecar.sigterm();
    let forward = sidecar.address("forward");
    eventually("new connections are refused", || std::net::TcpStream::connect(forward).err());
    go.send(()).unwrap();
    assert_eq!(charge.answer().text(), "charged");
    tunnel.send(" and half");
    tunnel.tcp().shutdown(Shutdown::Write).unwrap();
    assert_eq!(tunnel.rest(), b"half and half");
    assert_eq!(sidecar.exit_status().code(), Some(0));
}
