//! Where the master key comes from.
//!
//! Everything the vault keeps is readable with this key and lost without it, so a source never
//! guesses: a key is made only when the caller says there is nothing yet that an older key opens,
//! and it is on the disk, whole, before anything is sealed with it.

mod env;
mod file;
#[cfg(test)]
mod fixture;
mod master;
mod pin;
mod pkcs11;
mod replace;
mod ring;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use thiserror::Error;

pub use env::EnvKey;
pub use file::FileKey;
pub use master::{KEY_BYTES, MemoryKey, SecretKey};
pub use pin::PinSource;
pub use pkcs11::Pkcs11Key;
pub use replace::Replacement;
pub use ring::{KeyRing, MasterKeys};

/// A key that wraps other keys. Its bytes may be in a device that never gives them away.
pub trait MasterKey: Send + Sync {
    /// Its public name.
    fn id(&self) -> MasterId;

    /// Wraps a key, bound to `about`.
    ///
    /// # Errors
    /// When the key does not answer.
    fn wrap(&self, key: &SecretKey, about: &[u8]) -> Result<Vec<u8>, WrapError>;

    /// Opens what `wrap` gave for the same `about`.
    ///
    /// # Errors
    /// When this is not the key it was wrapped by, or the key does not answer.
    fn unwrap_key(&self, wrapped: &[u8], about: &[u8]) -> Result<SecretKey, WrapError>;
}

/// Tells master keys apart, and tells nothing about them.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MasterId(pub [u8; 16]);

/// Why a key was not wrapped or unwrapped.
#[derive(Debug, Error)]
pub enum WrapError {
    /// The device that holds the key does not do it.
    #[error("the device of the master key fails")]
    Device(#[source] Box<KeyError>),
    /// The system gave no random bytes.
    #[error("the system's random generator failed")]
    Random,
    /// It was wrapped by another key, or changed since.
    #[error("the master key does not open it")]
    Wrong,
}

/// A place that holds the master key. Chosen once at start-up.
pub trait KeySource: Send + Sync {
    /// What to call the place in a message to the operator; never the key.
    fn describe(&self) -> String;

    /// Reads the key, or makes it where there is none and `missing` allows it.
    ///
    /// # Errors
    /// When there is no key, it cannot be read, others may read it, or it has the wrong size.
    fn obtain(&self, missing: IfMissing) -> Result<Obtained, KeyError>;

    /// The steps by which the key is replaced in its place, where that is ours to do.
    ///
    /// # Errors
    /// When the place cannot be used, or is being used so.
    fn replacement(&self) -> Result<Option<Replacement>, KeyError> {
        Ok(None)
    }
}

/// A master key, and whether it is older than this process.
pub enum Obtained {
    /// It was made just now: nobody has a backup of it.
    Made(Arc<dyn MasterKey>),
    /// It was there.
    Read(Arc<dyn MasterKey>),
}

/// What to do when the source holds no key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IfMissing {
    /// First start: make one.
    Create,
    /// A vault exists that only its own key opens: a new key would hide the loss of the old one.
    Refuse,
}

/// Why there is no usable master key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file could not be made durable.
    #[error("cannot write a new key to {}", path.display())]
    Create {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The device refused.
    #[error("the PKCS#11 device does not {action}")]
    Device {
        /// What was asked of it.
        action: &'static str,
        /// What it said.
        source: cryptoki::error::Error,
    },
    /// More than one key has the label.
    #[error("{count} keys have the label {label}; give the right one a label of its own")]
    DeviceKeyAmbiguous {
        /// The label.
        label: String,
        /// How many.
        count: usize,
    },
    /// There is a vault, but its key is not in the device.
    #[error(
        "the PKCS#11 token {token} has no AES key {key}, but a vault sealed with it exists; \
         restore the key from the backup of its device"
    )]
    DeviceKeyMissing {
        /// The token's label.
        token: String,
        /// The key's label.
        key: String,
    },
    /// No token, or more than one, has the label.
    #[error("{count} PKCS#11 tokens have the label {label}, where one must")]
    DeviceToken {
        /// The label.
        label: String,
        /// How many.
        count: usize,
    },
    /// The variable holds something that is no key.
    #[error("the environment variable {name} must hold {KEY_BYTES} bytes in base64 or hex")]
    EnvFormat {
        /// The variable.
        name: String,
    },
    /// The variable is not set.
    #[error("the environment variable {name} is not set; give it the master key in base64 or hex")]
    EnvMissing {
        /// The variable.
        name: String,
    },
    /// Other users of the machine may read or write the file.
    #[error(
        "{} is open to other users (mode {mode:04o}); run: chmod 600 {}",
        path.display(), path.display()
    )]
    FileMode {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// There is a vault, but its key is gone.
    #[error(
        "{} is missing, but a vault sealed with it exists; put the key file back from its backup",
        path.display()
    )]
    FileMissing {
        /// The key file.
        path: PathBuf,
    },
    /// The file is no key file.
    #[error(
        "{} has {bytes} bytes, a key has {KEY_BYTES}; put the key file back from its backup",
        path.display()
    )]
    FileSize {
        /// The key file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// The variable with the PIN is not set.
    #[error("the environment variable {name} is not set; give it the PIN of the PKCS#11 token")]
    PinMissing {
        /// The variable.
        name: String,
    },
    /// The file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file of the key or of a PIN.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system's random generator failed; the master key was not made")]
    Random,
    /// A key that is no longer needed could not be removed.
    #[error("cannot remove {}", path.display())]
    Remove {
        /// The key file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another command is replacing it.
    #[error("another command is replacing {}; wait for it to end", path.display())]
    Replacing {
        /// The key file.
        path: PathBuf,
    },
}

impl fmt::Display for MasterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Obtained {
    /// The key itself.
    #[must_use]
    pub fn into_key(self) -> Arc<dyn MasterKey> {
        match self {
            Self::Made(key) | Self::Read(key) => key,
        }
    }
}

impl IfMissing {
    /// `Create` only if it is certain that there is no vault at `vault` yet.
    #[must_use]
    pub fn for_vault(vault: &Path) -> Self {
        match vault.try_exists() {
            Ok(false) => Self::Create,
            // What cannot be looked at may exist.
            Ok(true) | Err(_) => Self::Refuse,
        }
    }
}
