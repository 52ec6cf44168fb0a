//! The form of a refusal: a page for people, JSON for programs, plain text for everybody else.

use std::fmt::Write as _;

use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};

use crate::proxy::request_id::RequestId;

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

impl Accept {
    /// Reads `Accept`; the form named first wins, and a client that names none gets plain text.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let forms = accept.split(',').filter_map(|range| {
            let essence = range.split(';').next().unwrap_or_default().trim();
            match essence {
                "text/html" | "application/xhtml+xml" => Some(Self::Html),
                "text/plain" => Some(Self::Plain),
                name if name.ends_with("json") => Some(Self::Json),
                _ => None,
            }
        });
        forms.take(1).next().unwrap_or(Self::Plain)
    }

    pub(super) fn render(
        self,
        status: StatusCode,
        words: &str,
        id: &RequestId,
    ) -> (&'static str, String) {
        let code = status.as_u16();
        let title = status.canonical_reason().unwrap_or("Error");
        match self {
            Self::Html => ("text/html; charset=utf-8", html(code, title, words, id)),
            Self::Json => {
                let error = serde_json::json!({
                    "error": { "status": code, "title": title, "detail": words },
                    "request_id": id.as_str(),
                });
                ("application/json", error.to_string())
            }
            Self::Plain => {
                ("text/plain; charset=utf-8", format!("{code} {title}\n{words}\nRequest {id}\n"))
            }
        }
    }
}

fn html(code: u16, title: &str, words: &str, id: &RequestId) -> String {
    let mut page = String::with_capacity(640);
    let _infallible = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{code} {title}</title><style>body{{font:1.1rem/1.5 system-ui,sans-serif;\
         max-width:34rem;margin:15vh auto;padding:0 1rem;color:#222}}small{{color:#555}}</style>\
         </head><body><main><h1>{title}</h1><p>{words}</p><p><small>{code} &middot; Request {id}\
         </small></p></main></body></html>\n"
    );
    page
}
