//! Replacing a key file by another, one step that cannot be torn after the other.
//!
//! At every moment the key in force lies whole under its own name; the one to come and the one
//! before lie beside it for as long as something may need them.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::file::FileKey;
use super::{IfMissing, KeyError, MasterKey};
use crate::disk::{beside, discard_draft, sync_folder};

/// How the name of the key to come ends, and that of the key before.
const NEXT: &str = ".next";
const PREVIOUS: &str = ".previous";

/// The three names of a key file that is being replaced.
pub struct Replacement {
    current: FileKey,
    next: FileKey,
    previous: FileKey,
    /// Held for as long as this lives: one command replaces a key at a time.
    _folder: File,
}

impl Replacement {
    /// Of the file behind `path`, if that is a link.
    pub(super) fn of(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Read { path: path.to_owned(), source };
        let path = fs::canonicalize(path).map_err(failed)?;
        let folder = File::open(path.parent().unwrap_or(Path::new("/"))).map_err(failed)?;
        match folder.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(KeyError::Replacing { path }),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        discard_drafts(&path);
        let beside = |ending| FileKey { path: beside(&path, ending) };
        let (next, previous) = (beside(NEXT), beside(PREVIOUS));
        Ok(Self { current: FileKey { path }, next, previous, _folder: folder })
    }

    /// The key in force.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn current(&self) -> Result<Arc<dyn MasterKey>, KeyError> {
        Ok(self.current.read_or_make(IfMissing::Refuse)?.into_key())
    }

    /// The key to come, if it has been made.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn next(&self) -> Result<Option<Arc<dyn MasterKey>>, KeyError> {
        present(&self.next)
    }

    /// The key before, if it has been kept and not yet removed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn previous(&self) -> Result<Option<Arc<dyn MasterKey>>, KeyError> {
        present(&self.previous)
    }

    /// Makes the key to come.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn make_next(&self) -> Result<(), KeyError> {
        self.next.read_or_make(IfMissing::Create).map(drop)
    }

    /// Keeps a copy of the key in force as the key before.
    ///
    /// # Errors
    /// When it cannot be made durable.
    pub fn keep_previous(&self) -> Result<(), KeyError> {
        self.current.copy_to(&self.previous)
    }

    /// Puts the key to come in force, in one step.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn swap(&self) -> Result<(), KeyError> {
        let path = &self.current.path;
        fs::rename(&self.next.path, path)
            .and_then(|()| sync_folder(path))
            .map_err(|source| KeyError::Create { path: path.clone(), source })
    }

    /// Removes the key to come.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn forget_next(&self) -> Result<(), KeyError> {
        remove(&self.next)
    }

    /// Removes the key before.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn forget_previous(&self) -> Result<(), KeyError> {
        remove(&self.previous)
    }
}

/// Removes what a killed command left of a key, of the one to come and of the one before: it may have
/// been in force, and open copies of the vault for ever.
pub(super) fn discard_drafts(path: &Path) {
    // Where there is no key yet, its drafts lie beside the name all the same.
    let path = fs::canonicalize(path).unwrap_or(path.to_owned());
    for file in [beside(&path, NEXT), beside(&path, PREVIOUS), path] {
        if let Err(error) = discard_draft(&file) {
            let file = file.display();
            warn!(%file, %error, "what a killed command left of this key cannot be removed");
        }
    }
}

fn present(file: &FileKey) -> Result<Option<Arc<dyn MasterKey>>, KeyError> {
    match file.read_or_make(IfMissing::Refuse) {
        Ok(obtained) => Ok(Some(obtained.into_key())),
        Err(KeyError::FileMissing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(file: &FileKey) -> Result<(), KeyError> {
    let path = &file.path;
    fs::remove_file(path)
        .and_then(|()| sync_folder(path))
        .map_err(|source| KeyError::Remove { path: path.clone(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::keys::KeySource;

    #[test]
    fn a_key_moves_from_next_to_force_to_previous_and_every_file_is_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let old = FileKey { path: path.clone() }.obtain(IfMissing::Create).unwrap().into_key();
        let steps = Replacement::of(&path).unwrap();
        assert!(steps.next().unwrap().is_none() && steps.previous().unwrap().is_none());
        steps.make_next().unwrap();
        let new = steps.next().unwrap().unwrap();
        steps.keep_previous().unwrap();
        assert!(steps.previous().unwrap().unwrap().id() == old.id() && new.id() != old.id());
        for name in ["master.key", "master.key.next", "master.key.previous"] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        steps.swap().unwrap();
        assert_eq!(steps.current().unwrap().id(), new.id());
        assert!(steps.next().unwrap().is_none());
        steps.forget_previous().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_command_replaces_a_key_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        FileKey { path: path.clone() }.obtain(IfMissing::Create).map(drop).unwrap();
        let first = Replacement::of(&path).unwrap();
        let refused = Replacement::of(&path).err().unwrap();
        assert!(matches!(refused, KeyError::Replacing { .. }), "{refused}");
        drop(first);
        assert!(Replacement::of(&path).is_ok());
    }

    #[test]
    fn a_key_behind_a_link_is_replaced_where_it_lies() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("real.key"), folder.path().join("master.key"));
        FileKey { path: path.clone() }.obtain(IfMissing::Create).map(drop).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let steps = Replacement::of(&link).unwrap();
        steps.make_next().unwrap();
        steps.swap().unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        let read = FileKey { path: link }.obtain(IfMissing::Refuse).unwrap().into_key();
        assert_eq!(read.id(), steps.current().unwrap().id());
    }
}
