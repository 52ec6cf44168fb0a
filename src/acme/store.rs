//! The files: accounts, certificates, what is remembered, and the lock of the one who asks.
//!
//! All under `acme` in the data folder, for nobody else to look into, and each whole or not at all.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use instant_acme::AccountCredentials;
use tracing::warn;
use zeroize::Zeroizing;

use super::failure::AcmeError;
use super::leaf::Leaf;
use super::memory::Memory;
use crate::disk::{self, Existing, PRIVATE, sync_folder};
use crate::policy::{AcmeAuthority, AcmeCertificate, CertificateFiles};
use crate::tls::Identities;

/// The folder, and the right to ask authorities.
pub(super) struct Store {
    data_dir: PathBuf,
    folder: PathBuf,
    /// Held for as long as this lives; the system gives it up when the process ends.
    _lock: File,
}

/// What came of trying to open the folder.
pub(super) enum Opened {
    /// Another process asks.
    Elsewhere,
    /// We are the one.
    Here(Store),
}

impl Store {
    pub(super) fn open(data_dir: &Path) -> Result<Opened, AcmeError> {
        let folder = data_dir.join("acme");
        for made in [folder.join("accounts"), folder.join("certificates")] {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&made).map_err(at(&made))?;
        }
        let path = folder.join("lock");
        let mut options = OpenOptions::new();
        let lock = options.create(true).write(true).truncate(false).mode(PRIVATE).open(&path);
        let lock = lock.map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Opened::Here(Self { data_dir: data_dir.to_owned(), folder, _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(Opened::Elsewhere),
            Err(TryLockError::Error(error)) => Err(at(&path)(error)),
        }
    }

    /// What was remembered; nothing of it where the file is damaged, and that is told.
    pub(super) fn memory(&self) -> Result<Memory, AcmeError> {
        let path = self.memory_path();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Memory::default()),
            Err(error) => return Err(at(&path)(error)),
        };
        let read = serde_json::from_slice(&text);
        Ok(read.unwrap_or_else(|error| {
            warn!(path = %path.display(), %error, "what was asked of authorities is forgotten");
            Memory::default()
        }))
    }

    pub(super) fn remember(&self, memory: &Memory) -> Result<(), AcmeError> {
        let path = self.memory_path();
        let text = serde_json::to_vec_pretty(memory).map_err(|error| at(&path)(error.into()))?;
        write(&path, &text)
    }

    /// The account that we have there.
    pub(super) fn account(&self, with: &AcmeAuthority) -> Option<AccountCredentials> {
        let path = self.account_path(with);
        let text = Zeroizing::new(std::fs::read(&path).ok()?);
        serde_json::from_slice(&text)
            .inspect_err(
                |_| warn!(path = %path.display(), "the account is damaged; another is made"),
            )
            .ok()
    }

    pub(super) fn keep_account(
        &self,
        with: &AcmeAuthority,
        account: &AccountCredentials,
    ) -> Result<(), AcmeError> {
        let path = self.account_path(with);
        let text = serde_json::to_vec(account).map_err(|error| at(&path)(error.into()))?;
        write(&path, &Zeroizing::new(text))
    }

    pub(super) fn forget_account(&self, with: &AcmeAuthority) {
        // Gone already is as good.
        let _ = std::fs::remove_file(self.account_path(with));
    }

    /// The certificate in force, read as it is served.
    pub(super) fn certificate(&self, wanted: &AcmeCertificate) -> Option<Identities> {
        let path = wanted.path(&self.data_dir);
        Identities::load(&[pair(path)]).ok().filter(|found| found.covers(&wanted.names))
    }

    /// Looks at what was issued as at any other chain and key, and only then puts it in the place of the
    /// one before.
    pub(super) fn keep_certificate(
        &self,
        wanted: &AcmeCertificate,
        (chain, key): (&str, &str),
    ) -> Result<(), AcmeError> {
        let path = wanted.path(&self.data_dir);
        let text = Zeroizing::new([key, chain].concat());
        let new = path.with_extension("pem.new");
        write(&new, text.as_bytes())?;
        let found = Identities::load(&[pair(new.clone())]).map_err(AcmeError::Unusable)?;
        if !found.covers(&wanted.names) {
            return Err(AcmeError::Unfit);
        }
        std::fs::rename(&new, &path).and_then(|()| sync_folder(&path)).map_err(at(&path))
    }

    /// The certificate in force, as it says of itself.
    pub(super) fn leaf(&self, wanted: &AcmeCertificate) -> Option<Leaf> {
        let text = Zeroizing::new(std::fs::read(wanted.path(&self.data_dir)).ok()?);
        Leaf::of(&text)
    }

    fn memory_path(&self) -> PathBuf {
        self.folder.join("memory.json")
    }

    /// One for each directory, and for each account that the operator has there.
    fn account_path(&self, with: &AcmeAuthority) -> PathBuf {
        let (directory, bound) = with.account_id();
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(directory.as_bytes());
        context.update(&[0]);
        context.update(bound.as_bytes());
        let name: String =
            context.finish().as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        self.folder.join("accounts").join(format!("{name}.json"))
    }
}

fn pair(path: PathBuf) -> CertificateFiles {
    CertificateFiles::new(path.clone(), path)
}

fn at(path: &Path) -> impl Fn(io::Error) -> AcmeError {
    move |source| AcmeError::Store { path: path.to_owned(), source }
}

fn write(path: &Path, text: &[u8]) -> Result<(), AcmeError> {
    disk::write(path, text, PRIVATE, Existing::Replace).map_err(at(path))
}
