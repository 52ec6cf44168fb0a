//! A thread that serves customers.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt as _;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use super::connection::{self, Context};
use super::listen::{Kind, Share};
use crate::proxy::Proxy;

/// How long accepting rests when there are no file descriptors left: connections that end give some
/// back.
const NO_DESCRIPTORS_REST: Duration = Duration::from_millis(100);

/// A running worker.
pub struct Worker {
    thread: JoinHandle<Drained>,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Drained {
    /// All that was under way was finished.
    Clean,
    /// The grace was over before these connections were.
    Cut {
        /// How many.
        connections: usize,
    },
}

/// Why a worker cannot start.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// A socket cannot be handed to the runtime.
    #[error("cannot use a listening socket")]
    Socket(#[source] io::Error),
    /// No thread, or no runtime for it.
    #[error("cannot start a worker thread")]
    Thread(#[source] io::Error),
}

impl Worker {
    /// Starts a thread that accepts from its share of every listener until `closing`.
    ///
    /// # Errors
    /// When there is no thread or runtime to be had.
    pub fn start(
        index: usize,
        shares: Vec<Share>,
        proxy: Arc<Proxy>,
        closing: CancellationToken,
    ) -> Result<Self, WorkerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(WorkerError::Thread)?;
        let listeners = {
            let _entered = runtime.enter();
            let adopt = |share: Share| Ok((TcpListener::from_std(share.socket)?, share.kind));
            shares.into_iter().map(adopt).collect::<io::Result<Vec<_>>>()
        };
        let listeners = listeners.map_err(WorkerError::Socket)?;
        let context =
            Arc::new(Context { proxy, dialer: Arc::default(), closing, tasks: TaskTracker::new() });
        let work = move || {
            let drained = runtime.block_on(work(context, listeners));
            // What is still there has had its grace.
            runtime.shutdown_background();
            drained
        };
        let builder = std::thread::Builder::new().name(format!("worker-{index}"));
        Ok(Self { thread: builder.spawn(work).map_err(WorkerError::Thread)? })
    }

    /// Waits until the worker has drained.
    pub fn join(self) -> Drained {
        self.thread.join().unwrap_or(Drained::Cut { connections: 0 })
    }
}

async fn work(context: Arc<Context>, listeners: Vec<(TcpListener, Kind)>) -> Drained {
    let accepting = TaskTracker::new();
    for (listener, kind) in listeners {
        accepting.spawn(accept(Arc::clone(&context), listener, kind));
    }
    accepting.close();
    accepting.wait().await;
    context.tasks.close();
    let grace = context.proxy.timeouts().drain;
    match timeout(grace, context.tasks.wait()).await {
        Ok(()) => Drained::Clean,
        Err(_) => Drained::Cut { connections: context.tasks.len() },
    }
}

/// Accepts until the end; who had come by then is still served.
async fn accept(context: Arc<Context>, listener: TcpListener, kind: Kind) {
    let mut starved = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = context.closing.cancelled() => break,
        };
        match accepted {
            Ok((tcp, address)) => {
                if std::mem::take(&mut starved) {
                    info!("accepting again");
                }
                let serving = connection::serve(Arc::clone(&context), tcp, address, kind.clone());
                context.tasks.spawn(serving);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut starved, true) {
                    error!(%error, "cannot accept connections");
                }
                tokio::time::sleep(NO_DESCRIPTORS_REST).await;
            }
        }
    }
    while let Some(Ok((tcp, address))) = listener.accept().now_or_never() {
        let serving = connection::serve(Arc::clone(&context), tcp, address, kind.clone());
        context.tasks.spawn(serving);
    }
}

/// A client that left before it was accepted says nothing about the listener.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
