//! Counters that instances share, in a Redis or Valkey server.
//!
//! An attempt is one call of a script, which takes a place under every limit at once by the server's
//! clock, and settling it is another. All is counted in this process too, and either may refuse: the
//! moment the server is gone the local limits hold on with what they know, and when it is back nothing
//! that was counted here in the meantime is forgiven. The server sees keyed hashes, and every key of
//! ours there expires.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use aws_lc_rs::rand;
use futures_util::future::join_all;
use redis::{Script, ScriptInvocation};
use tokio::runtime;
use tokio::sync::mpsc;
use tracing::warn;

use super::local::LocalCounter;
use super::{
    AttemptCounter, CounterFuture, CounterKey, Lease, Lock, LockDesk, LockTold, Outcome, Refusal,
    RefusalReason, Reservation, Reserved, Rule, Standing, Tried,
};
use crate::link::{Link, LinkOutage};
use crate::policy::{Dimension, Lockout, LoginLimits, Quota};

/// How long an attempt may take before it counts as failed, in case its instance has died: more than
/// a shop takes to answer.
const LEASE: Duration = Duration::from_secs(5 * 60);

/// How many settled attempts may wait to be told to the server; one that finds no room counts as
/// failed when its lease ends.
const QUEUE_MAX: usize = 16_384;

/// How many of them are told at once.
const GROUP_MAX: usize = 128;

/// The most failures remembered (NIST SP 800-63B 5.2.2), as in one process.
const FAILURES_MAX: u32 = 100;

/// What all keys begin with, for the operator's eyes and for an access list (`~tillgate:*`).
const PREFIX: &str = "tillgate:login:";

/// [`AttemptCounter`] in a server that instances share.
pub struct SharedCounter {
    local: LocalCounter,
    link: Arc<Link>,
    reserve: Script,
    settlements: mpsc::Sender<Settlement>,
}

/// An attempt that is over.
struct Settlement {
    accounts: Vec<CounterKey>,
    lease: Lease,
    lockout: Lockout,
    outcome: Outcome,
    /// What its failure locked in this process.
    locked_here: Vec<Lock>,
    told: LockTold,
}

impl SharedCounter {
    /// Counts on the server behind `link`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(link: Arc<Link>, local: LocalCounter) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (settlements, queue) = mpsc::channel(QUEUE_MAX);
        let settling = settle_all(Arc::clone(&link), queue);
        let name = "counters".to_owned();
        thread::Builder::new().name(name).spawn(move || runtime.block_on(settling))?;
        let reserve = Script::new(include_str!("shared/reserve.lua"));
        Ok(Self { local, link, reserve, settlements })
    }

    async fn reserve_both(&self, tried: Tried, limits: &Arc<LoginLimits>) -> Reserved {
        let (network, accounts) = (tried.network, tried.accounts.clone());
        // What is refused here asks nobody: guessers are many and a round trip is not free.
        let mut reservation = match self.local.reserve(tried, limits).await {
            Reserved::Admitted(reservation) => reservation,
            refused @ Reserved::Refused(_) => return refused,
        };
        let mut name = [0; 8];
        if rand::fill(&mut name).is_err() {
            return Reserved::Admitted(reservation);
        }
        let lease = Lease(u64::from_be_bytes(name));
        match self.reserve_there(network, &accounts, lease, limits).await {
            Ok(None) => {
                reservation.lease = Some(lease);
                Reserved::Admitted(reservation)
            }
            Ok(Some(refusal)) => {
                let _none_lock = self.local.give_back(&reservation, Outcome::Neutral);
                Reserved::Refused(refusal)
            }
            // The link has said so; the local limits have admitted it.
            Err(_) => Reserved::Admitted(reservation),
        }
    }

    /// Why there is no place, if there is none.
    async fn reserve_there(
        &self,
        network: CounterKey,
        accounts: &[CounterKey],
        lease: Lease,
        limits: &LoginLimits,
    ) -> Result<Option<Refusal>, LinkOutage> {
        let mut call = self.reserve.prepare_invoke();
        call.key(key('n', network));
        for account in accounts {
            for kind in ['b', 'f', 'p', 'l'] {
                call.key(key(kind, *account));
            }
        }
        call.arg(lease.0).arg(micros(LEASE));
        lockout(&mut call, &limits.account.lockout.unwrap_or_default());
        for Quota { count, per } in
            [limits.network.quota, limits.account.quota].into_iter().flatten()
        {
            let interval = per.checked_div(count.get()).unwrap_or_default();
            call.arg(micros(interval).max(1)).arg(count.get());
        }
        let (reason, wait): (String, u64) = self.link.call(&call).await?;
        let reason = match reason.as_str() {
            "admitted" => return Ok(None),
            "account_limit" => (Dimension::Account, Rule::Quota),
            "in_flight" => (Dimension::Account, Rule::InFlight),
            "network_limit" => (Dimension::Network, Rule::Quota),
            _ => (Dimension::Account, Rule::Lockout),
        };
        let reason = RefusalReason { dimension: reason.0, rule: reason.1 };
        Ok(Some(Refusal { retry_after: Duration::from_micros(wait), reason }))
    }
}

