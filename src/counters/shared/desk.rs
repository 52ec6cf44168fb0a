//! What an operator asks: the server knows, and while it is gone this process says what it knows.

use super::SharedCounter;
use super::call::{Question, bare, ledger};
use crate::counters::{CounterFuture, CounterKey, Lock, LockDesk, Standing, Tried};
use crate::link::LinkOutage;
use crate::policy::{Dimension, LoginLimits};

/// How many ledgers one call works on.
const GROUP_MAX: usize = 500;

impl SharedCounter {
    async fn locked_there(&self, most: usize) -> Result<Vec<Lock>, LinkOutage> {
        let subjects = self.scripts.locked(&self.link, most).await?;
        let subjects: Vec<_> = subjects.into_iter().map(bare).collect();
        let (limits, mut locks) = (LoginLimits::unlimited(), Vec::new());
        for group in subjects.chunks(GROUP_MAX) {
            let stood = self.scripts.explain(&self.link, None, group, &limits).await?;
            locks.extend(stood.into_iter().filter_map(|stood| stood.lock));
        }
        Ok(locks)
    }

    async fn release_there(
        &self,
        dimension: Dimension,
        key: CounterKey,
    ) -> Result<usize, LinkOutage> {
        let mut ledgers = vec![ledger(dimension, key)];
        if dimension == Dimension::Account {
            ledgers.extend(self.scripts.pairs_of(&self.link, key).await?);
            // A search may find a key twice.
            ledgers.sort_unstable();
            ledgers.dedup();
        }
        let mut released = 0;
        for group in ledgers.chunks(GROUP_MAX) {
            released += self.scripts.release(&self.link, group).await?;
        }
        Ok(released)
    }

    async fn explain_there(
        &self,
        tried: &Tried,
        limits: &LoginLimits,
    ) -> Result<Vec<Standing>, LinkOutage> {
        let question = Question::new(tried, limits, false);
        let pair = question.pair().filter(|_| limits.known_for.is_some());
        let stood = self.scripts.explain(&self.link, pair, &question.subjects, limits).await?;
        Ok(stood.into_iter().map(|stood| stood.standing).collect())
    }
}

impl LockDesk for SharedCounter {
    fn locked(&self, most: usize) -> CounterFuture<'_, Vec<Lock>> {
        Box::pin(async move {
            match self.locked_there(most).await {
                Ok(locks) => locks,
                Err(_) => self.local.locked(most).await,
            }
        })
    }

    fn release(&self, dimension: Dimension, key: CounterKey) -> CounterFuture<'_, usize> {
        Box::pin(async move {
            let here = self.local.release(dimension, key).await;
            self.release_there(dimension, key).await.unwrap_or(here)
        })
    }

    fn explain<'a>(
        &'a self,
        tried: &'a Tried,
        limits: &'a LoginLimits,
    ) -> CounterFuture<'a, Vec<Standing>> {
        Box::pin(async move {
            match self.explain_there(tried, limits).await {
                Ok(standings) => standings,
                Err(_) => self.local.explain(tried, limits).await,
            }
        })
    }
}
