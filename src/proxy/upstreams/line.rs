//! Requests that wait for a server with room for them.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// The requests of one site that wait.
#[derive(Default)]
pub(super) struct Line {
    waiting: AtomicUsize,
    freed: Notify,
}

/// Why nobody waits any longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NoRoom {
    /// As many wait as may.
    Full,
    /// It took too long.
    Late,
}

struct Waiting<'l>(&'l Line);

impl Line {
    /// A server has room again.
    pub(super) fn freed(&self) {
        // Whoever begins to wait looks at the servers after it has said so: one of the two sees the
        // other.
        if self.waiting.load(SeqCst) > 0 {
            self.freed.notify_one();
        }
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.load(SeqCst)
    }

    /// Waits until `attempt` gives something, in turn with the others.
    pub(super) async fn wait<T>(
        &self,
        (most, patience): (usize, Duration),
        mut attempt: impl FnMut() -> Option<T>,
    ) -> Result<T, NoRoom> {
        let before = self.waiting.fetch_add(1, SeqCst);
        let _waiting = Waiting(self);
        if before >= most {
            return Err(NoRoom::Full);
        }
        let found = timeout(patience, async {
            loop {
                let freed = self.freed.notified();
                if let Some(found) = attempt() {
                    return found;
                }
                freed.await;
            }
        });
        found.await.map_err(|_| NoRoom::Late)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn who_waits_is_woken_and_the_rest_is_sent_away() {
        let (line, room) = (Line::default(), Cell::new(0));
        let take = || {
            let left: usize = room.get();
            room.set(left.saturating_sub(1));
            (left > 0).then_some(())
        };
        let long = Duration::from_secs(3600);
        let free = async {
            tokio::task::yield_now().await;
            assert_eq!(line.len(), 2);
            assert_eq!(line.wait((2, long), take).await, Err(NoRoom::Full));
            for _ in 0..2 {
                room.set(room.get() + 1);
                line.freed();
                tokio::task::yield_now().await;
            }
        };
        let (one, other, ()) =
            tokio::join!(line.wait((2, long), take), line.wait((2, long), take), free);
        assert_eq!((one, other, line.len()), (Ok(()), Ok(()), 0));
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let line = Line::default();
        let late = line.wait((1, Duration::from_millis(10)), || None::<()>).await;
        assert_eq!((late, line.len()), (Err(NoRoom::Late), 0));
    }
}
