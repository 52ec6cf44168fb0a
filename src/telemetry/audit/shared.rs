//! One log that two processes write while the one takes the other's place.
//!
//! The lock that keeps strangers out belongs to the open log itself, and is handed over with its
//! descriptor. Batches take turns by a second lock; who has its turn reads on first where the other has
//! written, so that the chain is one.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Seek as _, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::super::chain::{AuditKey, ChainEnd, Parsed};
use super::super::lines::DroppedLines;
use super::{Audit, AuditError, Writer};

/// How far a log goes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct AuditMark {
    length: u64,
    seq: u64,
    mac: [u8; 32],
}

/// An open log of another process.
pub struct AuditHandover {
    /// The log, with the lock on it.
    pub file: OwnedFd,
    /// How far it went.
    pub mark: AuditMark,
}

impl AuditMark {
    pub(super) fn of(length: u64, end: ChainEnd) -> Self {
        Self { length, seq: end.seq, mac: end.mac }
    }
}

impl Audit {
    /// Goes on with the log of a process that still writes to it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn join(
        path: &Path,
        key: AuditKey,
        dropped: DroppedLines,
        handover: AuditHandover,
    ) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Open { path: path.to_owned(), source };
        let mut writer = Writer::new(path, key, handover, dropped).map_err(failed)?;
        // The other one has looked: what it wrote since is read before the first record.
        writer.doubtful = false;
        Self::start(writer).map_err(failed)
    }

    /// The log and how far it goes, for a process that is to write to it beside us.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn hand_over(&self) -> io::Result<(OwnedFd, AuditMark)> {
        Ok((self.log.try_clone()?, *self.mark.lock()))
    }
}

impl Writer {
    pub(super) fn new(
        path: &Path,
        key: AuditKey,
        AuditHandover { file, mark }: AuditHandover,
        dropped: DroppedLines,
    ) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let turn = options.write(true).create(true).truncate(false).mode(0o600);
        Ok(Self {
            path: path.to_owned(),
            key,
            file: file.into(),
            end: ChainEnd { seq: mark.seq, mac: mark.mac },
            length: mark.length,
            turn: turn.open(path.with_extension("turn"))?,
            mark: Arc::new(Mutex::new(mark)),
            doubtful: true,
            dropped,
        })
    }

    /// Writes while nobody else does.
    pub(super) fn in_turn<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> io::Result<R>,
    ) -> io::Result<R> {
        self.turn.lock()?;
        let done = work(self);
        self.turn.unlock()?;
        done
    }

    /// Reads what another process has written since; whether it goes on with our chain.
    pub(super) fn catch_up(&mut self) -> io::Result<bool> {
        let length = self.file.metadata()?.len();
        if length == self.length {
            return Ok(true);
        }
        let mut log = File::open(&self.path)?;
        log.seek(SeekFrom::Start(self.length))?;
        let (mut log, mut line, mut end) = (BufReader::new(log), Vec::new(), self.end);
        while log.read_until(b'\n', &mut line)? > 0 {
            let record = line.strip_suffix(b"\n").and_then(Parsed::of);
            let next = record.filter(|record| {
                record.head.seq == end.seq.saturating_add(1) && record.follows(&self.key, &end.mac)
            });
            let Some(next) = next else { return Ok(false) };
            end = next.end();
            line.clear();
        }
        self.end = end;
        self.length = length;
        Ok(length > 0)
    }
}
