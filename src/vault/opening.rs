//! How a vault comes to life: its keys, its store, and the thread that serves both.

use std::pin::Pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::filter::Filter;
use super::memory::Memory;
use super::standin::RedisStandIns;
use super::store::{Erasures, TokenStore};
use super::unlock::Unlocked;
use super::worker::{QUEUE_MAX, Queues, Worker};
use super::{
    CALL_DEADLINE, CodesPlace, Health, MemoryStandIns, OpenError, Outage, StandInStore, Vault,
    VaultSettings,
};
use crate::keys::{KeyRing, MasterKeys};

pub(super) type Opening =
    Pin<Box<dyn Future<Output = Result<Box<dyn TokenStore>, OpenError>> + Send>>;

impl Vault {
    /// Opens the vault, and makes it on the first start; with it the master key, if its place is
    /// empty and may hold a new one.
    ///
    /// # Errors
    /// When the database cannot be opened, or the master key is not the one it was made with.
    pub async fn open(
        settings: VaultSettings,
        masters: Arc<MasterKeys>,
    ) -> Result<Self, OpenError> {
        let (place, missing) = (settings.store.clone(), settings.store.if_missing().await?);
        let ring = Unlocked::check(&place, &masters, masters.obtain(missing)?).await?;
        let open = move || -> Opening {
            Box::pin(async move {
                let store: Box<dyn TokenStore> = place.open().await?;
                Ok(store)
            })
        };
        let codes = (settings.cvv_store, settings.cvv_ttl);
        Self::start(open, codes, masters, ring).await
    }

    pub(super) async fn start(
        open: impl FnOnce() -> Opening + Send + 'static,
        (cvv_store, cvv_ttl): (CodesPlace, Duration),
        masters: Arc<MasterKeys>,
        ring: KeyRing,
    ) -> Result<Self, OpenError> {
        let (lookups, lookup_queue) = mpsc::channel(QUEUE_MAX);
        let (insertions, insertion_queue) = mpsc::channel(QUEUE_MAX);
        let (renewals, renewal_queue) = mpsc::channel(QUEUE_MAX);
        let (health, stop) = (watch::Sender::new(Health::Ready), CancellationToken::new());
        let in_memory = Arc::new(MemoryStandIns::new(cvv_ttl));
        let swept = matches!(cvv_store, CodesPlace::Memory).then(|| Arc::clone(&in_memory));
        let serving = TaskTracker::new();
        let (opened, ready) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OpenError::Thread)?;
        let parts = (health.clone(), renewals.clone(), swept, stop.clone());
        let queues =
            Queues { lookups: lookup_queue, insertions: insertion_queue, renewals: renewal_queue };
        let master_made = ring.made;
        let served = serving.track_future(async move {
            let (health, renewals, stand_ins, stop) = parts;
            match ready_store(open, masters, ring).await {
                Err(refused) => drop(opened.send(Err(refused))),
                Ok((store, keys)) => {
                    let ledger = store.issued().map(|issued| Arc::clone(issued.ledger()));
                    let filter = Arc::new(Filter::new(ledger.clone()));
                    let keys_shared = (Arc::clone(&keys.cipher), Arc::clone(&keys.listener));
                    let erasures = Arc::new(Erasures::default());
                    let memory = Memory::new(Arc::clone(&filter), ledger, Arc::clone(&erasures));
                    if opened.send(Ok((keys_shared, memory))).is_ok() {
                        let worker =
                            Worker { store, filter, erasures, health, renewals, stand_ins, stop };
                        worker.serve(queues, keys).await;
                    }
                }
            }
        });
        thread::Builder::new()
            .name("vault".to_owned())
            .spawn(move || runtime.block_on(served))
            .map_err(OpenError::Thread)?;
        let stopped = |_| OpenError::Store { cause: Outage::Stopped };
        let ((cipher, key_listener), memory) = ready.await.map_err(stopped)??;
        let own_codes = matches!(cvv_store, CodesPlace::Memory).then(|| Arc::clone(&in_memory));
        let stand_ins: Arc<dyn StandInStore> = match cvv_store {
            CodesPlace::Memory => in_memory,
            CodesPlace::Redis(link) => {
                Arc::new(RedisStandIns::new(link, cvv_ttl, cipher.peek().codes_key()))
            }
        };
        Ok(Self {
            cipher,
            memory,
            deadline: CALL_DEADLINE,
            key_listener,
            master_made,
            lookups,
            insertions,
            renewals,
            health,
            stand_ins,
            own_codes,
            serving,
            stop,
        })
    }
}

/// Opens the store and its keys.
async fn ready_store(
    open: impl FnOnce() -> Opening,
    masters: Arc<MasterKeys>,
    ring: KeyRing,
) -> Result<(Box<dyn TokenStore>, Unlocked), OpenError> {
    let store = open().await?;
    match Unlocked::open(store.as_ref(), masters, ring).await {
        Ok(keys) => Ok((store, keys)),
        Err(refused) => {
            let _closed = store.close().await;
            Err(refused)
        }
    }
}
