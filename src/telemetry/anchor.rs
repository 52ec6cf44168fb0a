//! The small file beside the audit log that says how far it went, so that a cut tail shows.
//!
//! It is sealed with the log's key and replaced atomically after each write to the log. Someone who
//! puts back an old log *and* the anchor of that time is not seen here; the anchors told in the
//! operational log, shipped elsewhere, show that.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chain::{AuditKey, ChainEnd, hex, unhex};

/// What an anchor file says.
pub(super) enum Anchor {
    Forged,
    Missing,
    Holds(ChainEnd),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    seq: u64,
    mac: String,
    #[serde(rename = "seal")]
    _seal: String,
}

impl Anchor {
    /// Reads the anchor of the log at `log`.
    pub(super) fn read(log: &Path, key: &AuditKey) -> io::Result<Self> {
        let text = match fs::read(file_of(log)) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::Missing),
            Err(error) => return Err(error),
        };
        Ok(parse(&text, key).map_or(Self::Forged, Self::Holds))
    }

    /// Whether the log at `log` has one, whatever it says.
    pub(super) fn stands(log: &Path) -> bool {
        file_of(log).exists()
    }

    /// Replaces the anchor of the log at `log`. Call it after the log is on the disk, so that the
    /// anchor is never ahead of it.
    pub(super) fn write(log: &Path, key: &AuditKey, end: ChainEnd) -> io::Result<()> {
        let fresh = log.with_extension("anchor.new");
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(text(key, end).as_bytes())?;
        fs::rename(&fresh, file_of(log))
    }
}

fn file_of(log: &Path) -> PathBuf {
    log.with_extension("anchor")
}

fn text(key: &AuditKey, end: ChainEnd) -> String {
    let seal = key.mac("anchor", &[&end.seq.to_be_bytes(), &end.mac]);
    let (seq, mac, seal) = (end.seq, hex(&end.mac), hex(&seal));
    format!("{{\"seq\":{seq},\"mac\":\"{mac}\",\"seal\":\"{seal}\"}}\n")
}

fn parse(read: &[u8], key: &AuditKey) -> Option<ChainEnd> {
    let written: Written = serde_json::from_slice(read).ok()?;
    let end = ChainEnd { seq: written.seq, mac: unhex(written.mac.as_bytes())? };
    // One writing only: the whole text must be the one we would write.
    (text(key, end).as_bytes() == read).then_some(end)
}
