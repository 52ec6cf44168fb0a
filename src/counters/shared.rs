//! Counters that instances share, in a Redis or Valkey server.
//!
//! An attempt is one call of a script, which takes a place under every subject at once by the server's
//! clock, and settling it is another. All is counted in this process too: the moment the server is gone
//! the local limits hold on with what they know. While the server is there it decides, as it alone
//! knows who has logged in through another instance; for a day after it was gone both must admit, so
//! that nothing is forgiven that was counted here, and locks that began here are handed to it. The
//! server sees keyed hashes, and every key of ours there expires.

mod call;
mod desk;
mod teller;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use aws_lc_rs::rand;
use tokio::runtime;
use tokio::sync::mpsc;
use tracing::warn;

pub use self::call::LOGIN_KEYS;
use self::call::{Placed, Question, Scripts};
use self::teller::{Settlement, Teller};
use super::local::LocalCounter;
use super::{
    AttemptCounter, CounterFuture, Lease, LockTold, Outcome, Reservation, Reserved, Tried,
};
use crate::link::Link;
use crate::policy::LoginLimits;

/// How many settled attempts may wait to be told to the server; one that finds no room counts as
/// failed when its lease ends.
const QUEUE_MAX: usize = 16_384;

/// [`AttemptCounter`] in a server that instances share.
pub struct SharedCounter {
    local: LocalCounter,
    link: Arc<Link>,
    scripts: Arc<Scripts>,
    settlements: mpsc::Sender<Settlement>,
    outages: Arc<Outages>,
}

/// What is remembered of times without the server.
#[derive(Default)]
struct Outages {
    /// It was gone, and has not been told yet what began meanwhile.
    untold: AtomicBool,
    /// It was gone not long ago, so that it may not know all that is known here.
    recent: AtomicBool,
}

impl SharedCounter {
    /// Counts on the server behind `link`, and beside it in `local`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(link: Arc<Link>, local: LocalCounter) -> io::Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (settlements, queue) = mpsc::channel(QUEUE_MAX);
        let (scripts, outages) = (Arc::new(Scripts::new()), Arc::<Outages>::default());
        let teller = Teller {
            link: Arc::clone(&link),
            local: local.clone(),
            scripts: Arc::clone(&scripts),
            outages: Arc::clone(&outages),
        };
        let name = "counters".to_owned();
        thread::Builder::new()
            .name(name)
            .spawn(move || runtime.block_on(teller.tell_all(queue)))?;
        Ok(Self { local, link, scripts, settlements, outages })
    }

    async fn reserve_both(&self, tried: Tried, limits: &Arc<LoginLimits>) -> Reserved {
        let known_here = self.local.knows(&tried, limits);
        let question = Question::new(&tried, limits, known_here);
        let lease = Lease::draw().filter(|_| !question.is_empty() && !self.is_degraded());
        let Some(lease) = lease else { return self.reserve_here(tried, limits).await };
        let mut asking = Asking::new(self, lease, &question, limits);
        match self.scripts.reserve(&self.link, lease, &question).await {
            Ok(Placed::Refused(refusal)) => {
                asking.settlement = None;
                Reserved::Refused(refusal)
            }
            Ok(Placed::Admitted(trust)) => {
                let binds = self.outages.recent.load(Ordering::Relaxed);
                // The place there goes back with what is dropped.
                if let Err(refusal) = self.local.follow(&tried, trust, limits, binds) {
                    return Reserved::Refused(refusal);
                }
                asking.settlement = None;
                let limits = Arc::clone(limits);
                Reserved::Admitted(Reservation { tried, trust, limits, lease: Some(lease) })
            }
            // The link has said so. Whether there is a place there nobody knows.
            Err(_) => self.reserve_here(tried, limits).await,
        }
    }

    async fn reserve_here(&self, tried: Tried, limits: &Arc<LoginLimits>) -> Reserved {
        if self.is_degraded() {
            self.outages.begin();
        }
        self.local.reserve(tried, limits).await
    }

    fn tell(&self, settlement: Settlement) {
        if let Err(error) = self.settlements.try_send(settlement) {
            warn!("the shared counters are not told of an attempt in time; it will count");
            let (mpsc::error::TrySendError::Full(lost) | mpsc::error::TrySendError::Closed(lost)) =
                error;
            lost.tell_locally();
        }
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
        let locked_here = self.local.give_back(&reservation, outcome);
        match reservation.lease {
            Some(lease) => {
                self.tell(Settlement::of(&reservation, lease, outcome, (locked_here, told)));
            }
            // Nothing of it is on the server: it was away.
            None => locked_here.into_iter().for_each(told),
        }
    }

    /// Those that began through this process, and those that it heard of.
    fn locked_accounts(&self) -> usize {
        self.local.locked_accounts()
    }

    fn is_degraded(&self) -> bool {
        self.link.outage().is_some()
    }
}

/// A question under way. Dropped before it is answered, because the client has left, it gives back
/// what place there may be: the shop has not seen the attempt.
struct Asking<'a> {
    counter: &'a SharedCounter,
    settlement: Option<Settlement>,
}

impl<'a> Asking<'a> {
    fn new(
        counter: &'a SharedCounter,
        lease: Lease,
        question: &Question<'_>,
        limits: &Arc<LoginLimits>,
    ) -> Self {
        let settlement = Some(Settlement::never_sent(question, lease, limits));
        Self { counter, settlement }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(settlement) = self.settlement.take() {
            self.counter.tell(settlement);
        }
    }
}

impl Outages {
    fn begin(&self) {
        self.untold.store(true, Ordering::Relaxed);
        self.recent.store(true, Ordering::Relaxed);
    }
}

impl Lease {
    /// A name that nobody else draws; `None` where the system has no randomness.
    fn draw() -> Option<Self> {
        let mut name = [0; 8];
        rand::fill(&mut name).ok()?;
        Some(Self(u64::from_be_bytes(name)))
    }
}

#[cfg(test)]
mod tests;