impl AttemptCounter for SharedCounter {
    fn reserve<'a>(
        &'a self,
        tried: Tried,
        limits: &'a Arc<LoginLimits>,
    ) -> CounterFuture<'a, Reserved> {
        Box::pin(self.reserve_both(tried, limits))
    }

    fn settle(&self, reservation: Reservation, outcome: Outcome, told: LockTold) {
        let lease = reservation.lease;
        let lockout = reservation.limits.account.lockout.unwrap_or_default();
        let accounts = reservation.tried.accounts.clone();
        let locked_here = self.local.give_back(&reservation, outcome);
        let Some(lease) = lease.filter(|_| !accounts.is_empty()) else {
            // Nothing of it is on the server: it was away.
            return locked_here.into_iter().for_each(told);
        };
        // Who names several accounts may own one of them: his success says nothing of the others.
        let outcome = match outcome {
            Outcome::Success if accounts.len() > 1 => Outcome::Neutral,
            outcome => outcome,
        };
        let settled = Settlement { accounts, lease, lockout, outcome, locked_here, told };
        if let Err(error) = self.settlements.try_send(settled) {
            warn!("the shared counters are not told of a login in time; it will count as failed");
            let (mpsc::error::TrySendError::Full(lost) | mpsc::error::TrySendError::Closed(lost)) =
                error;
            lost.locked_here.into_iter().for_each(lost.told);
        }
    }

    /// Those that this process knows of.
    fn locked_accounts(&self) -> usize {
        self.local.locked_accounts()
    }

    fn is_degraded(&self) -> bool {
        self.link.outage().is_some()
    }
}

impl LockDesk for SharedCounter {
    fn locked(&self, most: usize) -> CounterFuture<'_, Vec<Lock>> {
        self.local.locked(most)
    }

    fn release(&self, dimension: Dimension, key: CounterKey) -> CounterFuture<'_, usize> {
        self.local.release(dimension, key)
    }

    fn explain<'a>(
        &'a self,
        tried: &'a Tried,
        limits: &'a LoginLimits,
    ) -> CounterFuture<'a, Vec<Standing>> {
        self.local.explain(tried, limits)
    }
}

/// Tells the server how attempts went, until nobody counts any more.
async fn settle_all(link: Arc<Link>, mut queue: mpsc::Receiver<Settlement>) {
    let script = Script::new(include_str!("shared/settle.lua"));
    let mut group = Vec::with_capacity(GROUP_MAX);
    while queue.recv_many(&mut group, GROUP_MAX).await > 0 {
        join_all(group.drain(..).map(|settled| settle(&link, &script, settled))).await;
    }
}

async fn settle(link: &Link, script: &Script, settled: Settlement) {
    let Settlement { accounts, lease, lockout: limits, outcome, locked_here, told } = settled;
    let mut call = script.prepare_invoke();
    for account in &accounts {
        for kind in ['f', 'p', 'l'] {
            call.key(key(kind, *account));
        }
    }
    call.arg(lease.0).arg(outcome.as_str());
    lockout(&mut call, &limits);
    call.arg(u64::try_from(limits.lock.as_millis()).unwrap_or(u64::MAX).max(1));
    match link.call::<Vec<usize>>(&call).await {
        Ok(places) => {
            let locked = places.into_iter().filter_map(|place| accounts.get(place));
            let lock = |key: &CounterKey| Lock {
                dimension: Dimension::Account,
                key: *key,
                failures: limits.failures.get(),
                level: 0,
                barred: false,
                remaining: limits.lock,
            };
            locked.map(lock).for_each(told);
        }
        // There the place counts as a failure when its lease ends.
        Err(_) => locked_here.into_iter().for_each(told),
    }
}

fn lockout(call: &mut ScriptInvocation<'_>, limits: &Lockout) {
    call.arg(micros(limits.within)).arg(limits.failures.get().min(FAILURES_MAX));
}

fn key(kind: char, about: CounterKey) -> String {
    format!("{PREFIX}{kind}:{about}")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
