//! The thread that serves no customer: signals, reloads, the admin page, and what the service manager
//! is told.

use std::future::pending;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::AppError;
use super::sockets::SharedSockets;
use super::upgrade::{self, Estate, Program, UpgradeError};
use crate::proxy::{Leave, Proxy, Services};
use crate::reload::{Reloader, explained};
use crate::server::{Admin, Supervisor, WorkerHandle};
use crate::telemetry::AuditEvent;

/// How often the list of seen cards is written.
const SEEN_EVERY: Duration = Duration::from_secs(10);

/// How often what was counted is written.
const COUNTS_EVERY: Duration = Duration::from_secs(30);

/// How often the service manager hears of us within the time it waits: one word may be late.
const BEATS: u32 = 3;

/// How long before the end of the grace those are told who wait for nothing: they must hear it.
const FAREWELL: Duration = Duration::from_secs(6);

/// Everything that is looked after beside customers.
pub(super) struct Control {
    pub(super) admin: Arc<Admin>,
    pub(super) leave: Leave,
    pub(super) ended: CancellationToken,
    pub(super) reloader: Option<Reloader>,
    pub(super) changes: mpsc::Receiver<()>,
    pub(super) estate: Arc<Estate>,
    pub(super) program: Program,
    pub(super) proxy: Arc<Proxy>,
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
        let (page, handed_over) = (Arc::clone(&self.admin), CancellationToken::new());
        let (left, connections) = (handed_over.clone(), tasks.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = page.serve(listener, connections) => {}
                () = left.cancelled() => {}
            }
        });
        tasks.spawn(Arc::clone(&self.proxy).watch_upstreams());
        if let Some(patience) = self.supervisor.watchdog() {
            tasks.spawn(beat(Arc::clone(&self.supervisor), self.workers.clone(), patience / BEATS));
        }
        let Signals { mut hangup, mut upgrade, mut ending } = signals;
        let mut upgrading: Option<Outcome> = None;
        let mut seen = interval(SEEN_EVERY);
        let mut counts = interval(COUNTS_EVERY);
        loop {
            tokio::select! {
                _ = seen.tick(), if !self.estate.is_given() => self.services.seen.save(),
                _ = counts.tick(), if !self.estate.is_given() => {
                    self.services.counts.save_changes(SystemTime::now());
                }
                Some(()) = upgrade.recv(), if upgrading.is_none() => upgrading = self.upgrade(),
                outcome = outcome(&mut upgrading) => {
                    upgrading = None;
                    if let Some(process) = self.judge(outcome) {
                        handed_over.cancel();
                        return self.give_way(process, &mut ending).await;
                    }
                }
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
        self.await_end(&mut ending).await;
    }

    /// Begins to replace the program.
    fn upgrade(&self) -> Option<Outcome> {
        let patience = self.proxy.timeouts().upgrade;
        match upgrade::begin(self.program.clone(), Arc::clone(&self.estate), patience) {
            Ok(outcome) => Some(outcome),
            Err(error) => {
                self.services.metrics.upgrade_refused("not_started", &error.to_string());
                None
            }
        }
    }

    /// The process that has our place; where none has, it is told why.
    fn judge(&self, outcome: Result<u32, UpgradeError>) -> Option<u32> {
        let refused = match outcome {
            Ok(process) => return Some(process),
            Err(refused) => refused,
        };
        let problem = explained(&refused);
        self.services.metrics.upgrade_refused(refused.result(), &problem);
        self.services.audit.record(SystemTime::now(), AuditEvent::UpgradeRefused { problem });
        None
    }

    /// Another process is the service. Those who are still here are told with their next answer; who
    /// waits for nothing, and WebSockets, when the grace is nearly over.
    async fn give_way(&self, process: u32, ending: &mut Ending) {
        self.supervisor.succeeded_by(process);
        self.services.metrics.upgraded(process);
        self.services.audit.record(SystemTime::now(), AuditEvent::Upgraded { process });
        self.sockets.0.lock().close();
        self.leave.closing.cancel();
        let grace = self.proxy.timeouts().drain;
        let patience = grace.saturating_sub(FAREWELL).max(grace / 2);
        tokio::select! {
            () = self.ended.cancelled() => return,
            () = tokio::time::sleep(patience) => {}
            () = ending.told() => {}
        }
        self.leave.hurry.cancel();
        self.await_end(ending).await;
    }

    async fn await_end(&self, ending: &mut Ending) {
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

type Outcome = oneshot::Receiver<Result<u32, UpgradeError>>;

/// What became of an upgrade; nothing while there is none.
async fn outcome(upgrading: &mut Option<Outcome>) -> Result<u32, UpgradeError> {
    match upgrading {
        Some(outcome) => outcome.await.unwrap_or(Err(UpgradeError::Ending)),
        None => pending().await,
    }
}

struct Signals {
    hangup: Signal,
    upgrade: Signal,
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
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            ending: Ending { interrupt, terminate },
        })
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
