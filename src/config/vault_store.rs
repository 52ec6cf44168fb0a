//! Which database the vault is in.

use std::fs::File;
use std::sync::Arc;

use super::compile::Compiler;
use super::source::At;
use super::startup::VaultStore;
use crate::policy::{PostgresAddress, PostgresAddressError};

impl Compiler<'_> {
    /// The text is never shown: it may hold a password.
    pub(super) fn vault_store(&mut self, at: &At<String>) -> Option<VaultStore> {
        let (key, text) = ("vault.store", at.get());
        if text == "sqlite" {
            return Some(VaultStore::Sqlite);
        }
        let address = match PostgresAddress::parse(text, &self.source.folder) {
            Ok(address) => address,
            Err(PostgresAddressError::Scheme) => {
                let remedy = "write \"sqlite\" or \"postgres://user@host:5432/database\"";
                self.refuse(&at.span(), key, "is no store", remedy);
                return None;
            }
            Err(error) => {
                self.refuse(&at.span(), key, error.to_string(), error.remedy());
                return None;
            }
        };
        let tls = &address.tls;
        let identity = tls.identity.iter().flat_map(|(certificate, key)| [certificate, key]);
        if tls.root.iter().chain(identity).any(|path| File::open(path).is_err()) {
            let message = "names a certificate or key that cannot be read";
            self.refuse(&at.span(), key, message, "check the paths and who may read them");
            return None;
        }
        if address.is_exposed() {
            let message = "does not verify the server: whoever is between can read and forge";
            self.warn(&at.span(), key, message, "write sslmode=verify-full");
        }
        Some(VaultStore::Postgres(Arc::new(address)))
    }
}
