//! Two connections joined to one, byte for byte.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, sleep_until};

/// One direction reads this much at a time.
const PIECE_BYTES: usize = 16 << 10;

/// The silence of both directions together: one that only listens is no reason to end the other.
pub(super) struct Silence {
    idle: Duration,
    broken_at: Mutex<Instant>,
}

/// Which way bytes went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    /// To the client.
    Down,
    /// To the upstream.
    Up,
}

impl Silence {
    /// Begins now, and may last so long.
    pub(super) fn new(idle: Duration) -> Self {
        Self { idle, broken_at: Mutex::new(Instant::now()) }
    }

    /// Bytes have come.
    pub(super) fn broken(&self) {
        *self.broken_at.lock() = Instant::now();
    }

    /// Resolves when neither side has sent a byte for too long.
    pub(super) async fn too_long(&self) {
        loop {
            let due = *self.broken_at.lock() + self.idle;
            if due <= Instant::now() {
                return;
            }
            sleep_until(due).await;
        }
    }
}

/// Copies both ways until both have ended, each by itself (a client may end its half and still wait
/// for the answer), or until nothing has moved for too long: neither side speaks, or the one that is
/// spoken to does not listen.
pub(super) async fn join<C, U>(client: C, upstream: U, idle: Duration, passed: impl Fn(Way, usize))
where
    C: AsyncRead + AsyncWrite,
    U: AsyncRead + AsyncWrite,
{
    let (client_in, client_out) = tokio::io::split(client);
    let (upstream_in, upstream_out) = tokio::io::split(upstream);
    let silence = Silence::new(idle);
    let up = copy(client_in, upstream_out, &silence, |count| passed(Way::Up, count));
    let down = copy(upstream_in, client_out, &silence, |count| passed(Way::Down, count));
    tokio::select! {
        _both_ended = async { tokio::join!(up, down) } => {}
        () = silence.too_long() => {}
    }
}

/// Copies until the reader ends, then ends the writer.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    silence: &Silence,
    passed: impl Fn(usize),
) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(length) = from.read(&mut piece).await {
        silence.broken();
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { break };
        if to.write_all(read).await.is_err() || to.flush().await.is_err() {
            break;
        }
        silence.broken();
        passed(length);
    }
    let _already_closed = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::io::duplex;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn each_half_ends_by_itself_and_every_byte_is_counted() {
        let (mut client, near) = duplex(64);
        let (far, mut server) = duplex(64);
        let counts = [Cell::new(0), Cell::new(0)];
        let joined = join(near, far, LONG, |way, count| {
            let [up, down] = &counts;
            let cell = if way == Way::Up { up } else { down };
            cell.set(cell.get() + count);
        });
        let talk = async {
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut asked = Vec::new();
            server.read_to_end(&mut asked).await.unwrap();
            assert_eq!(asked, b"question");
            server.write_all(b"answer").await.unwrap();
            server.shutdown().await.unwrap();
            let mut told = Vec::new();
            client.read_to_end(&mut told).await.unwrap();
            assert_eq!(told, b"answer");
        };
        tokio::join!(joined, talk);
        assert_eq!(counts.map(Cell::into_inner), [8, 6]);
    }

    #[tokio::test]
    async fn a_direction_that_only_listens_is_not_ended_while_the_other_speaks() {
        let silence = Silence::new(LONG);
        *silence.broken_at.lock() = Instant::now() - LONG * 2;
        silence.broken();
        tokio::select! {
            biased;
            () = silence.too_long() => panic!("ended while the other side spoke"),
            () = tokio::task::yield_now() => {}
        }
    }

    #[tokio::test]
    async fn both_end_when_nobody_speaks_for_too_long() {
        let ((_client, near), (far, mut server)) = (duplex(64), duplex(64));
        join(near, far, Duration::ZERO, |_, _| {}).await;
        assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn both_end_when_the_one_spoken_to_does_not_listen() {
        let ((_client, near), (far, mut server)) = (duplex(64), duplex(64));
        // More than fits: the rest waits for a client that never reads.
        let speak = async { while server.write_all(&[0; 64]).await.is_ok() {} };
        tokio::join!(join(near, far, Duration::from_millis(50), |_, _| {}), speak);
    }
}
