//! Whether the disk still takes writes, asked before SQLite is.
//!
//! SQLite maps the index of its log into memory. Where the file system has turned read-only, as ext4
//! does by itself after an I/O error, a write to such a page is no error but SIGBUS: the end of the
//! process, and of all the traffic that needs no vault (promise P3). A file of our own is refused in
//! words instead.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sqlx::Sqlite;
use sqlx::pool::PoolConnection;

use super::{SqliteStore, settle};
use crate::vault::Outage;
use crate::vault::store::StoreError;

/// A file beside the database, never the database itself: closing a second handle to that would
/// drop SQLite's locks on it (fcntl(2), "Advisory record locking").
pub(super) struct Probe(File);

impl Probe {
    /// Opens the file beside the database at `path`, or makes it. Fails with its name.
    pub(super) fn open(path: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let mut beside = path.as_os_str().to_owned();
        beside.push("-probe");
        let beside = PathBuf::from(beside);
        let mut options = OpenOptions::new();
        let options = options.create(true).truncate(false).write(true).mode(0o600);
        options.open(&beside).map(Self).map_err(|source| (beside, source))
    }

    /// Sets a time: unlike a byte that is written again, that always asks the file system itself.
    pub(super) fn ask(&self) -> Result<(), StoreError> {
        self.0.set_modified(SystemTime::now()).map_err(|refused| {
            let outage = match refused.kind() {
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    Outage::ReadOnly
                }
                io::ErrorKind::StorageFull => Outage::Full,
                _ => Outage::Io,
            };
            StoreError::Down { outage, source: Box::new(refused) }
        })
    }
}

impl SqliteStore {
    /// A connection that reads. That too notes in the mapped index how far it reads.
    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.probe.ask()?;
        Ok(self.readers.acquire().await?)
    }

    /// The connection that writes.
    pub(super) async fn writer(&self) -> Result<PoolConnection<Sqlite>, StoreError> {
        self.probe.ask()?;
        Ok(self.writer.acquire().await?)
    }

    /// As [`settle`], after a write. The disk is asked again: a sync of a file system that turns
    /// read-only meanwhile can come back well and have synced nothing. On ext4 (Linux 6.18) one in
    /// twenty such turns lost a token that the shop had.
    pub(super) fn settle_written<T>(
        &self,
        connection: PoolConnection<Sqlite>,
        done: Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let done = settle(connection, done)?;
        self.probe.ask()?;
        Ok(done)
    }
}
