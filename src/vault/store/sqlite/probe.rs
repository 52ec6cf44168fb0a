//! Whether the disk still takes writes, asked before SQLite is.
//!
//! SQLite maps the index of its log into memory. Where the file system has turned read-only, as ext4
//! does by itself after an I/O error, a write to such a page is no error but SIGBUS: the end of the
//! process, and of all the traffic that needs no vault (promise P3). A file of our own is refused in
//! words instead.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection, SqlitePool};

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

/// A pool whose disk is asked before each use: SQLite notes in its mapped index how far even a
/// reader reads.
pub(super) struct Guarded {
    pool: SqlitePool,
    probe: Arc<Probe>,
}

impl Guarded {
    /// Both pools of a database.
    pub(super) fn both(pools: [SqlitePool; 2], probe: Probe) -> [Self; 2] {
        let probe = Arc::new(probe);
        pools.map(|pool| Self { pool, probe: Arc::clone(&probe) })
    }

    pub(super) async fn acquire(&self) -> Result<Held, StoreError> {
        self.probe.ask()?;
        let connection = self.pool.acquire().await?;
        Ok(Held { connection, probe: Arc::clone(&self.probe) })
    }
}

/// All else that a pool can do needs no disk.
impl Deref for Guarded {
    type Target = SqlitePool;

    fn deref(&self) -> &SqlitePool {
        &self.pool
    }
}

/// A connection in use.
pub(super) struct Held {
    connection: PoolConnection<Sqlite>,
    probe: Arc<Probe>,
}

impl Held {
    pub(super) fn close_on_drop(&mut self) {
        self.connection.close_on_drop();
    }

    /// Whether the disk has taken writes all the time. A sync of a file system that turns read-only
    /// meanwhile can come back well and have synced nothing: on ext4 (Linux 6.18) one in ten such
    /// turns lost a token that the shop had.
    pub(super) fn ask_again(&self) -> Result<(), StoreError> {
        self.probe.ask()
    }
}

impl Deref for Held {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.connection
    }
}

impl DerefMut for Held {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }
}
