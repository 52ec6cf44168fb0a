//! What is asked for.

use crate::pages::FORM;

/// How clients speak.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// One row of the table.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) protocol: Protocol,
    pub(crate) path: &'static str,
    /// What is posted; a GET without.
    pub(crate) form: Option<&'static str>,
}

/// The rows, in order; the files are made in `folder`.
pub(crate) const CASES: [Case; 6] = [
    Case::get("h1 1 KiB", Protocol::Http1, "/1k.html"),
    Case::get("h1 16 KiB HTML", Protocol::Http1, "/16k.html"),
    Case::get("h1 16 KiB JSON", Protocol::Http1, "/16k.json"),
    Case::get("h1 100 KiB HTML", Protocol::Http1, "/100k.html"),
    Case::get("h2 1 KiB", Protocol::Http2, "/1k.html"),
    Case {
        name: "h1 POST form, no card",
        protocol: Protocol::Http1,
        path: "/checkout",
        form: Some(FORM),
    },
];

impl Case {
    const fn get(name: &'static str, protocol: Protocol, path: &'static str) -> Self {
        Self { name, protocol, path, form: None }
    }

    pub(crate) fn matches(&self, only: Option<&str>) -> bool {
        only.is_none_or(|only| self.name.contains(only))
    }
}
