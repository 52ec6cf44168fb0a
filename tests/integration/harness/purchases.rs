//! Customers who buy all the time, and the proof that no token of theirs was lost or doubled.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::traces::CODES;
use super::{Answer, Client, Identity, Seen, Setup, Sidecar, Upstream, canary, cards, eventually};

/// How many customers an instance has at once.
const BUYERS: usize = 6;

/// How long a refusal may take: the vault's deadline for a call is five seconds, and machines of
/// tests are busy.
const REFUSAL_WAIT: Duration = Duration::from_secs(8);

/// How many purchases ago a returning customer came last.
const RETURNING: usize = 16;

/// A shop, its payment provider, and what was bought.
pub(crate) struct Purchases {
    pub(crate) shop: Upstream,
    pub(crate) provider: Upstream,
    /// The card of every order; an order's number is its place.
    orders: Mutex<Vec<String>>,
    accepted: AtomicUsize,
    refused: AtomicUsize,
    tokens: HashMap<String, String>,
    checked: usize,
}

impl Purchases {
    pub(crate) fn new() -> Self {
        Self {
            shop: Upstream::ok(),
            provider: Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
                exchange.answer(200, &[("content-type", "application/json")], b"{\"ok\":true}")
            }),
            orders: Mutex::default(),
            accepted: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            tokens: HashMap::new(),
            checked: 0,
        }
    }

    /// The configuration of an instance before this shop.
    pub(crate) fn setup(&self, tables: &str) -> Setup {
        Setup::new(&self.shop).gateway("pay", &self.provider).tables(tables)
    }

    /// Customers buy from these instances while `work` is done.
    pub(crate) fn during<R>(&self, addresses: &[SocketAddr], work: impl FnOnce() -> R) -> R {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            for address in addresses.iter().cycle().take(addresses.len() * BUYERS) {
                scope.spawn(|| self.buy_until(*address, &stop));
            }
            let stopping = StopOnDrop(&stop);
            let done = work();
            drop(stopping);
            done
        })
    }

    /// Buys until told to stop or until nobody listens any more.
    fn buy_until(&self, address: SocketAddr, stop: &AtomicBool) {
        let connect = || (!stop.load(Ordering::Relaxed)).then(|| Client::try_plain(address));
        while let Some(Ok(mut client)) = connect() {
            while !stop.load(Ordering::Relaxed) {
                match self.try_buy(&mut client) {
                    Ok(answer) if answer.status == 200 => {
                        self.accepted.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(answer) => {
                        assert_eq!(answer.status, 503, "{}", answer.text());
                        assert!(answer.field("retry-after").is_some());
                        self.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(_) => break,
                }
            }
        }
    }

    /// One purchase, with a new card or with one that has been used a moment ago.
    pub(crate) fn try_buy(&self, client: &mut Client) -> io::Result<Answer> {
        let (order, card) = {
            let mut orders = self.orders.lock().unwrap();
            let order = orders.len();
            // With the card of the purchase that has just begun, and with one of a while ago.
            let again = match order % 4 {
                0 => orders.last(),
                1 => orders.iter().rev().nth(RETURNING),
                _ => None,
            };
            let card = again.cloned().unwrap_or_else(|| new_card(["visa", "amex"][order % 2]));
            orders.push(card.clone());
            (order, card)
        };
        let code = CODES[order % CODES.len()];
        let body = format!("order=o-{order}&number={card}&cvv={code}");
        let fields = [("content-type", "application/x-www-form-urlencoded")];
        client.try_request("POST", "/buy", &fields, body.as_bytes())
    }

    /// Purchases with cards are refused, in time and with a word when to come again; all else goes on.
    pub(crate) fn assert_only_cards_refused(&self, sidecar: &Sidecar) {
        let refused = eventually("a card is refused", || {
            let (mut client, begun) = (sidecar.http(), Instant::now());
            let answer = self.try_buy(&mut client).unwrap();
            assert!(begun.elapsed() < REFUSAL_WAIT, "refused after {:?}", begun.elapsed());
            (answer.status != 200).then_some(answer)
        });
        refused.assert_refused(503);
        assert!(refused.field("retry-after").is_some());
        assert_eq!(sidecar.http().get("/").status, 200);
        assert_eq!(sidecar.http().form("/colour", "colour=red").status, 200);
        eventually("/readyz says so", || (sidecar.admin("/readyz").status == 503).then_some(()));
    }

    /// Cards are taken again, by itself: it is not asked for.
    pub(crate) fn assert_healed(&self, sidecar: &Sidecar) {
        eventually("the vault works", || (sidecar.admin("/readyz").status == 200).then_some(()));
        eventually("a card is taken", || {
            let answer = self.try_buy(&mut sidecar.http()).unwrap();
            (answer.status == 200).then_some(())
        });
    }

    /// How many purchases were accepted and how many were refused.
    pub(crate) fn outcomes(&self) -> (usize, usize) {
        (self.accepted.load(Ordering::Relaxed), self.refused.load(Ordering::Relaxed))
    }

    /// Every token that the shop has received since the last call reveals the card of its order,
    /// and no card has two.
    pub(crate) fn assert_kept(&mut self, sidecar: &Sidecar) {
        let seen = self.shop.seen();
        let orders = seen[self.checked..].iter().filter(|seen| seen.target() == "/buy");
        let new: Vec<_> = orders.map(|seen| self.bought(seen)).collect();
        self.checked = seen.len();
        for (card, token) in &new {
            let known = self.tokens.entry(card.clone()).or_insert_with(|| token.clone());
            assert_eq!(known, token, "one card has two tokens");
        }
        self.assert_revealed(sidecar, new.into_iter().collect());
    }

    /// The same of every token ever received. Gives how many cards there are.
    pub(crate) fn assert_all_kept(&mut self, sidecar: &Sidecar) -> usize {
        self.assert_kept(sidecar);
        self.assert_revealed(sidecar, self.tokens.clone());
        let different: HashSet<_> = self.tokens.values().collect();
        assert_eq!(different.len(), self.tokens.len(), "two cards have one token");
        self.tokens.len()
    }

    /// Every card that was used, told to the canary on the thread of the test.
    pub(crate) fn cards(&self) -> Vec<String> {
        let orders: HashSet<_> = self.orders.lock().unwrap().iter().cloned().collect();
        orders.iter().for_each(|card| canary::register(card));
        orders.into_iter().collect()
    }

    fn bought(&self, seen: &Seen) -> (String, String) {
        let order: usize = seen.form("order").strip_prefix("o-").unwrap().parse().unwrap();
        (self.orders.lock().unwrap()[order].clone(), seen.form("number"))
    }

    fn assert_revealed(&self, sidecar: &Sidecar, pairs: HashMap<String, String>) {
        let (cards, tokens): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut gateway = sidecar.gateway("pay");
        for (cards, tokens) in cards.chunks(50).zip(tokens.chunks(50)) {
            let body = serde_json::json!({ "cards": tokens }).to_string();
            let answer = gateway.json("/charge", &body);
            assert_eq!(answer.status, 200, "tokens are lost: {}", answer.text());
            let sent = self.provider.last().json();
            for ((sent, card), token) in
                sent["cards"].as_array().unwrap().iter().zip(cards).zip(tokens)
            {
                assert_eq!(sent.as_str(), Some(card.as_str()), "{token} gave another card");
            }
        }
    }
}

/// Its last four digits, which are no secret, are none of the codes.
fn new_card(brand: &str) -> String {
    let mut cards = std::iter::repeat_with(|| cards::quiet(brand));
    cards.find(|card| !CODES.iter().any(|code| card.ends_with(code))).unwrap()
}

/// Ends the customers even where the work fails, so that a failing test ends.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
