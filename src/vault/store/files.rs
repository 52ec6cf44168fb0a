//! The files of an embedded store: private, and there after a power cut.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Makes the database file, empty, and its folder, or takes them as they are.
///
/// SQLite gives the files it puts beside the database the database's own permissions.
///
/// Fails with the file or folder that could not be made.
pub(super) fn prepare(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| (path, source)
    };
    let folder = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed(folder))?;
    let mut create = OpenOptions::new();
    let file = create.create(true).truncate(false).write(true).mode(0o600).open(path);
    file.and_then(|file| file.set_permissions(Permissions::from_mode(0o600)))
        .map_err(failed(path))?;
    // The file's name must survive a power cut as its content does.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder))?;
    for suffix in ["-shm", "-wal"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        let beside = PathBuf::from(beside);
        match fs::set_permissions(&beside, Permissions::from_mode(0o600)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&beside)(error));
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}
