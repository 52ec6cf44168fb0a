//! What the counters of a process know, as a file: an upgrade or a crash forgives no attacker.
//!
//! It holds keyed hashes only, and is sealed with the key of the hashes: another key's file, one of
//! another version and one that is torn are not read. It is replaced atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use aws_lc_rs::hmac;
use governor::clock::{Clock, MonotonicClock};
use thiserror::Error;
use tracing::{info, warn};

use super::LocalCounter;
use super::record::{Reader, Record, earlier};
use super::table::{Entry, Table, Worth};
use super::tables::Fill;
use super::ticks::Ticks;
use crate::policy::Dimension;

/// What a file of this version begins with.
const HEAD: &[u8; 20] = b"tillgate counters 1\n";

/// The largest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 30;

/// How many times longer the counters are left alone than writing them took.
const PAUSE_TIMES: u32 = 20;

/// The mark of an entry, and of the end of a table.
const ENTRY: u8 = 1;
const END: u8 = 0;

/// The file of a process's counters.
pub struct CounterFile<C: Clock = MonotonicClock> {
    counter: LocalCounter<C>,
    path: PathBuf,
    seal: hmac::Key,
    /// Not before then is it written again: writing must not become the work of the process.
    rests_until: parking_lot::Mutex<Duration>,
}

/// Why a file is not used.
#[derive(Debug, Error)]
enum StateError {
    #[error("{} is torn or not of these counters", path.display())]
    Foreign { path: PathBuf },
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
}

impl<C: Clock + Clone> CounterFile<C> {
    /// The file of these counters, sealed with the key of their hashes.
    pub fn new(counter: &LocalCounter<C>, path: PathBuf, key: &[u8; 32]) -> Self {
        let seal = hmac::Key::new(hmac::HMAC_SHA256, key);
        let rests_until = parking_lot::Mutex::default();
        Self { counter: counter.clone(), path, seal, rests_until }
    }

