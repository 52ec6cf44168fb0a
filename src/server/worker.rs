//! A thread that serves customers.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt as _;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info};

use super::connection::Context;
use super::doorman::Doorman;
use super::listen::{Kind, Share};
use super::spare::Spare;
use crate::policy::Live;
use crate::proxy::{Leave, Proxy};
use crate::telemetry::Full;

/// How long accepting rests when there are no file descriptors left: connections that end give some
/// back.
const NO_DESCRIPTORS_REST: Duration = Duration::from_millis(100);

/// A running worker.
pub struct Worker {
    thread: JoinHandle<Drained>,
    handle: WorkerHandle,
}

/// Tells a worker what to do.
#[derive(Clone)]
pub struct WorkerHandle(mpsc::UnboundedSender<Order>);

enum Order {
    /// To accept here as well.
    Listen(Share),
    /// To show that its thread turns.
    Answer(oneshot::Sender<()>),
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
    /// No thread, or no runtime for it.
    #[error("cannot start a worker thread")]
    Thread(#[source] io::Error),
}

impl Worker {
    /// Starts a thread that accepts wherever it is told to, until `closing`.
    ///
    /// # Errors
    /// When there is no thread or runtime to be had.
    pub fn start(
        index: usize,
        (proxy, doorman): (Arc<Proxy>, Arc<Doorman>),
        closing: CancellationToken,
    ) -> Result<Self, WorkerError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(WorkerError::Thread)?;
        let (dialer, tasks) = (Arc::default(), TaskTracker::new());
        let context = Arc::new(Context { proxy, dialer, doorman, tasks });
        let (orders, inbox) = mpsc::unbounded_channel();
        let work = move || {
            let drained = runtime.block_on(work(context, inbox, closing));
            // What is still there has had its grace.
            runtime.shutdown_background();
            drained
        };
        let builder = std::thread::Builder::new().name(format!("worker-{index}"));
        let thread = builder.spawn(work).map_err(WorkerError::Thread)?;
        Ok(Self { thread, handle: WorkerHandle(orders) })
    }

    /// For who tells it what to do.
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        self.handle.clone()
    }

    /// Waits until the worker has drained.
    pub fn join(self) -> Drained {
        self.thread.join().unwrap_or(Drained::Cut { connections: 0 })
    }
}

impl WorkerHandle {
    /// Accepts there too. A worker that is ending does not.
    pub fn listen(&self, share: Share) {
        let _ending = self.0.send(Order::Listen(share));
    }

    /// Resolves when the worker's thread has taken a turn; fails where it has ended.
    ///
    /// # Errors
    /// When the thread is gone.
    pub async fn answers(&self) -> Result<(), oneshot::error::RecvError> {
        let (answer, answered) = oneshot::channel();
        let _ending = self.0.send(Order::Answer(answer));
        answered.await
    }
}

async fn work(
    context: Arc<Context>,
    mut orders: mpsc::UnboundedReceiver<Order>,
    closing: CancellationToken,
) -> Drained {
    let accepting = TaskTracker::new();
    loop {
        let order = tokio::select! {
            Some(order) = orders.recv() => order,
            () = closing.cancelled() => break,
        };
        match order {
            Order::Answer(answer) => _ = answer.send(()),
            Order::Listen(Share { kind, leave, resting, socket }) => {
                match TcpListener::from_std(socket) {
                    Ok(listener) => {
                        let leave = (leave, resting);
                        accepting.spawn(accept(Arc::clone(&context), listener, kind, leave));
                    }
                    Err(error) => error!(%error, "a listening socket cannot be used"),
                }
            }
        }
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
async fn accept(
    context: Arc<Context>,
    listener: TcpListener,
    kind: Arc<Live<Kind>>,
    (leave, mut resting): (Leave, watch::Receiver<bool>),
) {
    let doorman = &context.doorman;
    let mut spare = Spare::new(1);
    let mut starved = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept(), if !*resting.borrow() => accepted,
            Ok(()) = resting.changed() => continue,
            () = leave.closing.cancelled() => break,
        };
        match accepted {
            Ok((tcp, address)) => {
                starved = false;
                if doorman.is_fed_again() {
                    info!("accepting again");
                }
                context.take_in((tcp, address), &kind.load(), &leave);
            }
            Err(error) if is_about_one_connection(&error) => {}
            Err(error) => {
                if doorman.is_hungry() {
                    error!(%error, "cannot accept connections");
                }
                // The rest did not help: who waits is better told to go elsewhere.
                if std::mem::replace(&mut starved, true) {
                    turn_away(&context, &listener, &mut spare);
                }
                tokio::time::sleep(NO_DESCRIPTORS_REST).await;
            }
        }
    }
    while let Some(Ok((tcp, address))) = listener.accept().now_or_never() {
        context.take_in((tcp, address), &kind.load(), &leave);
    }
}

/// Hangs up on all who wait, with the one descriptor that is kept for that.
fn turn_away(context: &Context, listener: &TcpListener, spare: &mut Spare) {
    spare.lend();
    while let Some(Ok((tcp, address))) = listener.accept().now_or_never() {
        drop(tcp);
        context.proxy.services().metrics.connection_refused(Full::Files, address);
    }
    spare.refill();
}

/// A client that left before it was accepted says nothing about the listener.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}
