//! The thread that serves no customer: signals, reloads, the admin page, and what the service manager
//! is told.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use futures_util::future::try_join_all;
use rustix::process::{Pid, Signal as SignalName, kill_process};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::AppError;
use super::pid_file::PidFile;
use super::sockets::SharedSockets;
use super::upgrade::{self, Estate, Program, Successor, UpgradeError, has_crashed};
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

/// How long a process that has our place is watched before we leave it alone with our customers.
const PROBATION: Duration = Duration::from_secs(3);

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
    pub(super) pid_file: Option<PidFile>,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) workers: Vec<WorkerHandle>,
}

impl Control {
    pub(super) fn start(
        self,
        runtime: Runtime,
        signals: (Signals, Ending),
    ) -> Result<JoinHandle<()>, AppError> {
        let listener = {
            let _entered = runtime.enter();
            self.page_listener().map_err(AppError::System)?
        };
        self.supervisor.ready();
        let thread = std::thread::Builder::new().name("control".to_owned());
        let work = move || runtime.block_on(self.run(listener, signals));
        thread.spawn(work).map_err(AppError::System)
    }

    async fn run(mut self, listener: TcpListener, (signals, mut ending): (Signals, Ending)) {
        let tasks = TaskTracker::new();
        let mut page = self.serve_page(&tasks, listener);
        tasks.spawn(Arc::clone(&self.proxy).watch_upstreams());
        if let Some(patience) = self.supervisor.watchdog() {
            tasks.spawn(beat(Arc::clone(&self.supervisor), self.workers.clone(), patience / BEATS));
        }
        let Signals { mut hangup, mut upgrade } = signals;
        let mut upgrading: Option<Outcome> = None;
        // Whether a hangup came meanwhile: who takes our place may have looked at the files before it.
        let mut hung_up = false;
        let mut seen = interval(SEEN_EVERY);
        let mut counts = interval(COUNTS_EVERY);
        loop {
            tokio::select! {
                _ = seen.tick(), if !self.estate.is_given() => self.services.seen.save(),
                _ = counts.tick(), if !self.estate.is_given() => {
                    self.services.counts.save_changes(SystemTime::now());
                }
                Some(()) = upgrade.recv(), if upgrading.is_none() => {
                    hung_up = false;
                    upgrading = self.upgrade();
                }
                outcome = outcome(&mut upgrading) => {
                    upgrading = None;
                    let Some(successor) = self.judge(outcome) else { continue };
                    page.cancel();
                    if hung_up {
                        pass_on(SignalName::HUP, successor.process);
                    }
                    let mut signals = (&mut hangup, &mut upgrade, &mut ending);
                    let Some(crash) = self.try_out(successor, &mut signals).await else {
                        return self.give_way(&mut hangup, &mut ending).await;
                    };
                    self.go_on(&crash);
                    match self.page_listener() {
                        Ok(listener) => page = self.serve_page(&tasks, listener),
                        Err(error) => warn!(%error, "the admin page is not served any more"),
                    }
                }
                Some(()) = self.changes.recv() => self.reload(),
                Some(()) = hangup.recv() => {
                    hung_up = true;
                    self.reopen();
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
        tokio::join!(self.call_off(upgrading), self.await_end(&mut ending));
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

    /// Who was to take our place ends with us.
    async fn call_off(&self, mut upgrading: Option<Outcome>) {
        if upgrading.is_none() {
            return;
        }
        self.estate.call_off();
        let Ok(Successor { process, .. }) = outcome(&mut upgrading).await else { return };
        warn!(process, "told to stop while another process took over: it is told so too");
        pass_on(SignalName::TERM, process);
    }

    /// The process that has our place; where none has, it is told why.
    fn judge(&self, outcome: Result<Successor, UpgradeError>) -> Option<Successor> {
        outcome.inspect_err(|refused| self.tell_refused(refused)).ok()
    }

    fn tell_refused(&self, refused: &UpgradeError) {
        let problem = explained(refused);
        self.services.metrics.upgrade_refused(refused.result(), &problem);
        self.services.audit.record(SystemTime::now(), AuditEvent::UpgradeRefused { problem });
    }

    /// Lets another process serve while we keep the addresses, and the customers who are here. What
    /// became of it, if it crashed as it met its first ones.
    async fn try_out(
        &self,
        Successor { process, mut ended }: Successor,
        (hangup, upgrade, ending): &mut (&mut Signal, &mut Signal, &mut Ending),
    ) -> Option<UpgradeError> {
        self.sockets.0.lock().rest();
        self.services.metrics.upgraded(process);
        self.services.audit.record(SystemTime::now(), AuditEvent::Upgraded { process });
        let mut probation = pin!(tokio::time::sleep(PROBATION));
        loop {
            tokio::select! {
                () = &mut probation => break,
                ended = &mut ended => {
                    let crash = ended.ok().filter(|status| has_crashed(*status));
                    return crash.map(|status| UpgradeError::Crashed { status });
                }
                () = ending.told() => {
                    self.leave.hurry.cancel();
                    break;
                }
                // For the service, which is another by now.
                Some(()) = hangup.recv() => {
                    self.reopen();
                    pass_on(SignalName::HUP, process);
                }
                Some(()) = upgrade.recv() => pass_on(SignalName::USR2, process),
            }
        }
        self.supervisor.succeeded_by(process);
        None
    }

    /// Serves as before.
    fn go_on(&self, crash: &UpgradeError) {
        self.estate.take_back();
        self.sockets.0.lock().resume();
        self.tell_refused(crash);
        if let Some(file) = &self.pid_file {
            file.write();
        }
    }

    fn page_listener(&self) -> std::io::Result<TcpListener> {
        let admin = self.sockets.0.lock().admin.sockets_of(0, 1)?.pop();
        TcpListener::from_std(admin.ok_or(std::io::ErrorKind::NotConnected)?)
    }

    /// Serves the admin page until the token is cancelled.
    fn serve_page(&self, tasks: &TaskTracker, listener: TcpListener) -> CancellationToken {
        let (page, left) = (Arc::clone(&self.admin), CancellationToken::new());
        let (until, connections) = (left.clone(), tasks.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = page.serve(listener, connections) => {}
                () = until.cancelled() => {}
            }
        });
        left
    }

    /// Another process is the service. Those who are still here are told with their next answer; who
    /// waits for nothing, and WebSockets, when the grace is nearly over.
    async fn give_way(&self, hangup: &mut Signal, ending: &mut Ending) {
        self.sockets.0.lock().close();
        self.leave.closing.cancel();
        let grace = self.proxy.timeouts().drain;
        let patience = grace.saturating_sub(FAREWELL).max(grace / 2);
        let mut patience = pin!(tokio::time::sleep(patience));
        loop {
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = &mut patience => break,
                () = ending.told() => break,
                // Of those who are still here lines are written.
                Some(()) = hangup.recv() => self.reopen(),
            }
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

    /// Writes on where the access log is to be, whatever became of the file that it was.
    pub(super) fn reopen(&self) {
        if let Err(error) = self.services.access.reopen() {
            warn!(%error, "cannot reopen the access log");
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

type Outcome = oneshot::Receiver<Result<Successor, UpgradeError>>;

/// What became of an upgrade; nothing while there is none.
async fn outcome(upgrading: &mut Option<Outcome>) -> Result<Successor, UpgradeError> {
    match upgrading {
        Some(outcome) => outcome.await.unwrap_or(Err(UpgradeError::Ending)),
        None => pending().await,
    }
}

/// What is asked of a process that serves. It would end one that has not said yet that it hears them, and
/// may come at any time: to all that are called so, or to who has just taken another's place.
pub(super) struct Signals {
    hangup: Signal,
    upgrade: Signal,
}

/// The signals that end a process: at once, before it serves.
pub(super) struct Ending {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Keeps them for who will do what they ask.
    pub(super) fn heard_on(runtime: &Runtime) -> Result<Self, AppError> {
        let _entered = runtime.enter();
        let hear = |kind| signal(kind).map_err(AppError::System);
        let hangup = hear(SignalKind::hangup())?;
        Ok(Self { hangup, upgrade: hear(SignalKind::user_defined2())? })
    }
}

impl Ending {
    /// From now on the process ends in order.
    pub(super) fn heard_on(runtime: &Runtime) -> Result<Self, AppError> {
        let _entered = runtime.enter();
        let hear = |kind| signal(kind).map_err(AppError::System);
        let interrupt = hear(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: hear(SignalKind::terminate())? })
    }

    /// Resolves at the next of them.
    async fn told(&mut self) {
        tokio::select! {
            _told = self.terminate.recv() => {}
            _told = self.interrupt.recv() => {}
        }
    }
}

fn pass_on(signal: SignalName, process: u32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    if let Some(Err(error)) = process.map(|process| kill_process(process, signal)) {
        warn!(%error, "the process that has our place cannot be told");
    }
}
