//! What changed in an embedded store, for every process that has it open to see at once.
//!
//! Two numbers in a file beside the database, read in less than a microsecond where asking the
//! database takes a turn of its thread: how often tokens were issued, and a mark of the last erasure.
//! Two instances run side by side during an upgrade, and commands import and erase beside a running one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::rand;

const ISSUES_AT: u64 = 0;
const ERASURE_AT: u64 = 8;
const BYTES: u64 = 16;

/// No count of issues.
const NEVER: u64 = u64::MAX;

/// The mark of an erasure that is under way.
const ERASING: u64 = u64::MAX;

/// The file, and how far this process has followed it.
pub(in crate::vault) struct Ledger {
    file: File,
    /// The count up to which every issued token is known to this process.
    followed: AtomicU64,
}

impl Ledger {
    /// Opens the file beside the database at `path`, or makes it.
    pub(in crate::vault) fn open(path: &Path) -> Result<Self, (PathBuf, io::Error)> {
        let mut beside = path.as_os_str().to_owned();
        beside.push("-changes");
        let beside = PathBuf::from(beside);
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let sized = |file: File| {
            if file.metadata()?.len() < BYTES {
                file.set_len(BYTES)?;
            }
            Ok(file)
        };
        let file = file.open(&beside).and_then(sized).map_err(|source| (beside, source))?;
        Ok(Self { file, followed: AtomicU64::new(NEVER) })
    }

    /// Whether every token that was ever issued is known to this process.
    pub(in crate::vault) fn is_followed(&self) -> bool {
        self.issues().is_ok_and(|issues| issues == self.followed.load(Ordering::Acquire))
    }

    /// How often tokens were issued, by any process.
    pub(in crate::vault) fn issues(&self) -> io::Result<u64> {
        self.read(ISSUES_AT)
    }

    /// Says that tokens are being issued. To be called with the database locked for writing, before the
    /// commit: whoever sees a new token sees the new count too.
    pub(in crate::vault) fn issue(&self) -> io::Result<()> {
        if self.read(ERASURE_AT)? == ERASING {
            // Nobody else has the lock: who said so is done, or has died before it could say so.
            self.erased()?;
        }
        let before = self.issues()?;
        let after = before.wrapping_add(1);
        self.file.write_all_at(&after.to_le_bytes(), ISSUES_AT)?;
        // Our own tokens are known beforehand. If others came between, that stays to be found out.
        let (done, failed) = (Ordering::AcqRel, Ordering::Acquire);
        let _behind = self.followed.compare_exchange(before, after, done, failed);
        Ok(())
    }

    /// Every token issued up to this count is known now.
    pub(in crate::vault) fn follow(&self, issues: u64) {
        self.followed.store(issues, Ordering::Release);
    }

    /// Another number after every erasure; none while one is under way, or where it cannot be read.
    pub(in crate::vault) fn erasure(&self) -> Option<u64> {
        self.read(ERASURE_AT).ok().filter(|mark| *mark != ERASING)
    }

    /// Says that rows are being erased. To be called with the database locked for writing, before the
    /// commit: from here on nobody trusts what they remember, also if this process dies.
    pub(in crate::vault) fn erasing(&self) -> io::Result<()> {
        self.file.write_all_at(&ERASING.to_le_bytes(), ERASURE_AT)
    }

    /// Says that rows were erased. To be called after the commit: who read them before must notice.
    /// Random, because two that erase at once do not wait for each other here.
    pub(in crate::vault) fn erased(&self) -> io::Result<()> {
        let mut mark = [0; 8];
        rand::fill(&mut mark).map_err(io::Error::other)?;
        // Half the marks are enough, and none of them is the one of an erasure under way.
        self.file.write_all_at(&(u64::from_le_bytes(mark) >> 1).to_le_bytes(), ERASURE_AT)
    }

    fn read(&self, at: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(u64::from_le_bytes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_process_issues_is_noticed_until_it_is_followed() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Ledger::open(&folder.path().join("vault.db")).unwrap();
        let (ours, other) = (open(), open());
        assert!(!ours.is_followed());
        ours.follow(ours.issues().unwrap());
        ours.issue().unwrap();
        assert!(ours.is_followed(), "our own tokens are known");
        other.issue().unwrap();
        assert!(!ours.is_followed());
        ours.issue().unwrap();
        assert!(!ours.is_followed(), "the other's token is still not known");
        ours.follow(ours.issues().unwrap());
        assert!(ours.is_followed());
    }

    #[test]
    fn an_erasure_is_another_mark_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Ledger::open(&folder.path().join("vault.db")).unwrap();
        let (ours, other) = (open(), open());
        let before = ours.erasure().unwrap();
        other.erasing().unwrap();
        assert_eq!(ours.erasure(), None, "what is remembered may be erased this moment");
        other.erased().unwrap();
        assert_ne!(ours.erasure().unwrap(), before);
    }

    #[test]
    fn an_erasure_whose_process_died_is_over_for_who_writes_next() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Ledger::open(&folder.path().join("vault.db")).unwrap();
        let ours = open();
        let before = ours.erasure().unwrap();
        open().erasing().unwrap();
        assert_eq!(ours.erasure(), None);
        ours.issue().unwrap();
        assert_ne!(ours.erasure().unwrap(), before);
    }
}
