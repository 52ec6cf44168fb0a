//! What a connection is waiting for, so that silence has a limit and each phase its own.
//!
//! One timer per connection that looks now and then, instead of one per request that is set and
//! cleared: a request costs two clock reads.

mod busy;
mod watched;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use http::{Method, Request};
use http_body::Body;

pub(super) use busy::{Busy, Held, WhileBusy};
pub(super) use watched::Watched;

use super::doorman::{Place, Waits};
use super::heads::Follows;
use crate::policy::{ByteRate, Timeouts};

/// The longest time between two looks, so that a shortage of room is soon felt by all.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// What `follows` says where it is no count. They are lengths too: a client may write any number.
const NOTHING_TOLD: u64 = u64::MAX;
const ANYTHING: u64 = u64::MAX - 1;
const CHUNKS: u64 = u64::MAX - 2;

/// How a connection uses its time.
pub(super) struct Activity {
    opened: Instant,
    /// Whether there has been a request.
    asked: AtomicBool,
    in_flight: AtomicUsize,
    /// Milliseconds from `opened` to the end of the last request.
    rested_at: AtomicU64,
    /// Milliseconds from `opened` to the first byte since then, plus one; 0 while there is none.
    head_at: AtomicU64,
    /// Milliseconds from `opened` to the first write since then that the socket did not take, plus
    /// one; 0 while it takes them.
    blocked_at: AtomicU64,
    /// How many milliseconds the client was behind with taking in, when the socket last took some.
    behind: AtomicU64,
    /// Answers whose last piece nobody has asked beyond yet: a client that does not read.
    waiting: AtomicUsize,
    /// Milliseconds from `opened` to the last time that an answer moved.
    moved_at: AtomicU64,
    /// Streams that have left HTTP beside others that have not (HTTP/2).
    tunnels: AtomicUsize,
    /// HTTP/1.1: what follows the head that was read last, until the reader has taken it.
    follows: AtomicU64,
}

