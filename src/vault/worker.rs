//! The thread the store lives on.
//!
//! Requests run on many current-thread runtimes; the store runs on this one, so that a request's
//! thread never waits for a disk. Readers and writers have a queue each: a lookup does not wait for a
//! commit. A writer takes all that has queued up while it was committing into its next transaction;
//! where the store takes several at once, there are as many writers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::filter::{self, Filter};
use super::issued;
use super::store::{
    Erasures, Fingerprint, Inserted, NewRow, SealedRow, Sought, StoreError, TokenStore,
};
use super::unlock::{KEYS_EVERY, KEYS_GAP, Renewal, Unlocked, next_renewal};
use super::{Health, MemoryStandIns, VaultError};
use crate::card::TokenFormat;

/// How many calls may wait for each of the two loops.
pub(super) const QUEUE_MAX: usize = 1024;

/// How many rows or fingerprints one transaction takes; a single call brings at most this many.
pub(super) const GROUP_MAX: usize = 512;

/// How often a failing store is tried.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// How often expired verification codes are wiped when nobody calls.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

type Reply<T> = oneshot::Sender<Result<T, VaultError>>;

/// A call for the reading loop.
pub(super) struct Lookup {
    pub(super) sought: Sought,
    pub(super) reply: Reply<Arc<Found>>,
}

/// A call for the writing loop.
pub(super) struct Insertion {
    pub(super) rows: Vec<NewRow>,
    pub(super) reply: Reply<Vec<Inserted>>,
}

/// What a group of lookups found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) by_token: HashMap<Fingerprint, SealedRow>,
    pub(super) by_card: HashMap<(Fingerprint, TokenFormat), SealedRow>,
}

/// What the loops share.
pub(super) struct Worker {
    pub(super) store: Box<dyn TokenStore>,
    pub(super) filter: Arc<Filter>,
    pub(super) erasures: Arc<Erasures>,
    pub(super) health: watch::Sender<Health>,
    pub(super) renewals: mpsc::Sender<Renewal>,
    /// Verification codes that are held here, if they are.
    pub(super) stand_ins: Option<Arc<MemoryStandIns>>,
    pub(super) stop: CancellationToken,
}

/// The calls that wait for each loop.
pub(super) struct Queues {
    pub(super) lookups: mpsc::Receiver<Lookup>,
    pub(super) insertions: mpsc::Receiver<Insertion>,
    pub(super) renewals: mpsc::Receiver<Renewal>,
}

/// A queued call, as far as grouping cares.
trait Job {
    fn size(&self) -> usize;
    /// Whether the caller has stopped waiting.
    fn is_abandoned(&self) -> bool;
}

impl Worker {
    /// Serves until stopped and no lookup or insertion waits.
    pub(super) async fn serve(self, queues: Queues, keys: Unlocked) {
        let Queues { lookups, insertions, renewals } = queues;
        tokio::join!(
            self.read(lookups),
            self.write_all(insertions),
            self.renew(renewals, keys),
            self.sweep(),
            issued::follow(self.store.issued(), &self.filter, &self.stop),
            self.store.hear_erasures(&self.erasures, &self.stop),
        );
        let _closed = self.store.close().await;
    }

    async fn read(&self, mut queue: mpsc::Receiver<Lookup>) {
        while let Some(group) = next_group(&mut queue, &self.stop).await {
            let mut sought = Sought::default();
            group.iter().for_each(|job| sought.extend(&job.sought));
            let found = self.noted(self.store.find(&sought).await);
            let found = found.map(|rows| Arc::new(Found::index(rows)));
            for job in group {
                // A caller that has gone away does not want it.
                let _ = job.reply.send(found.clone());
            }
        }
    }

    async fn write_all(&self, queue: mpsc::Receiver<Insertion>) {
        let queue = Mutex::new(queue);
        join_all((0..self.store.writers()).map(|_| self.write(&queue))).await;
    }

    /// One writer stands at the queue while the others commit.
    async fn write(&self, queue: &Mutex<mpsc::Receiver<Insertion>>) {
        loop {
            let mut waiting = queue.lock().await;
            tokio::select! {
                biased;
                group = next_group(&mut waiting, &self.stop) => {
                    drop(waiting);
                    match group {
                        Some(group) => self.commit(group).await,
                        None => return,
                    }
                }
                () = self.trouble() => self.check().await,
            }
        }
    }

    /// Ends when the store has been failing for a while and nobody called.
    async fn trouble(&self) {
        let failing = |health: &Health| *health != Health::Ready;
        // The sender is ours, so it cannot be gone.
        let _ = self.health.subscribe().wait_for(failing).await;
        sleep(RETRY_EVERY).await;
    }

