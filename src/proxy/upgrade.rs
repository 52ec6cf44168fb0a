//! Connections that leave HTTP (RFC 9110 §7.8): after 101 both sides are one pipe.

use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::debug;

/// One direction of a pipe reads this much at a time.
const PIECE_BYTES: usize = 16 << 10;

type Io = TokioIo<Upgraded>;

/// Joins the two connections once both have been handed over.
pub(super) fn join(tasks: &TaskTracker, client: OnUpgrade, upstream: OnUpgrade, idle: Duration) {
    tasks.spawn(async move {
        let (client, upstream) = match tokio::try_join!(client, upstream) {
            Ok(both) => both,
            Err(error) => return debug!(%error, "upgrade failed"),
        };
        let (client_in, client_out) = tokio::io::split(TokioIo::new(client));
        let (upstream_in, upstream_out) = tokio::io::split(TokioIo::new(upstream));
        let up = copy(client_in, upstream_out, idle);
        let down = copy(upstream_in, client_out, idle);
        tokio::join!(up, down);
    });
}

/// Copies until the reader ends, then ends the writer; silence for too long ends it too.
async fn copy(mut from: ReadHalf<Io>, mut to: WriteHalf<Io>, idle: Duration) {
    let mut piece = vec![0; PIECE_BYTES];
    while let Ok(Ok(length)) = timeout(idle, from.read(&mut piece)).await {
        let Some(read) = piece.get(..length).filter(|read| !read.is_empty()) else { break };
        if to.write_all(read).await.is_err() || to.flush().await.is_err() {
            break;
        }
    }
    let _already_closed = to.shutdown().await;
}
