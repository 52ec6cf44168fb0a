//! Reads the files of a pair, and tells whether others may read its key too.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use aws_lc_rs::digest;
use zeroize::Zeroizing;

use super::error::{FILE_BYTES_MAX, IdentityError};
use crate::policy::CertificateFiles;

/// What everybody may do who has an account on this machine. What a group may is the operator's choice:
/// it is how a key is lent to a server that does not own it.
const EVERYBODY: u32 = 0o007;

/// What the files of a pair hold.
pub(super) struct Contents {
    pub(super) chain: Zeroizing<Vec<u8>>,
    pub(super) key: Zeroizing<Vec<u8>>,
    /// What an authority says of it, which may come later.
    pub(super) ocsp: Option<Zeroizing<Vec<u8>>>,
    /// The mode of the key's file, where it leaves something to everybody.
    pub(super) key_open: Option<u32>,
}

impl Contents {
    /// Reads a pair.
    pub(super) fn read(files: &CertificateFiles) -> Result<Self, IdentityError> {
        let ocsp = files.ocsp.as_ref().and_then(|path| read(path).ok());
        let chain = read(&files.chain)?;
        let (key, mode) = read_with_mode(&files.key)?;
        Ok(Self { chain, key, ocsp, key_open: (mode & EVERYBODY != 0).then_some(mode) })
    }

    pub(super) fn digest(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in [Some(&self.chain), Some(&self.key), self.ocsp.as_ref()].into_iter().flatten() {
            // With its length, or what moves from one file to the next would be no change.
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        context.finish().as_ref().try_into().unwrap_or_default()
    }
}

/// A file's text.
pub(super) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, IdentityError> {
    Ok(read_with_mode(path)?.0)
}

/// The mode is of what is read, and not of what took its place meanwhile.
fn read_with_mode(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), IdentityError> {
    let unreadable = |source| IdentityError::Read { path: path.to_owned(), source };
    // Room for the whole file at once: a buffer that grows leaves copies of the key behind.
    let file = File::open(path).map_err(unreadable)?;
    let facts = file.metadata().map_err(unreadable)?;
    let length = usize::try_from(facts.len().min(FILE_BYTES_MAX)).unwrap_or_default();
    let mut text = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut text).map_err(unreadable)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        return Err(IdentityError::TooLarge { path: path.to_owned() });
    }
    Ok((text, facts.permissions().mode() & 0o777))
}
