//! Cleaned copies. A copy appears under its name when it is whole, and never in place of a file.

use std::fs::{self, Metadata, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::coding::{Coding, Encoder};

use super::InspectError;
use super::examine::FileError;

/// What the name of a copy that is being written begins with.
const PARTIAL_PREFIX: &str = ".tillgate-partial-";
/// What of a file's mode its copy gets: not set-user-ID, whose user would be another one.
const MODE_KEPT: u32 = 0o777;
/// How much is written at a time.
const WRITE_BYTES: usize = 64 << 10;

/// The folder of the copies.
pub(super) struct Copies {
    folder: PathBuf,
    id: FileId,
}

/// Which file or folder something is, whatever it is called.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

/// One copy being written.
pub(super) struct Copy {
    file: BufWriter<NamedTempFile>,
    encoder: Option<Encoder>,
    target: PathBuf,
}

impl FileId {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

impl Copies {
    /// Makes the folder if there is none.
    pub(super) fn open(path: &Path) -> Result<Self, InspectError> {
        let made = fs::create_dir_all(path).and_then(|()| fs::metadata(path));
        let unfit = |source| InspectError::Copies { path: path.to_owned(), source };
        let id = FileId::of(&made.map_err(unfit)?);
        Ok(Self { folder: path.to_owned(), id })
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    /// Begins the copy that will have this path within the folder.
    pub(super) fn begin(&self, below: &Path, coding: Option<Coding>) -> Result<Copy, FileError> {
        let target = self.folder.join(below);
        if target.symlink_metadata().is_ok() {
            return Err(FileError::CopyExists { target });
        }
        let begun = partial(&target).and_then(|file| {
            let encoder = coding.map(|coding| Encoder::new(&[coding])).transpose()?;
            Ok((file, encoder))
        });
        let (file, encoder) = begun.map_err(FileError::Copy)?;
        Ok(Copy { file: BufWriter::with_capacity(WRITE_BYTES, file), encoder, target })
    }
}

fn partial(target: &Path) -> io::Result<NamedTempFile> {
    let folder = target.parent().unwrap_or(target);
    fs::create_dir_all(folder)?;
    tempfile::Builder::new().prefix(PARTIAL_PREFIX).tempfile_in(folder)
}

impl Copy {
    /// Takes the next bytes of the content.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let written = match &mut self.encoder {
            Some(encoder) => encoder.push(bytes).and_then(|ready| self.file.write_all(&ready)),
            None => self.file.write_all(bytes),
        };
        written.map_err(FileError::Copy)
    }

    /// Ends the copy and gives it its mode and its name.
    pub(super) fn finish(self, permissions: Option<Permissions>) -> Result<(), FileError> {
        let Self { mut file, encoder, target } = self;
        let ended = encoder.map_or(Ok(Vec::new()), Encoder::finish);
        let whole = ended.and_then(|rest| file.write_all(&rest));
        let file = whole.and_then(|()| file.into_inner().map_err(io::Error::from));
        let file = file.map_err(FileError::Copy)?;
        if let Some(kept) = permissions {
            let mode = Permissions::from_mode(kept.mode() & MODE_KEPT);
            file.as_file().set_permissions(mode).map_err(FileError::Copy)?;
        }
        match file.persist_noclobber(&target) {
            Ok(_) => Ok(()),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                Err(FileError::CopyExists { target })
            }
            Err(error) => Err(FileError::Copy(error.error)),
        }
    }
}
