//! A store that fails, waits and is full, and what callers are told of it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::super::opening::Opening;
use super::super::store::sqlite::SqliteStore;
use super::super::store::{
    Inserted, IssuedTokens, KeyRow, NewRow, Sought, StoreError, StoreFuture, TokenStore,
};
use super::super::worker::QUEUE_MAX;
use super::*;
use crate::keys::IfMissing;

/// A real store that fails and waits when the test says so, and counts its transactions.
struct Faulty {
    inner: SqliteStore,
    switches: Arc<Switches>,
    writers: usize,
}

pub(super) struct Switches {
    full: AtomicBool,
    pub(super) finds: AtomicUsize,
    inserts: AtomicUsize,
    /// A transaction takes one permit.
    gate: tokio::sync::Semaphore,
}

impl Faulty {
    async fn outage(&self) -> Result<(), StoreError> {
        self.switches.gate.acquire().await.unwrap().forget();
        if self.switches.full.load(Ordering::SeqCst) {
            let source = Box::new(io::Error::other("no room"));
            return Err(StoreError::Down { outage: Outage::Full, source });
        }
        Ok(())
    }
}

impl TokenStore for Faulty {
    fn keys<'a>(&'a self, offered: &'a [KeyRow]) -> StoreFuture<'a, Vec<KeyRow>> {
        self.inner.keys(offered)
    }

    fn find<'a>(&'a self, sought: &'a Sought) -> StoreFuture<'a, Vec<SealedRow>> {
        self.switches.finds.fetch_add(1, Ordering::SeqCst);
        self.inner.find(sought)
    }

    fn insert<'a>(&'a self, rows: &'a [NewRow]) -> StoreFuture<'a, Vec<Inserted>> {
        Box::pin(async move {
            self.switches.inserts.fetch_add(1, Ordering::SeqCst);
            self.outage().await?;
            self.inner.insert(rows).await
        })
    }

    fn writers(&self) -> usize {
        self.writers
    }

    fn check(&self) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.outage().await?;
            self.inner.check().await
        })
    }

    fn close(&self) -> StoreFuture<'_, ()> {
        self.inner.close()
    }

    fn issued(&self) -> Option<&dyn IssuedTokens> {
        self.inner.issued()
    }
}

pub(super) async fn faulty(folder: &Path, permits: usize) -> (Vault, Arc<Switches>) {
    faulty_with(folder, permits, 1).await
}

async fn faulty_with(folder: &Path, permits: usize, writers: usize) -> (Vault, Arc<Switches>) {
    let switches = Arc::new(Switches {
        full: AtomicBool::new(false),
        finds: AtomicUsize::new(0),
        inserts: AtomicUsize::new(0),
        gate: tokio::sync::Semaphore::new(permits),
    });
    let (path, shared) = (folder.join("vault.db"), Arc::clone(&switches));
    let open = move || -> Opening {
        Box::pin(async move {
            let inner = SqliteStore::open(&path).await?;
            let store: Box<dyn TokenStore> = Box::new(Faulty { inner, switches: shared, writers });
            Ok(store)
        })
    };
    let ring = masters(1, None).obtain(IfMissing::Refuse).unwrap();
    let vault =
        Vault::start(open, (CodesPlace::Memory, TTL), masters(1, None), ring).await.ok().unwrap();
    (vault, switches)
}

async fn until_ready(vault: &Vault) {
    let mut health = vault.health.subscribe();
    let ready = health.wait_for(|health| *health == Health::Ready);
    // What it gives keeps the value locked: drop it here.
    drop(timeout(Duration::from_secs(30), ready).await.unwrap().unwrap());
}

#[tokio::test]
async fn a_full_disk_refuses_cards_and_room_brings_the_vault_back_without_a_call() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, switches) = faulty(folder.path(), 1000).await;
    let known = vault.tokenize(vec![card(1)], FORMAT).await.unwrap();
    switches.full.store(true, Ordering::SeqCst);
    let full = VaultError::Unavailable { cause: Outage::Full };
    assert_eq!(vault.tokenize(visa(), FORMAT).await, Err(full));
    assert_eq!(vault.health(), Health::Failing { cause: Outage::Full });
    // What is stored can still be had.
    let again = vault.tokenize(vec![card(1)], FORMAT).await.unwrap();
    assert_eq!(again, [Tokenized::Known(token(known[0]))]);
    switches.full.store(false, Ordering::SeqCst);
    until_ready(&vault).await;
    assert!(vault.tokenize(visa(), FORMAT).await.is_ok());
}

