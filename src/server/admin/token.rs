//! The word that opens the operator's API: a file in the data folder that its owner alone may read.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use thiserror::Error;
use zeroize::Zeroizing;

use crate::disk::{self, Existing, PRIVATE};
use crate::policy::Secret;

/// 256 bits, as hexadecimal digits.
const DIGITS: usize = 64;

/// One more than that, to see what is longer.
const READ_MAX: u64 = 65;

/// Why there is no token.
#[derive(Debug, Error)]
pub enum TokenError {
    /// It cannot be made.
    #[error("cannot make {}", path.display())]
    Make {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {}; run this as the user that tillgate runs as, once it has run", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is none.
    #[error("{} is no token; remove it, and restart tillgate to have a new one", path.display())]
    Unsound {
        /// Which file.
        path: PathBuf,
    },
}

/// The token of a data folder, made where there is none, and made anew where others could have read it:
/// who knows a token may let guessers in.
///
/// # Errors
/// When the file can be neither read nor made.
pub fn obtain(data_dir: &Path) -> Result<Secret, TokenError> {
    let path = place(data_dir);
    let private = fs::metadata(&path).is_ok_and(|it| it.permissions().mode() & 0o077 == 0);
    if private && let Ok(token) = read(data_dir) {
        return Ok(token);
    }
    make(data_dir).map_err(|source| TokenError::Make { path, source })?;
    read(data_dir)
}

/// The token that a running tillgate made.
///
/// # Errors
/// When there is none, or nobody may see it.
pub fn read(data_dir: &Path) -> Result<Secret, TokenError> {
    let path = place(data_dir);
    let mut text = Zeroizing::new(Vec::with_capacity(DIGITS + 2));
    let read = File::open(&path).and_then(|file| file.take(READ_MAX).read_to_end(&mut text));
    if let Err(source) = read {
        return Err(TokenError::Read { path, source });
    }
    if text.len() != DIGITS || !text.iter().all(u8::is_ascii_hexdigit) {
        return Err(TokenError::Unsound { path });
    }
    Ok(Secret::new(text))
}

fn make(data_dir: &Path) -> io::Result<()> {
    let mut bytes = Zeroizing::new([0; DIGITS / 2]);
    rand::fill(bytes.as_mut()).map_err(|_| io::Error::other("the system has no randomness"))?;
    let mut text = Zeroizing::new(String::with_capacity(DIGITS));
    for byte in bytes.iter() {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    disk::write(&place(data_dir), text.as_bytes(), PRIVATE, Existing::Replace)
}

fn place(data_dir: &Path) -> PathBuf {
    data_dir.join("admin.token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stays_until_others_could_have_read_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(read(folder.path()), Err(TokenError::Read { .. })));
        let first = obtain(folder.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let path = folder.path().join("admin.token");
        assert_eq!((mode(&path), first.expose().len()), (0o600, 64));
        assert!(obtain(folder.path()).unwrap().is(first.expose()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let second = obtain(folder.path()).unwrap();
        assert!(!second.is(first.expose()) && mode(&path) == 0o600);
        assert!(read(folder.path()).unwrap().is(second.expose()));
        fs::write(&path, "short").unwrap();
        assert!(matches!(read(folder.path()), Err(TokenError::Unsound { .. })));
        assert_eq!(obtain(folder.path()).unwrap().expose().len(), 64);
    }
}
