//! Walks an audit log and finds what was changed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use aws_lc_rs::hmac;
use thiserror::Error;

use super::anchor::Anchor;
use super::chain::{AuditKey, ChainEnd, Parsed, finish, hex};

/// A log in which nothing was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Verified {
    /// How many records it holds.
    pub records: u64,
    /// How many of them are anchors.
    pub anchors: u64,
    /// Whether it ends in a line cut short: a crash, or a write that is going on.
    pub unfinished: bool,
}

/// What was changed, and where.
#[derive(Debug, Error)]
#[error("line {line}: {what}")]
pub struct AuditFault {
    /// The first line that is not as it was written; 0 where none can be named.
    pub line: u64,
    /// What is wrong there.
    pub what: FaultKind,
}

/// How a log differs from what was written.
#[derive(Debug, Error)]
pub enum FaultKind {
    /// The anchor file was not written with this key.
    #[error("the anchor file was changed")]
    AnchorForged,
    /// The anchor file is gone.
    #[error("the anchor file is missing")]
    AnchorMissing,
    /// The record is not the one that was written.
    #[error("the record was changed")]
    Changed,
    /// Records are missing, or out of order.
    #[error("record {expected} should stand here, not {found}")]
    Gap {
        /// The number that should stand here.
        expected: u64,
        /// The one that does.
        found: u64,
    },
    /// Not a record, and no crash explains it.
    #[error("this is no record")]
    Malformed,
    /// A fault that was found when the log was opened, and told in it.
    #[error("at an earlier start: {0}")]
    Recorded(String),
    /// The log once went further.
    #[error("the log ends before record {expected}")]
    TailMissing {
        /// The last record there was.
        expected: u64,
    },
    /// The log or its anchor cannot be read.
    #[error("cannot be read")]
    Unreadable(#[source] io::Error),
}

/// What a walk from the first line to the last has seen.
pub(super) struct Walk<'k> {
    key: &'k AuditKey,
    anchor: Option<ChainEnd>,
    pub(super) end: ChainEnd,
    pub(super) fault: Option<AuditFault>,
    /// Whether the last byte is no line feed.
    pub(super) unterminated: bool,
    line: u64,
    records: u64,
    anchors: u64,
    torn: Option<Torn>,
}

/// Lines that are no records, until the next record vouches for them.
struct Torn {
    line: u64,
    bytes: u64,
    digest: hmac::Context,
}

/// Whether a log was ever begun at `path`: it, or the anchor that stands for it, is there. An empty file
/// alone is what a full disk leaves of a log whose first record was refused.
#[must_use]
pub fn begun(path: &Path) -> bool {
    let is_more = path.metadata().is_ok_and(|log| !log.is_file() || log.len() > 0);
    is_more || Anchor::stands(path)
}

/// Checks every record of the log at `path`, and that none is missing.
///
/// # Errors
/// The first change that is found.
pub fn verify(path: &Path, key: &AuditKey) -> Result<Verified, AuditFault> {
    let unreadable = |source| AuditFault { line: 0, what: FaultKind::Unreadable(source) };
    // The anchor first: a log that is being written to may be ahead of it, never behind.
    let anchor = Anchor::read(path, key).map_err(unreadable)?;
    let walk = File::open(path).and_then(|file| Walk::over(file, key, anchor));
    let walk = walk.map_err(unreadable)?;
    let unfinished = walk.unterminated || walk.torn.is_some();
    let (records, anchors) = (walk.records, walk.anchors);
    walk.fault.map_or(Ok(Verified { records, anchors, unfinished }), Err)
}

impl<'k> Walk<'k> {
    /// Walks the whole log; keeps the first fault and goes on behind it.
    pub(super) fn over(log: impl Read, key: &'k AuditKey, anchor: Anchor) -> io::Result<Self> {
        let mut walk = Self {
            key,
            anchor: None,
            end: ChainEnd::default(),
            fault: None,
            unterminated: false,
            line: 0,
            records: 0,
            anchors: 0,
            torn: None,
        };
        match anchor {
            Anchor::Forged => walk.fail(0, FaultKind::AnchorForged),
            Anchor::Missing => walk.fail(0, FaultKind::AnchorMissing),
            Anchor::Holds(end) => walk.anchor = Some(end),
        }
        let mut log = BufReader::with_capacity(64 * 1024, log);
        let mut line = Vec::new();
        while log.read_until(b'\n', &mut line)? > 0 {
            walk.line += 1;
            walk.unterminated = line.last() != Some(&b'\n');
            walk.step(line.strip_suffix(b"\n").unwrap_or(&line));
            line.clear();
        }
        walk.finish();
        Ok(walk)
    }

    /// The length and keyed digest of a torn tail.
    pub(super) fn torn_tail(&self) -> Option<(u64, String)> {
        let torn = self.torn.as_ref()?;
        Some((torn.bytes, hex(&finish(torn.digest.clone()))))
    }

    fn step(&mut self, line: &[u8]) {
        let Some(record) = Parsed::of(line) else { return self.tear(line) };
        self.vouch(&record);
        let expected = self.end.seq.saturating_add(1);
        let found = record.head.seq;
        if found != expected {
            self.fail(self.line, FaultKind::Gap { expected, found });
        } else if !record.follows(self.key, &self.end.mac) {
            self.fail(self.line, FaultKind::Changed);
        }
        if self.anchor.is_some_and(|anchor| anchor.seq == found && anchor.mac != record.mac) {
            self.fail(self.line, FaultKind::Changed);
        }
        if record.head.event == "fault_found" {
            self.fail(self.line, FaultKind::Recorded(record.head.fault.clone()));
        }
        self.records += 1;
        self.anchors += u64::from(record.head.event == "anchor");
        self.end = record.end();
    }

    fn tear(&mut self, line: &[u8]) {
        let (key, number) = (self.key, self.line);
        let torn = self.torn.get_or_insert_with(|| Torn {
            line: number,
            bytes: 0,
            digest: key.begin("torn"),
        });
        torn.bytes = torn.bytes.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
        torn.digest.update(line);
        torn.digest.update(b"\n");
    }

    /// A record after torn lines must say that they were found torn.
    fn vouch(&mut self, record: &Parsed<'_>) {
        let digest = self.torn_tail().map(|(_, digest)| digest).unwrap_or_default();
        let told = record.head.event == "torn_line";
        match self.torn.take() {
            Some(torn) if !told || record.head.torn_digest != digest => {
                self.fail(torn.line, FaultKind::Malformed);
            }
            None if told => self.fail(self.line, FaultKind::Changed),
            _ => {}
        }
    }

    fn finish(&mut self) {
        let Some(anchor) = self.anchor else { return };
        if self.end.seq < anchor.seq {
            let line = self.torn.as_ref().map_or(self.line + 1, |torn| torn.line);
            self.fail(line, FaultKind::TailMissing { expected: anchor.seq });
            // Going on from the anchor leaves a gap that every later walk finds.
            self.end = anchor;
        }
    }

    fn fail(&mut self, line: u64, what: FaultKind) {
        self.fault.get_or_insert(AuditFault { line, what });
    }
}