    async fn commit(&self, group: Vec<Insertion>) {
        let mut rows = Vec::new();
        let mut replies = Vec::with_capacity(group.len());
        for job in group {
            replies.push((job.rows.len(), job.reply));
            rows.extend(job.rows);
        }
        // Beforehand, and whatever becomes of them: once it is issued, a token is known here.
        for SealedRow { token_print, card_print, .. } in rows.iter().map(|new| &new.row) {
            self.filter.add(filter::key_of(token_print));
            self.filter.add(filter::key_of(card_print));
        }
        let outcomes = self.noted(self.store.insert(&rows).await);
        let is_new = |outcome: &Inserted| matches!(outcome, Inserted::Created(_));
        // A card that is known already writes nothing, which proves nothing.
        if outcomes.as_ref().is_ok_and(|outcomes| outcomes.iter().any(is_new)) {
            self.recovered();
        }
        if outcomes.as_ref().is_ok_and(|outcomes| outcomes.contains(&Inserted::KeyGone)) {
            // Whoever asked seals the card again, and needs the newest key for it.
            self.renewed().await;
        }
        let mut outcomes = outcomes.map(Vec::into_iter);
        for (size, reply) in replies {
            let share = outcomes.as_mut().map(|rest| rest.take(size).collect());
            // A caller that has gone away finds its token when it comes again.
            let _ = reply.send(share.map_err(|error| *error));
        }
    }

    async fn check(&self) {
        let written = self.noted(self.store.check().await);
        let read = self.noted(self.store.find(&Sought::default()).await);
        if written.is_ok() && read.is_ok() {
            self.recovered();
        }
    }

    /// Waits until the keys have been read again; not if the vault is closing.
    async fn renewed(&self) {
        let (reply, done) = oneshot::channel();
        if self.renewals.try_send(reply).is_ok() {
            let _ = done.await;
        }
    }

    async fn renew(&self, mut calls: mpsc::Receiver<Renewal>, mut keys: Unlocked) {
        loop {
            let waiting = tokio::select! {
                () = self.stop.cancelled() => return,
                waiting = next_renewal(&mut calls) => waiting,
                () = sleep(KEYS_EVERY) => Vec::new(),
            };
            // A failure has been noted; who waits for a key learns that there is none.
            let _ = self.noted(keys.renew(self.store.as_ref()).await);
            for call in waiting {
                let _ = call.send(());
            }
            sleep(KEYS_GAP).await;
        }
    }

    async fn sweep(&self) {
        let Some(stand_ins) = &self.stand_ins else { return };
        let mut ticks = interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                now = ticks.tick() => stand_ins.sweep(now.into_std()),
            }
        }
    }

    /// Turns a store's failure into what callers are told, and says it once.
    fn noted<T>(&self, done: Result<T, StoreError>) -> Result<T, VaultError> {
        done.map_err(|failure| match failure {
            StoreError::Damaged { column } => {
                error!(column, "a row of the vault is damaged");
                VaultError::Damaged
            }
            StoreError::Down { outage, source } => {
                let news = self.health.send_replace(Health::Failing { cause: outage });
                if news != (Health::Failing { cause: outage }) {
                    error!(outage = outage.as_str(), cause = source, "the vault fails");
                }
                VaultError::Unavailable { cause: outage }
            }
        })
    }

    fn recovered(&self) {
        if self.health.send_replace(Health::Ready) != Health::Ready {
            info!("the vault works again");
        }
    }
}

impl Found {
    fn index(rows: Vec<SealedRow>) -> Self {
        let mut found = Self::default();
        for row in rows {
            found.by_card.insert((row.card_print, row.format), row.clone());
            found.by_token.insert(row.token_print, row);
        }
        found
    }
}

impl Job for Lookup {
    fn size(&self) -> usize {
        // A card is often sought as a token too: that is one.
        self.sought.cards.len().max(self.sought.tokens.len())
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

impl Job for Insertion {
    fn size(&self) -> usize {
        self.rows.len()
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// Waits for a call and takes those that wait behind it, up to `GROUP_MAX` rows and the size of one
/// call more. `None` when the queue is closed and empty. Losing this future loses no call.
async fn next_group<J: Job>(
    queue: &mut mpsc::Receiver<J>,
    stop: &CancellationToken,
) -> Option<Vec<J>> {
    let first = tokio::select! {
        biased;
        job = queue.recv() => job?,
        () = stop.cancelled() => {
            queue.close();
            queue.recv().await?
        }
    };
    let mut size = first.size();
    let mut group = vec![first];
    while size < GROUP_MAX {
        let Ok(job) = queue.try_recv() else { break };
        size += job.size();
        group.push(job);
    }
    // Overload is not made worse by work nobody waits for.
    group.retain(|job| !job.is_abandoned());
    Some(group)
}
