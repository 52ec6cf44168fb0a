//! A small shop of the old kind: forms, a session cookie, and no care at all about card numbers.
//!
//! It knows nothing of tillgate beyond the address it was told to call as its payment gateway.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use http::header::{COOKIE, HeaderValue, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;

use super::checkout::CardForm;
use super::client::{Answer, Client, ClientError, Endpoint};
use super::form::{Form, encode};
use super::pages::Pages;
use super::records::{Entry, Order, Records};
use super::serve::{Handler, Received, Reply, reply};

/// The demo account, which the login page shows.
pub(super) const ACCOUNT: (&str, &str) = ("ada@example.com", "correct horse");
/// A card the shop has kept in clear since before tillgate stood in front of it. It lies in memory
/// only, so that the demo's files can be searched for it.
pub(super) const OLD_CARD_NUMBER: &str = "5555 5555 5555 4444";
const SESSION_COOKIE: &str = "PHPSESSID";

/// The shop.
pub(super) struct Shop {
    gateway: SocketAddr,
    pages: Pages,
    records: Records,
}

/// Why the shop cannot open.
#[derive(Debug, Error)]
pub enum ShopError {
    /// Its log cannot be written.
    #[error("cannot write the shop's log")]
    Log(#[from] io::Error),
    /// One of its pages is no template.
    #[error("a page of the shop is broken")]
    Page(#[from] minijinja::Error),
}

#[derive(Serialize)]
struct Item {
    id: &'static str,
    name: &'static str,
    price: &'static str,
    cents: &'static str,
    text: &'static str,
}

const ITEMS: [Item; 4] = [
    Item { id: "kettle", name: "Copper kettle", price: "64.00", cents: "6400", text: "Whistles." },
    Item { id: "mug", name: "Stoneware mug", price: "14.90", cents: "1490", text: "Holds 35 cl." },
    Item { id: "tea", name: "Assam, 250 g", price: "9.50", cents: "950", text: "Second flush." },
    Item { id: "tray", name: "Oak tray", price: "38.00", cents: "3800", text: "Oiled by hand." },
];

impl Shop {
    /// Opens the shop, with one old order; it will charge cards at `gateway`.
    pub(super) fn open(gateway: SocketAddr, log: &Path) -> Result<Self, ShopError> {
        let records = Records::open(log)?;
        records.place(old_order);
        Ok(Self { gateway, pages: Pages::compile()?, records })
    }

    /// What the demo account bought, latest first.
    pub(super) fn orders(&self) -> Vec<Order> {
        self.records.orders_of(ACCOUNT.0)
    }

    /// Every body that arrived, oldest first.
    pub(super) fn logged(&self) -> Vec<Entry> {
        self.records.logged()
    }

    fn catalogue(&self, account: Option<&str>) -> Reply {
        let values = json!({ "items": ITEMS });
        self.pages.page(StatusCode::OK, account, ("catalogue.html", "Catalogue"), values)
    }

    fn login_page(&self, wrong: bool) -> Reply {
        let (email, password) = ACCOUNT;
        let values = json!({ "wrong": wrong, "email": email, "password": password });
        // 200 after a wrong password too, as many shops do.
        self.pages.page(StatusCode::OK, None, ("login.html", "Log in"), values)
    }

    fn log_in(&self, body: &[u8]) -> Reply {
        let form = Form::parse(body);
        if (form.field("email"), form.field("password")) != ACCOUNT {
            return self.login_page(true);
        }
        match self.records.log_in(ACCOUNT.0) {
            Some(id) => with_cookie(redirect("/"), &id),
            None => self.trouble(None, "Sorry, we cannot log you in at the moment."),
        }
    }

    fn log_out(&self, session: &str) -> Reply {
        self.records.log_out(session);
        with_cookie(redirect("/"), "gone; Max-Age=0")
    }

    fn orders_page(&self, account: &str) -> Reply {
        let values = json!({ "orders": self.records.orders_of(account) });
        self.pages.page(StatusCode::OK, Some(account), ("orders.html", "Your orders"), values)
    }

    fn orders_data(&self, account: &str) -> Reply {
        let orders = self.records.orders_of(account);
        let orders = orders.iter().map(|order| {
            json!({
                "order": order.number,
                "item": order.item,
                "bought": order.bought,
                "brand": order.brand,
                "card_number": order.card_number,
                "card": { "number": digits(&order.card_number).parse::<u64>().ok() },
            })
        });
        let data = json!({ "orders": orders.collect::<Vec<Value>>() });
        reply(StatusCode::OK, "application/json", data.to_string())
    }

    fn checkout_page(&self, account: &str, item: &Item, form: &Form, problem: &str) -> Reply {
        let status =
            if problem.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
        let values = json!({
            "item": item,
            "problem": problem,
            "name": form.field("name"),
            "expiry": form.field("expiry"),
        });
        self.pages.page(status, Some(account), ("checkout.html", "Checkout"), values)
    }

    async fn check_out(&self, account: &str, body: &[u8]) -> Reply {
        let form = Form::parse(body);
        let Some(item) = item(&form) else { return self.missing(Some(account)) };
        let card = CardForm {
            number: form.field("card_number"),
            expiry: form.field("expiry"),
            cvv: form.field("cvv"),
        };
        let brand = match card.check() {
            Ok(brand) => brand,
            Err(problem) => return self.checkout_page(account, item, &form, problem),
        };
        let Ok(answer) = self.charge(item, &card).await else {
            return self.trouble(Some(account), "The payment gateway cannot be reached.");
        };
        self.records.log("the gateway answered".to_owned(), answer.text.as_bytes());
        let charge: Value = serde_json::from_str(&answer.text).unwrap_or_default();
        if answer.status != StatusCode::OK {
            let told = text_at(&charge, "/error/message");
            let problem = if told.is_empty() { "The payment was refused." } else { &told };
            return self.checkout_page(account, item, &form, problem);
        }
        self.records.place(|number| Order {
            number,
            account: account.to_owned(),
            item: item.name.to_owned(),
            price: item.price.to_owned(),
            name: form.field("name").to_owned(),
            card_number: card.number.to_owned(),
            brand,
            bought: "behind tillgate",
            charge: text_at(&charge, "/id"),
            charged_number: text_at(&charge, "/card/number"),
        });
        redirect("/account/orders")
    }

    async fn charge(&self, item: &Item, card: &CardForm<'_>) -> Result<Answer, ClientError> {
        let form = encode(&[
            ("amount", item.cents),
            ("currency", "eur"),
            ("card[number]", &digits(card.number)),
            ("card[exp]", card.expiry),
            ("card[cvc]", card.cvv),
        ]);
        let mut client = Client::new(Endpoint::Plain(self.gateway));
        let answer = client.post("/v1/charges", form).await;
        client.close().await;
        answer
    }

    fn missing(&self, account: Option<&str>) -> Reply {
        self.pages.message(StatusCode::NOT_FOUND, account, "Not found", "There is no such page.")
    }

    fn trouble(&self, account: Option<&str>, text: &str) -> Reply {
        self.pages.message(StatusCode::BAD_GATEWAY, account, "Something went wrong", text)
    }
}

impl Handler for Shop {
    async fn answer(&self, received: Received) -> Reply {
        let Received { method, path, query, headers, body } = received;
        if !body.is_empty() {
            self.records.log(format!("{method} {path}"), &body);
        }
        let session = session(&headers);
        let account = self.records.account(&session);
        let get = matches!(method, Method::GET | Method::HEAD);
        match (get, path.as_str(), account.as_deref()) {
            (true, "/", account) => self.catalogue(account),
            (true, "/account/login", _) => self.login_page(false),
            (true, "/account/logout", _) => self.log_out(&session),
            (true, "/account/orders", Some(account)) => self.orders_page(account),
            (true, "/api/orders", Some(account)) => self.orders_data(account),
            (true, "/api/orders", None) => {
                let refused = json!({ "error": "log in first" });
                reply(StatusCode::UNAUTHORIZED, "application/json", refused.to_string())
            }
            (true, "/checkout", Some(account)) => {
                let form = Form::parse(query.as_bytes());
                match item(&form) {
                    Some(item) => self.checkout_page(account, item, &form, ""),
                    None => self.missing(Some(account)),
                }
            }
            (false, "/account/login", _) => self.log_in(&body),
            (false, "/checkout", Some(account)) => self.check_out(account, &body).await,
            (_, "/account/orders" | "/checkout", None) => redirect("/account/login"),
            (_, _, account) => self.missing(account),
        }
    }
}

fn old_order(number: usize) -> Order {
    Order {
        number,
        account: ACCOUNT.0.to_owned(),
        item: "Oak tray".to_owned(),
        price: "38.00".to_owned(),
        name: "Ada Lovelace".to_owned(),
        card_number: OLD_CARD_NUMBER.to_owned(),
        brand: "Mastercard",
        bought: "before tillgate",
        charge: "ch_old_7".to_owned(),
        charged_number: digits(OLD_CARD_NUMBER),
    }
}

/// The digits of a number as it was typed.
pub(super) fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

fn item(form: &Form) -> Option<&'static Item> {
    ITEMS.iter().find(|item| item.id == form.field("item"))
}

fn text_at(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn session(headers: &HeaderMap) -> String {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(name, _)| name.trim() == SESSION_COOKIE);
    found.map(|(_, id)| id.trim().to_owned()).unwrap_or_default()
}

fn redirect(to: &'static str) -> Reply {
    let mut reply = reply(StatusCode::FOUND, "text/plain", "");
    reply.headers_mut().insert(LOCATION, HeaderValue::from_static(to));
    reply
}

fn with_cookie(mut reply: Reply, id: &str) -> Reply {
    let line = format!("{SESSION_COOKIE}={id}; Path=/; HttpOnly; SameSite=Lax");
    if let Ok(line) = HeaderValue::from_str(&line) {
        reply.headers_mut().insert(SET_COOKIE, line);
    }
    reply
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::BodyExt;
    use tempfile::TempDir;

    use super::*;

    struct Customer {
        _folder: TempDir,
        cookie: String,
        shop: Shop,
    }

    impl Customer {
        /// Of a shop whose gateway nobody answers for.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
            let shop = Shop::open(nobody, &folder.path().join("shop.log")).unwrap();
            Self { _folder: folder, cookie: String::new(), shop }
        }

        async fn send(&mut self, method: Method, path: &str, form: &str) -> (Reply, String) {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, HeaderValue::from_str(&self.cookie).unwrap());
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let (path, query) = (path.to_owned(), query.to_owned());
            let body = Bytes::copy_from_slice(form.as_bytes());
            let mut reply = self.shop.answer(Received { method, path, query, headers, body }).await;
            if let Some(line) = reply.headers().get(SET_COOKIE) {
                self.cookie = line.to_str().unwrap().split(';').next().unwrap().to_owned();
            }
            let frame = reply.body_mut().frame().await;
            let body = frame.map(|data| data.unwrap().into_data().unwrap()).unwrap_or_default();
            (reply, String::from_utf8(body.to_vec()).unwrap())
        }

