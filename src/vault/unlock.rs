//! The keys of an open vault, and how a process learns of new ones.
//!
//! Commands of the operator, in other processes, add and drop keys while this one serves. Keys are
//! read again every few seconds, and at once when a row turns up whose data key is unknown.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use super::cipher::Cipher;
use super::envelope::{self, KeysRefused};
use super::error::OpenError;
use super::place::StorePlace;
use super::store::{KeyRow, StoreError, TokenStore};
use crate::keys::{IfMissing, KeyRing, MasterKeys};
use crate::policy::Live;

/// How often the keys are read again: a rotation waits for nothing longer.
pub(super) const KEYS_EVERY: Duration = Duration::from_secs(2);

/// How long two readings lie apart when they are asked for.
pub(super) const KEYS_GAP: Duration = Duration::from_millis(100);

/// Asks for a new reading, and is answered after it.
pub(super) type Renewal = oneshot::Sender<()>;

/// Is told of every key that comes or goes.
pub type KeyListener = Box<dyn Fn(KeyEvent) + Send + Sync>;

/// A key came or went, by this process or another.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyEvent {
    /// What happened to it.
    pub change: KeyEventKind,
    /// What it is for: the purpose of a data key, or `master`.
    pub purpose: &'static str,
    /// Its public name, in hexadecimal.
    pub key: String,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyEventKind {
    /// It is in use from now on.
    Added,
    /// It opens nothing any more.
    Dropped,
}

/// The keys of a vault, opened.
pub(super) struct Unlocked {
    pub(super) masters: Arc<MasterKeys>,
    pub(super) ring: KeyRing,
    /// As they are kept, oldest first.
    pub(super) rows: Vec<KeyRow>,
    pub(super) cipher: Arc<Live<Cipher>>,
    pub(super) listener: Arc<OnceLock<KeyListener>>,
    /// What could not be opened, so that it is said once.
    refused: Vec<KeyRow>,
}

impl Unlocked {
    /// Opens the keys of a store, and makes them where it has neither keys nor tokens.
    pub(super) async fn open(
        store: &dyn TokenStore,
        masters: Arc<MasterKeys>,
        ring: KeyRing,
    ) -> Result<Self, OpenError> {
        let mut rows = store.keys(&[]).await?;
        if rows.is_empty() {
            let offered = envelope::make_all(ring.current.as_ref()).map_err(OpenError::Wrap)?;
            rows = store.keys(&offered).await?;
        }
        Self::of(rows, masters, ring)
    }

    /// Finds out whether these master keys open what a store holds, before anything in it or beside
    /// it is changed. Gives the ring that does.
    pub(super) async fn check(
        place: &StorePlace,
        masters: &Arc<MasterKeys>,
        ring: KeyRing,
    ) -> Result<KeyRing, OpenError> {
        match place.peek().await?.as_slice() {
            [] => Ok(ring),
            rows => Ok(Self::of(rows.to_vec(), Arc::clone(masters), ring)?.ring),
        }
    }

    /// Opens the keys of a store that has some.
    pub(super) async fn existing(
        store: &dyn TokenStore,
        masters: Arc<MasterKeys>,
        ring: KeyRing,
    ) -> Result<Self, OpenError> {
        Self::of(store.keys(&[]).await?, masters, ring)
    }

    fn of(
        rows: Vec<KeyRow>,
        masters: Arc<MasterKeys>,
        mut ring: KeyRing,
    ) -> Result<Self, OpenError> {
        let cipher = match Cipher::open_keys(&rows, &ring) {
            Err(KeysRefused::Wrong) => {
                // The key may have been replaced between our reading it and our reading the store.
                ring = masters.obtain(IfMissing::Refuse)?;
                Cipher::open_keys(&rows, &ring)?
            }
            done => done?,
        };
        Ok(Self {
            masters,
            ring,
            rows,
            cipher: Arc::new(Live::new(cipher)),
            listener: Arc::new(OnceLock::new()),
            refused: Vec::new(),
        })
    }

    /// Reads the keys again. What was opened before stays in use if the new ones do not open.
    pub(super) async fn renew(&mut self, store: &dyn TokenStore) -> Result<(), StoreError> {
        let rows = store.keys(&[]).await?;
        if rows == self.rows {
            self.refused = Vec::new();
        } else if rows != self.refused {
            self.take(rows);
        }
        Ok(())
    }

