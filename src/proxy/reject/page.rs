//! The form of a refusal: a page for people, JSON for programs, plain text for everybody else.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::wait;
use crate::policy::{PageFacts, Pages};

/// Nothing but the page itself: it has nothing to load, and nobody may put anything into it.
const CLOSED: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'self'";

/// Which of our three forms of an error page a client wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Accept {
    /// A browser.
    Html,
    /// An API client.
    Json,
    /// Everything else.
    Plain,
}

/// What is refused, in words.
pub(super) struct Words<'w> {
    pub(super) status: u16,
    pub(super) title: &'w str,
    pub(super) message: &'w str,
    pub(super) retry_after: Option<Duration>,
    pub(super) request_id: &'w str,
    /// What a program needs beside, as members of the JSON object.
    pub(super) more: Option<(&'static str, Value)>,
}

/// A body, what it is, and what a browser may do with it.
pub(super) struct Rendered {
    pub(super) content_type: &'static str,
    pub(super) text: String,
    pub(super) policy: Option<HeaderValue>,
}

impl Accept {
    /// Reads `Accept`; the form named first wins. A client that names none is answered in JSON if it
    /// speaks JSON, as scripts of a shop do, and else in plain text.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let mut ranges = text(ACCEPT).unwrap_or_default().split(',').map(essence);
        let spoken = || text(CONTENT_TYPE).map(essence).filter(|name| name.ends_with("json"));
        let named = ranges.find_map(Self::named);
        named.or_else(|| spoken().map(|_| Self::Json)).unwrap_or(Self::Plain)
    }

    fn named(range: &str) -> Option<Self> {
        match range {
            "text/html" | "application/xhtml+xml" => Some(Self::Html),
            "text/plain" => Some(Self::Plain),
            name if name.ends_with("json") => Some(Self::Json),
            _ => None,
        }
    }

    pub(super) fn render(self, words: &Words<'_>, pages: Option<&Pages>) -> Rendered {
        let retry_after = words.retry_after.map(wait::whole_seconds);
        let wait = retry_after.map(wait::in_words);
        let Words { status, title, message, request_id, .. } = *words;
        let (content_type, text, policy) = match self {
            Self::Html => {
                let wait = wait.as_deref();
                let facts = PageFacts { status, title, message, retry_after, wait, request_id };
                let own = pages.and_then(|pages| pages.render(&facts));
                // What the operator's page may load is for the operator to say.
                let policy = own.is_none().then(|| HeaderValue::from_static(CLOSED));
                ("text/html; charset=utf-8", own.unwrap_or_else(|| html(&facts)), policy)
            }
            Self::Json => ("application/json", json(words, retry_after), None),
            Self::Plain => {
                let wait = wait.map(|wait| format!("Try again {wait}.\n")).unwrap_or_default();
                let text = format!("{status} {title}\n{message}\n{wait}Request {request_id}\n");
                ("text/plain; charset=utf-8", text, None)
            }
        };
        Rendered { content_type, text, policy }
    }
}

fn essence(range: &str) -> &str {
    range.split(';').next().unwrap_or_default().trim()
}

fn json(words: &Words<'_>, retry_after: Option<u64>) -> String {
    let Words { status, title, message, request_id, more, .. } = words;
    let mut object = json!({
        "error": { "status": status, "title": title, "detail": message },
        "request_id": request_id,
    });
    if let Value::Object(members) = &mut object {
        members.extend(retry_after.map(|seconds| ("retry_after".to_owned(), seconds.into())));
        members.extend(more.as_ref().map(|(name, value)| ((*name).to_owned(), value.clone())));
    }
    object.to_string()
}

fn html(facts: &PageFacts<'_>) -> String {
    let PageFacts { status, title, message, wait, request_id, .. } = facts;
    let wait = wait.map(|wait| format!("<p>You can try again <strong>{wait}</strong>.</p>"));
    let wait = wait.unwrap_or_default();
    let mut page = String::with_capacity(900);
    let _infallible = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"robots\" content=\"noindex\">\
         <title>{title}</title><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1><p>{message}</p>{wait}<p><small>{status} &middot; \
         Request {request_id}</small></p></main></body></html>\n"
    );
    page
}

/// Readable at any size, in the light and in the dark.
pub(super) const STYLE: &str = ":root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,\
    sans-serif;max-width:34rem;margin:15vh auto;padding:0 1rem}small{opacity:.75}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_one_that_a_client_names_or_speaks() {
        let of = |accept: &'static str, content_type: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            Accept::of(&headers)
        };
        let form = "application/x-www-form-urlencoded";
        assert_eq!(of("text/html,application/xhtml+xml,*/*;q=0.8", form), Accept::Html);
        assert_eq!(of("application/json, text/plain, */*", form), Accept::Json);
        assert_eq!(of("application/problem+json;q=0.9", form), Accept::Json);
        assert_eq!(of("*/*", "application/json; charset=utf-8"), Accept::Json);
        assert_eq!(of("*/*", form), Accept::Plain);
        assert_eq!(of("text/html", "application/json"), Accept::Html);
    }
}
