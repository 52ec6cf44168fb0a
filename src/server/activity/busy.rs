//! Requests under way on a connection, and what outlives them on it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::{ANYTHING, Activity};

/// A request under way.
pub(in crate::server) struct Busy {
    pub(super) activity: Arc<Activity>,
    pub(super) connect: bool,
    /// Whether a piece of its answer has been given and the next not yet asked for.
    pub(super) waits: bool,
}

/// A stream that has left HTTP.
pub(in crate::server) struct Held {
    pub(super) activity: Arc<Activity>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.activity.tunnels.fetch_sub(1, Ordering::Relaxed);
        self.activity.rested_at.store(self.activity.millis(), Ordering::Relaxed);
    }
}

impl Busy {
    /// The request is answered; it is under way until the body of the answer has ended.
    pub(in crate::server) fn answer<B>(self, response: Response<B>) -> Response<WhileBusy<B>> {
        let status = response.status();
        if status == StatusCode::SWITCHING_PROTOCOLS || self.connect && status.is_success() {
            self.activity.follows.store(ANYTHING, Ordering::Relaxed);
        }
        response.map(|body| WhileBusy::new(body, self))
    }

    pub(super) fn asked(&mut self) {
        if std::mem::take(&mut self.waits) {
            self.activity.waiting.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn gave(&mut self) {
        self.waits = true;
        self.activity.waiting.fetch_add(1, Ordering::Relaxed);
        self.activity.moved_at.store(self.activity.millis(), Ordering::Relaxed);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.asked();
        self.activity.rest();
    }
}

/// The body of an answer, which keeps its request under way.
pub(in crate::server) struct WhileBusy<B> {
    body: B,
    busy: Busy,
}

impl<B> WhileBusy<B> {
    /// Waits to be asked for its first piece: a client may never let it be.
    fn new(body: B, mut busy: Busy) -> Self {
        busy.gave();
        Self { body, busy }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for WhileBusy<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.busy.asked();
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        if frame.is_some() {
            self.busy.gave();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
