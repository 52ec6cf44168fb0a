//! The thread that tells the server how attempts went, and what began while it was gone.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::info;

use super::Outages;
use super::call::{Question, Scripts};
use crate::counters::local::LocalCounter;
use crate::counters::{CounterKey, Lease, Lock, LockTold, Outcome, Reservation, Subject, Trust};
use crate::link::Link;
use crate::policy::LoginLimits;

/// How many settled attempts are told at once.
const GROUP_MAX: usize = 128;

/// How often it is looked whether the server is back.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// For how long after an outage the server may not know all that is known here: locks are remembered
/// for a day.
const DOUBT: Duration = Duration::from_secs(24 * 3600);

/// How many locks are handed to a server that is back, those that end last first.
const LOCKS_MAX: usize = 1024;

/// An attempt that is over.
pub(super) struct Settlement {
    pub(super) subjects: Vec<Subject>,
    pub(super) limits: Arc<LoginLimits>,
    pub(super) lease: Lease,
    pub(super) counts: bool,
    /// The account whose owner has come in.
    pub(super) owned: Option<Owned>,
    /// Whether more than the password speaks for him.
    pub(super) trusted: bool,
    /// What its failure locked in this process.
    locked_here: Vec<Lock>,
    told: LockTold,
}

/// An account and its pair with the network.
#[derive(Clone, Copy)]
pub(super) struct Owned {
    pub(super) account: CounterKey,
    pub(super) pair: CounterKey,
}

/// What the thread works with.
pub(super) struct Teller {
    pub(super) link: Arc<Link>,
    pub(super) local: LocalCounter,
    pub(super) scripts: Arc<Scripts>,
    pub(super) outages: Arc<Outages>,
}

impl Settlement {
    pub(super) fn of(
        reservation: &Reservation,
        lease: Lease,
        outcome: Outcome,
        (locked_here, told): (Vec<Lock>, LockTold),
    ) -> Self {
        let owned = reservation.owned_account().filter(|_| outcome == Outcome::Success);
        let pair = |account| Owned { account, pair: reservation.tried.pair(account) };
        Self {
            subjects: reservation.subjects().collect(),
            limits: Arc::clone(&reservation.limits),
            lease,
            counts: outcome.counts(reservation.limits.counted),
            owned: owned.map(pair),
            trusted: reservation.trust != Trust::Stranger,
            locked_here,
            told,
        }
    }

    /// Of an attempt that the shop never saw, wherever it may have got a place.
    pub(super) fn never_sent(
        question: &Question<'_>,
        lease: Lease,
        limits: &Arc<LoginLimits>,
    ) -> Self {
        Self {
            subjects: question.subjects.clone(),
            limits: Arc::clone(limits),
            lease,
            counts: false,
            owned: None,
            trusted: false,
            locked_here: Vec::new(),
            told: Box::new(drop),
        }
    }

    /// Says what this process knows, where the server cannot.
    pub(super) fn tell_locally(self) {
        self.locked_here.into_iter().for_each(self.told);
    }
}

impl Teller {
    /// Until nobody counts any more.
    pub(super) async fn tell_all(self, mut queue: mpsc::Receiver<Settlement>) {
        let mut group = Vec::with_capacity(GROUP_MAX);
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut sure_from = Instant::now();
        loop {
            tokio::select! {
                count = queue.recv_many(&mut group, GROUP_MAX) => {
                    if count == 0 {
                        return;
                    }
                    join_all(group.drain(..).map(|settled| self.settle(settled))).await;
                }
                now = looks.tick() => self.look(now, &mut sure_from).await,
            }
        }
    }

    async fn settle(&self, settled: Settlement) {
        match self.scripts.settle(&self.link, &settled).await {
            Ok(begun) => {
                // Should the server go away, they hold here.
                begun.iter().for_each(|lock| self.local.impose(lock));
                begun.into_iter().for_each(settled.told);
            }
            // There the place counts when its lease ends.
            Err(_) => settled.tell_locally(),
        }
    }

    async fn look(&self, now: Instant, sure_from: &mut Instant) {
        if self.link.outage().is_some() {
            self.outages.begin();
            return;
        }
        if self.outages.untold.swap(false, Ordering::Relaxed) {
            *sure_from = now + DOUBT;
            let locks = self.local.locked_now(LOCKS_MAX);
            if self.scripts.impose(&self.link, &locks).await.is_err() {
                self.outages.begin();
                return;
            }
            info!(locks = locks.len(), "the shared counters are back and know what is locked here");
        }
        if now >= *sure_from {
            self.outages.recent.store(false, Ordering::Relaxed);
        }
    }
}
