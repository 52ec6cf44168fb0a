//! The audit log: append-only, each record chained to the one before by a keyed mac.
//!
//! A thread of its own writes, and puts each batch on the disk before it answers. A log that is
//! found changed is said so, in itself and in the operational log, and continued: an auditor needs
//! the records that follow more than an operator needs the process to stand still.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

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
        let mut writer = Writer {
            path: path.to_owned(),
            key,
            file,
            end: ChainEnd::default(),
            doubtful: true,
            dropped: dropped.clone(),
        };
        writer.resume(now).map_err(failed)?;
        let (queue, entries) = sync_channel(QUEUE_MAX);
        let thread = thread::Builder::new().name("audit".to_owned());
        let writer = thread.spawn(move || writer.run(&entries)).map_err(failed)?;
        Ok(Self { queue: Some(queue), writer: Some(writer), dropped })
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
            match self.append(&batch) {
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
        if self.doubtful {
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
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::card::{Pan, Token};
    use crate::telemetry::{LastFour, Metrics};

    struct Log {
        _folder: tempfile::TempDir,
        path: PathBuf,
        dropped: DroppedLines,
    }

    impl Log {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("audit.log");
            Self { _folder: folder, path, dropped: Metrics::new().lines_dropped("audit") }
        }

        fn open(&self) -> Audit {
            Audit::open(&self.path, key(), self.dropped.clone(), UNIX_EPOCH).unwrap()
        }

        fn holding(records: u64) -> Self {
            let log = Self::new();
            log.add(records);
            log
        }

        fn add(&self, records: u64) {
            let audit = self.open();
            for generation in 0..records {
                audit.record(UNIX_EPOCH, AuditEvent::ConfigReloaded { generation });
            }
        }

        fn verify(&self) -> Result<Verified, AuditFault> {
            verify(&self.path, &key())
        }

        fn bytes(&self) -> Vec<u8> {
            fs::read(&self.path).unwrap()
        }

        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.bytes()).unwrap();
            text.split_inclusive('\n').map(str::to_owned).collect()
        }

        fn fault_with(&self, text: impl AsRef<[u8]>) -> AuditFault {
            fs::write(&self.path, text).unwrap();
            self.verify().unwrap_err()
        }
    }

    fn key() -> AuditKey {
        AuditKey::new(&[7; 32])
    }

    #[test]
    fn a_chain_goes_on_after_a_restart() {
        let log = Log::holding(3);
        log.add(2);
        assert_eq!(log.verify().unwrap(), Verified { records: 5, anchors: 0, unfinished: false });
        assert_eq!(fs::metadata(&log.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(log.dropped.count(), 0);
    }

    #[test]
    fn anchors_stand_in_a_long_log() {
        let log = Log::holding(600);
        let verified = log.verify().unwrap();
        assert_eq!((verified.records, verified.anchors), (602, 2));
    }

    #[test]
    fn flipping_any_byte_is_found() {
        let log = Log::holding(3);
        let good = log.bytes();
        for place in 0..good.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut bad = good.clone();
                bad[place] ^= flip;
                fs::write(&log.path, &bad).unwrap();
                assert!(log.verify().is_err(), "byte {place} ^ {flip:#x}");
            }
        }
    }

    #[test]
    fn removing_swapping_repeating_or_cutting_lines_is_found_where_it_was_done() {
        let log = Log::holding(4);
        let lines = log.lines();
        let [one, two, three, four] = lines.as_slice() else { panic!("four lines") };
        assert_eq!(log.fault_with([&**one, three, four].concat()).line, 2);
        assert_eq!(log.fault_with([&**two, three, four].concat()).line, 1);
        assert_eq!(log.fault_with([&**one, three, two, four].concat()).line, 2);
        assert_eq!(log.fault_with([&**one, two, two, three, four].concat()).line, 3);
        let cut = log.fault_with([&**one, two, three].concat());
        assert!(matches!(cut.what, FaultKind::TailMissing { expected: 4 }));
        assert!(matches!(log.fault_with("").what, FaultKind::TailMissing { .. }));
    }

    #[test]
    fn every_cut_within_a_record_is_found() {
        let log = Log::holding(2);
        let good = log.bytes();
        for length in 0..good.len() - 1 {
            log.fault_with(&good[..length]);
        }
    }

    #[test]
    fn another_key_and_a_changed_or_missing_anchor_are_found() {
        let log = Log::holding(2);
        assert!(verify(&log.path, &AuditKey::new(&[8; 32])).is_err());
        let anchor = log.path.with_extension("anchor");
        let good = fs::read(&anchor).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 1;
            fs::write(&anchor, bad).unwrap();
            assert!(matches!(log.verify().unwrap_err().what, FaultKind::AnchorForged), "{place}");
        }
        fs::remove_file(&anchor).unwrap();
        assert!(matches!(log.verify().unwrap_err().what, FaultKind::AnchorMissing));
    }

    #[test]
    fn a_torn_line_is_recorded_and_the_chain_goes_on() {
        let log = Log::holding(2);
        let mut torn = log.bytes();
        torn.extend_from_slice(b"{\"seq\":3,\"time\":\"20");
        fs::write(&log.path, &torn).unwrap();
        assert!(log.verify().unwrap().unfinished);
        log.add(1);
        assert_eq!(log.verify().unwrap(), Verified { records: 4, anchors: 0, unfinished: false });
        let changed = String::from_utf8(log.bytes()).unwrap().replace("\"20\n", "\"21\n");
        assert!(matches!(log.fault_with(changed).what, FaultKind::Malformed));
    }

    #[test]
    fn a_tail_that_was_cut_stays_found_after_the_log_went_on() {
        let log = Log::holding(4);
        fs::write(&log.path, log.lines()[..2].concat()).unwrap();
        log.add(3);
        let fault = log.verify().unwrap_err();
        assert!(matches!(fault.what, FaultKind::Gap { expected: 3, found: 5 }), "{fault}");
        let log = Log::holding(2);
        fs::remove_file(log.path.with_extension("anchor")).unwrap();
        log.add(1);
        assert!(matches!(log.verify().unwrap_err().what, FaultKind::Recorded(_)));
    }

    #[test]
    fn a_second_writer_is_refused() {
        let log = Log::new();
        let _first = log.open();
        let second = Audit::open(&log.path, key(), log.dropped.clone(), UNIX_EPOCH);
        assert!(matches!(second, Err(AuditError::InUse { .. })));
    }

    #[tokio::test]
    async fn a_durable_record_is_in_the_file_and_shows_no_card_number() {
        let log = Log::new();
        let audit = log.open();
        let pan = Pan::from_digits(b"4111111111111111").unwrap();
        let event = AuditEvent::CardRevealed {
            gateway: "stripe".to_owned(),
            request_id: "r-1\n{}".to_owned(),
            token: Token::parse(b"4000000000001111").unwrap(),
            last_four: LastFour::of(&pan),
        };
        audit.record_durable(UNIX_EPOCH, event).await.unwrap();
        let text = String::from_utf8(log.bytes()).unwrap();
        assert!(text.starts_with(
            "{\"seq\":1,\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"card_revealed\",\
             \"gateway\":\"stripe\",\"request_id\":\"r-1\\n{}\",\"token\":\"4000000000001111\",\
             \"last_four\":\"1111\",\"mac\":\""
        ));
        assert_eq!(log.verify().unwrap().records, 1);
    }
}
