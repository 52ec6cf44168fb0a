//! The demonstration against a double of the sidecar that keeps its promises, or breaks one.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::header::{HeaderValue, LOCATION, RETRY_AFTER};
use http::{Method, StatusCode};
use tokio::sync::Mutex;

use super::*;
use crate::demo::serve::{Handler, Received, Reply, reply};

type Swaps = &'static [(&'static str, &'static str)];

/// Just enough of a sidecar to keep the promises for the walk's one card; it holds the
/// customer's cookies itself.
struct Double {
    answers: Swaps,
    client: Mutex<Client>,
    guesses: AtomicUsize,
    requests: Swaps,
}

impl Handler for Double {
    async fn answer(&self, received: Received) -> Reply {
        let body = String::from_utf8(received.body.to_vec()).unwrap();
        if body.contains("guess") && self.guesses.fetch_add(1, Ordering::Relaxed) == 5 {
            let mut refused = reply(StatusCode::TOO_MANY_REQUESTS, "text/plain", "wait");
            refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("12"));
            return refused;
        }
        let target = format!("{}?{}", received.path, received.query);
        let mut client = self.client.lock().await;
        let answer = match received.method {
            Method::POST => client.post(&target, swapped(body, self.requests)).await.unwrap(),
            _ => client.get(&target).await.unwrap(),
        };
        let mut passed = reply(answer.status, "text/html", swapped(answer.text, self.answers));
        if let Some(location) = answer.headers.get(LOCATION) {
            passed.headers_mut().insert(LOCATION, location.clone());
        }
        passed
    }
}

fn swapped(text: String, swaps: Swaps) -> String {
    swaps.iter().fold(text, |text, (from, to)| text.replace(from, to))
}

fn double(stage: &Stage, to: SocketAddr, requests: Swaps, answers: Swaps) -> SocketAddr {
    let (listener, address) = serve::bind().unwrap();
    let client = Mutex::new(Client::new(Endpoint::Plain(to)));
    let double = Double { answers, client, guesses: AtomicUsize::new(0), requests };
    stage.serve(listener, None, Arc::new(double)).unwrap();
    address
}

/// Walks with the shop reached at, and charging at, what `front` and `back` make of the real
/// addresses.
fn walked(
    front: impl FnOnce(&Stage, SocketAddr) -> SocketAddr,
    back: impl FnOnce(&Stage, SocketAddr) -> SocketAddr,
) -> (Result<(), DemoError>, String) {
    let folder = Folder::prepare(Some(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
    let stage = Stage::open().unwrap();
    let (gateway_listener, gateway_address) = serve::bind().unwrap();
    let gateway = Arc::new(Gateway::default());
    stage.serve(gateway_listener, None, Arc::clone(&gateway)).unwrap();
    let (shop_listener, shop_address) = serve::bind().unwrap();
    let charged_at = back(&stage, gateway_address);
    let shop = Arc::new(Shop::open(charged_at, &folder.shop_log()).unwrap());
    stage.serve(shop_listener, None, Arc::clone(&shop)).unwrap();
    let browser = Endpoint::Plain(front(&stage, shop_address));
    let folder = folder.path();
    let scene = Scene { access_log: None, browser, folder, gateway: &gateway, shop: &shop };
    let mut out = Vec::new();
    let outcome = show(&scene, &mut Report { colour: false, out: &mut out });
    stage.close();
    (outcome, String::from_utf8(out).unwrap())
}

#[test]
fn a_shop_without_a_guard_breaks_the_promises() {
    let (outcome, printed) = walked(|_, shop| shop, |_, gateway| gateway);
    assert!(matches!(outcome, Err(DemoError::Promises { broken: 9, all: 11 })), "{printed}");
    for broken in [
        "the shop's log holds no card number",
        "the shop's log holds no security code",
        "the shop stored a token of the same shape",
        "the gateway's answer reached the shop as a token",
        "the order page shows a token or a mask",
        "the JSON is sound and its number is no card",
        "an old card number is masked on its way out",
        "no file of the demo holds a card number",
        "guessing passwords ends in 429 with Retry-After",
    ] {
        assert!(printed.contains(&format!("BROKEN   {broken}\n")), "{broken} in\n{printed}");
    }
}

#[test]
fn a_guarded_shop_keeps_every_promise() {
    let (outcome, printed) = walked(
        |stage, shop| {
            let requests =
                &[("4111+1111+1111+1111", "4929+1234+5678+1111"), ("cvv=123", "cvv=847")];
            let answers = &[
                ("5555 5555 5555 4444", "5555 55** **** 4444"),
                ("5555555555554444", "5555550000004444"),
            ];
            double(stage, shop, requests, answers)
        },
        |stage, gateway| {
            let requests = &[("4929123456781111", "4111111111111111"), ("=847", "=123")];
            double(stage, gateway, requests, &[("4111111111111111", "4929123456781111")])
        },
    );
    assert!(outcome.is_ok() && !printed.contains("BROKEN"), "{printed}");
    let row = "card number     4111 1111 1111 1111  4929 1234 5678 1111  4111111111111111     \
               4929 1234 5678 1111\n";
    assert!(printed.contains(row), "{printed}");
    let row = "an old order    -                    5555 5555 5555 4444  -                    \
               5555 55** **** 4444\n";
    assert!(printed.contains(row), "{printed}");
    assert!(printed.contains("attempt  6   429   try again in 12 s\n"), "{printed}");
}
