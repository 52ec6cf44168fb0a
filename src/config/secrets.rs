//! Secrets from files and the environment. None is ever quoted, not even in part.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;

use http::{HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::compile::Compiler;
use super::master_key::is_variable;
use super::schema::{AlgorithmSchema, EncodingSchema, SecretSchema};
use super::source::At;
use crate::policy::{MacAlgorithm, MacEncoding, Secret};

/// The largest secret: the longest in the field are keys of some KiB in base64.
const SECRET_BYTES_MAX: u64 = 16 << 10;

/// Fields that frame and route a request: a value of ours there would break it.
const FRAMING: [&str; 9] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "te",
    "transfer-encoding",
    "upgrade",
];

impl Compiler<'_> {
    /// Reads a secret; the line that ends a file is not part of it.
    pub(super) fn secret(&mut self, key: &str, at: &At<SecretSchema>) -> Option<Secret> {
        let form = "write { file = \"…\" } or { env = \"NAME\" }";
        let bytes = match (&at.get().file, &at.get().env) {
            (Some(file), None) => self.secret_file(&format!("{key}.file"), file)?,
            (None, Some(name)) => self.secret_variable(&format!("{key}.env"), name)?,
            (Some(_), Some(_)) => {
                self.refuse(&at.span(), key, "names two sources", form);
                return None;
            }
            (None, None) => {
                self.refuse(&at.span(), key, "names no source", form);
                return None;
            }
        };
        let secret = Zeroizing::new(bytes.trim_ascii().to_vec());
        if secret.is_empty() {
            self.refuse(&at.span(), key, "is empty", "put the secret there");
            return None;
        }
        Some(Secret::new(secret))
    }

    fn secret_file(&mut self, key: &str, at: &At<String>) -> Option<Zeroizing<Vec<u8>>> {
        let path = self.readable(key, at)?;
        if fs::metadata(&path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0) {
            let message = "can be read by others on this machine";
            self.warn(
                &at.span(),
                key,
                message,
                "chmod 600, and let its owner be who runs tillgate",
            );
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
        let read = File::open(&path)
            .and_then(|file| file.take(SECRET_BYTES_MAX + 1).read_to_end(&mut bytes));
        let small = u64::try_from(bytes.len()).is_ok_and(|length| length <= SECRET_BYTES_MAX);
        if read.is_err() || !small {
            self.refuse(&at.span(), key, "is too large for a secret", "check the path");
            return None;
        }
        Some(bytes)
    }

    fn secret_variable(&mut self, key: &str, at: &At<String>) -> Option<Zeroizing<Vec<u8>>> {
        if !is_variable(at.get()) {
            let message = "is not the name of a variable";
            let remedy = "give the name, not the secret, in letters, digits and `_`";
            self.refuse(&at.span(), key, message, remedy);
            return None;
        }
        let Some(value) = (self.lookup)(at.get()) else {
            let message = format!("{} is not set", self.source.quote(&at.span()));
            self.refuse(&at.span(), key, message, "set the variable and start again");
            return None;
        };
        Some(Zeroizing::new(value.into_bytes()))
    }

    /// The name of a field of the head that we set or read.
    pub(super) fn header_name(&mut self, key: &str, at: &At<String>) -> Option<HeaderName> {
        let name = HeaderName::from_bytes(at.get().as_bytes()).ok();
        let name = name.filter(|name| !FRAMING.contains(&name.as_str()));
        if name.is_none() {
            let message = format!("{} is not a field for this", self.source.quote(&at.span()));
            self.refuse(&at.span(), key, message, "write it as in \"Authorization\"");
        }
        name
    }

    /// Text before a secret, and both together as the value of a field.
    pub(super) fn header_secret(
        &mut self,
        key: &str,
        (at, prefix): (&At<SecretSchema>, &str),
    ) -> Option<Secret> {
        let secret = self.secret(key, at)?;
        let whole = Zeroizing::new([prefix.as_bytes(), secret.expose()].concat());
        if HeaderValue::from_bytes(&whole).is_err() {
            let remedy = "it must be one line of text";
            self.refuse(&at.span(), key, "cannot stand in the head of a request", remedy);
            return None;
        }
        Some(Secret::new(whole))
    }
}

pub(super) fn algorithm(written: Option<&At<AlgorithmSchema>>) -> MacAlgorithm {
    match written.map(At::get) {
        Some(AlgorithmSchema::Sha512) => MacAlgorithm::Sha512,
        Some(AlgorithmSchema::Sha256) | None => MacAlgorithm::Sha256,
    }
}

pub(super) fn encoding(written: Option<&At<EncodingSchema>>) -> MacEncoding {
    match written.map(At::get) {
        Some(EncodingSchema::Base64) => MacEncoding::Base64,
        Some(EncodingSchema::Hex) | None => MacEncoding::Hex,
    }
}
