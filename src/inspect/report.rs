//! What is printed: the findings of one file together, in order.

use std::borrow::Cow;
use std::io::{self, Stdout, Write};
use std::path::Path;

use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;

use crate::card::MaskedPan;

use super::options::InspectOptions;
use super::position::Position;
use super::progress::Progress;
use super::sarif;
use crate::telemetry::mask_text;

/// How many bytes of one file's findings are kept until others have to wait for it.
const PAGE_BYTES: usize = 64 << 10;

/// How findings are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// One JSON object per line.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// `path:line:column brand number`.
    Text,
}

/// A number that was found, as far as it may be told.
pub(super) struct Number {
    pub(super) brand: &'static str,
    pub(super) masked: MaskedPan,
    /// It is part of magnetic-stripe or chip data, which may not be kept at all (PCI DSS 3.3.1).
    pub(super) track: bool,
}

/// One find and where it is.
pub(super) struct Finding {
    pub(super) start: Position,
    /// Behind its last digit.
    pub(super) end: Position,
    pub(super) number: Number,
}

/// Where all findings go.
pub(super) struct Report<'a> {
    format: Format,
    output: Mutex<Output>,
    progress: &'a Progress,
}

struct Output {
    stdout: Stdout,
    /// Nothing was written that a comma would have to follow.
    first: bool,
}

/// The findings of one file.
pub(super) struct Page<'a> {
    report: &'a Report<'a>,
    path: &'a Path,
    /// The path as the format writes it, once there is something to write.
    name: Option<String>,
    text: Vec<u8>,
    /// Held from the first time a page is too long to be kept, so that it stays in one piece.
    output: Option<MutexGuard<'a, Output>>,
}

impl Format {
    pub(super) fn of(options: &InspectOptions) -> Self {
        match (options.json, options.sarif) {
            (true, _) => Self::Json,
            (false, true) => Self::Sarif,
            (false, false) => Self::Text,
        }
    }

    /// A file may be called by a card number.
    fn name(self, path: &Path) -> String {
        let (path, uri) = (path.to_string_lossy(), sarif::uri(path));
        match self {
            Self::Json => mask_text(&path).into_owned(),
            Self::Sarif => mask_text(&uri).into_owned(),
            Self::Text => printable(&mask_text(&path)).into_owned(),
        }
    }

    /// Writes one finding. What stands between two is written before each.
    fn write(self, name: &str, finding: &Finding, text: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Json => {
                serde_json::to_writer(&mut *text, &Row::of(name, finding))?;
                writeln!(text)
            }
            Self::Sarif => {
                write!(text, ",\n{}", sarif::result(name, finding))
            }
            Self::Text => {
                let Finding { start, number, .. } = finding;
                let track = if number.track { " track data" } else { "" };
                let Position { line, column } = start;
                let Number { brand, masked, .. } = number;
                writeln!(text, "{name}:{line}:{column} {brand} {masked}{track}")
            }
        }
    }
}

/// A name of a file that cannot steer the terminal or look like two lines.
fn printable(name: &str) -> Cow<'_, str> {
    if !name.contains(char::is_control) {
        return Cow::Borrowed(name);
    }
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    Cow::Owned(name.chars().map(shown).collect())
}

/// A finding as a line of JSON.
#[derive(Serialize)]
struct Row<'a> {
    path: &'a str,
    line: u64,
    column: u64,
    end_line: u64,
    end_column: u64,
    kind: &'static str,
    brand: &'static str,
    number: String,
}

impl<'a> Row<'a> {
    fn of(path: &'a str, Finding { start, end, number }: &Finding) -> Self {
        Self {
            path,
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
            kind: if number.track { "track" } else { "card" },
            brand: number.brand,
            number: number.masked.to_string(),
        }
    }
}

impl<'a> Report<'a> {
    pub(super) fn new(format: Format, progress: &'a Progress) -> Self {
        let output = Mutex::new(Output { stdout: io::stdout(), first: true });
        Self { format, output, progress }
    }

    /// Writes what stands before all findings.
    pub(super) fn begin(&self) -> io::Result<()> {
        match self.format {
            Format::Sarif => self.put(&mut self.output.lock(), sarif::header().as_bytes()),
            Format::Json | Format::Text => Ok(()),
        }
    }

    /// Writes what stands behind all findings.
    pub(super) fn end(&self, complete: bool) -> io::Result<()> {
        match self.format {
            Format::Sarif => self.put(&mut self.output.lock(), sarif::footer(complete).as_bytes()),
            Format::Json | Format::Text => Ok(()),
        }
    }

    pub(super) fn page(&'a self, path: &'a Path) -> Page<'a> {
        Page { report: self, path, name: None, text: Vec::new(), output: None }
    }

    fn put(&self, output: &mut Output, text: &[u8]) -> io::Result<()> {
        self.progress.aside(|| {
            output.stdout.write_all(text)?;
            output.stdout.flush()
        })
    }
}

impl Page<'_> {
    pub(super) fn add(&mut self, finding: &Finding) -> io::Result<()> {
        let Self { report, path, name, text, .. } = self;
        let name = name.get_or_insert_with(|| report.format.name(path));
        report.format.write(name, finding, text)?;
        report.progress.found();
        if self.text.len() >= PAGE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Ends the page. One that is dropped instead loses what was not written.
    pub(super) fn close(&mut self) -> io::Result<()> {
        if !self.text.is_empty() {
            self.flush()?;
        }
        self.output = None;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let report = self.report;
        let output = self.output.get_or_insert_with(|| report.output.lock());
        let comma = usize::from(report.format == Format::Sarif && output.first);
        output.first = false;
        report.put(output, self.text.get(comma..).unwrap_or_default())?;
        self.text.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_control_characters_stays_on_its_line() {
        assert_eq!(printable("plain ä.log"), "plain ä.log");
        assert_eq!(printable("a\nb\u{1b}[2J"), "a\\nb\\u{1b}[2J");
    }
}
