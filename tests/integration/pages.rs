//! What people and programs are told when a request is refused, by us and by the operator's pages.

use crate::harness::{Answer, Setup, Sidecar, Upstream, eventually};

const ONCE: &str = "[login]\nper_network = \"100/min\"\nper_account = \"1/min\"\n";

fn shop() -> Upstream {
    Upstream::start(|exchange| exchange.answer(401, &[], b"wrong password"))
}

fn guess(sidecar: &Sidecar, account: &str, accept: &str) -> Answer {
    let fields = [
        ("accept", accept),
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-request-id", "same"),
    ];
    let body = format!("email={account}&password=w");
    sidecar.http().request("POST", "/login", &fields, body.as_bytes())
}

/// The answer to an attempt over the limit.
fn refused(sidecar: &Sidecar, account: &str, accept: &str) -> Answer {
    guess(sidecar, account, accept);
    let answer = guess(sidecar, account, accept);
    answer.assert_refused(429);
    answer
}

#[test]
fn a_customer_is_told_when_to_try_again_in_words() {
    let shop = shop();
    let sidecar = Sidecar::start(&shop, ONCE);
    let page = refused(&sidecar, "ada", "text/html");
    let text = page.text();
    assert!(text.contains("<h1>Too many attempts</h1>") && text.contains("lang=\"en\""), "{text}");
    assert!(text.contains("try again <strong>in about a minute</strong>"), "{text}");
    let policy = page.field("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    assert!(!text.contains("<script") && !text.contains("http"), "nothing is loaded: {text}");
}

#[test]
fn a_program_is_told_in_json() {
    let shop = shop();
    let sidecar = Sidecar::start(&shop, ONCE);
    let answer = refused(&sidecar, "ada", "application/json");
    let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let wait: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    assert_eq!(value["retry_after"], wait);
    assert!((50..=60).contains(&wait), "{wait}");
    assert_eq!((&value["request_id"], &value["error"]["status"]), (&"same".into(), &429.into()));
    // A script of the shop's own takes anything, and speaks JSON.
    let mut client = sidecar.http();
    let fields = [("accept", "*/*"), ("content-type", "application/json")];
    let body = br#"{"email":"ada","password":"w"}"#;
    let answer = client.request("POST", "/login", &fields, body);
    answer.assert_refused(429);
    assert_eq!(answer.field("content-type"), Some("application/json"));
}

#[test]
fn nobody_learns_from_a_refusal_whether_an_account_exists() {
    let shop = Upstream::start(|exchange| {
        let known = exchange.request()?.text().contains("ada");
        let words: &[u8] = if known { b"wrong password" } else { b"no such account" };
        exchange.answer(401, &[], words)
    });
    let sidecar = Sidecar::start(&shop, ONCE);
    let bare = |account| {
        let answer = refused(&sidecar, account, "text/html");
        let mut fields = answer.head.fields.clone();
        fields.retain(|(name, _)| name != "date" && name != "retry-after");
        (fields, answer.text())
    };
    assert_eq!(bare("ada"), bare("mallory"));
}

#[test]
fn the_operators_pages_take_the_place_of_ours_and_a_broken_one_changes_nothing() {
    let shop = shop();
    let setup = Setup::new(&shop).tables(ONCE).tables("[pages]\nfolder = \"pages\"");
    let page = "{% extends '_shop.html' %}{% block body %}{{ message }} Wieder {{ wait }}, {{ status }}\
                {% endblock %}";
    let setup = setup
        .file("pages/_shop.html", "<h1>Unser Laden</h1>{% block body %}{% endblock %}")
        .file("pages/429.html", page);
    let sidecar = setup.start();
    let answer = refused(&sidecar, "ada", "text/html");
    assert!(answer.text().starts_with("<h1>Unser Laden</h1>There have been too many"));
    assert!(answer.text().contains("Wieder in about a minute, 429"), "{}", answer.text());
    assert_eq!(answer.field("content-security-policy"), None, "the page may load its pictures");
    let answer = refused(&sidecar, "eve", "application/json");
    assert_eq!(answer.field("content-type"), Some("application/json"), "programs get no page");

    let pages = sidecar.folder().join("pages");
    let mark = sidecar.mark();
    std::fs::write(pages.join("429.html"), "<p>\n{{ oops }}").unwrap();
    let problem = sidecar.wait_for_log(mark, "reload refused").to_string();
    assert!(problem.contains("429.html:2: pages.folder: undefined value"), "{problem}");
    assert!(refused(&sidecar, "bob", "text/html").text().contains("Unser Laden"));

    std::fs::write(pages.join("429.html"), "<p>neu").unwrap();
    eventually("the page is in force", || {
        (refused(&sidecar, "kim", "text/html").text() == "<p>neu").then_some(())
    });
    // A page that was not there before is found too.
    std::fs::write(pages.join("error.html"), "<p>{{ title }}").unwrap();
    eventually("the other page is in force", || {
        let fields = [("accept", "text/html")];
        let answer = sidecar.http().request("TRACE", "/", &fields, b"");
        (answer.text() == "<p>Method Not Allowed").then_some(())
    });
}
