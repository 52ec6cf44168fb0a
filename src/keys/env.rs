//! The master key from an environment variable.

use std::env;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{IfMissing, KEY_BYTES, KeyError, KeySource, MemoryKey, Obtained, SecretKey};

/// A variable that holds the key's 32 bytes in base64 (RFC 4648 section 4) or hex.
///
/// The process's environment keeps the text for as long as it runs; where that matters, use a file.
#[derive(Clone, Debug)]
pub struct EnvKey {
    /// The variable's name.
    pub name: String,
}

impl KeySource for EnvKey {
    fn describe(&self) -> String {
        format!("the environment variable {}", self.name)
    }

    /// Never makes a key: a process cannot hand one to its next start.
    fn obtain(&self, _: IfMissing) -> Result<Obtained, KeyError> {
        match env::var(&self.name).map(Zeroizing::new) {
            Ok(text) => {
                let key = decode(&text).map(|key| Obtained::Read(Arc::new(MemoryKey::new(key))));
                key.ok_or_else(|| KeyError::EnvFormat { name: self.name.clone() })
            }
            Err(env::VarError::NotPresent) => Err(KeyError::EnvMissing { name: self.name.clone() }),
            Err(env::VarError::NotUnicode(_)) => {
                Err(KeyError::EnvFormat { name: self.name.clone() })
            }
        }
    }
}

fn decode(text: &str) -> Option<SecretKey> {
    let text = text.trim();
    let bytes = if text.len() == KEY_BYTES * 2 { from_hex(text)? } else { from_base64(text)? };
    SecretKey::from_bytes(&bytes)
}

fn from_base64(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    STANDARD.decode(text).ok().map(Zeroizing::new)
}

fn from_hex(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES));
    for pair in text.as_bytes().chunks(2) {
        let pair = std::str::from_utf8(pair).ok()?;
        // `from_str_radix` would take a sign.
        if !pair.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_and_hex_give_the_same_key() {
        let hex = decode(&"0f".repeat(KEY_BYTES)).unwrap();
        let base64 = decode(&format!(" {}\n", STANDARD.encode([0x0f; KEY_BYTES]))).unwrap();
        assert_eq!(hex.expose(), base64.expose());
    }

    #[test]
    fn a_text_that_is_no_key_is_refused() {
        for text in ["", "secret", &"0g".repeat(32), &"+f".repeat(32), &STANDARD.encode([1; 31])] {
            assert!(decode(text).is_none());
        }
    }

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let source = EnvKey { name: "TILLGATE_TEST_KEY_THAT_NOBODY_SETS".to_owned() };
        let refused = source.obtain(IfMissing::Create).err().unwrap().to_string();
        assert!(refused.contains("TILLGATE_TEST_KEY_THAT_NOBODY_SETS"), "{refused}");
    }
}