    /// Whether the keys in use are those last read.
    pub(super) fn is_current(&self) -> bool {
        self.refused.is_empty()
    }

    /// Makes these the keys in use, if they open.
    pub(super) fn take(&mut self, rows: Vec<KeyRow>) {
        let cipher = match Cipher::open_keys(&rows, &self.ring) {
            // A master key in a file is replaced under a running process.
            Err(KeysRefused::Wrong) => match self.masters.obtain(IfMissing::Refuse) {
                Ok(ring) => {
                    self.ring = ring;
                    Cipher::open_keys(&rows, &self.ring)
                }
                Err(error) => {
                    error!(%error, "the master key cannot be read again");
                    Err(KeysRefused::Wrong)
                }
            },
            done => done,
        };
        match cipher {
            Ok(cipher) => {
                self.cipher.publish(cipher);
                let events = events(&self.rows, &rows);
                self.rows = rows;
                self.refused = Vec::new();
                self.tell(events);
            }
            Err(error) => {
                error!(%error, "new keys of the vault do not open; the old ones stay in use");
                self.refused = rows;
            }
        }
    }

    fn tell(&self, events: Vec<KeyEvent>) {
        for event in events {
            let KeyEvent { change, purpose, key } = &event;
            info!(change = change.as_str(), purpose, key, "a key of the vault has changed");
            if let Some(listener) = self.listener.get() {
                listener(event);
            }
        }
    }
}

impl KeyEventKind {
    /// A short name, for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Dropped => "dropped",
        }
    }
}

/// Waits for a call, takes those that wait behind it, and gives them all after `KEYS_GAP` at most.
pub(super) async fn next_renewal(calls: &mut mpsc::Receiver<Renewal>) -> Vec<Renewal> {
    let mut waiting: Vec<_> = calls.recv().await.into_iter().collect();
    while let Ok(call) = calls.try_recv() {
        waiting.push(call);
    }
    waiting
}

/// What lies between two readings.
pub(super) fn events(before: &[KeyRow], after: &[KeyRow]) -> Vec<KeyEvent> {
    let (old, new) = (names(before), names(after));
    let only = |these: &[(&'static str, String)], those: &[(&'static str, String)], change| {
        let gone = these.iter().filter(|name| !those.contains(name)).cloned();
        gone.map(|(purpose, key)| KeyEvent { change, purpose, key }).collect::<Vec<_>>()
    };
    let added = only(&new, &old, KeyEventKind::Added);
    [added, only(&old, &new, KeyEventKind::Dropped)].concat()
}

/// Every key, each once: what it is for and what it is called.
fn names(rows: &[KeyRow]) -> Vec<(&'static str, String)> {
    let masters = envelope::masters(rows).into_iter().map(|id| ("master", id.to_string()));
    let mut names: Vec<_> = masters.collect();
    for row in rows {
        let name = (row.purpose.as_str(), row.id.to_string());
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::super::store::{KeyId, KeyPurpose};
    use super::*;
    use crate::keys::MasterId;

    fn row(id: u8, master: u8) -> KeyRow {
        let master = MasterId([master; 16]);
        let (purpose, wrapped) = (KeyPurpose::Seal, Vec::new());
        KeyRow { id: KeyId([id; 16]), purpose, master, version: 1, wrapped }
    }

    #[test]
    fn a_replaced_master_key_and_a_new_data_key_are_told_once_each() {
        let told = |before: &[KeyRow], after: &[KeyRow]| -> Vec<_> {
            let told = events(before, after);
            told.iter().map(|it| (it.change.as_str(), it.purpose, it.key[..2].to_owned())).collect()
        };
        let first = [row(1, 8), row(2, 8)];
        let second = [row(1, 9), row(2, 9)];
        let replaced =
            [("added", "master", "09".to_owned()), ("dropped", "master", "08".to_owned())];
        assert_eq!(told(&first, &second), replaced);
        assert_eq!(told(&first[..1], &first), [("added", "seal", "02".to_owned())]);
        assert!(told(&first, &first).is_empty());
    }
}
