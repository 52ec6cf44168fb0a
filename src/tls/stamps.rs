//! Whether the files of a pair may have changed, without reading them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::identity::unix_seconds;
use crate::policy::CertificateFiles;

/// A file that changed so short a while ago may change again within one tick of its clock.
const TICK: Duration = Duration::from_secs(2);

/// What changes when a file of a pair does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stamps(Vec<Option<Stamp>>);

#[derive(Clone, Debug, Eq, PartialEq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// `None` where they would tell nothing.
    pub(super) fn of(files: &CertificateFiles, now: SystemTime) -> Option<Self> {
        let paths = [Some(&files.chain), Some(&files.key), files.ocsp.as_ref()];
        let stamps: Vec<_> = paths.into_iter().flatten().map(stamp).collect();
        let settled = unix_seconds(now.checked_sub(TICK)?);
        let settled = |stamp: &Stamp| stamp.changed.0 < settled && stamp.modified.0 < settled;
        stamps.iter().flatten().all(settled).then_some(Self(stamps))
    }
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let found = fs::metadata(path).ok()?;
    Some(Stamp {
        device: found.dev(),
        inode: found.ino(),
        length: found.len(),
        modified: (found.mtime(), found.mtime_nsec()),
        changed: (found.ctime(), found.ctime_nsec()),
    })
}
