//! The file that says which of our tokens took the place of which old one.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::ListError;
use crate::card::Token;
use crate::disk::{PRIVATE, beside, sync_folder};

/// Written under another name, for its owner alone, and named when it is whole: a list that is taken
/// in again gives the same tokens, so that a half one is never needed.
pub(super) struct Mapping {
    path: PathBuf,
    draft: PathBuf,
    writer: csv::Writer<File>,
    rows: u64,
}

impl Mapping {
    /// Begins one, by old tokens or, where there are none, by the lines of the list.
    pub(super) fn begin(path: &Path, by_token: bool) -> Result<Self, ListError> {
        if path.exists() {
            return Err(ListError::MappingExists { path: path.to_owned() });
        }
        let draft = beside(path, ".part");
        let failed = |source| ListError::Write { path: path.to_owned(), source };
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(PRIVATE).open(&draft);
        let file = file.map_err(failed)?;
        file.set_permissions(Permissions::from_mode(PRIVATE)).map_err(failed)?;
        let mut writer = csv::Writer::from_writer(file);
        let first = if by_token { "old" } else { "line" };
        writer.write_record([first, "new"]).map_err(|error| failed(error.into()))?;
        Ok(Self { path: path.to_owned(), draft, writer, rows: 0 })
    }

    pub(super) fn add(
        &mut self,
        line: u64,
        old: Option<&[u8]>,
        new: &Token,
    ) -> Result<(), ListError> {
        let number = line.to_string();
        let written = self.writer.write_record([old.unwrap_or(number.as_bytes()), new.as_bytes()]);
        written.map_err(|error| self.failed(error.into()))?;
        self.rows += 1;
        Ok(())
    }

    /// Names it, if there is anything in it. Gives how many tokens it has.
    pub(super) fn finish(mut self) -> Result<u64, ListError> {
        if self.rows > 0 {
            let synced = self.writer.flush().and_then(|()| self.writer.get_ref().sync_all());
            let named = synced.and_then(|()| fs::rename(&self.draft, &self.path));
            let named = named.and_then(|()| sync_folder(&self.path));
            named.map_err(|source| self.failed(source))?;
        }
        Ok(self.rows)
    }

    fn failed(&self, source: io::Error) -> ListError {
        ListError::Write { path: self.path.clone(), source }
    }
}

impl Drop for Mapping {
    /// Nothing is there after it was named.
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.draft);
    }
}
