//! Small files that are there whole or not at all, whatever kills us.
//!
//! A file is written beside its place as `NAME.draft`, put on the disk, and then given its name. The
//! draft's name is always the same one, so that what a killed process left, perhaps of a key, is found
//! and removed. A draft is locked for as long as it is written: one that nobody holds is left over.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// For its owner alone.
pub(crate) const PRIVATE: u32 = 0o600;

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Existing {
    /// It stays, and the new one gets no name: `ErrorKind::AlreadyExists`.
    Keep,
    /// The new one takes its place in one step.
    Replace,
}

/// Writes a file of this mode; it and its name are on the disk when this returns. Waits for whoever
/// writes the same file.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    let draft = beside(path, ".draft");
    let mut file = claim(&draft)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.set_permissions(Permissions::from_mode(mode)))
        .and_then(|()| file.sync_all())
        .and_then(|()| name(&draft, path, existing));
    if written.is_err() {
        // The failure is what is told; a draft that stays is found by the next who writes.
        let _ = remove(&draft, &file);
    }
    written?;
    sync_folder(path)
}

/// Removes what a killed process left of the file; not what another is about to give its name.
pub(crate) fn discard_draft(path: &Path) -> io::Result<()> {
    let draft = beside(path, ".draft");
    let Some(file) = open(&draft)? else { return Ok(()) };
    match file.try_lock() {
        Ok(()) => remove(&draft, &file),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// A name must survive a power cut too: it does once its folder has been written.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

/// The name of a file that belongs to another.
pub(crate) fn beside(path: &Path, ending: impl AsRef<OsStr>) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

/// A new, empty draft that is ours alone. Never one that is there: it may be a second name of the file
/// itself, which would be emptied with it.
fn claim(draft: &Path) -> io::Result<File> {
    loop {
        // Mode 0600 from the call that makes it, so it is never open to others.
        let made = OpenOptions::new().write(true).create_new(true).mode(PRIVATE).open(draft);
        match made {
            Ok(file) => {
                file.lock()?;
                // Unlocked for a moment, it may have been taken for one that was left over.
                if names(draft, &file)? {
                    return Ok(file);
                }
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                if let Some(file) = open(draft)? {
                    file.lock()?;
                    remove(draft, &file)?;
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// A draft that is there.
fn open(draft: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(draft) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes a draft whose lock is ours, unless it has got its name meanwhile.
fn remove(draft: &Path, file: &File) -> io::Result<()> {
    if names(draft, file)? { fs::remove_file(draft) } else { Ok(()) }
}

/// Whether the path still leads to this file.
fn names(path: &Path, file: &File) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn name(draft: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    match existing {
        Existing::Replace => fs::rename(draft, path),
        Existing::Keep => match renameat_with(CWD, draft, CWD, path, RenameFlags::NOREPLACE) {
            // Not every file system can; all of those that cannot know a second name.
            Err(Errno::INVAL | Errno::NOSYS) => {
                fs::hard_link(draft, path).and_then(|()| fs::remove_file(draft))
            }
            done => Ok(done?),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn in_new_folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        (folder, path)
    }

    fn names_in(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_or_kept_as_is_asked_and_no_draft_stays() {
        let (folder, path) = in_new_folder();
        write(&path, b"one", PRIVATE, Existing::Keep).unwrap();
        let kept = write(&path, b"two", PRIVATE, Existing::Keep).unwrap_err();
        assert_eq!(kept.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, PRIVATE);
        write(&path, b"three", 0o644, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o644);
        assert_eq!(names_in(folder.path()), ["file"]);
    }

    #[test]
    fn what_a_killed_writer_left_is_written_over_or_removed() {
        let (folder, path) = in_new_folder();
        let draft = folder.path().join("file.draft");
        fs::write(&draft, b"half of an old one, and longer").unwrap();
        write(&path, b"new", PRIVATE, Existing::Keep).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        // A second name of the file itself, as a kill between linking and unlinking leaves it.
        fs::hard_link(&path, &draft).unwrap();
        discard_draft(&path).unwrap();
        assert_eq!(names_in(folder.path()), ["file"]);
        fs::hard_link(&path, &draft).unwrap();
        assert!(write(&path, b"x", PRIVATE, Existing::Keep).is_err());
        assert_eq!(
            (fs::read(&path).unwrap().as_slice(), names_in(folder.path()).len()),
            (&b"new"[..], 1)
        );
        discard_draft(&path).unwrap();
    }

    #[test]
    fn a_draft_that_is_being_written_is_left_alone_and_waited_for() {
        let (folder, path) = in_new_folder();
        let draft = folder.path().join("file.draft");
        let held = claim(&draft).unwrap();
        discard_draft(&path).unwrap();
        assert!(draft.exists());
        thread::scope(|scope| {
            let other = scope.spawn(|| write(&path, b"other", PRIVATE, Existing::Keep));
            fs::rename(&draft, &path).unwrap();
            drop(held);
            assert_eq!(other.join().unwrap().unwrap_err().kind(), ErrorKind::AlreadyExists);
        });
        assert_eq!(names_in(folder.path()), ["file"]);
    }

    #[test]
    fn of_many_writers_at_once_one_keeps_the_name_and_each_file_is_whole() {
        let (folder, path) = in_new_folder();
        let other = folder.path().join("other");
        let content = |place: u8| vec![place; 4096];
        let kept = thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|place| {
                    let (path, other) = (&path, &other);
                    scope.spawn(move || {
                        discard_draft(path).unwrap();
                        write(other, &content(place), PRIVATE, Existing::Replace).unwrap();
                        write(path, &content(place), PRIVATE, Existing::Keep).is_ok()
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(kept.iter().filter(|kept| **kept).count(), 1);
        for file in [&path, &other] {
            let written = fs::read(file).unwrap();
            assert!(written.len() == 4096 && written.iter().all(|byte| *byte == written[0]));
        }
        assert_eq!(names_in(folder.path()), ["file", "other"]);
    }

    #[test]
    fn a_link_in_place_of_a_draft_leads_nowhere() {
        let (folder, path) = in_new_folder();
        let elsewhere = folder.path().join("elsewhere");
        fs::write(&elsewhere, b"not ours").unwrap();
        std::os::unix::fs::symlink(&elsewhere, folder.path().join("file.draft")).unwrap();
        assert!(write(&path, b"new", PRIVATE, Existing::Keep).is_err());
        assert!(discard_draft(&path).is_err());
        assert_eq!(fs::read(&elsewhere).unwrap(), b"not ours");
    }
}
