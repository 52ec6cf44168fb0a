//! The operator's own pages for refused requests.
//!
//! A page is found by its status, then `error.html`; without either, ours is shown. Every page is
//! tried when it is read, so that a slip is found by the operator and not by a customer. Files whose
//! names begin with `_` are for other pages to include or extend.

use minijinja::value::Serde;
use minijinja::{Environment, Error, UndefinedBehavior};
use serde::Serialize;
use thiserror::Error as ThisError;

/// The page for every status that has none of its own.
const ANY: &str = "error.html";

/// How many steps of a template are taken: a page is small, and a loop of a slip ends.
const STEPS_MAX: u64 = 200_000;

/// The pages, compiled.
#[derive(Debug)]
pub struct Pages {
    environment: Environment<'static>,
    texts: Vec<String>,
}

/// What a page may show. None of it comes from the client, nor tells it which rule refused.
#[derive(Clone, Debug, Serialize)]
pub struct PageFacts<'f> {
    /// The status.
    pub status: u16,
    /// What it is called, as a heading.
    pub title: &'f str,
    /// One sentence for the person at the other end.
    pub message: &'f str,
    /// In how many seconds to try again, if that helps.
    pub retry_after: Option<u64>,
    /// The same in words: `in about 5 minutes`.
    pub wait: Option<&'f str>,
    /// What the operator finds the request by.
    pub request_id: &'f str,
}

/// Why a page cannot be used.
#[derive(Debug, ThisError)]
#[error("a page cannot be shown")]
pub struct PageError {
    /// Which file.
    pub name: String,
    /// Where in it, from 1; 0 where that is not known.
    pub line: usize,
    source: Error,
}

impl PageError {
    /// What is wrong with it.
    #[must_use]
    pub fn what(&self) -> String {
        let kind = self.source.kind();
        self.source.detail().map_or_else(|| kind.to_string(), |detail| format!("{kind}: {detail}"))
    }
}

impl Pages {
    /// Compiles pages, by their names, and shows each of them once.
    ///
    /// # Errors
    /// When one of them is no template, or names something that there is not.
    pub fn new(pages: Vec<(String, String)>) -> Result<Self, PageError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(STEPS_MAX));
        let mut texts = Vec::new();
        let names: Vec<String> = pages.iter().map(|(name, _)| name.clone()).collect();
        for (name, text) in pages {
            texts.extend([name.clone(), text.clone()]);
            let added = environment.add_template_owned(name.clone(), text);
            added.map_err(|source| PageError::new(&name, source))?;
        }
        let pages = Self { environment, texts };
        for name in names.iter().filter(|name| !name.starts_with('_')) {
            pages.try_out(name).map_err(|source| PageError::new(name, source))?;
        }
        Ok(pages)
    }

    /// The page for a refusal, if the operator has one.
    #[must_use]
    pub fn render(&self, facts: &PageFacts<'_>) -> Option<String> {
        let own = format!("{}.html", facts.status);
        let page = self.environment.get_template(&own);
        let page = page.or_else(|_| self.environment.get_template(ANY)).ok()?;
        page.render(Serde(facts)).ok()
    }

    /// What they were compiled from, for a digest.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }

    fn try_out(&self, name: &str) -> Result<(), Error> {
        let page = self.environment.get_template(name)?;
        for (retry_after, wait) in [(None, None), (Some(300), Some("in about 5 minutes"))] {
            page.render(Serde(PageFacts {
                status: 429,
                title: "Too many attempts",
                message: "Please wait.",
                retry_after,
                wait,
                request_id: "0123456789abcdef",
            }))?;
        }
        Ok(())
    }
}

impl PageError {
    fn new(name: &str, source: Error) -> Self {
        // An include is at fault itself.
        let name = source.name().unwrap_or(name).to_owned();
        Self { name, line: source.line().unwrap_or_default(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(status: u16) -> PageFacts<'static> {
        let (title, message) = ("A <title>", "Words & more");
        PageFacts { status, title, message, retry_after: Some(9), wait: None, request_id: "id" }
    }

    fn pages(files: &[(&str, &str)]) -> Result<Pages, PageError> {
        Pages::new(files.iter().map(|(name, text)| ((*name).into(), (*text).into())).collect())
    }

    #[test]
    fn a_page_of_its_own_goes_before_the_page_for_all() {
        let files = [
            ("_frame.html", "<main>{% block body %}{% endblock %}</main>"),
            ("error.html", "any {{ status }}"),
            (
                "429.html",
                "{% extends '_frame.html' %}{% block body %}{{ title }} {{ retry_after }}{% endblock %}",
            ),
        ];
        let pages = pages(&files).unwrap();
        assert_eq!(pages.render(&facts(429)).unwrap(), "<main>A &lt;title&gt; 9</main>");
        assert_eq!(pages.render(&facts(503)).unwrap(), "any 503");
        assert!(self::pages(&files[..1]).unwrap().render(&facts(503)).is_none());
    }

    #[test]
    fn a_broken_page_is_told_with_its_file_and_line() {
        let told = |text: &str| {
            let error = pages(&[("error.html", text)]).unwrap_err();
            (error.name.clone(), error.line, error.what())
        };
        assert_eq!((told("a\n{% if %}").0, told("a\n{% if %}").1), ("error.html".to_owned(), 2));
        let (_, line, what) = told("a\n\n{{ nonsense }}");
        assert_eq!((line, what.as_str()), (3, "undefined value"));
        assert_eq!(told("{% include 'missing.html' %}").1, 1);
        let endless =
            "{% for a in range(9000) %}{% for b in range(9000) %}{{ b }}{% endfor %}{% endfor %}";
        assert!(told(endless).2.contains("fuel"), "{}", told(endless).2);
    }
}
