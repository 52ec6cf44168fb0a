//! Verification codes that belong to our successor, while requests are still under way here.
//!
//! A code has one owner: what is kept here after an upgrade is kept there, and a charge that ends here
//! takes its code there, once.

use std::collections::HashMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::line::{Kind, Parts, Taker, Word};
use crate::card::{Cvv, Token};
use crate::link::LinkOutage;
use crate::vault::{StandInError, StandInFuture, StandInStore};

/// The end of the line to the process that has succeeded us.
pub(super) struct Heir {
    line: Mutex<UnixStream>,
    asked: Mutex<HashMap<u64, oneshot::Sender<Option<Box<Cvv>>>>>,
    next: AtomicU64,
}

impl Heir {
    pub(super) fn new(line: UnixStream) -> Self {
        Self { line: Mutex::new(line), asked: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// Tells it something.
    pub(super) fn tell(&self, word: &Word) -> io::Result<()> {
        word.write(&*self.line.lock())
    }

    /// Takes in its answer.
    pub(super) fn answered(&self, payload: &[u8]) {
        let mut taker = Taker(payload);
        let asker = taker.number().and_then(|id| self.asked.lock().remove(&id));
        if let Some(asker) = asker {
            let _gone = asker.send(taker.code().map(Box::new));
        }
    }

    /// It is gone: nobody waits for it.
    pub(super) fn gone(&self) {
        self.asked.lock().clear();
    }

    async fn ask(
        &self,
        kind: Kind,
        code: &Cvv,
        tokens: &[Token],
    ) -> Result<Option<Box<Cvv>>, StandInError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (asker, answer) = oneshot::channel();
        self.asked.lock().insert(id, asker);
        let unavailable = |cause| StandInError::Unavailable { cause };
        let word = Parts::default().number(id).code(code).tokens(tokens).word(kind);
        if self.tell(&word).is_err() {
            self.asked.lock().remove(&id);
            return Err(unavailable(LinkOutage::Unreachable));
        }
        answer.await.map_err(|_| unavailable(LinkOutage::Unreachable))
    }
}

impl StandInStore for Heir {
    fn keep<'a>(&'a self, code: Cvv, bound_to: &'a [Token]) -> StandInFuture<'a, Cvv> {
        Box::pin(async move {
            let stand_in = self.ask(Kind::Keep, &code, bound_to).await?;
            stand_in.map(|stand_in| *stand_in).ok_or(StandInError::NoStandIn)
        })
    }

    fn take<'a>(
        &'a self,
        stand_in: &'a Cvv,
        tokens: &'a [Token],
    ) -> StandInFuture<'a, Option<Box<Cvv>>> {
        Box::pin(self.ask(Kind::Take, stand_in, tokens))
    }

    fn take_expired(&self) -> u64 {
        0
    }

    fn outage(&self) -> Option<LinkOutage> {
        None
    }
}
