//! What a provider knows the shop by, and how we know the provider.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

use super::{buy, provider};
use crate::harness::{Identity, Setup, Sidecar, Upstream, cards, certificates};

fn with(lines: &str) -> (Upstream, Upstream, Sidecar) {
    let (shop, provider) = (Upstream::ok(), provider());
    let setup = Setup::new(&shop).gateway_with("pay", &provider, lines);
    let sidecar = setup.file("provider.key", "sk_live_of_the_shop\n").start();
    (shop, provider, sidecar)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_providers_key_takes_the_place_of_the_shops() {
    let (_shop, provider, sidecar) = with(
        "credentials = { header = \"Authorization\", value = { file = \"provider.key\" }, \
         prefix = \"Bearer \" }",
    );
    let own = [("authorization", "Bearer worthless"), ("authorization", "Basic worthless")];
    assert_eq!(sidecar.gateway("pay").request("GET", "/balance", &own, b"").status, 200);
    assert_eq!(provider.last().head.all("authorization"), ["Bearer sk_live_of_the_shop"]);
    let said = sidecar.written();
    assert!(!said.contains("sk_live"), "{said}");
    assert!(said.contains("can be read by others"), "no word about the file's mode: {said}");
}

#[test]
fn a_name_and_a_password_are_sent_as_basic_authentication() {
    let (_shop, provider, sidecar) = with(
        "credentials = { basic = { user = \"shop\", password = { file = \"provider.key\" } } }",
    );
    assert_eq!(sidecar.gateway("pay").form("/charges", "a=1").status, 200);
    let expected = "Basic c2hvcDpza19saXZlX29mX3RoZV9zaG9w";
    assert_eq!(provider.last().field("authorization"), Some(expected));
}

#[test]
fn a_signature_covers_the_body_with_the_real_number_and_the_time() {
    let (shop, provider, sidecar) = with(
        "credentials = { hmac = { header = \"X-Signature\", key = { file = \"provider.key\" }, \
         algorithm = \"sha512\", timestamp_header = \"X-Time\" } }",
    );
    let card = cards::fresh("visa");
    let (token, _) = buy(&sidecar, &shop, &card);
    let fields = [
        ("content-type", "application/json"),
        ("x-signature", "the shop's own"),
        ("x_signature", "the shop's own, as CGI reads it"),
        ("x-time", "1"),
        ("x_time", "1"),
    ];
    let body = format!("{{\"pan\":\"{token}\"}}");
    let answer = sidecar.gateway("pay").request("POST", "/charges", &fields, body.as_bytes());
    assert_eq!(answer.status, 200);
    let received = provider.last();
    assert_eq!(received.json()["pan"], card.as_str());
    let time = received.field("x-time").unwrap().to_owned();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(time.parse().unwrap()) < 60);
    let key = hmac::Key::new(hmac::HMAC_SHA512, b"sk_live_of_the_shop");
    let signed = [time.as_bytes(), b".", received.body.as_slice()].concat();
    let expected = hex(hmac::sign(&key, &signed).as_ref());
    assert_eq!(received.field("x-signature"), Some(expected.as_str()));
    assert_eq!([received.field("x_signature"), received.field("x_time")], [None, None]);
}

#[test]
fn a_changed_key_is_sent_after_a_reload() {
    let (_shop, provider, sidecar) =
        with("credentials = { header = \"X-Api-Key\", value = { file = \"provider.key\" } }");
    let mark = sidecar.mark();
    std::fs::write(sidecar.folder().join("provider.key"), "sk_live_changed").unwrap();
    sidecar.wait_for_log(mark, "reloaded");
    assert_eq!(sidecar.gateway("pay").get("/balance").status, 200);
    assert_eq!(provider.last().field("x-api-key"), Some("sk_live_changed"));
}

#[test]
fn a_provider_that_asks_who_calls_is_shown_our_certificate() {
    let (shop, identity) = (Upstream::ok(), Identity::new(&["localhost"]));
    let provider = Upstream::start_with(identity.strict_server(), |exchange| {
        exchange.answer(200, &[], b"welcome")
    });
    let certificate = "client_certificate = { chain = \"tls/shop.pem\", key = \"tls/shop.key\" }";
    let sidecar = Setup::new(&shop)
        .gateway_with("known", &provider, certificate)
        .gateway("unknown", &provider)
        .start();
    assert_eq!(sidecar.gateway("known").get("/").text(), "welcome");
    sidecar.gateway("unknown").get("/").assert_refused(502);
    // The connection of the one is not used by the other.
    assert_eq!(sidecar.gateway("known").get("/").text(), "welcome");
    sidecar.gateway("unknown").get("/").assert_refused(502);
    assert_eq!(provider.count(), 2);
}

#[test]
fn a_provider_without_a_pinned_key_is_sent_nothing() {
    let identity = Identity::new(&["localhost"]);
    let shop = Upstream::ok();
    let provider = Upstream::start_tls(&identity, |exchange| exchange.answer(200, &[], b"ok"));
    let pin = |pem: &str| format!("pin = [\"{}\"]", certificates::pin(pem));
    let stranger = certificates::stranger_pem();
    let sidecar = Setup::new(&shop)
        .gateway_with("leaf", &provider, &pin(&identity.chain))
        .gateway_with("authority", &provider, &pin(certificates::authority_pem()))
        .gateway_with("stranger", &provider, &pin(&stranger))
        .start();
    assert_eq!(sidecar.gateway("leaf").get("/").status, 200);
    assert_eq!(sidecar.gateway("authority").get("/").status, 200);
    let mark = sidecar.mark();
    let card = cards::fresh("visa");
    let (token, _) = buy(&sidecar, &shop, &card);
    sidecar.gateway("stranger").form("/charges", &format!("pan={token}")).assert_refused(502);
    assert_eq!(provider.count(), 2);
    let cause = sidecar.wait_for_log(mark, "upstream failed")["cause"].to_string();
    assert!(cause.contains("pinned"), "{cause}");
    let shown = certificates::pin(&identity.chain);
    assert!(cause.contains(&shown), "{cause} does not say {shown}");
}

#[test]
fn a_pinned_certificate_that_is_only_sent_along_proves_nothing() {
    let identity = Identity::new(&["localhost"]);
    let stranger = certificates::stranger_pem();
    // The chain ends with the pinned certificate, which has signed none of it.
    let forged = Identity { chain: format!("{}{stranger}", identity.chain), key: identity.key };
    let shop = Upstream::ok();
    let provider = Upstream::start_tls(&forged, |exchange| exchange.answer(200, &[], b"ok"));
    let pin = format!("pin = [\"{}\"]", certificates::pin(&stranger));
    let sidecar = Setup::new(&shop).gateway_with("pay", &provider, &pin).start();
    sidecar.gateway("pay").get("/").assert_refused(502);
    assert_eq!(provider.count(), 0);
}
