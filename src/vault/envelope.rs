//! Data keys and the master keys that wrap them.
//!
//! Random data keys do the work, master keys wrap them: a new master key touches a handful of rows,
//! and a master key never leaves its place. The fingerprint key alone is made once and kept for the
//! vault's life, because the token of a card is found through it.

use aws_lc_rs::rand;
use thiserror::Error;

use super::store::{KeyId, KeyPurpose, KeyRow};
use crate::keys::{KeyRing, MasterId, MasterKey, SecretKey, WrapError};

/// How a wrapped key is laid out, by whatever master key wrapped it.
const KEY_VERSION: u8 = 1;

/// An opened data key.
pub(super) struct DataKey {
    pub(super) id: KeyId,
    pub(super) purpose: KeyPurpose,
    pub(super) key: SecretKey,
}

/// Why the keys of a vault do not open.
#[derive(Debug, Error)]
pub(super) enum KeysRefused {
    /// A key that must be there is not.
    #[error("the vault has no key of purpose {}", purpose.as_str())]
    Missing { purpose: KeyPurpose },
    /// A key is wrapped in a way this program does not know.
    #[error("a key of the vault has format {version}")]
    Newer { version: u8 },
    /// The master key does not answer.
    #[error(transparent)]
    Unavailable(WrapError),
    /// Not wrapped by any master key that is at hand, or damaged.
    #[error("no master key at hand opens the keys of the vault")]
    Wrong,
}

/// Makes the keys of a new vault, wrapped.
pub(super) fn make_all(master: &dyn MasterKey) -> Result<Vec<KeyRow>, WrapError> {
    let made = KeyPurpose::ALL.into_iter().map(|purpose| make(purpose, &[master]));
    Ok(made.collect::<Result<Vec<_>, _>>()?.concat())
}

/// Makes one key, wrapped by each of these.
pub(super) fn make(
    purpose: KeyPurpose,
    masters: &[&dyn MasterKey],
) -> Result<Vec<KeyRow>, WrapError> {
    let mut id = KeyId([0; 16]);
    rand::fill(&mut id.0).map_err(|_| WrapError::Random)?;
    let key = SecretKey::random().map_err(|_| WrapError::Random)?;
    masters.iter().map(|master| wrap(id, purpose, &key, *master)).collect()
}

/// Opens each key once, in the order given. Wraps are authenticated, so a wrong master key never
/// gives a key.
pub(super) fn open_all(rows: &[KeyRow], ring: &KeyRing) -> Result<Vec<DataKey>, KeysRefused> {
    if let Some(newer) = rows.iter().find(|row| row.version != KEY_VERSION) {
        return Err(KeysRefused::Newer { version: newer.version });
    }
    let mut opened: Vec<DataKey> = Vec::new();
    for row in rows {
        if opened.iter().any(|key| key.id == row.id) {
            continue;
        }
        let wraps = rows.iter().filter(|wrap| wrap.id == row.id);
        let mut known = wraps.filter_map(|wrap| Some((wrap, ring.named(wrap.master)?)));
        let (wrap, master) = known.next().ok_or(KeysRefused::Wrong)?;
        let about = about(wrap.id, wrap.purpose, wrap.version);
        let key = master.unwrap_key(&wrap.wrapped, &about).map_err(|error| match error {
            WrapError::Wrong => KeysRefused::Wrong,
            other => KeysRefused::Unavailable(other),
        })?;
        opened.push(DataKey { id: row.id, purpose: row.purpose, key });
    }
    Ok(opened)
}

/// Wraps every key by one more master key.
pub(super) fn rewrap(
    rows: &[KeyRow],
    ring: &KeyRing,
    master: &dyn MasterKey,
) -> Result<Vec<KeyRow>, KeysRefused> {
    let keys = open_all(rows, ring)?;
    let wrapped = keys.iter().map(|key| wrap(key.id, key.purpose, &key.key, master));
    wrapped.collect::<Result<_, _>>().map_err(KeysRefused::Unavailable)
}

/// The master keys that wrap something, each once.
pub(super) fn masters(rows: &[KeyRow]) -> Vec<MasterId> {
    let mut masters: Vec<_> = rows.iter().map(|row| row.master).collect();
    masters.sort_unstable();
    masters.dedup();
    masters
}

fn wrap(
    id: KeyId,
    purpose: KeyPurpose,
    key: &SecretKey,
    master: &dyn MasterKey,
) -> Result<KeyRow, WrapError> {
    let wrapped = master.wrap(key, &about(id, purpose, KEY_VERSION))?;
    Ok(KeyRow { id, purpose, master: master.id(), version: KEY_VERSION, wrapped })
}

/// What a wrap is bound to: a key does not serve another purpose than its own.
fn about(id: KeyId, purpose: KeyPurpose, version: u8) -> Vec<u8> {
    [b"key", [version].as_slice(), &id.0, purpose.as_str().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::keys::{KEY_BYTES, MemoryKey};

    fn master(seed: u8) -> Arc<dyn MasterKey> {
        Arc::new(MemoryKey::new(SecretKey::from_bytes(&[seed; KEY_BYTES]).unwrap()))
    }

    fn ring(seed: u8, previous: Option<u8>) -> KeyRing {
        KeyRing { current: master(seed), previous: previous.map(master), made: false }
    }

    fn opened(rows: &[KeyRow], ring: &KeyRing) -> Vec<(KeyId, [u8; KEY_BYTES])> {
        let keys = open_all(rows, ring).ok().unwrap();
        keys.iter().map(|key| (key.id, *key.key.expose())).collect()
    }

    #[test]
    fn keys_open_with_their_own_master_key_only() {
        let mut rows = make_all(master(1).as_ref()).unwrap();
        assert_eq!(opened(&rows, &ring(1, None)).len(), KeyPurpose::ALL.len());
        assert!(matches!(open_all(&rows, &ring(2, None)), Err(KeysRefused::Wrong)));
        // The right name on a key that does not open it.
        rows.iter_mut().for_each(|row| row.master = master(2).id());
        assert!(matches!(open_all(&rows, &ring(2, None)), Err(KeysRefused::Wrong)));
    }

    #[test]
    fn a_key_does_not_serve_another_purpose_and_a_newer_format_is_named() {
        let mut rows = make(KeyPurpose::Fingerprint, &[master(1).as_ref()]).unwrap();
        rows[0].purpose = KeyPurpose::Seal;
        assert!(matches!(open_all(&rows, &ring(1, None)), Err(KeysRefused::Wrong)));
        rows[0].version = 2;
        let refused = open_all(&rows, &ring(1, None));
        assert!(matches!(refused, Err(KeysRefused::Newer { version: 2 })));
    }

    #[test]
    fn a_key_wrapped_twice_opens_with_either_master_key() {
        let first = make_all(master(1).as_ref()).unwrap();
        let second = rewrap(&first, &ring(1, None), master(2).as_ref()).ok().unwrap();
        let both = [first.clone(), second].concat();
        assert_eq!(opened(&both, &ring(2, None)), opened(&first, &ring(1, None)));
        assert_eq!(opened(&first, &ring(2, Some(1))), opened(&both, &ring(1, None)));
        assert_eq!(masters(&both).len(), 2);
    }
}
