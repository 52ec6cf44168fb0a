//! Frames as they arrive from a peer, counted, bounded and timed.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, timeout};

use super::held::UNCOUNTED_BYTES;
use super::{BodyError, Room};
use crate::policy::{ByteRate, Timeouts};
use crate::proxy::cards;
use crate::proxy::exchange::Exchange;
use crate::proxy::headers;
use crate::proxy::pool::Lease;
use crate::proxy::reject::Rejection;
use crate::scan::Rules;

/// What a peer sends.
pub struct Source {
    incoming: Incoming,
    /// Frames that were read to decide something, and are still to be given.
    read_before: VecDeque<Bytes>,
    trailers_before: Option<HeaderMap>,
    /// What must not pass in a trailer field.
    trailer_rules: Option<Arc<Rules>>,
    side: Side,
    bytes_left: u64,
    idle: Duration,
    /// How far a client is behind its rate.
    behind: Duration,
    /// Since when it has kept us waiting.
    waiting: Option<Instant>,
    /// Made when the peer first keeps us waiting: most bodies are there at once.
    alarm: Option<Pin<Box<Sleep>>>,
    exchange: Arc<Exchange>,
    ended: bool,
}

/// Whose body it is.
enum Side {
    Client {
        limit_bytes: u64,
        rate: ByteRate,
        room: Room,
    },
    /// The connection goes back to its pool when the body has ended.
    Upstream {
        lease: Option<Lease>,
    },
}

impl Source {
    /// The body of a request, which must keep up a rate.
    pub fn from_client(
        incoming: Incoming,
        exchange: Arc<Exchange>,
        (limit_bytes, room): (u64, Room),
        timeouts: &Timeouts,
    ) -> Self {
        let side = Side::Client { limit_bytes, rate: timeouts.client_rate, room };
        Self::new(incoming, exchange, side, timeouts.request_body_idle)
    }

    /// The body of an answer.
    pub fn from_upstream(
        incoming: Incoming,
        exchange: Arc<Exchange>,
        lease: Lease,
        idle: Duration,
    ) -> Self {
        let mut source = Self::new(incoming, exchange, Side::Upstream { lease: Some(lease) }, idle);
        if source.incoming.is_end_stream() {
            source.end();
        }
        source
    }

    fn new(incoming: Incoming, exchange: Arc<Exchange>, side: Side, idle: Duration) -> Self {
        let bytes_left = match side {
            Side::Client { limit_bytes, .. } => limit_bytes,
            Side::Upstream { .. } => u64::MAX,
        };
        let read_before = VecDeque::new();
        Self {
            incoming,
            read_before,
            trailers_before: None,
            trailer_rules: None,
            side,
            bytes_left,
            idle,
            behind: Duration::ZERO,
            waiting: None,
            alarm: None,
            exchange,
            ended: false,
        }
    }

