//! Fills the filter of issued tokens from the store, and keeps it full while others issue some.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::filter::Filter;
use super::store::{IssuedTokens, StoreError};

/// How soon tokens of another process are known here; until then the store is asked.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Fills the filter and follows the store until the vault is closed.
pub(super) async fn follow(
    issued: Option<&dyn IssuedTokens>,
    filter: &Filter,
    stop: &CancellationToken,
) {
    let Some(issued) = issued else { return };
    let mut follower = Follower { issued, filter, last: None };
    let mut failing = false;
    loop {
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            done = follower.catch_up() => done,
        };
        // Nothing is lost meanwhile: the store is asked instead.
        let news = done.as_ref().is_err() && !failing;
        failing = done.is_err();
        if let (Err(error), true) = (done, news) {
            warn!(%error, "issued tokens cannot be read; the store is asked for each number");
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(FOLLOW_EVERY) => {}
        }
    }
}

struct Follower<'a> {
    issued: &'a dyn IssuedTokens,
    filter: &'a Filter,
    /// The row up to which all tokens are in the filter.
    last: Option<i64>,
}

impl Follower<'_> {
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let mut last = match self.last {
            Some(last) => last,
            None => self.fill().await?,
        };
        self.last = Some(last);
        while !self.issued.ledger().is_followed() {
            let tail = self.issued.tail(last).await?;
            tail.keys.iter().for_each(|key| self.filter.add(*key));
            last = tail.last;
            self.last = Some(last);
            if let Some(issues) = tail.issues {
                self.issued.ledger().follow(issues);
            }
        }
        Ok(())
    }

    /// All tokens up to a row, in the order of the index that holds nothing else.
    async fn fill(&self) -> Result<i64, StoreError> {
        let begun = Instant::now();
        let last = self.issued.last().await?;
        let rows = usize::try_from(last).unwrap_or(0);
        // Half as many again: room for the tokens of the next months in the same layer.
        self.filter.reserve(rows.saturating_add(rows / 2));
        let mut page = self.issued.prints(None).await?;
        while let Some(after) = page.last {
            page.keys.iter().for_each(|key| self.filter.add(*key));
            page = self.issued.prints(Some(after)).await?;
        }
        let took_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(tokens = last, took_ms, "issued tokens are known in memory");
        Ok(last)
    }
}
