//! Where a master key comes from, as the file says it.

use std::path::PathBuf;

use super::compile::Compiler;
use super::schema::{MasterKeySchema, PinSchema, Pkcs11Schema};
use super::source::At;

const FORM: &str = "write { file = \"…\" }, { env = \"NAME\" } or { pkcs11 = { … } }";
const PIN_FORM: &str = "write { file = \"…\" } or { env = \"NAME\" }";

/// Where a master key comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MasterKeySource {
    /// This variable of the environment.
    Env(String),
    /// This file.
    File(PathBuf),
    /// This device.
    Pkcs11(Pkcs11Source),
}

/// A key in a PKCS#11 device.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pkcs11Source {
    /// The vendor's library.
    pub module: PathBuf,
    /// The label of the token that holds the key.
    pub token_label: String,
    /// The key's own label.
    pub key_label: String,
    /// Where the PIN comes from.
    pub pin: PinPlace,
}

/// Where a PIN comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PinPlace {
    /// This variable of the environment.
    Env(String),
    /// This file.
    File(PathBuf),
}

impl Compiler<'_> {
    /// The source written under `key`.
    pub(super) fn master_key(
        &mut self,
        key: &str,
        at: &At<MasterKeySchema>,
    ) -> Option<MasterKeySource> {
        let written = at.get();
        match (&written.file, &written.env, &written.pkcs11) {
            (Some(file), None, None) => {
                self.file(&format!("{key}.file"), file, FORM).map(MasterKeySource::File)
            }
            (None, Some(name), None) => self.variable(key, name, "key").map(MasterKeySource::Env),
            (None, None, Some(device)) => self.device(key, device).map(MasterKeySource::Pkcs11),
            (None, None, None) => {
                self.refuse(&at.span(), key, "names no source", FORM);
                None
            }
            _ => {
                self.refuse(&at.span(), key, "names two sources", FORM);
                None
            }
        }
    }

    /// The key that `current` replaces.
    pub(super) fn previous_master_key(
        &mut self,
        at: &At<MasterKeySchema>,
        current: Option<&MasterKeySource>,
    ) -> Option<MasterKeySource> {
        let key = "vault.previous_master_key";
        let previous = self.master_key(key, at)?;
        if current == Some(&previous) {
            let remedy = "name the old key here and the new one as `master_key`";
            self.refuse(&at.span(), key, "is the same as `vault.master_key`", remedy);
            return None;
        }
        Some(previous)
    }

    fn device(&mut self, key: &str, at: &At<Pkcs11Schema>) -> Option<Pkcs11Source> {
        let written = at.get();
        let module = self.file(&format!("{key}.pkcs11.module"), &written.module, "name a library");
        let token_label = self.label(&format!("{key}.pkcs11.token_label"), &written.token_label);
        let key_label = self.label(&format!("{key}.pkcs11.key_label"), &written.key_label);
        let pin = self.pin(&format!("{key}.pkcs11.pin"), &written.pin);
        Some(Pkcs11Source {
            module: module?,
            token_label: token_label?,
            key_label: key_label?,
            pin: pin?,
        })
    }

    fn pin(&mut self, key: &str, at: &At<PinSchema>) -> Option<PinPlace> {
        match (&at.get().file, &at.get().env) {
            (Some(file), None) => {
                self.file(&format!("{key}.file"), file, PIN_FORM).map(PinPlace::File)
            }
            (None, Some(name)) => self.variable(key, name, "PIN").map(PinPlace::Env),
            (Some(_), Some(_)) => {
                self.refuse(&at.span(), key, "names two sources", PIN_FORM);
                None
            }
            (None, None) => {
                self.refuse(&at.span(), key, "names no source", PIN_FORM);
                None
            }
        }
    }

    fn file(&mut self, key: &str, at: &At<String>, remedy: &str) -> Option<PathBuf> {
        if at.get().is_empty() {
            self.refuse(&at.span(), key, "is empty", remedy);
            return None;
        }
        Some(self.path(at))
    }

    /// Not the secret itself: it would stand in the file.
    fn variable(&mut self, key: &str, at: &At<String>, what: &str) -> Option<String> {
        if is_variable(at.get()) {
            return Some(at.get().clone());
        }
        let remedy = format!("give the name, not the {what}, in letters, digits and `_`");
        self.refuse(&at.span(), &format!("{key}.env"), "is not the name of a variable", remedy);
        None
    }

    fn label(&mut self, key: &str, at: &At<String>) -> Option<String> {
        if at.get().is_empty() {
            self.refuse(&at.span(), key, "is empty", "give the label as the device shows it");
            return None;
        }
        Some(at.get().clone())
    }
}

fn is_variable(name: &str) -> bool {
    let sound = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(sound)
}
