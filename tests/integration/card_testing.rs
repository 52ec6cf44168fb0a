//! Card testing: whoever tries one card after the other is stopped, and the customers beside him are not.

use crate::harness::{Answer, Client, Identity, Setup, Sidecar, Upstream, cards};

/// The tests' connections come from a proxy that is believed about its clients.
const BEHIND: &str = "trusted_proxies = [\"127.0.0.1/32\"]";

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// A customer's payment.
fn pay(client: &mut Client, (network, session): (&str, &str), card: &str) -> Answer {
    let cookie = format!("lang=en; PHPSESSID={session}");
    let fields = [FORM, ("x-forwarded-for", network), ("cookie", &cookie)];
    client.request("POST", "/pay", &fields, format!("number={card}&cvv=904").as_bytes())
}

fn audit(sidecar: &Sidecar) -> String {
    std::fs::read_to_string(sidecar.data().join("audit.log")).unwrap()
}

/// A provider that declines, in its own manner, whatever is not a Visa card.
fn provider(no: (u16, &'static str)) -> Upstream {
    Upstream::start_tls(&Identity::new(&["localhost"]), move |exchange| {
        let yes = (200, "{\"status\":\"succeeded\"}");
        let paid = exchange.request()?.form("number").starts_with('4');
        let (status, text) = if paid { yes } else { no };
        exchange.answer(status, &[("content-type", "application/json")], text.as_bytes())
    })
}

/// What the shop does then: it charges what it was sent.
fn charge(sidecar: &Sidecar, shop: &Upstream) -> Answer {
    let token = shop.last().form("number");
    sidecar.gateway("pay").form("/v1/charges", &format!("amount=1&number={token}"))
}

#[test]
fn the_sixth_card_of_a_session_does_not_reach_the_shop() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).top(BEHIND).start();
    let mut client = sidecar.http();
    let first = cards::fresh("visa");
    let thief = ("203.0.113.7", "stolen");
    assert_eq!(pay(&mut client, thief, &first).status, 200);
    for _ in 0..4 {
        assert_eq!(pay(&mut client, thief, &cards::fresh("visa")).status, 200);
        assert_eq!(pay(&mut client, thief, &first).status, 200, "the same card again");
    }
    let refused = pay(&mut client, thief, &cards::fresh("visa"));
    refused.assert_refused(429);
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((3_590..=3_600).contains(&wait), "an hour after the first, not {wait} s");
    assert_eq!(shop.count(), 9);
    assert_eq!(pay(&mut client, ("203.0.113.7", "other"), &cards::fresh("visa")).status, 200);
    let labels = ["site=\"default\"", "reason=\"many_cards\""];
    assert!(sidecar.metric("tillgate_login_signals_total", &labels) > 0.0);
    let told = audit(&sidecar);
    assert!(told.contains("card_testing_refused") && told.contains("many_cards"), "{told}");
    assert!(!told.contains("stolen") && !sidecar.written().contains("stolen"));
}

#[test]
fn cards_of_parallel_requests_pass_no_more_than_five() {
    let shop = Upstream::ok();
    let sidecar = Setup::new(&shop).top(BEHIND).start();
    let address = sidecar.address("http");
    let tries: Vec<_> = (0..20)
        .map(|_| {
            let card = cards::fresh("visa");
            std::thread::spawn(move || {
                pay(&mut Client::plain(address), ("203.0.113.7", "a"), &card).status
            })
        })
        .collect();
    let statuses: Vec<_> = tries.into_iter().map(|it| it.join().unwrap()).collect();
    assert_eq!(statuses.iter().filter(|it| **it == 200).count(), 5, "{statuses:?}");
    assert_eq!(shop.count(), 5);
}

