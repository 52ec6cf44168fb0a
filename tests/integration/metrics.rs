//! What the operator sees (issue item 10, promise P1).

use std::io::Write;
use std::process::{Command, Stdio};

use crate::harness::{Identity, Setup, Sidecar, Upstream, cards, program};

#[test]
fn the_metrics_page_is_clean_and_counts_the_work() {
    let shop = Upstream::start(|exchange| match exchange.target() {
        "/login" => exchange.answer(401, &[], b"wrong"),
        _ => exchange.answer(200, &[("content-type", "text/plain")], b"ok"),
    });
    let provider = Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(200, &[], b"")
    });
    let sidecar = Setup::new(&shop)
        .site("[[site.login]]\npath = \"/login\"")
        .gateway("pay", &provider)
        .start();
    let card = cards::fresh("visa");
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}&cvv=123")).status, 200);
    let token = shop.last().form("number");
    sidecar.gateway("pay").form("/charge", &format!("number={token}"));
    for _ in 0..8 {
        sidecar.h2().request("POST", "/login", &[], b"email=a&password=b");
    }
    let page = sidecar.admin("/metrics");
    assert!(page.field("content-type").unwrap().starts_with("text/plain"));
    assert!(sidecar.metric("tillgate_requests_total", &["2xx"]) >= 1.0);
    assert!(sidecar.metric("tillgate_requests_total", &["4xx"]) >= 8.0);
    assert!(sidecar.metric("tillgate_cards_found_total", &["request", "tokenized"]) >= 1.0);
    assert_eq!(sidecar.metric("tillgate_build_info", &[]), 1.0);
    assert!(sidecar.metric("tillgate_tls_handshakes_total", &[]) >= 9.0);
    assert!(sidecar.metric("process_cpu_seconds_total", &[]) >= 0.0);
    assert!(sidecar.metrics().contains("tillgate_certificate_expiry_timestamp_seconds"));
    assert_eq!(sidecar.metric("tillgate_gateway_cards_revealed_total", &["pay"]), 1.0);
    let shop_label = shop.url();
    assert!(sidecar.metric("tillgate_upstream_connections_total", &[&shop_label]) >= 1.0);
    let Some(promtool) = program("promtool") else { return };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    check.stdin.take().unwrap().write_all(&page.body).unwrap();
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "promtool: {said}");
}

#[test]
fn no_label_is_made_of_what_a_client_sends() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    for n in 0..50 {
        let mut client = sidecar.http();
        client.host = format!("host{n}.attacker.example");
        client.request(
            &format!("METHOD{n}"),
            &format!("/path{n}"),
            &[("user-agent", "agentx")],
            b"",
        );
    }
    let page = sidecar.metrics();
    for word in ["attacker", "METHOD", "path4", "agentx"] {
        assert!(!page.contains(word), "{word} became a label");
    }
}

#[test]
fn health_and_readiness_are_told() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    assert_eq!(sidecar.admin("/healthz").status, 200);
    assert_eq!(sidecar.admin("/readyz").status, 200);
    assert_eq!(sidecar.admin("/etc/passwd").status, 404);
    // The admin pages are not for clients.
    assert_eq!(sidecar.https().get("/metrics").text(), "ok");
}

#[test]
fn every_request_has_one_access_line() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let fields =
        [("x-request-id", "line-me-1"), ("referer", "https://x.example/"), ("user-agent", "ua/1")];
    sidecar.https().request("GET", "/page?x=1", &fields, b"");
    let line = sidecar.wait_for_access(|line| line.contains("line-me-1"));
    assert_eq!(line["request_id"], "line-me-1");
    assert_eq!(line["method"], "GET");
    assert_eq!(line["status"], 200);
    assert_eq!(line["target"], "/page?x=1");
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["response_bytes"], 2);
    assert_eq!(line["user_agent"], "ua/1");
    // Also for what never reached the shop.
    let mut client = sidecar.http();
    client.send("GET /bad HTTP/1.1\r\nhost: a\r\nhost: b\r\nx-request-id: line-me-2\r\n\r\n");
    assert_eq!(client.head().status, 400);
    assert_eq!(sidecar.wait_for_access(|line| line.contains("line-me-2"))["status"], 400);
}

#[test]
fn p1_a_card_in_path_query_referrer_or_agent_is_masked_in_the_access_line() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let [path, query, referrer, agent] = [(); 4].map(|()| cards::fresh("visa"));
    let fields = [
        ("x-request-id", "mask-me"),
        ("referer", &*format!("https://shop.example/pay?n={}", cards::grouped(&referrer, "-"))),
        ("user-agent", &*format!("agent {}", cards::grouped(&agent, " "))),
    ];
    let target = format!("/receipt/{path}?card={}", cards::grouped(&query, "%20"));
    sidecar.https().request("GET", &target, &fields, b"");
    let line = sidecar.wait_for_access(|line| line.contains("mask-me"));
    for (key, number) in
        [("target", &path), ("target", &query), ("referrer", &referrer), ("user_agent", &agent)]
    {
        let shown = line[key].as_str().unwrap();
        assert!(shown.contains(&number[12..]), "{key} is of no use: {shown}");
        assert!(shown.contains('*'), "{key} is not masked: {shown}");
    }
}

#[test]
fn p1_a_card_in_an_error_page_or_a_failed_request_is_nowhere() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sidecar = Setup::to(&format!("http://{free}")).tables("[log]\nlevel = \"trace\"").start();
    let card = cards::fresh("visa");
    sidecar
        .https()
        .form(&format!("/pay/{card}?x={card}"), &format!("number={card}"))
        .assert_refused(502);
    sidecar.https().json("/pay", &format!("{{\"number\":\"{card}\",\"broken")).assert_refused(502);
    sidecar.h2().get(&format!("/{card}")).assert_refused(502);
}

#[test]
fn a_combined_access_log_can_go_to_a_file() {
    let tables = "[log]\naccess = \"access.log\"\naccess_format = \"combined\"";
    let sidecar = Sidecar::start(&Upstream::ok(), tables);
    sidecar.https().get("/combined-page");
    let line = crate::harness::eventually("a line in the file", || {
        let text = std::fs::read_to_string(sidecar.folder().join("access.log")).ok()?;
        text.lines().find(|line| line.contains("/combined-page")).map(str::to_owned)
    });
    assert!(line.contains("\"GET /combined-page HTTP/1.1\" 200 2"), "{line}");
}

#[test]
fn the_audit_file_only_grows() {
    let mut sidecar = Sidecar::start(&Upstream::ok(), "");
    let audit = sidecar.data().join("audit.log");
    let first = std::fs::read(&audit).unwrap();
    sidecar.restart();
    let second = std::fs::read(&audit).unwrap();
    assert!(second.starts_with(&first) && second.len() > first.len());
    for line in String::from_utf8(second).unwrap().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
}