    /// Whether there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.is_end_stream()
    }

    /// Gives these bytes again before what follows.
    pub fn put_back(&mut self, bytes: Vec<Bytes>) {
        // Another stage may have read further, and what it put back is still waiting.
        for piece in bytes.into_iter().rev() {
            self.read_before.push_front(piece);
        }
    }

    /// From now on, trailer fields with what these rules look for do not pass.
    pub fn guard_trailers(&mut self, rules: Arc<Rules>) {
        self.trailer_rules = Some(rules);
    }

    /// Reads until `enough` bytes are there or the body ends; says which.
    ///
    /// # Errors
    /// As for any read.
    pub async fn read_up_to(&mut self, enough: usize) -> Result<(Vec<Bytes>, Reached), BodyError> {
        self.read_while(enough, Duration::MAX).await
    }

    /// The same, but a peer that pauses for longer than `patience` is not waited for.
    ///
    /// # Errors
    /// As for any read.
    pub async fn read_while(
        &mut self,
        enough: usize,
        patience: Duration,
    ) -> Result<(Vec<Bytes>, Reached), BodyError> {
        let mut gathered = Gathered::default();
        while gathered.length < enough {
            let next = std::future::poll_fn(|context| self.poll_frame(context));
            let Ok(frame) = timeout(patience, next).await else {
                return Ok((gathered.into_pieces(), Reached::Pause));
            };
            let Some(frame) = frame.transpose()? else {
                return Ok((gathered.into_pieces(), Reached::End));
            };
            match frame.into_data().map_err(Frame::into_trailers) {
                Ok(piece) => {
                    gathered.push(piece);
                    self.hold(gathered.length)?;
                }
                Err(trailers) => {
                    // The body is over, but not all of it is bytes: let it be streamed.
                    self.trailers_before = trailers.ok();
                    return Ok((gathered.into_pieces(), Reached::Enough));
                }
            }
        }
        let reached = if self.is_end_stream() { Reached::End } else { Reached::Enough };
        Ok((gathered.into_pieces(), reached))
    }

    /// Counts what is in memory of a client's body.
    fn hold(&self, length: usize) -> Result<(), BodyError> {
        let Side::Client { limit_bytes, room, .. } = &self.side else { return Ok(()) };
        if length <= UNCOUNTED_BYTES || self.exchange.hold(room, length, *limit_bytes) {
            return Ok(());
        }
        self.exchange.refuse(Rejection::BodiesHeld);
        Err(BodyError::Refused)
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Some(piece) = self.read_before.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        if let Some(trailers) = self.trailers_before.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if self.ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(context) else {
            ready!(self.poll_alarm(context));
            return Poll::Ready(Some(Err(self.stalled())));
        };
        self.alarm = None;
        self.moved(&frame);
        let Some(frame) = frame else {
            self.end();
            return Poll::Ready(None);
        };
        Poll::Ready(Some(match frame {
            Ok(mut frame) => {
                if let Some(trailers) = frame.trailers_mut() {
                    headers::strip_trailers(trailers);
                    if let Some(rules) = &self.trailer_rules {
                        cards::drop_fields_with_finds(rules, trailers);
                    }
                }
                self.account(frame)
            }
            Err(error) => Err(self.broken(error)),
        }))
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.read_before.is_empty()
            && self.trailers_before.is_none()
            && (self.ended || self.incoming.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let mut hint = self.incoming.size_hint();
        let waiting = self.read_before.iter().map(Bytes::len).sum::<usize>();
        let waiting = u64::try_from(waiting).unwrap_or(u64::MAX);
        if let Some(exact) = hint.exact() {
            hint.set_exact(exact.saturating_add(waiting));
        }
        hint
    }

    fn account(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        let Some(length) = frame.data_ref().map(Bytes::len) else { return Ok(frame) };
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.counter().fetch_add(length, Ordering::Relaxed);
        if let Side::Client { .. } = self.side {
            self.exchange.tally.request_moved(self.exchange.started);
        }
        match self.side {
            Side::Client { limit_bytes, .. } if length > self.bytes_left => {
                self.exchange.refuse(Rejection::BodyTooLarge { limit_bytes });
                Err(BodyError::Refused)
            }
            _ => {
                self.bytes_left -= length;
                // The last byte has come: the connection may serve the next request while this
                // body is still being written to its reader.
                if self.incoming.is_end_stream() {
                    self.end();
                }
                Ok(frame)
            }
        }
    }

    fn counter(&self) -> &AtomicU64 {
        match self.side {
            Side::Client { .. } => &self.exchange.tally.request_bytes,
            Side::Upstream { .. } => &self.exchange.tally.upstream_bytes,
        }
    }

    /// Something came. Only waits for the client count, not those for whoever reads its body.
    fn moved(&mut self, frame: &Option<Result<Frame<Bytes>, hyper::Error>>) {
        let Side::Client { rate, .. } = self.side else { return };
        let waited = self.waiting.take().map(|since| since.elapsed());
        if waited.is_none() && self.behind.is_zero() {
            return;
        }
        let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
        let bytes = data.map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.behind = rate.behind(self.behind, waited.unwrap_or_default(), bytes);
    }

    fn poll_alarm(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.alarm.is_none() && matches!(self.side, Side::Client { .. }) {
            self.waiting = Some(Instant::now());
        }
        let left = self.idle.saturating_sub(self.behind);
        let alarm = self.alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
        alarm.as_mut().poll(context)
    }

    fn stalled(&mut self) -> BodyError {
        if let Side::Client { .. } = self.side {
            self.exchange.refuse(Rejection::BodyTimeout);
        }
        self.ended = true;
        BodyError::Stalled
    }

    fn broken(&mut self, error: hyper::Error) -> BodyError {
        self.ended = true;
        match self.side {
            Side::Client { .. } => {
                self.exchange.refuse(Rejection::BodyBroken(error));
                BodyError::Refused
            }
            Side::Upstream { .. } => BodyError::Broken(error),
        }
    }

    fn end(&mut self) {
        self.ended = true;
        if let Side::Upstream { lease } = &mut self.side
            && let Some(lease) = lease.take()
        {
            lease.give_back();
        }
    }
}

/// Pieces below this size are copied together: each that is kept apart costs several dozen bytes,
/// and a peer may cut its body into single ones.
const SMALL_BYTES: usize = 1 << 10;
/// Pieces copied together become one of this size at most.
const TOGETHER_BYTES: usize = 64 << 10;

/// What has been read, in few pieces.
#[derive(Default)]
struct Gathered {
    pieces: Vec<Bytes>,
    small: BytesMut,
    length: usize,
}

impl Gathered {
    fn push(&mut self, piece: Bytes) {
        self.length += piece.len();
        if piece.len() >= SMALL_BYTES {
            self.close_small();
            self.pieces.push(piece);
            return;
        }
        self.small.extend_from_slice(&piece);
        if self.small.len() >= TOGETHER_BYTES {
            self.close_small();
        }
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push(std::mem::take(&mut self.small).freeze());
        }
    }

    fn into_pieces(mut self) -> Vec<Bytes> {
        self.close_small();
        self.pieces
    }
}

/// How far a read came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reached {
    /// The end of the body.
    End,
    /// As many bytes as were wanted, and more may follow.
    Enough,
    /// A pause of the peer's.
    Pause,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_single_bytes_is_kept_in_few_pieces() {
        let mut gathered = Gathered::default();
        let length = 1 << 20;
        for _ in 0..length {
            gathered.push(Bytes::from_static(b"x"));
        }
        assert_eq!(gathered.length, length);
        let pieces = gathered.into_pieces();
        assert_eq!(pieces.len(), length / TOGETHER_BYTES);
        assert_eq!(pieces.iter().map(Bytes::len).sum::<usize>(), length);
    }

    #[test]
    fn small_and_large_pieces_stay_in_order_and_large_ones_are_not_copied() {
        let large = Bytes::from(vec![b'L'; SMALL_BYTES]);
        let mut gathered = Gathered::default();
        for piece in [Bytes::from_static(b"a"), Bytes::from_static(b"b"), large.clone()] {
            gathered.push(piece);
        }
        gathered.push(Bytes::from_static(b"c"));
        let pieces = gathered.into_pieces();
        assert_eq!(pieces.first().map(Bytes::as_ref), Some(&b"ab"[..]));
        assert_eq!(pieces.get(1).map(|piece| piece.as_ptr()), Some(large.as_ptr()));
        assert_eq!(pieces.get(2).map(Bytes::as_ref), Some(&b"c"[..]));
    }
}
