//! What a provider tells the shop: signed, in time and once, or the shop never sees it.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;

use crate::harness::{Answer, Setup, Sidecar, Upstream, cards, eventually};

const OLD: &str = "whsec_old_secret";
const NEW: &str = "whsec_new_secret";

const STRIPE: &str = "[[webhook]]\nname = \"stripe\"\nsite = \"shop.example\"\npath = \"/hooks/stripe\"\n\
                      preset = \"stripe\"\nsecrets = [{ file = \"new.key\" }, { file = \"old.key\" }]";
const BANK: &str = "[[webhook]]\nname = \"bank\"\npath = \"/hooks/bank\"\n\
                    secrets = [{ file = \"new.key\" }]\n\
                    hmac = { header = \"X-Hmac\", encoding = \"base64\" }";

fn start(shop: &Upstream) -> Sidecar {
    let setup = Setup::new(shop).site("hosts = [\"shop.example\"]").tables(STRIPE).tables(BANK);
    setup.file("new.key", NEW).file("old.key", OLD).start()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn signature(secret: &str, signed: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::sign(&key, signed).as_ref().to_vec()
}

fn stripe(secret: &str, time: u64, body: &str) -> String {
    let made = signature(secret, format!("{time}.{body}").as_bytes());
    let hex: String = made.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={time},v1={hex}")
}

fn deliver(sidecar: &Sidecar, target: &str, field: (&str, &str), body: &str) -> Answer {
    let fields = [("content-type", "application/json"), field];
    sidecar.https().request("POST", target, &fields, body.as_bytes())
}

fn call(sidecar: &Sidecar, signature: &str, body: &str) -> Answer {
    deliver(sidecar, "/hooks/stripe", ("stripe-signature", signature), body)
}

#[test]
fn p1_a_signed_delivery_reaches_the_shop_with_tokens_for_cards() {
    let shop = Upstream::ok();
    let sidecar = start(&shop);
    let card = cards::fresh("visa");
    for secret in [OLD, NEW] {
        let body =
            format!("{{\"type\":\"card.updated\",\"by\":\"{secret}\",\"number\":\"{card}\"}}");
        assert_eq!(call(&sidecar, &stripe(secret, now(), &body), &body).status, 200);
        let seen = shop.last().json();
        assert_eq!(seen["type"], "card.updated");
        cards::assert_brand_four(seen["number"].as_str().unwrap(), &card);
    }
    let accepted = ["stripe", "accepted"];
    assert_eq!(sidecar.metric("tillgate_webhook_deliveries_total", &accepted), 2.0);
}

#[test]
fn what_the_provider_did_not_sign_never_reaches_the_shop() {
    let shop = Upstream::ok();
    let sidecar = start(&shop);
    let body = "{\"paid\":true}";
    let signed = stripe(NEW, now(), body);
    sidecar.https().json("/hooks/stripe", body).assert_refused(401);
    call(&sidecar, &stripe("whsec_guess", now(), body), body).assert_refused(401);
    call(&sidecar, &signed, "{\"paid\":false}").assert_refused(401);
    call(&sidecar, &stripe(NEW, now() - 400, body), body).assert_refused(401);
    call(&sidecar, &stripe(NEW, now() + 400, body), body).assert_refused(401);
    call(&sidecar, "v1=00", body).assert_refused(401);
    // Other spellings of the path are the same route to the shop.
    for target in [
        "/hooks//stripe",
        "/hooks/x/../stripe",
        "/Hooks/Stripe/",
        "/hooks/%2573tripe",
        "/hooks/stripe/index.php",
        "/hooks/%73tripe",
        "/hooks/stripe;a=b",
        "/hooks/stripe?x=1",
        "/index.php/hooks/stripe",
        "/hooks/stripe.json",
    ] {
        let answer = sidecar.https().json(target, body);
        assert_eq!(answer.status, 401, "{target}");
    }
    sidecar.https().get("/hooks/stripe").assert_refused(401);
    assert_eq!(shop.count(), 0);
    for (result, count) in [("unsigned", 13.0), ("signature", 2.0), ("time", 2.0)] {
        let labels = ["stripe", result];
        let counted = sidecar.metric("tillgate_webhook_deliveries_total", &labels);
        assert_eq!(counted, count, "{result}");
    }
    eventually("a refused webhook in the audit file", || {
        let text = std::fs::read_to_string(sidecar.data().join("audit.log")).ok()?;
        text.contains("webhook_refused").then_some(())
    });
    // Everything else of the shop is as it was.
    assert_eq!(sidecar.https().get("/hooks").status, 200);
}

#[test]
fn a_delivery_counts_once_unless_the_shop_did_not_take_it() {
    let shop = Upstream::start(|exchange| {
        let seen = exchange.request()?;
        let status = if seen.text().contains("broken") { 500 } else { 200 };
        exchange.answer(status, &[], b"")
    });
    let sidecar = start(&shop);
    let taken = "{\"id\":1}";
    let signed = stripe(NEW, now(), taken);
    assert_eq!(call(&sidecar, &signed, taken).status, 200);
    call(&sidecar, &signed, taken).assert_refused(401);
    // Another signature of the same text is not another delivery.
    let time = signed.split([',', '=']).nth(1).unwrap().parse().unwrap();
    call(&sidecar, &stripe(OLD, time, taken), taken).assert_refused(401);
    assert_eq!(shop.count(), 1);
    let failed = "{\"id\":2,\"broken\":true}";
    let signed = stripe(NEW, now(), failed);
    for _ in 0..2 {
        assert_eq!(call(&sidecar, &signed, failed).status, 500);
    }
    assert_eq!(shop.count(), 3);
    let labels = ["stripe", "replayed"];
    assert_eq!(sidecar.metric("tillgate_webhook_deliveries_total", &labels), 2.0);
}

#[test]
fn a_plain_signature_in_a_field_of_its_own_is_checked() {
    let shop = Upstream::ok();
    let sidecar = start(&shop);
    // printf '{"a":1}' | openssl dgst -sha256 -hmac whsec_new_secret -binary | openssl base64
    let made = "eaQQjXT+CC05gAL3nBYPTjCQ3gMdlXdMdzBaMFj1o68=";
    assert_eq!(deliver(&sidecar, "/hooks/bank", ("x-hmac", made), "{\"a\":1}").status, 200);
    deliver(&sidecar, "/hooks/bank", ("x-hmac", made), "{\"a\":2}").assert_refused(401);
    assert_eq!(shop.count(), 1);
}

#[test]
fn a_delivery_larger_than_its_route_allows_is_refused_unseen() {
    let shop = Upstream::ok();
    let setup = Setup::new(&shop).site("hosts = [\"shop.example\"]").tables(STRIPE);
    let setup = setup.tables("[limits]\nbody = \"1KiB\"");
    let sidecar = setup.file("new.key", NEW).file("old.key", OLD).start();
    let body = format!("{{\"a\":\"{}\"}}", "x".repeat(2000));
    let signed = stripe(NEW, now(), &body);
    call(&sidecar, &signed, &body).assert_refused(413);
    let mut client = sidecar.https();
    client.send(format!(
        "POST /hooks/stripe HTTP/1.1\r\nhost: shop.example\r\nstripe-signature: {signed}\r\n\
         transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    ));
    client.answer().assert_refused(413);
    assert_eq!(shop.count(), 0);
}

#[test]
fn a_chunked_delivery_is_signed_over_its_bytes_alone() {
    let shop = Upstream::ok();
    let sidecar = start(&shop);
    let body = "{\"id\":1}";
    let (head, tail) = body.split_at(4);
    let mut client = sidecar.https();
    client.send(format!(
        "POST /hooks/stripe HTTP/1.1\r\nhost: shop.example\r\nstripe-signature: {}\r\n\
         transfer-encoding: chunked\r\n\r\n4\r\n{head}\r\n{:x}\r\n{tail}\r\n0\r\n\r\n",
        stripe(NEW, now(), body),
        tail.len()
    ));
    assert_eq!(client.answer().status, 200);
    assert_eq!(shop.last().text(), body);
}
