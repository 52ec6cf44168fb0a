//! Fewer, larger writes for HTTP/2.
//!
//! h2 hands every DATA frame over by itself, and each write would be a TLS record and a system call of
//! its own. What the streams of a connection have to say in one turn of the run queue is gathered here
//! and leaves together when that turn is over.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is gathered at most: the largest TLS record (RFC 8446 §5.1).
const GATHERED_BYTES_MAX: usize = 16 << 10;

/// A stream whose small writes wait for the end of the turn.
pub(super) struct Coalesced<S> {
    stream: S,
    gathered: Vec<u8>,
    /// How much of it has left.
    written: usize,
    turn: Turn,
}

/// Whether the flush that h2 asks for has waited its turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Turn {
    Over,
    ToCome,
}

impl<S> Coalesced<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, gathered: Vec::new(), written: 0, turn: Turn::ToCome }
    }
}

impl<S: AsyncWrite + Unpin> Coalesced<S> {
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.gathered.get(self.written..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        // An idle connection keeps no buffer.
        self.gathered = Vec::new();
        self.written = 0;
        self.turn = Turn::ToCome;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Coalesced<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.gathered.len() + bytes.len() > GATHERED_BYTES_MAX {
            ready!(this.poll_drain(context))?;
        }
        if bytes.len() >= GATHERED_BYTES_MAX {
            return Pin::new(&mut this.stream).poll_write(context, bytes);
        }
        this.gathered.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.gathered.is_empty() && this.turn == Turn::ToCome {
            this.turn = Turn::Over;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(context))?;
        Pin::new(&mut this.stream).poll_shutdown(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Coalesced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes in so many bytes at a time, and remembers each write.
    struct Wire {
        at_once: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for Wire {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let this = self.get_mut();
            let taken = bytes.len().min(this.at_once);
            this.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn wire(at_once: usize) -> Coalesced<Wire> {
        Coalesced::new(Wire { at_once, writes: Vec::new() })
    }

    fn write(stream: &mut Coalesced<Wire>, bytes: &[u8]) -> usize {
        let mut context = Context::from_waker(Waker::noop());
        match Pin::new(stream).poll_write(&mut context, bytes) {
            Poll::Ready(written) => written.unwrap(),
            Poll::Pending => panic!("a wire that takes all is never full"),
        }
    }

    fn flush(stream: &mut Coalesced<Wire>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(stream).poll_flush(&mut context).is_ready()
    }

    #[test]
    fn what_is_written_in_one_turn_leaves_in_one_write_when_it_is_over() {
        let mut stream = wire(usize::MAX);
        write(&mut stream, b"HEADERS ");
        write(&mut stream, b"DATA ");
        assert!(!flush(&mut stream), "the turn is not over");
        write(&mut stream, b"of another stream");
        assert!(stream.stream.writes.is_empty());
        assert!(flush(&mut stream));
        assert_eq!(stream.stream.writes, [b"HEADERS DATA of another stream"]);
        write(&mut stream, b"next");
        assert!(!flush(&mut stream) && flush(&mut stream), "each turn waits once");
        assert_eq!(stream.stream.writes.len(), 2);
        assert!(flush(&mut stream), "nothing waits for nothing");
    }

    #[test]
    fn nothing_is_lost_or_turned_round_however_little_the_wire_takes() {
        let mut stream = wire(1_000);
        let all: Vec<u8> =
            (0..60_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
        let (mut rest, mut sizes) = (&all[..], [1, 300, 9_000, 20_000, 70].into_iter().cycle());
        while !rest.is_empty() {
            let size = sizes.next().unwrap().min(rest.len());
            rest = &rest[write(&mut stream, &rest[..size])..];
            assert!(stream.gathered.len() <= GATHERED_BYTES_MAX);
        }
        while !flush(&mut stream) {}
        assert_eq!(stream.stream.writes.concat(), all);
    }
}
