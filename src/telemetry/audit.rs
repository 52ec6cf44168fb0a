//! The audit log: append-only, each record chained to the one before by a keyed mac.
//!
//! A thread of its own writes, and puts each batch on the disk before it answers. A log that is
//! found changed is said so, in itself and in the operational log, and continued: an auditor needs
//! the records that follow more than an operator needs the process to stand still.

mod shared;

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::anchor::Anchor;
use super::audit_event::{AuditEvent, ChainEvent};
use super::chain::{ChainEnd, hex};
use super::lines::DroppedLines;
use super::verify::Walk;

pub use super::chain::AuditKey;
pub use super::verify::{AuditFault, FaultKind, Verified, begun, verify};
pub use shared::{AuditHandover, AuditMark};

/// How many records may wait.
const QUEUE_MAX: usize = 4096;
/// How many records one write to the disk takes.
const BATCH_MAX: usize = 256;
/// How many records lie between two anchors in the log.
const ANCHOR_EVERY: u64 = 256;

/// Why a record is not in the log.
#[derive(Debug, Error)]
pub enum AuditError {
    /// The writer has ended, or its write failed; the operational log says why.
    #[error("the audit record was not written")]
    NotWritten,
    /// Too many records wait.
    #[error("the audit log cannot keep up")]
    Full,
    /// Another process writes to it.
    #[error("{} is in use by another process", path.display())]
    InUse {
        /// The log.
        path: PathBuf,
    },
    /// It cannot be opened or continued.
    #[error("cannot open {}", path.display())]
    Open {
        /// The log.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The audit log. Dropping it writes what waits.
pub struct Audit {
    queue: Option<SyncSender<Entry>>,
    writer: Option<JoinHandle<()>>,
    dropped: DroppedLines,
    /// The log once more, and how far it goes, for the process that is to go on with it beside us.
    log: OwnedFd,
    mark: Arc<Mutex<AuditMark>>,
}

struct Entry {
    at: SystemTime,
    event: AuditEvent,
    written: Option<oneshot::Sender<()>>,
}

struct Writer {
    path: PathBuf,
    key: AuditKey,
    file: File,
    end: ChainEnd,
    /// How long the file was after our last write.
    length: u64,
    /// Held while a batch is written.
    turn: File,
    mark: Arc<Mutex<AuditMark>>,
    /// A write failed: what the file holds must be looked at first.
    doubtful: bool,
    dropped: DroppedLines,
}

impl Audit {
    /// Opens the log at `path`, or begins it, and continues its chain.
    ///
    /// # Errors
    /// When it cannot be read or written, or another process writes to it. A log that was changed
    /// is no error: it is told and continued.
    pub fn open(
        path: &Path,
        key: AuditKey,
        dropped: DroppedLines,
        now: SystemTime,
    ) -> Result<Self, AuditError> {
        let failed = |source| AuditError::Open { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let options = options.read(true).append(true).create(true).mode(0o600);
        let file = options.open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(AuditError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let handover = AuditHandover { file: file.into(), mark: AuditMark::default() };
        let mut writer = Writer::new(path, key, handover, dropped.clone()).map_err(failed)?;
        writer.in_turn(|writer| writer.resume(now)).map_err(failed)?;
        Self::start(writer).map_err(failed)
    }

    fn start(writer: Writer) -> io::Result<Self> {
        let (dropped, mark) = (writer.dropped.clone(), Arc::clone(&writer.mark));
        let log = OwnedFd::from(writer.file.try_clone()?);
        let (queue, entries) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new().name("audit".to_owned());
        let writer = thread.spawn(move || writer.run(&entries))?;
        Ok(Self { queue: Some(queue), writer: Some(writer), dropped, log, mark })
    }

    /// Records an event, soon; counts it as dropped where that is impossible.
    pub fn record(&self, at: SystemTime, event: AuditEvent) {
        if self.send(Entry { at, event, written: None }).is_err() {
            self.dropped.add(1);
        }
    }

    /// Records an event and returns when it is on the disk, and with it every earlier one.
    ///
    /// # Errors
    /// When it is not; what it would have proved must then not happen.
    pub async fn record_durable(
        &self,
        at: SystemTime,
        event: AuditEvent,
    ) -> Result<(), AuditError> {
        let (written, done) = oneshot::channel();
        self.send(Entry { at, event, written: Some(written) })?;
        done.await.map_err(|_| AuditError::NotWritten)
    }

    fn send(&self, entry: Entry) -> Result<(), AuditError> {
        let queue = self.queue.as_ref().ok_or(AuditError::NotWritten)?;
        queue.try_send(entry).map_err(|_| AuditError::Full)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            error!("audit writer panicked");
        }
    }
}

impl Writer {
    fn run(mut self, entries: &Receiver<Entry>) {
        while let Ok(first) = entries.recv() {
            let mut batch = vec![first];
            batch.extend(entries.try_iter().take(BATCH_MAX - 1));
            match self.in_turn(|writer| writer.append(&batch)) {
                Ok(()) => batch.into_iter().filter_map(|entry| entry.written).for_each(answer),
                Err(error) => {
                    self.doubtful = true;
                    self.dropped.add(u64::try_from(batch.len()).unwrap_or(u64::MAX));
                    // Dropping the senders answers those who wait.
                    error!(%error, records = batch.len(), "audit records not written");
                }
            }
        }
    }

    fn append(&mut self, batch: &[Entry]) -> io::Result<()> {
        if self.doubtful || !self.catch_up()? {
            let now = batch.first().map_or(SystemTime::UNIX_EPOCH, |entry| entry.at);
            self.resume(now)?;
        }
        let (mut end, mut text) = (self.end, String::new());
        for entry in batch {
            end = add(end, &self.key, entry.at, &entry.event, &mut text)?;
            if end.seq % ANCHOR_EVERY == ANCHOR_EVERY - 1 {
                let anchor = ChainEvent::Anchor { records: end.seq };
                end = add(end, &self.key, entry.at, &anchor, &mut text)?;
                // Shipped elsewhere, this shows when log and anchor file were put back together.
                info!(seq = end.seq, mac = hex(&end.mac), "audit anchor");
            }
        }
        self.write(&text, end)
    }

    fn write(&mut self, text: &str, end: ChainEnd) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()?;
        self.end = end;
        self.length = self.file.metadata()?.len();
        *self.mark.lock() = AuditMark::of(self.length, end);
        Anchor::write(&self.path, &self.key, end)
    }

    /// Finds the end of the chain in the file, and tells in it what is wrong with it.
    fn resume(&mut self, now: SystemTime) -> io::Result<()> {
        let anchor = self.anchor()?;
        // A second handle: appending does not depend on where this one reads.
        let walk = Walk::over(File::open(&self.path)?, &self.key, anchor)?;
        let (mut end, mut text) = (walk.end, String::new());
        if walk.unterminated {
            text.push('\n');
        }
        if let Some((torn_bytes, torn_digest)) = walk.torn_tail() {
            warn!(torn_bytes, "audit log ended in a torn line");
            let event = ChainEvent::TornLine { torn_bytes, torn_digest: &torn_digest };
            end = add(end, &self.key, now, &event, &mut text)?;
        }
        if let Some(fault) = &walk.fault {
            error!(%fault, "audit log was changed");
            let event = ChainEvent::FaultFound { fault: &fault.to_string() };
            end = add(end, &self.key, now, &event, &mut text)?;
        }
        self.write(&text, end)?;
        self.doubtful = false;
        Ok(())
    }

    /// The anchor; a log that is empty and has none is a new one, and is given its first.
    fn anchor(&self) -> io::Result<Anchor> {
        let anchor = Anchor::read(&self.path, &self.key)?;
        if matches!(anchor, Anchor::Missing) && self.file.metadata()?.len() == 0 {
            Anchor::write(&self.path, &self.key, ChainEnd::default())?;
            return Ok(Anchor::Holds(ChainEnd::default()));
        }
        Ok(anchor)
    }
}

fn add<E: serde::Serialize>(
    end: ChainEnd,
    key: &AuditKey,
    at: SystemTime,
    event: &E,
    text: &mut String,
) -> io::Result<ChainEnd> {
    let (end, line) = end.next(key, at, event)?;
    text.push_str(&line);
    Ok(end)
}

fn answer(written: oneshot::Sender<()>) {
    // Whoever asked may have gone; the record stands all the same.
    let _ = written.send(());
}

#[cfg(test)]
mod tests;