    /// Takes in what is written, and tells of it in the log. A file that cannot be used is left to be
    /// replaced: guards must not be off because of it.
    pub fn restore(&self, wall: SystemTime) {
        match self.read(&self.path, wall) {
            Ok(0) => {}
            Ok(entries) => info!(entries, "counters restored"),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(error, "counters begin empty");
            }
        }
    }

    /// Writes what has changed, unless that was done too short a time ago.
    pub fn save_changes(&self, wall: SystemTime) {
        if self.counter.now() >= *self.rests_until.lock() {
            self.save(wall);
        }
    }

    /// Writes what has changed.
    pub fn save(&self, wall: SystemTime) {
        let tables = &self.counter.tables;
        if !tables.changed.swap(false, Ordering::Relaxed) {
            return;
        }
        let begun = self.counter.now();
        if let Err(error) = self.write(&self.path, wall) {
            tables.changed.store(true, Ordering::Relaxed);
            warn!(%error, path = %self.path.display(), "cannot write the counters");
        }
        let ended = self.counter.now();
        let pause = ended.saturating_sub(begun).saturating_mul(PAUSE_TIMES);
        *self.rests_until.lock() = ended.saturating_add(pause);
    }

    /// Writes what has changed since the last time, beside the file: that is another process's now.
    /// Whether there is anything.
    pub fn leave(&self, wall: SystemTime) -> bool {
        if !self.counter.tables.changed.swap(false, Ordering::Relaxed) {
            return false;
        }
        let left = self.write(&self.left(), wall);
        if let Err(error) = &left {
            warn!(%error, "what was counted last is lost");
        }
        left.is_ok()
    }

    /// Takes in what another process has left. Of two accounts of one subject the graver one counts.
    pub fn take_over(&self, wall: SystemTime) {
        match self.read(&self.left(), wall) {
            Ok(_) => self.counter.tables.changed.store(true, Ordering::Relaxed),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(error, "what was counted last is lost");
            }
        }
        let _gone = fs::remove_file(self.left());
    }

    fn left(&self) -> PathBuf {
        self.path.with_extension("left")
    }

    /// How full the tables are that it is made from.
    pub fn fill(&self) -> impl Iterator<Item = Fill> + '_ {
        self.counter.tables.fill()
    }

    fn write(&self, path: &Path, wall: SystemTime) -> io::Result<()> {
        let mut fresh = path.as_os_str().to_owned();
        fresh.push(".new");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        let mut out =
            Sealed { out: BufWriter::new(file), seal: hmac::Context::with_key(&self.seal) };
        out.write_all(HEAD)?;
        let since_1970 = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        out.write_all(&u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX).to_be_bytes())?;
        let now = self.counter.now();
        for dimension in Dimension::ALL {
            write_table(&mut out, self.counter.tables.of(dimension), now)?;
        }
        write_table(&mut out, &self.counter.tables.known, now)?;
        out.finish()?.sync_all()?;
        fs::rename(&fresh, path)
    }

    fn read(&self, path: &Path, wall: SystemTime) -> Result<usize, StateError> {
        let failed = |source| StateError::Read { path: path.to_owned(), source };
        let Some(bytes) = read_bounded(path).map_err(failed)? else { return Ok(0) };
        self.take_in(&bytes, wall).ok_or_else(|| StateError::Foreign { path: path.to_owned() })
    }

    fn take_in(&self, bytes: &[u8], wall: SystemTime) -> Option<usize> {
        let (bytes, seal) = bytes.split_last_chunk::<32>()?;
        hmac::verify(&self.seal, bytes, seal).ok()?;
        let (written, bytes) = bytes.strip_prefix(HEAD)?.split_first_chunk()?;
        let written = Duration::from_millis(u64::from_be_bytes(*written));
        // A clock that was put back says that no time has passed: locks then hold a little longer.
        let since_1970 = wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let now = self.counter.now();
        let then = earlier(now, since_1970.saturating_sub(written));
        let mut reader = Reader { bytes, then };
        let mut entries = 0;
        for dimension in Dimension::ALL {
            entries += read_table(&mut reader, self.counter.tables.of(dimension), now)?;
        }
        Some(entries + read_table(&mut reader, &self.counter.tables.known, now)?)
    }
}

/// Seals what it writes.
struct Sealed {
    out: BufWriter<File>,
    seal: hmac::Context,
}

impl Sealed {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.seal.update(bytes);
        self.out.write_all(bytes)
    }

    fn finish(mut self) -> io::Result<File> {
        self.out.write_all(self.seal.sign().as_ref())?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

/// Shard by shard, so that no login waits for a disk.
fn write_table<V: Entry + Record>(
    out: &mut Sealed,
    table: &Table<V>,
    now: Duration,
) -> io::Result<()> {
    let mut shard = Vec::new();
    for place in 0..table.shards() {
        table.each_of(place, |key, entry| {
            if entry.worth(now) != Worth::Nothing {
                shard.push(ENTRY);
                shard.extend(key.as_bytes());
                entry.write(&mut shard, Ticks::after(now));
            }
        });
        out.write_all(&shard)?;
        shard.clear();
    }
    out.write_all(&[END])
}

fn read_table<V: Entry + Record>(
    reader: &mut Reader<'_>,
    table: &Table<V>,
    now: Duration,
) -> Option<usize> {
    let mut entries = 0;
    while reader.take()? == [ENTRY] {
        let (key, read) = (reader.key()?, V::read(reader)?);
        if read.worth(now) != Worth::Nothing {
            table.with(key, now, |entry| {
                if read.worth(now) > entry.worth(now) {
                    *entry = read;
                }
            });
            entries += 1;
        }
    }
    Some(entries)
}

/// What a file holds, if there is one.
fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() > FILE_BYTES_MAX => Err(ErrorKind::FileTooLarge.into()),
        Ok(_) => fs::read(path).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
