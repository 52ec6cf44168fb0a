//! The shop's pages. The template engine escapes every value; only finished pages are inserted raw.

use http::StatusCode;
use minijinja::value::Serde;
use minijinja::{Environment, Error};
use serde_json::{Value, json};

use super::serve::{Reply, reply};

const HTML: &str = "text/html; charset=utf-8";

/// The templates, compiled once.
pub(super) struct Pages(Environment<'static>);

impl Pages {
    /// Compiles the templates.
    pub(super) fn compile() -> Result<Self, Error> {
        let mut templates = Environment::new();
        for (name, source) in [
            ("catalogue.html", include_str!("pages/catalogue.html")),
            ("checkout.html", include_str!("pages/checkout.html")),
            ("frame.html", include_str!("pages/frame.html")),
            ("login.html", include_str!("pages/login.html")),
            ("message.html", include_str!("pages/message.html")),
            ("orders.html", include_str!("pages/orders.html")),
        ] {
            templates.add_template(name, source)?;
        }
        Ok(Self(templates))
    }

    /// A page within the shop's frame; `account` is who is logged in.
    pub(super) fn page(
        &self,
        status: StatusCode,
        account: Option<&str>,
        (template, title): (&str, &str),
        values: Value,
    ) -> Reply {
        match self.render(account, (template, title), values) {
            Ok(page) => reply(status, HTML, page),
            Err(_) => reply(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "broken template\n"),
        }
    }

    /// A page that says one thing.
    pub(super) fn message(
        &self,
        status: StatusCode,
        account: Option<&str>,
        title: &str,
        text: &str,
    ) -> Reply {
        self.page(status, account, ("message.html", title), json!({ "text": text }))
    }

    fn render(
        &self,
        account: Option<&str>,
        (template, title): (&str, &str),
        values: Value,
    ) -> Result<String, Error> {
        let body = self.0.get_template(template)?.render(Serde(values))?;
        let frame = json!({ "title": title, "account": account, "body": body });
        self.0.get_template("frame.html")?.render(Serde(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_in_an_order_is_escaped() {
        let order = json!({
            "number": 1, "item": "Mug", "price": "1.00", "charge": "ch_1", "bought": "now",
            "name": "<script>alert('x')</script>", "card_number": "\"><b>4</b>",
        });
        let pages = Pages::compile().unwrap();
        let page = pages
            .render(Some("<i>"), ("orders.html", "A & B"), json!({ "orders": [order] }))
            .unwrap();
        for raw in ["<script>", "<b>", "<i>", "A & B"] {
            assert!(!page.contains(raw), "{raw} in {page}");
        }
        assert!(page.contains("&lt;script&gt;"));
    }
}
