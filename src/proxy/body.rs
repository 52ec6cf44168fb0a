//! Bodies on their way through: bounded, timed, and rewritten as they stream.
//!
//! Nothing here reads ahead of what its reader takes, so a slow reader slows its writer down.

mod held;
mod messages;
mod observed;
mod rewrite;
mod source;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use thiserror::Error;

pub use held::HeldBodies;
pub(super) use held::{Holding, Room, UNCOUNTED_BYTES};
pub(super) use messages::Messages;
pub(super) use observed::{Look, Observed};
pub(super) use rewrite::{Coded, Editing, Rewritten};
pub(super) use source::{Reached, Source};

use super::forward::Copied;

/// A body that is sent, to the upstream or to the client.
#[derive(Default)]
pub enum Body {
    /// As it is sent, with a copy kept for a second time.
    Copied(Box<Copied>),
    /// None.
    #[default]
    Empty,
    /// All of it.
    Whole(Bytes),
    /// As it arrives, looked at.
    Observed(Box<Observed>),
    /// As it arrives.
    Passed(Box<Source>),
    /// As it arrives, with card numbers replaced.
    Rewritten(Box<Rewritten>),
}

/// Why a body ends before its end. The reader's connection is cut, so that nobody takes a part for
/// the whole.
#[derive(Debug, Error)]
pub enum BodyError {
    /// We refuse to go on; the reason is kept in the exchange.
    #[error("refused inside the body")]
    Refused,
    /// The sender's connection broke.
    #[error("the sender broke off")]
    Broken(#[source] hyper::Error),
    /// The sender was silent for too long.
    #[error("the sender stalled")]
    Stalled,
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Copied(copied) => copied.poll_frame(context),
            Self::Empty => Poll::Ready(None),
            Self::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Observed(observed) => observed.poll_frame(context),
            Self::Passed(source) => source.poll_frame(context),
            Self::Rewritten(rewritten) => rewritten.poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Copied(copied) => copied.is_end_stream(),
            Self::Empty => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Observed(observed) => observed.is_end_stream(),
            Self::Passed(source) => source.is_end_stream(),
            Self::Rewritten(rewritten) => rewritten.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let exact = |length: usize| SizeHint::with_exact(u64::try_from(length).unwrap_or(u64::MAX));
        match self {
            Self::Copied(copied) => copied.size_hint(),
            Self::Empty => exact(0),
            Self::Whole(bytes) => exact(bytes.len()),
            Self::Observed(observed) => observed.size_hint(),
            Self::Passed(source) => source.size_hint(),
            Self::Rewritten(rewritten) => rewritten.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Copied(_) => "Copied",
            Self::Empty => "Empty",
            Self::Whole(_) => "Whole",
            Self::Observed(_) => "Observed",
            Self::Passed(_) => "Passed",
            Self::Rewritten(_) => "Rewritten",
        })
    }
}