        async fn log_in(&mut self) {
            let form = encode(&[("email", ACCOUNT.0), ("password", ACCOUNT.1)]);
            let (reply, _) = self.send(Method::POST, "/account/login", &form).await;
            assert_eq!(reply.status(), StatusCode::FOUND);
        }
    }

    #[tokio::test]
    async fn a_wrong_password_shows_the_login_page_again() {
        let mut customer = Customer::new();
        let form = encode(&[("email", ACCOUNT.0), ("password", "guess")]);
        let (reply, page) = customer.send(Method::POST, "/account/login", &form).await;
        assert_eq!(reply.status(), StatusCode::OK);
        assert!(page.contains("role=\"alert\"") && reply.headers().get(SET_COOKIE).is_none());
    }

    #[tokio::test]
    async fn the_right_password_opens_the_orders_until_logout() {
        let mut customer = Customer::new();
        let (reply, _) = customer.send(Method::GET, "/account/orders", "").await;
        assert_eq!(reply.headers()[LOCATION], "/account/login");
        let (reply, _) = customer.send(Method::GET, "/api/orders", "").await;
        assert_eq!(reply.status(), StatusCode::UNAUTHORIZED);
        customer.log_in().await;
        let (reply, page) = customer.send(Method::GET, "/account/orders", "").await;
        assert_eq!(reply.status(), StatusCode::OK);
        let row = "<td>before tillgate</td><td class=\"card-number\">5555 5555 5555 4444</td>";
        assert!(page.contains(row), "{page}");
        let (_, data) = customer.send(Method::GET, "/api/orders", "").await;
        assert!(data.contains("{\"number\":5555555555554444}"), "{data}");
        customer.send(Method::GET, "/account/logout", "").await;
        let (reply, _) = customer.send(Method::GET, "/account/orders", "").await;
        assert_eq!(reply.status(), StatusCode::FOUND);
    }

    #[tokio::test]
    async fn a_mistyped_card_is_told_so_and_never_charged() {
        let mut customer = Customer::new();
        customer.log_in().await;
        let form = encode(&[("item", "mug"), ("card_number", "4111111111111112"), ("cvv", "123")]);
        let (reply, page) = customer.send(Method::POST, "/checkout", &form).await;
        assert_eq!(reply.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.contains("mistyped") && !page.contains("4111111111111112"));
        assert_eq!(customer.shop.orders().len(), 1, "the old order only");
    }

    #[tokio::test]
    async fn a_gateway_that_is_away_is_the_shops_trouble() {
        let mut customer = Customer::new();
        customer.log_in().await;
        let form = encode(&[
            ("item", "mug"),
            ("card_number", "4111111111111111"),
            ("expiry", "12/30"),
            ("cvv", "123"),
        ]);
        let (reply, _) = customer.send(Method::POST, "/checkout", &form).await;
        assert_eq!(reply.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(customer.shop.orders().len(), 1, "the old order only");
    }
}
