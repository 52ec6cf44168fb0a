//! Where a device's PIN comes from.

use std::env;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::KeyError;

/// More than any device takes.
const PIN_BYTES_MAX: u64 = 255;

/// A place that holds a PIN.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PinSource {
    /// This variable of the environment.
    Env(String),
    /// This file; a line end after the PIN is not part of it.
    File(PathBuf),
}

impl PinSource {
    /// Reads it; the text is wiped when dropped.
    ///
    /// # Errors
    /// When it is not there, or other users may read it.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, KeyError> {
        let pin = match self {
            Self::Env(name) => env::var(name)
                .map(Zeroizing::new)
                .map_err(|_| KeyError::PinMissing { name: name.clone() })?,
            Self::File(path) => {
                let failed = |source| KeyError::Read { path: path.clone(), source };
                let file = File::open(path).map_err(failed)?;
                let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
                if mode & 0o077 != 0 {
                    return Err(KeyError::FileMode { path: path.clone(), mode });
                }
                read(file).map_err(failed)?
            }
        };
        Ok(Zeroizing::new(pin.trim_end_matches(['\r', '\n']).to_owned()))
    }
}

fn read(file: File) -> io::Result<Zeroizing<String>> {
    // Room from the start: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(512));
    file.take(PIN_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}
