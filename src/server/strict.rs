//! An HTTP/1.1 client's stream, whose heads must be sound, and whose last words are ours.
//!
//! hyper answers what is no HTTP with a bare status that names no request. That answer is held back
//! here, so that one of ours can be given, with an id that the log knows.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use http::StatusCode;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Watched;
use super::heads::Heads;

/// How hyper's own answers begin, and how long they are at most.
const STATUS_LINE: &[u8] = b"HTTP/1.1 4";
const BARE_ANSWER_BYTES_MAX: usize = 160;
/// What every answer of ours has, and none of hyper's.
const REQUEST_ID: &[u8] = b"\r\nx-request-id:";

/// A client's stream.
pub(super) struct Strict<S> {
    stream: Watched<S>,
    heads: Heads,
    /// What came behind a head, until it is known what that is.
    kept: BytesMut,
    fault: Option<HeadFault>,
    /// Whether something was written and may not have left yet.
    unflushed: bool,
}

/// Why a head is no request.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub(super) enum HeadFault {
    #[error("a line that ends in LF alone")]
    BareLineFeed,
    #[error("the head of a request did not end in time")]
    Late,
    /// What hyper would have said to it.
    #[error("the head of a request cannot be read")]
    Unreadable(StatusCode),
}

impl HeadFault {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::BareLineFeed => StatusCode::BAD_REQUEST,
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::Unreadable(status) => status,
        }
    }
}

impl<S> Strict<S> {
    pub(super) fn new(stream: Watched<S>) -> Self {
        let (heads, kept) = (Heads::default(), BytesMut::new());
        Self { stream, heads, kept, fault: None, unflushed: false }
    }

    /// The stream, and what was wrong with the last head.
    pub(super) fn into_parts(self) -> (Watched<S>, Option<HeadFault>) {
        (self.stream, self.fault)
    }

    fn note_told(&mut self) {
        if let Some(follows) = self.stream.activity.take_follows() {
            self.heads.told(follows);
        }
    }

    /// Where hyper's answer to what is no HTTP begins in these bytes, and its status.
    fn bare_answer(&mut self, bytes: &[u8]) -> Option<(usize, StatusCode)> {
        self.note_told();
        if !self.heads.is_open() || self.stream.activity.has_requests() {
            return None;
        }
        let from = bytes.len().saturating_sub(BARE_ANSWER_BYTES_MAX);
        let tail = bytes.get(from..)?;
        let at = memchr::memmem::rfind(tail, STATUS_LINE)?;
        let answer = tail.get(at..).filter(|answer| answer.ends_with(b"\r\n\r\n"))?;
        if memchr::memmem::find(answer, REQUEST_ID).is_some() {
            return None;
        }
        let status = StatusCode::from_bytes(answer.get(9..12)?).ok()?;
        Some((from + at, status))
    }
}

impl<S: AsyncRead + Unpin> Strict<S> {
    /// Gives of what was kept as much as may be given by now.
    fn read_kept(&mut self, buffer: &mut ReadBuf<'_>) -> Result<(), HeadFault> {
        let length = self.kept.len().min(buffer.remaining());
        let kept = self.kept.get(..length).unwrap_or_default();
        let passed = self.heads.follow(kept).map_err(|_| HeadFault::BareLineFeed)?;
        buffer.put_slice(kept.get(..passed).unwrap_or_default());
        self.kept.advance(passed);
        if self.kept.is_empty() {
            // An idle connection keeps no buffer.
            self.kept = BytesMut::new();
        }
        self.stream.activity.bytes_came();
        Ok(())
    }

    fn read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Result<(), HeadFault>>> {
        if !self.kept.is_empty() {
            return Poll::Ready(Ok(self.read_kept(buffer)));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let fresh = buffer.filled().get(before..).unwrap_or_default();
        let Ok(passed) = self.heads.follow(fresh) else {
            buffer.set_filled(before);
            return Poll::Ready(Ok(Err(HeadFault::BareLineFeed)));
        };
        if passed < fresh.len() {
            self.kept.extend_from_slice(fresh.get(passed..).unwrap_or_default());
            buffer.set_filled(before + passed);
        }
        Poll::Ready(Ok(Ok(())))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Strict<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.note_told();
        if this.fault.is_none() {
            match ready!(this.read(context, buffer))? {
                Ok(()) => return Poll::Ready(Ok(())),
                // A trailer: whoever reads that body says so.
                Err(_) if this.heads.is_in_chunks() => {
                    return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
                }
                Err(fault) => this.fault = Some(fault),
            }
        }
        if this.stream.activity.has_requests() || this.unflushed {
            // Those before it are answered first; `poll_flush` calls when they are.
            return Poll::Pending;
        }
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Strict<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.unflushed = true;
        match this.bare_answer(bytes) {
            None => Pin::new(&mut this.stream).poll_write(context, bytes),
            Some((0, status)) => {
                this.fault = this.fault.or(Some(HeadFault::Unreadable(status)));
                Poll::Ready(Ok(bytes.len()))
            }
            Some((at, _)) => {
                // The end of the answer before it.
                let before = bytes.get(..at).unwrap_or_default();
                Pin::new(&mut this.stream).poll_write(context, before)
            }
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match slices {
            [one] => self.poll_write(context, one),
            // hyper's answer is one slice, once the others have left.
            _ => {
                self.unflushed = true;
                Pin::new(&mut self.stream).poll_write_vectored(context, slices)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.unflushed = false;
        if self.fault.is_some() && !self.stream.activity.has_requests() {
            context.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.fault.is_some() {
            // The last word is still to be said.
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
