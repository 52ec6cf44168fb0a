//! Whether files may have changed, without reading them.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use super::identity::unix_seconds;
use crate::policy::CertificateFiles;

/// A file that changed so short a while ago may change again within one tick of its clock.
const TICK: Duration = Duration::from_secs(2);

/// What changes when a file's content, identity or access does. The content itself is not read: it
/// may be a private key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileStamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    /// Also moves on `chmod` and `chown`, which may make an unreadable file readable.
    changed: (i64, i64),
}

/// What changes when a file of a pair does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stamps(Vec<Option<FileStamp>>);

impl FileStamp {
    /// Of the file that was found.
    #[must_use]
    pub fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            length: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

impl Stamps {
    /// `None` where they would tell nothing.
    pub(super) fn of(files: &CertificateFiles, now: SystemTime) -> Option<Self> {
        let paths = [Some(&files.chain), Some(&files.key), files.ocsp.as_ref()];
        let found = paths.into_iter().flatten().map(|path| fs::metadata(path).ok());
        let stamps: Vec<_> = found.map(|found| found.as_ref().map(FileStamp::of)).collect();
        let settled = unix_seconds(now.checked_sub(TICK)?);
        let settled = |stamp: &FileStamp| stamp.changed.0 < settled && stamp.modified.0 < settled;
        stamps.iter().flatten().all(settled).then_some(Self(stamps))
    }
}