/// Waits, on the vault's own queue, until so many calls stand in it.
async fn until_queued(vault: &Vault, calls: usize) {
    let wait = async {
        while QUEUE_MAX - vault.insertions.capacity() != calls {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), wait).await.unwrap();
}

/// Waits until so many transactions have begun.
async fn until_begun(switches: &Switches, transactions: usize) {
    let begun = async {
        while switches.inserts.load(Ordering::SeqCst) < transactions {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), begun).await.unwrap();
}

#[tokio::test]
async fn calls_that_wait_for_a_commit_share_the_next_one() {
    let folder = tempfile::tempdir().unwrap();
    let (mut vault, switches) = faulty(folder.path(), 0).await;
    vault.deadline = Duration::from_secs(60);
    let first = vault.tokenize(vec![card(0)], FORMAT);
    let rest = (1..50).map(|number| vault.tokenize(vec![card(number)], FORMAT));
    let later = async {
        until_begun(&switches, 1).await;
        let open = async {
            until_queued(&vault, 49).await;
            switches.gate.add_permits(1000);
        };
        futures_util::future::join(futures_util::future::join_all(rest), open).await.0
    };
    let (first, rest) = futures_util::future::join(first, later).await;
    assert!(first.is_ok() && rest.iter().all(Result::is_ok));
    assert_eq!(switches.inserts.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_store_that_takes_two_groups_is_given_the_second_while_the_first_waits() {
    let folder = tempfile::tempdir().unwrap();
    let (mut vault, switches) = faulty_with(folder.path(), 0, 2).await;
    vault.deadline = Duration::from_secs(60);
    let first = vault.tokenize(vec![card(0)], FORMAT);
    let second = async {
        until_begun(&switches, 1).await;
        vault.tokenize(vec![card(1)], FORMAT).await
    };
    let open = async {
        until_begun(&switches, 2).await;
        switches.gate.add_permits(2);
    };
    let (first, second, ()) = futures_util::future::join3(first, second, open).await;
    assert!(first.is_ok() && second.is_ok());
}

#[tokio::test]
async fn a_store_that_hangs_is_refused_in_time_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let (mut vault, switches) = faulty(folder.path(), 0).await;
    vault.deadline = Duration::from_millis(50);
    let stalled = VaultError::Unavailable { cause: Outage::Stalled };
    assert_eq!(vault.tokenize(visa(), FORMAT).await, Err(stalled));
    assert_eq!(vault.health(), Health::Failing { cause: Outage::Stalled });
    switches.gate.add_permits(1000);
    until_ready(&vault).await;
    vault.deadline = CALL_DEADLINE;
    // The hung transaction was committed after all: the card has its one token.
    let again = vault.tokenize(visa(), FORMAT).await.unwrap();
    assert!(matches!(again.as_slice(), [Tokenized::Known(_)]));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, switches) = faulty(folder.path(), 0).await;
    let mut waiting = Vec::new();
    loop {
        let (reply, answer) = oneshot::channel();
        if vault.insertions.try_send(Insertion { rows: Vec::new(), reply }).is_err() {
            break;
        }
        waiting.push(answer);
    }
    let busy = VaultError::Unavailable { cause: Outage::Busy };
    // The worker may have taken its first group meanwhile; what it left is filled up.
    until_begun(&switches, 1).await;
    while let Ok(room) = vault.insertions.try_reserve() {
        let (reply, answer) = oneshot::channel();
        room.send(Insertion { rows: Vec::new(), reply });
        waiting.push(answer);
    }
    assert_eq!(vault.tokenize(visa(), FORMAT).await, Err(busy));
    switches.gate.add_permits(1000);
}
