//! Fills the filter of issued tokens and their cards from the store, and keeps it full while others issue some.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::filter::Filter;
use super::store::{Fingerprint, IssuedTokens, StoreError, Whose};

/// How soon tokens of another process are known here; until then the store is asked.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);

/// Fills the filter and follows the store until the vault is closed.
pub(super) async fn follow(
    issued: Option<&dyn IssuedTokens>,
    filter: &Filter,
    stop: &CancellationToken,
) {
    let Some(issued) = issued else { return };
    let mut follower = Follower { issued, filter, stop, stage: Stage::Begin };
    let mut failing = false;
    while !stop.is_cancelled() {
        // Not cut off: what is being read is one page, and its connection is then free to be closed.
        let done = follower.catch_up().await;
        // Nothing is lost meanwhile: the store is asked instead.
        if let (Err(error), false) = (&done, failing) {
            warn!(%error, "issued tokens cannot be read; the store is asked for each number");
        }
        failing = done.is_err();
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = sleep(FOLLOW_EVERY) => {}
        }
    }
}

struct Follower<'a> {
    issued: &'a dyn IssuedTokens,
    filter: &'a Filter,
    stop: &'a CancellationToken,
    stage: Stage,
}

/// How far the filter is filled; a failure ends no stage.
#[derive(Clone, Copy)]
enum Stage {
    Begin,
    /// All that follows a fingerprint is still to come, of the rows up to `last`; cards after tokens.
    Fill {
        whose: Whose,
        after: Option<Fingerprint>,
        last: i64,
    },
    /// All rows up to this one are in the filter.
    Follow {
        last: i64,
    },
}

impl Follower<'_> {
    /// Goes on until no token is missing, or the vault is closing.
    async fn catch_up(&mut self) -> Result<(), StoreError> {
        while !self.stop.is_cancelled() && !self.issued.ledger().is_followed() {
            self.stage = match self.stage {
                Stage::Begin => self.begin().await?,
                Stage::Fill { whose, after, last } => self.fill(whose, after, last).await?,
                Stage::Follow { last } => self.tail(last).await?,
            };
        }
        Ok(())
    }

    async fn begin(&self) -> Result<Stage, StoreError> {
        let last = self.issued.last().await?;
        let rows = usize::try_from(last).unwrap_or(0);
        // Two of each row, and half as many again: room for the next months in the same layer.
        self.filter.reserve(rows.saturating_mul(3));
        Ok(Stage::Fill { whose: Whose::Tokens, after: None, last })
    }

    /// A page in the order of an index that holds little but fingerprints.
    async fn fill(
        &self,
        whose: Whose,
        after: Option<Fingerprint>,
        last: i64,
    ) -> Result<Stage, StoreError> {
        let page = self.issued.prints(whose, after).await?;
        page.keys.iter().for_each(|key| self.filter.add(*key));
        if page.last.is_some() {
            return Ok(Stage::Fill { whose, after: page.last, last });
        }
        if whose == Whose::Tokens {
            return Ok(Stage::Fill { whose: Whose::Cards, after: None, last });
        }
        info!(rows = last, "issued tokens are known in memory");
        Ok(Stage::Follow { last })
    }

    /// A page of those that were issued since.
    async fn tail(&self, after: i64) -> Result<Stage, StoreError> {
        let tail = self.issued.tail(after).await?;
        tail.keys.iter().for_each(|key| self.filter.add(*key));
        if let Some(issues) = tail.issues {
            self.issued.ledger().follow(issues);
        }
        Ok(Stage::Follow { last: tail.last })
    }
}
