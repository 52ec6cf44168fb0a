//! The thread that serves no customer: signals, reloads, the admin page, and what the service manager
//! is told.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::AppError;
use super::sockets::SharedSockets;
use crate::proxy::{Leave, Services};
use crate::reload::Reloader;
use crate::server::{Admin, Supervisor, WorkerHandle};

/// How often the list of seen cards is written.
const SEEN_EVERY: Duration = Duration::from_secs(10);

/// How often what was counted is written.
const COUNTS_EVERY: Duration = Duration::from_secs(30);

/// How often the service manager hears of us within the time it waits: one word may be late.
const BEATS: u32 = 3;

/// Everything that is looked after beside customers.
pub(super) struct Control {
    pub(super) admin: Arc<Admin>,
    pub(super) leave: Leave,
    pub(super) ended: CancellationToken,
    pub(super) reloader: Option<Reloader>,
    pub(super) changes: mpsc::Receiver<()>,
    pub(super) services: Arc<Services>,
    pub(super) sockets: SharedSockets,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) workers: Vec<WorkerHandle>,
}

impl Control {
    pub(super) fn start(
        self,
        runtime: tokio::runtime::Runtime,
    ) -> Result<JoinHandle<()>, AppError> {
        let (listener, signals) = {
            let _entered = runtime.enter();
            let admin = self.sockets.0.lock().admin.sockets_of(0, 1);
            let admin = admin.map_err(AppError::System)?.pop().ok_or_else(no_admin)?;
            let listener = TcpListener::from_std(admin).map_err(AppError::System)?;
            (listener, Signals::new().map_err(AppError::System)?)
        };
        self.supervisor.ready();
        let thread = std::thread::Builder::new().name("control".to_owned());
        let work = move || runtime.block_on(self.run(listener, signals));
        thread.spawn(work).map_err(AppError::System)
    }

    async fn run(mut self, listener: TcpListener, signals: Signals) {
        let tasks = TaskTracker::new();
        tasks.spawn(Arc::clone(&self.admin).serve(listener, tasks.clone()));
        if let Some(patience) = self.supervisor.watchdog() {
            tasks.spawn(beat(Arc::clone(&self.supervisor), self.workers.clone(), patience / BEATS));
        }
        let Signals { mut hangup, mut ending } = signals;
        let mut seen = interval(SEEN_EVERY);
        let mut counts = interval(COUNTS_EVERY);
        loop {
            tokio::select! {
                _ = seen.tick() => self.services.seen.save(),
                _ = counts.tick() => self.services.counts.save_changes(SystemTime::now()),
                Some(()) = self.changes.recv() => self.reload(),
                Some(()) = hangup.recv() => {
                    if let Err(error) = self.services.access.reopen() {
                        warn!(%error, "cannot reopen the access log");
                    }
                    self.reload();
                }
                () = ending.told() => break,
                () = self.leave.closing.cancelled() => break,
            }
        }
        info!("draining");
        self.supervisor.stopping();
        // For whoever takes over while customers are still being served here.
        self.services.counts.save(SystemTime::now());
        self.sockets.0.lock().close();
        self.leave.now();
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = ending.told() => {
                warn!("told twice to stop: what is under way is cut off");
                std::process::exit(1);
            }
        }
    }

    /// Reading files and checking keys takes milliseconds, and this thread has nothing better to do.
    pub(super) fn reload(&mut self) {
        if let Some(reloader) = &mut self.reloader {
            self.supervisor.reloading();
            reloader.reload();
            self.supervisor.ready();
        }
    }
}

/// Tells the service manager that we are alive, as long as every worker is; it ends a process whose
/// customers wait for a thread that hangs.
async fn beat(supervisor: Arc<Supervisor>, workers: Vec<WorkerHandle>, every: Duration) {
    let mut beats = interval(every);
    loop {
        beats.tick().await;
        let answers = try_join_all(workers.iter().map(WorkerHandle::answers));
        match timeout(every, answers).await {
            Ok(Ok(_)) => supervisor.alive(),
            // They drain: that has a limit of its own.
            Ok(Err(_)) => return,
            Err(_) => warn!("a worker does not answer"),
        }
    }
}

struct Signals {
    hangup: Signal,
    ending: Ending,
}

/// The signals that end a process.
struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { hangup: signal(SignalKind::hangup())?, ending: Ending { interrupt, terminate } })
    }
}

impl Ending {
    /// Resolves at the next of them.
    async fn told(&mut self) {
        tokio::select! {
            _told = self.terminate.recv() => {}
            _told = self.interrupt.recv() => {}
        }
    }
}

fn no_admin() -> AppError {
    AppError::System(std::io::ErrorKind::NotConnected.into())
}