#[test]
fn three_declines_at_the_provider_stop_whoever_brought_the_cards() {
    for no in [
        (402, "{\"error\":{\"code\":\"card_declined\",\"type\":\"card_error\"}}"),
        (200, "{\"resultCode\":\"Refused\"}"),
    ] {
        let (shop, provider) = (Upstream::ok(), provider(no));
        let sidecar = Setup::new(&shop).top(BEHIND).gateway("pay", &provider).start();
        let mut client = sidecar.http();
        let (thief, customer) = (("203.0.113.7", "thief"), ("198.51.100.1", "customer"));
        for _ in 0..3 {
            assert_eq!(pay(&mut client, thief, &cards::fresh("mastercard")).status, 200);
            assert_eq!(charge(&sidecar, &shop).status, no.0);
            // A customer beside it pays with one card, again and again.
            assert_eq!(pay(&mut client, customer, &cards::fresh("visa")).status, 200);
            assert_eq!(charge(&sidecar, &shop).status, 200);
        }
        let seen = shop.count();
        let refused = pay(&mut client, thief, &cards::fresh("mastercard"));
        refused.assert_refused(429);
        let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
        assert!((590..=600).contains(&wait), "{wait} s");
        let moved = ("192.0.2.9", "thief");
        pay(&mut client, moved, &cards::fresh("mastercard")).assert_refused(429);
        let fresh = ("203.0.113.7", "fresh");
        pay(&mut client, fresh, &cards::fresh("mastercard")).assert_refused(429);
        assert_eq!(shop.count(), seen, "refused cards reach nobody");
        assert_eq!(pay(&mut client, customer, &cards::fresh("visa")).status, 200);
        let declines = sidecar.metric("tillgate_card_declines_total", &["gateway=\"pay\""]);
        assert!((declines - 3.0).abs() < 0.1, "{declines}");
        assert!(audit(&sidecar).contains("many_declines"));
    }
}

#[test]
fn what_is_switched_off_counts_nothing() {
    let shop = Upstream::ok();
    let off = "[login]\ncard_testing = \"off\"";
    let sidecar = Setup::new(&shop).top(BEHIND).tables(off).start();
    let mut client = sidecar.http();
    for _ in 0..7 {
        assert_eq!(pay(&mut client, ("203.0.113.7", "a"), &cards::fresh("visa")).status, 200);
    }
}

#[test]
fn a_decline_that_only_the_shop_tells_of_counts_by_a_payment_guard() {
    let shop = Upstream::start(|exchange| {
        let declined = exchange.request()?.form("number").starts_with('5');
        let text: &[u8] = if declined { b"<p>Card declined" } else { b"<p>Thank you" };
        exchange.answer(200, &[("content-type", "text/html")], text)
    });
    let guard = "[[site.guard]]\nname = \"pay\"\nkind = \"payment\"\npath = \"/pay\"\n\
                 declined = { body = \"Card declined\" }";
    let sidecar = Setup::new(&shop).top(BEHIND).site(guard).start();
    let mut client = sidecar.http();
    let (thief, customer) = (("203.0.113.7", "thief"), ("198.51.100.1", "customer"));
    for _ in 0..3 {
        assert_eq!(pay(&mut client, thief, &cards::fresh("mastercard")).status, 200);
        assert_eq!(pay(&mut client, customer, &cards::fresh("visa")).status, 200);
    }
    pay(&mut client, thief, &cards::fresh("mastercard")).assert_refused(429);
    assert_eq!(shop.count(), 6);
    assert_eq!(pay(&mut client, customer, &cards::fresh("visa")).status, 200);
}

#[test]
fn where_limits_only_observe_every_card_reaches_the_shop_and_is_told() {
    let shop = Upstream::ok();
    let tables = "[login]\nmode = \"observe\"";
    let sidecar = Setup::new(&shop).top(BEHIND).tables(tables).start();
    let (mut client, mark) = (sidecar.http(), sidecar.mark());
    for _ in 0..6 {
        let paid = pay(&mut client, ("203.0.113.7", "a"), &cards::fresh("visa"));
        assert_eq!(paid.status, 200);
    }
    sidecar.wait_for_log(mark, "card testing would be refused");
    assert!(!audit(&sidecar).contains("card_testing_refused"));
}
