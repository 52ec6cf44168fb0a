//! The file that names the process, for scripts that send it signals.

use std::fs;
use std::io;
use std::path::PathBuf;

use tracing::warn;

/// Such a file.
#[derive(Clone)]
pub(super) struct PidFile(pub(super) PathBuf);

impl PidFile {
    /// Names this process, in place of whichever it named. Nobody reads half a number.
    pub(super) fn write(&self) {
        let mut fresh = self.0.clone().into_os_string();
        fresh.push(".new");
        let written = fs::write(&fresh, format!("{}\n", std::process::id()));
        if let Err(error) = written.and_then(|()| fs::rename(&fresh, &self.0)) {
            warn!(%error, file = %self.0.display(), "the number of the process is not written");
        }
    }

    /// Takes it away, unless it names a process that has taken our place.
    pub(super) fn remove(&self) {
        let ours = |text: String| text.trim_end() == std::process::id().to_string();
        let removed = match fs::read_to_string(&self.0).map(ours) {
            Ok(true) => fs::remove_file(&self.0),
            Ok(false) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = removed {
            warn!(%error, file = %self.0.display(), "the number of the process stays written");
        }
    }
}