/// What has lasted too long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Overdue {
    /// A head that does not end (RFC 9110 §15.5.9: 408).
    Head,
    /// Nothing happens.
    Idle,
    /// A client that does not take in its answer.
    Write,
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
            asked: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            rested_at: AtomicU64::new(0),
            head_at: AtomicU64::new(0),
            blocked_at: AtomicU64::new(0),
            behind: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            moved_at: AtomicU64::new(0),
            tunnels: AtomicUsize::new(0),
            follows: AtomicU64::new(NOTHING_TOLD),
        })
    }

    /// A request has been read; the guard ends it.
    pub(super) fn begin<B: Body>(self: &Arc<Self>, request: &Request<B>) -> Busy {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.asked.store(true, Ordering::Relaxed);
        let length = request.body().size_hint().exact();
        // No body ever ends that is so long.
        let length = length.map_or(CHUNKS, |length| length.min(CHUNKS - 1));
        self.follows.store(length, Ordering::Relaxed);
        let connect = *request.method() == Method::CONNECT;
        Busy { activity: Arc::clone(self), connect, waits: false }
    }

    /// What follows the head that was read last; told once.
    pub(super) fn take_follows(&self) -> Option<Follows> {
        if self.follows.load(Ordering::Relaxed) == NOTHING_TOLD {
            return None;
        }
        match self.follows.swap(NOTHING_TOLD, Ordering::Relaxed) {
            NOTHING_TOLD => None,
            ANYTHING => Some(Follows::Anything),
            CHUNKS => Some(Follows::Chunks),
            length => Some(Follows::Bytes(length)),
        }
    }

    /// Keeps the connection open for one of its streams, which is no request any more.
    pub(super) fn hold(self: &Arc<Self>) -> Arc<Held> {
        self.tunnels.fetch_add(1, Ordering::Relaxed);
        Arc::new(Held { activity: Arc::clone(self) })
    }

    /// Whether a request is under way.
    pub(super) fn has_requests(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    fn has_tunnels(&self) -> bool {
        self.tunnels.load(Ordering::Relaxed) > 0
    }

    /// Whether nothing is under way and, as far as bytes tell, nothing has begun.
    pub(super) fn is_resting(&self, phases: Phases) -> bool {
        let begun = phases == Phases::HeadAndIdle && self.head_at.load(Ordering::Relaxed) > 0;
        !self.has_requests() && !self.has_tunnels() && !begun
    }

    /// Resolves when a phase has lasted longer than it may.
    pub(super) async fn overdue(
        &self,
        timeouts: &Timeouts,
        place: &Place,
        phases: Phases,
    ) -> Overdue {
        loop {
            match self.judge(timeouts, place.waits(timeouts), phases) {
                Ok(overdue) => return overdue,
                Err(wait) => tokio::time::sleep(wait.min(LOOK_EVERY)).await,
            }
        }
    }

    /// What is overdue, or when to look again.
    fn judge(
        &self,
        timeouts: &Timeouts,
        waits: Waits,
        phases: Phases,
    ) -> Result<Overdue, Duration> {
        let now = self.opened.elapsed();
        let left = |due: Duration| due.checked_sub(now).filter(|left| !left.is_zero());
        if let Some(since) = self.unread_since() {
            let due = since.saturating_add(timeouts.client_write);
            return left(due).map_or(Ok(Overdue::Write), Err);
        }
        if self.has_requests() || self.has_tunnels() {
            return Err(waits.request_head.min(waits.keep_alive).min(timeouts.client_write));
        }
        let head_at = self.head_at.load(Ordering::Relaxed);
        if phases == Phases::HeadAndIdle && head_at > 0 {
            let due = Duration::from_millis(head_at).saturating_add(waits.request_head);
            return left(due).map_or(Ok(Overdue::Head), Err);
        }
        let rested = Duration::from_millis(self.rested_at.load(Ordering::Relaxed));
        // Who has never asked has no answer that another question may follow.
        let idle = match self.asked.load(Ordering::Relaxed) {
            true => waits.keep_alive,
            false => waits.keep_alive.min(waits.request_head),
        };
        // A head may begin at any moment, so the look must not be later than its limit.
        let look = |left: Duration| Err(left.min(waits.request_head));
        left(rested.saturating_add(idle)).map_or(Ok(Overdue::Idle), look)
    }

    /// When the client stopped taking in what it is sent: the socket is full, or every answer waits
    /// for it to open its window (HTTP/2, RFC 9113 §5.2). Who was behind before stopped earlier.
    fn unread_since(&self) -> Option<Duration> {
        let behind = self.behind.load(Ordering::Relaxed);
        let blocked = self.blocked_at.load(Ordering::Relaxed).checked_sub(1);
        let blocked = blocked.map(|since| since.saturating_sub(behind));
        let waiting = self.waiting.load(Ordering::Relaxed);
        let all_wait = waiting > 0 && waiting == self.in_flight.load(Ordering::Relaxed);
        let stopped = all_wait.then(|| self.moved_at.load(Ordering::Relaxed));
        blocked.into_iter().chain(stopped).min().map(Duration::from_millis)
    }

    /// What came of a write.
    fn wrote(&self, taken: Poll<usize>, rate: ByteRate) {
        let blocked = self.blocked_at.load(Ordering::Relaxed).checked_sub(1);
        match (taken, blocked) {
            (Poll::Ready(bytes), blocked) => {
                self.took(u64::try_from(bytes).unwrap_or(u64::MAX), blocked, rate);
            }
            (Poll::Pending, None) => {
                self.blocked_at.store(self.millis().saturating_add(1), Ordering::Relaxed);
            }
            (Poll::Pending, Some(_)) => {}
        }
    }

    /// The socket took so many bytes, and had been full since then.
    fn took(&self, bytes: u64, blocked: Option<u64>, rate: ByteRate) {
        let before = self.behind.load(Ordering::Relaxed);
        if before == 0 && blocked.is_none() {
            return;
        }
        let waited = blocked.map_or(0, |since| self.millis().saturating_sub(since));
        let (before, waited) = (Duration::from_millis(before), Duration::from_millis(waited));
        let behind = rate.behind(before, waited, bytes);
        self.behind.store(u64::try_from(behind.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.blocked_at.store(0, Ordering::Relaxed);
    }

    /// Bytes have come; where no request is under way they are the beginning of a head.
    pub(super) fn bytes_came(&self) {
        let waiting = self.head_at.load(Ordering::Relaxed) == 0;
        if waiting && !self.has_requests() {
            self.head_at.store(self.millis().saturating_add(1), Ordering::Relaxed);
        }
    }

    /// How long ago the head began that is under way.
    pub(super) fn head_lasts(&self) -> Duration {
        let since = self.head_at.load(Ordering::Relaxed).checked_sub(1);
        since.map_or(Duration::ZERO, |since| {
            Duration::from_millis(self.millis().saturating_sub(since))
        })
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

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::{Frame, SizeHint};

    use super::*;

    fn timeouts() -> Timeouts {
        Timeouts {
            request_head: Duration::from_secs(5),
            keep_alive: Duration::from_secs(60),
            ..Timeouts::default()
        }
    }

    fn request() -> Request<http_body_util::Empty<Bytes>> {
        Request::default()
    }

    impl Activity {
        fn judged(&self, phases: Phases) -> Result<Overdue, Duration> {
            self.judge(&timeouts(), Place::uncounted().waits(&timeouts()), phases)
        }

        fn wrote_in_time(&self, taken: Poll<usize>) {
            self.wrote(taken, timeouts().client_rate);
        }
    }

    fn aged(seconds: u64) -> Arc<Activity> {
        let mut activity = Activity::new();
        let opened = Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        Arc::get_mut(&mut activity).unwrap().opened = opened;
        activity
    }

    /// A body that says how long it is, and never comes.
    struct Long(u64);

    impl Body for Long {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.0)
        }
    }

    #[test]
    fn a_length_is_a_length_however_large() {
        for length in [0, 7, CHUNKS - 1, CHUNKS, ANYTHING, NOTHING_TOLD] {
            let activity = Activity::new();
            let _busy = activity.begin(&Request::new(Long(length)));
            let told = activity.take_follows();
            assert_eq!(told, Some(Follows::Bytes(length.min(CHUNKS - 1))), "{length}");
        }
    }

    #[test]
    fn a_head_that_does_not_end_is_overdue_before_the_connection_is_idle() {
        let activity = aged(10);
        drop(activity.begin(&request()));
        assert!(activity.judged(Phases::HeadAndIdle).is_err());
        activity.head_at.store(1, Ordering::Relaxed);
        assert_eq!(activity.judged(Phases::HeadAndIdle), Ok(Overdue::Head));
        assert!(activity.judged(Phases::Idle).is_err());
    }

    #[test]
    fn a_connection_without_requests_is_idle_and_one_with_a_request_is_not() {
        let activity = aged(61);
        assert_eq!(activity.judged(Phases::Idle), Ok(Overdue::Idle));
        let busy = activity.begin(&request());
        assert!(activity.judged(Phases::Idle).is_err());
        drop(busy);
        assert!(activity.judged(Phases::Idle).is_err());
    }

    #[test]
    fn a_connection_with_a_tunnel_is_not_idle() {
        let activity = aged(61);
        let held = activity.hold();
        assert!(activity.judged(Phases::Idle).is_err());
        assert!(!activity.is_resting(Phases::Idle));
        drop(held);
        assert!(activity.is_resting(Phases::Idle));
        assert!(activity.judged(Phases::Idle).is_err(), "it rests from now on");
    }

    #[test]
    fn a_client_that_takes_nothing_in_is_overdue_until_it_reads_again() {
        let activity = aged(61);
        let _busy = activity.begin(&request());
        activity.wrote_in_time(Poll::Pending);
        assert!(activity.judged(Phases::HeadAndIdle).is_err());
        activity.blocked_at.store(1, Ordering::Relaxed);
        activity.wrote_in_time(Poll::Pending);
        assert_eq!(activity.judged(Phases::Idle), Ok(Overdue::Write));
        activity.wrote_in_time(Poll::Ready(64 << 10));
        assert!(activity.judged(Phases::Idle).is_err());
    }

    #[test]
    fn a_client_that_takes_in_single_bytes_is_overdue_all_the_same() {
        let activity = aged(61);
        let _busy = activity.begin(&request());
        activity.blocked_at.store(1, Ordering::Relaxed);
        activity.wrote_in_time(Poll::Ready(1));
        assert!(activity.judged(Phases::HeadAndIdle).is_err());
        activity.wrote_in_time(Poll::Pending);
        assert_eq!(activity.judged(Phases::HeadAndIdle), Ok(Overdue::Write));
    }

    #[test]
    fn who_never_asked_is_given_the_time_of_a_head_and_no_more() {
        let activity = aged(6);
        assert_eq!(activity.judged(Phases::HeadAndIdle), Ok(Overdue::Idle));
        assert_eq!(activity.judged(Phases::Idle), Ok(Overdue::Idle));
        drop(activity.begin(&request()));
        assert!(activity.judged(Phases::Idle).is_err());
    }

    #[test]
    fn one_answer_that_moves_keeps_the_connection_of_one_that_does_not() {
        let activity = aged(61);
        let (mut still, mut moving) = (activity.begin(&request()), activity.begin(&request()));
        still.gave();
        activity.moved_at.store(0, Ordering::Relaxed);
        assert!(activity.judged(Phases::Idle).is_err());
        moving.gave();
        assert!(activity.judged(Phases::Idle).is_err());
        activity.moved_at.store(0, Ordering::Relaxed);
        assert_eq!(activity.judged(Phases::Idle), Ok(Overdue::Write));
        moving.asked();
        assert!(activity.judged(Phases::Idle).is_err());
    }
}
