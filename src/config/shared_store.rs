//! Which server instances share for verification codes and for counters.

use std::fs::File;
use std::sync::Arc;

use super::compile::Compiler;
use super::source::At;
use super::startup::SharedStore;
use crate::policy::{RedisAddress, RedisAddressError};

impl Compiler<'_> {
    /// What is written for `key`, where `own` means this process. The text is never shown: it may
    /// hold a password.
    pub(super) fn shared_store(
        &mut self,
        (key, own): (&str, &str),
        written: Option<&At<String>>,
    ) -> Option<SharedStore> {
        let Some(at) = written.filter(|at| at.get() != own) else { return Some(SharedStore::Own) };
        let address = match RedisAddress::parse(at.get(), &self.source.folder) {
            Ok(address) => address,
            Err(RedisAddressError::Scheme) => {
                let remedy = format!("write \"{own}\" or \"redis://host:6379\"");
                self.refuse(&at.span(), key, "is no store", &remedy);
                return None;
            }
            Err(error) => {
                self.refuse(&at.span(), key, error.to_string(), error.remedy());
                return None;
            }
        };
        let root = address.tls.as_ref().and_then(|tls| tls.root.as_ref());
        if root.is_some_and(|path| File::open(path).is_err()) {
            let remedy = "check the path and who may read it";
            self.refuse(&at.span(), key, "names a `ca` that cannot be read", remedy);
            return None;
        }
        if address.is_exposed() {
            let message = "is not encrypted: whoever is between can read the password and forge";
            self.warn(&at.span(), key, message, "write rediss:// instead of redis://");
        }
        Some(SharedStore::Redis(Arc::new(address)))
    }

    /// Names and codes in a shared store are under keys of the vault: with one of its own an instance
    /// shares them with nobody.
    pub(super) fn warn_alone(&mut self, (key, own): (&str, &str), written: Option<&At<String>>) {
        if let Some(at) = written.filter(|at| at.get() != own) {
            let message = "is shared with no other instance while the vault is in SQLite";
            self.warn(&at.span(), key, message, "share the vault in PostgreSQL, or keep to one");
        }
    }
}
