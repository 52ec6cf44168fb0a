//! The master keys that may open a vault: the one in force and, while it is replaced, the one
//! before it.

use std::sync::Arc;

use super::{IfMissing, KeyError, KeySource, MasterId, MasterKey, Obtained};

/// Where the master keys come from.
pub struct MasterKeys {
    /// The one in force.
    pub current: Box<dyn KeySource>,
    /// The one that it replaces, for as long as something may be wrapped by it.
    pub previous: Option<Box<dyn KeySource>>,
}

/// The master keys, ready for use.
pub struct KeyRing {
    /// The one in force.
    pub current: Arc<dyn MasterKey>,
    /// The one that it replaces.
    pub previous: Option<Arc<dyn MasterKey>>,
    /// Whether the one in force was made just now: nobody has a backup of it.
    pub made: bool,
}

impl MasterKeys {
    /// Reads them, or makes the one in force where there is none and `missing` allows it.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub fn obtain(&self, missing: IfMissing) -> Result<KeyRing, KeyError> {
        let previous = self.previous.as_ref().map(|source| source.obtain(IfMissing::Refuse));
        let previous = previous.transpose()?.map(Obtained::into_key);
        let obtained = self.current.obtain(missing)?;
        let made = matches!(obtained, Obtained::Made(_));
        Ok(KeyRing { current: obtained.into_key(), previous, made })
    }
}

impl KeyRing {
    /// The key of that name, if it is one of these.
    #[must_use]
    pub fn named(&self, id: MasterId) -> Option<&dyn MasterKey> {
        let keys = [Some(&self.current), self.previous.as_ref()];
        keys.into_iter().flatten().map(AsRef::as_ref).find(|key| key.id() == id)
    }
}
