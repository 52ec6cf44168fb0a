//! What a connection is waiting for, so that silence has a limit and each phase its own.
//!
//! One timer per connection that looks now and then, instead of one per request that is set and
//! cleared: a request costs two clock reads.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::policy::Timeouts;

/// How a connection uses its time.
pub(super) struct Activity {
    opened: Instant,
    in_flight: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last request.
    rested_at: AtomicU64,
    /// Milliseconds from `opened` to the first byte since then, plus one; 0 while there is none.
    head_at: AtomicU64,
}

/// What has lasted too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overdue {
    /// A head that does not end (RFC 9110 §15.5.9: 408).
    Head,
    /// Nothing happens.
    Idle,
}

/// How much a connection's silence says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phases {
    /// HTTP/1.1: bytes between requests are the beginning of a head.
    HeadAndIdle,
    /// HTTP/2: they may be anything; only the time without a request counts.
    Idle,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            opened: Instant::now(),
            in_flight: AtomicUsize::new(0),
            rested_at: AtomicU64::new(0),
            head_at: AtomicU64::new(0),
        })
    }

    /// A request has been read; the guard ends it.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Whether nothing is under way and nothing has begun.
    pub(super) fn is_resting(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0 && self.head_at.load(Ordering::Relaxed) == 0
    }

    /// Resolves when a phase has lasted longer than it may.
    pub(super) async fn overdue(&self, timeouts: &Timeouts, phases: Phases) -> Overdue {
        loop {
            match self.judge(timeouts, phases) {
                Ok(overdue) => return overdue,
                Err(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    /// What is overdue, or when to look again.
    fn judge(&self, timeouts: &Timeouts, phases: Phases) -> Result<Overdue, Duration> {
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return Err(timeouts.request_head.min(timeouts.keep_alive));
        }
        let now = self.opened.elapsed();
        let head_at = self.head_at.load(Ordering::Relaxed);
        if phases == Phases::HeadAndIdle && head_at > 0 {
            let due = Duration::from_millis(head_at).saturating_add(timeouts.request_head);
            return due
                .checked_sub(now)
                .filter(|left| !left.is_zero())
                .map_or(Ok(Overdue::Head), Err);
        }
        let rested = Duration::from_millis(self.rested_at.load(Ordering::Relaxed));
        let due = rested.saturating_add(timeouts.keep_alive);
        let left = due.checked_sub(now).filter(|left| !left.is_zero());
        // A head may begin at any moment, so the look must not be later than its limit.
        left.map_or(Ok(Overdue::Idle), |left| Err(left.min(timeouts.request_head)))
    }

    fn bytes_came(&self) {
        let waiting = self.head_at.load(Ordering::Relaxed) == 0;
        if waiting && self.in_flight.load(Ordering::Relaxed) == 0 {
            self.head_at.store(self.millis().saturating_add(1), Ordering::Relaxed);
        }
    }

    fn rest(&self) {
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.rested_at.store(self.millis(), Ordering::Relaxed);
        self.head_at.store(0, Ordering::Relaxed);
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A request under way.
pub(super) struct Busy(Arc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.rest();
    }
}

/// The body of an answer, which keeps its request under way.
pub(super) struct WhileBusy<B> {
    pub(super) body: B,
    pub(super) _busy: Busy,
}

impl<B: Body<Data = Bytes> + Unpin> Body for WhileBusy<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A stream that tells when bytes come.
pub(super) struct Watched<S> {
    pub(super) stream: S,
    pub(super) activity: Arc<Activity>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.activity.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeouts() -> Timeouts {
        Timeouts {
            request_head: Duration::from_secs(5),
            keep_alive: Duration::from_secs(60),
            ..Timeouts::default()
        }
    }

    fn aged(seconds: u64) -> Arc<Activity> {
        let mut activity = Activity::new();
        let opened = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        Arc::get_mut(&mut activity).unwrap().opened = opened;
        activity
    }

    #[test]
    fn a_head_that_does_not_end_is_overdue_before_the_connection_is_idle() {
        let activity = aged(10);
        assert!(activity.judge(&timeouts(), Phases::HeadAndIdle).is_err());
        activity.head_at.store(1, Ordering::Relaxed);
        assert_eq!(activity.judge(&timeouts(), Phases::HeadAndIdle), Ok(Overdue::Head));
        assert!(activity.judge(&timeouts(), Phases::Idle).is_err());
    }

    #[test]
    fn a_connection_without_requests_is_idle_and_one_with_a_request_is_not() {
        let activity = aged(61);
        assert_eq!(activity.judge(&timeouts(), Phases::Idle), Ok(Overdue::Idle));
        let busy = activity.begin();
        assert!(activity.judge(&timeouts(), Phases::Idle).is_err());
        drop(busy);
        assert!(activity.judge(&timeouts(), Phases::Idle).is_err());
    }
}
