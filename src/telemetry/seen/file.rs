//! The table as a file: JSON, replaced atomically.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{ROWS_MAX, SeenCount, SeenKey, SeenReport};

#[derive(Deserialize, Serialize)]
struct Written {
    beyond: u64,
    rows: Vec<Row>,
}

#[derive(Deserialize, Serialize)]
struct Row {
    #[serde(flatten)]
    key: SeenKey,
    #[serde(flatten)]
    count: SeenCount,
}

/// What the file says; nothing where there is none.
pub(super) fn read(path: &Path) -> io::Result<SeenReport> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(SeenReport::default()),
        Err(error) => return Err(error),
    };
    parse(&text)
}

/// What a text says.
pub(super) fn parse(text: &[u8]) -> io::Result<SeenReport> {
    let written: Written = serde_json::from_slice(text)?;
    let rows = written.rows.into_iter().take(ROWS_MAX).map(|row| (row.key, row.count));
    Ok(SeenReport { rows: rows.collect(), beyond: written.beyond })
}

/// Replaces the file. For nobody else to read: it names what a shop's pages are made of.
pub(super) fn write(path: &Path, report: &SeenReport) -> io::Result<()> {
    let fresh = path.with_extension("json.new");
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(text(report)?.as_bytes())?;
    fs::rename(&fresh, path)
}

fn text(report: &SeenReport) -> io::Result<String> {
    let row = |(key, count): (&SeenKey, &SeenCount)| Row { key: key.clone(), count: *count };
    let rows = report.rows.iter().map(row).collect();
    Ok(serde_json::to_string(&Written { beyond: report.beyond, rows })? + "\n")
}

impl SeenReport {
    /// As the file says it: an object with `rows` and `beyond`, times in seconds since 1970.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn to_json(&self) -> io::Result<String> {
        text(self)
    }
}
