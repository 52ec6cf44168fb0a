//! The listener that the shop calls instead of its payment provider (issue item 8).

mod access;
mod answers;
mod credentials;
mod reveal;

use crate::harness::{Identity, Setup, Sidecar, Upstream, cards, certificates, eventually};

/// A provider that answers with what it was sent, as real ones do in their receipts.
fn provider() -> Upstream {
    Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        let seen = exchange.request()?;
        let content_type = seen.field("content-type").unwrap_or("text/plain").to_owned();
        exchange.answer(200, &[("content-type", &content_type)], &seen.body)
    })
}

fn buy(sidecar: &Sidecar, shop: &Upstream, card: &str) -> (String, String) {
    let answer = sidecar.https().form("/pay", &format!("number={card}&cvv=904"));
    assert_eq!(answer.status, 200);
    let seen = shop.last();
    (seen.form("number"), seen.form("cvv"))
}

#[test]
fn p1_the_provider_alone_receives_the_card_from_a_form() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let card = cards::fresh("visa");
    let (token, stand) = buy(&sidecar, &shop, &card);
    let body = format!("amount=990&source%5Bnumber%5D={token}&cvc={stand}&x=%C3%A9");
    let answer = sidecar.gateway("pay").form("/v1/charges?expand=1", &body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let received = provider.last();
    assert_eq!(received.text(), format!("amount=990&source%5Bnumber%5D={card}&cvc=904&x=%C3%A9"));
    assert_eq!(received.target(), "/v1/charges?expand=1");
    let host = format!("localhost:{}", provider.address.port());
    assert_eq!(received.field("host"), Some(host.as_str()));
}

#[test]
fn p1_an_answer_of_the_provider_is_tokenized_again() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let card = cards::fresh("mastercard");
    let (token, _) = buy(&sidecar, &shop, &card);
    let body = format!("{{\"card\": {{\"number\":\"{token}\"}}, \"amount\": 990}}");
    let answer = sidecar.gateway("pay").json("/charges", &body);
    assert_eq!(provider.last().json()["card"]["number"], card.as_str());
    assert_eq!(answer.text(), body, "the shop must see its own token");
}

#[test]
fn a_json_number_is_restored_as_a_number() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let card = cards::fresh("visa");
    let (token, _) = buy(&sidecar, &shop, &card);
    let answer = sidecar.gateway("pay").json("/charges", &format!("{{\"pan\":{token},\"n\":1.0}}"));
    assert_eq!(answer.status, 200);
    assert_eq!(provider.last().text(), format!("{{\"pan\":{card},\"n\":1.0}}"));
}

#[test]
fn a_provider_that_changes_the_protocol_unasked_is_not_followed() {
    let shop = Upstream::ok();
    let provider = Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(101, &[("connection", "upgrade"), ("upgrade", "other")], b"")
    });
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let fields = [("connection", "upgrade"), ("upgrade", "other")];
    sidecar.gateway("pay").request("GET", "/", &fields, b"").assert_refused(502);
}

#[test]
fn an_unknown_token_is_refused_and_not_sent() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let answer = sidecar.gateway("pay").json("/charges", "{\"number\":\"4242424242424242\"}");
    answer.assert_refused(422);
    assert_eq!(provider.count(), 0);
}

#[test]
fn a_verification_code_is_revealed_once() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let card = cards::fresh("visa");
    // A stand-in may by chance be the code itself; such a one would prove nothing.
    let mut bought = std::iter::repeat_with(|| buy(&sidecar, &shop, &card));
    let (token, stand) = bought.find(|(_, stand)| stand != "904").unwrap();
    let body = format!("{{\"number\":\"{token}\",\"cvv\":\"{stand}\"}}");
    assert_eq!(sidecar.gateway("pay").json("/charges", &body).status, 200);
    assert_eq!(provider.last().json()["cvv"], "904");
    // PCI DSS 3.3.1: not kept after authorization. The second try has no code to give.
    sidecar.gateway("pay").json("/charges", &body);
    let codes = provider.seen().iter().filter(|seen| seen.json()["cvv"] == "904").count();
    assert_eq!(codes, 1, "the code was given twice");
}

#[test]
fn authorization_fields_pass_as_they_are() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let fields = [("authorization", "Bearer sk_test_4242"), ("content-type", "application/json")];
    let answer =
        sidecar.gateway("pay").request("POST", "/refunds", &fields, b"{\"charge\":\"ch_1\"}");
    assert_eq!(answer.status, 200);
    assert_eq!(provider.last().field("authorization"), Some("Bearer sk_test_4242"));
}

#[test]
fn a_provider_with_a_strangers_certificate_receives_nothing() {
    let (shop, provider) = (Upstream::ok(), provider());
    let setup = Setup::new(&shop).gateway("pay", &provider);
    let sidecar = setup.file("tls/ca.pem", &certificates::stranger_pem()).start();
    let card = cards::fresh("visa");
    let (token, _) = buy(&sidecar, &shop, &card);
    let answer = sidecar.gateway("pay").json("/charges", &format!("{{\"pan\":\"{token}\"}}"));
    answer.assert_refused(502);
    assert_eq!(provider.count(), 0);
}

#[test]
fn every_reveal_is_in_the_audit_file() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let card = cards::fresh("visa");
    let (token, _) = buy(&sidecar, &shop, &card);
    assert_eq!(sidecar.gateway("pay").json("/c", &format!("{{\"pan\":\"{token}\"}}")).status, 200);
    let line = eventually("a reveal in the audit file", || {
        let text = std::fs::read_to_string(sidecar.data().join("audit.log")).ok()?;
        text.lines().find(|line| line.contains("reveal")).map(str::to_owned)
    });
    let record: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(record.is_object());
    assert!(line.contains("pay"), "which gateway? {line}");
}

#[test]
fn p1_a_verification_code_that_the_provider_tells_again_is_masked() {
    let (shop, provider) = (Upstream::ok(), provider());
    let sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let (token, stand) = buy(&sidecar, &shop, &cards::fresh("visa"));
    let body = format!("{{\"number\":\"{token}\",\"cvc\":\"{stand}\"}}");
    let answer = sidecar.gateway("pay").json("/charges", &body);
    assert_eq!(provider.last().json()["cvc"], "904");
    assert_eq!(answer.text(), body.replace(&format!("\"{stand}\""), "\"***\""));
}
