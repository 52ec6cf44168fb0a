//! The text of a configuration file, and where in it a value stands.

use std::ops::Range;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use toml::Spanned;

use super::problem::Problem;

/// The longest value that a problem quotes.
const QUOTE_CHARACTERS_MAX: usize = 60;

/// A value and the bytes of the file that it was written in.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct At<T>(Spanned<T>);

/// A configuration file, read.
pub(super) struct Source<'a> {
    /// As it was named to us.
    pub(super) file: &'a Path,
    /// What it says; empty for what came from the command line.
    pub(super) text: &'a str,
    /// Where its relative paths start.
    pub(super) folder: PathBuf,
}

impl<T> At<T> {
    /// A value that stands in no file.
    pub(super) fn nowhere(value: T) -> Self {
        Self(Spanned::new(0..0, value))
    }

    pub(super) fn get(&self) -> &T {
        self.0.get_ref()
    }

    pub(super) fn span(&self) -> Range<usize> {
        self.0.span()
    }
}

impl Source<'_> {
    /// The line, from 1, on which a span begins; 0 where there is no text.
    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        if self.text.is_empty() {
            return 0;
        }
        let before = self.text.as_bytes().iter().take(span.start);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    /// The value as it is written in the file, where that is short enough to show.
    ///
    /// A value that comes from the environment is shown as `${VARIABLE}`, never as what it holds.
    pub(super) fn quote(&self, span: &Range<usize>) -> String {
        let written = self.text.get(span.clone()).unwrap_or_default();
        let fits = !written.is_empty() && written.chars().count() <= QUOTE_CHARACTERS_MAX;
        if fits && !written.contains(char::is_control) {
            return written.to_owned();
        }
        "the value".to_owned()
    }

    pub(super) fn problem(
        &self,
        span: &Range<usize>,
        key: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Problem {
        Problem {
            file: self.file.to_owned(),
            line: self.line(span),
            key: key.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<T>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_from_one_and_long_values_are_not_quoted() {
        let text = format!("a = 1\nb = 2\n{}", "x".repeat(61));
        let source = Source { file: Path::new("f"), text: &text, folder: PathBuf::new() };
        assert_eq!(source.line(&(0..1)), 1);
        assert_eq!(source.line(&(6..7)), 2);
        assert_eq!(source.quote(&(6..11)), "b = 2");
        assert_eq!(source.quote(&(12..73)), "the value");
        assert_eq!(source.quote(&(900..950)), "the value");
    }
}
