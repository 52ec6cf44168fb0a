//! Verification codes that belong to our successor, while requests are still under way here.
//!
//! A code has one owner: what is kept here after an upgrade is kept there, and a charge that ends here
//! takes its code there, once.

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::net::SendFlags;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::line::{Kind, Parts, Taker, Word};
use crate::card::{Cvv, Token};
use crate::link::LinkOutage;
use crate::vault::{StandInError, StandInFuture, StandInStore};

/// How long it may leave the line full before it is given up.
const TELL_WAIT: Duration = Duration::from_secs(10);
/// How often a full line is tried.
const TELL_EVERY: Duration = Duration::from_millis(1);

/// How long a customer waits for its answer.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

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

    /// Tells it something short, as soon as it listens.
    pub(super) fn tell(&self, word: &Word) -> io::Result<()> {
        let end = Instant::now() + TELL_WAIT;
        loop {
            match self.try_tell(word) {
                Err(full) if full.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    thread::sleep(TELL_EVERY);
                }
                done => return done,
            }
        }
    }

    /// Tells it the last, of any length: nobody else waits for the line any more.
    pub(super) fn tell_last(&self, word: &Word) -> io::Result<()> {
        word.write(&*self.line.lock())
    }

    /// Tells it something short now or not at all: threads that serve customers must not hang because
    /// it does.
    fn try_tell(&self, word: &Word) -> io::Result<()> {
        let (wire, line) = (word.wire()?, self.line.lock());
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if rustix::net::send(&*line, &wire, flags)? == wire.len() {
            return Ok(());
        }
        // Half a word: nothing that follows could be understood.
        line.shutdown(Shutdown::Both)?;
        Err(ErrorKind::WriteZero.into())
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
        let word = Parts::default().number(id).code(code).tokens(tokens).word(kind);
        let asked = async {
            self.tell_in_time(&word).await.map_err(|_| LinkOutage::Unreachable)?;
            answer.await.map_err(|_| LinkOutage::Unreachable)
        };
        let found = timeout(ANSWER_WAIT, asked).await.unwrap_or(Err(LinkOutage::Stalled));
        if found.is_err() {
            self.asked.lock().remove(&id);
        }
        found.map_err(|cause| StandInError::Unavailable { cause })
    }

    /// Tells it something short without holding up the thread: a line may be full of codes.
    async fn tell_in_time(&self, word: &Word) -> io::Result<()> {
        loop {
            match self.try_tell(word) {
                Err(full) if full.kind() == ErrorKind::WouldBlock => sleep(TELL_EVERY).await,
                done => return done,
            }
        }
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
