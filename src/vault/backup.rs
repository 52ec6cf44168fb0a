//! A copy of an embedded vault, made beside whoever uses it and looked into before it is given a name.

use std::fs::{self, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::cipher::{Cipher, Unsealed};
use super::keeper::Keeper;
use super::store::sqlite::SqliteStore;
use super::{Outage, SqliteOpenError};
use crate::disk::{PRIVATE, beside, sync_folder};

/// Why there is no backup. None is left half-made under its name.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The name is taken.
    #[error("{} exists; name another file", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The copy cannot be made or opened.
    #[error(transparent)]
    Sqlite(#[from] SqliteOpenError),
    /// The copy is not the vault: its disk, or the vault, is damaged.
    #[error("the copy does not hold what the vault does: {fault}; it was removed")]
    Unsound {
        /// What is wrong.
        fault: CopyFault,
    },
    /// The copy cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is wrong with a copy.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum CopyFault {
    /// Its keys do not open.
    #[error("its keys do not open")]
    Keys,
    /// A page of the database cannot be read.
    #[error("the database is damaged")]
    Pages,
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(Outage),
    /// Rows do not open.
    #[error("{0} of the rows looked at do not open")]
    Rows(usize),
    /// It has fewer or more rows.
    #[error("it has {0} rows")]
    RowCount(u64),
}

/// What a backup holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BackedUp {
    /// Rows that are not erased.
    pub rows: u64,
    /// Tokens whose cards were erased.
    pub erased: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

impl Keeper {
    /// Copies the database `from` to a new file, for its owner alone, and returns when it was looked
    /// into and is on the disk. The master key is not in it.
    ///
    /// # Errors
    /// When the copy cannot be made, or is not what the vault is.
    pub async fn back_up(&self, from: &Path, to: &Path) -> Result<BackedUp, BackupError> {
        if to.exists() {
            return Err(BackupError::Exists { path: to.to_owned() });
        }
        let draft = Draft::new(to)?;
        let between = SqliteStore::copy(from, &draft.path).await?;
        let (rows, erased) = self.look_at_copy(&draft.path, between).await?;
        let bytes = draft.publish(to)?;
        Ok(BackedUp { rows: rows.saturating_sub(erased), erased, bytes })
    }

    async fn look_at_copy(
        &self,
        path: &Path,
        (before, after): (u64, u64),
    ) -> Result<(u64, u64), BackupError> {
        let unsound = |fault| BackupError::Unsound { fault };
        let read = SqliteStore::look_into(path).await?;
        let content = read.map_err(|error| unsound(CopyFault::Read(error.outage())))?;
        if !content.sound {
            return Err(unsound(CopyFault::Pages));
        }
        if !(before..=after).contains(&content.rows) {
            return Err(unsound(CopyFault::RowCount(content.rows)));
        }
        let cipher = Cipher::open_keys(&content.keys, &self.keys.ring);
        let cipher = cipher.map_err(|_| unsound(CopyFault::Keys))?;
        let opens = |row| matches!(cipher.open(row), Unsealed::Card(_));
        match content.sample.iter().filter(|stored| !opens(&stored.row)).count() {
            0 => Ok((content.rows, content.erased)),
            closed => Err(unsound(CopyFault::Rows(closed))),
        }
    }
}

/// A copy that has no name yet; removed when it gets none.
struct Draft {
    path: PathBuf,
}

impl Draft {
    /// An empty file, which the database fills.
    fn new(to: &Path) -> Result<Self, BackupError> {
        let path = beside(to, ".part");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(PRIVATE).open(&path);
        let private = file.and_then(|file| file.set_permissions(Permissions::from_mode(PRIVATE)));
        private.map_err(|source| BackupError::Write { path: path.clone(), source })?;
        Ok(Self { path })
    }

    /// Gives how many bytes it has.
    fn publish(self, to: &Path) -> Result<u64, BackupError> {
        let failed = |source| BackupError::Write { path: to.to_owned(), source };
        let file = OpenOptions::new().write(true).open(&self.path).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        fs::rename(&self.path, to).and_then(|()| sync_folder(to)).map_err(failed)?;
        Ok(file.metadata().map_err(failed)?.len())
    }
}

impl Drop for Draft {
    /// Nothing is there after it was named.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
