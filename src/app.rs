//! Wiring: the only place where every part meets.

mod parts;
mod session;
mod sockets;
mod upkeep;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::{Loaded, Startup};
use crate::keys::KeyError;
use crate::policy::Live;
use crate::proxy::{Generation, Proxy, Services, TargetError};
use crate::reload::{Reloader, WatchError, Watcher};
use crate::server::{Admin, Drained, ListenError, TokenError, Worker, WorkerError, obtain_token};
use crate::telemetry::audit::AuditError;
use crate::telemetry::{AuditEvent, CardsSeen, Metrics, SeenReport};
use crate::tls::{
    Authority, AuthorityCertificate, AuthorityError, Identities, IdentityError, IdentityWarning,
};
use crate::{reload, vault};
use sockets::Sockets;

pub use session::{Found, VaultSession, VaultStatus};
pub use upkeep::{CheckedLog, KeyRotated, RotateNews, RotateRequest, rotate_keys, verify_audit};

/// How often the list of seen cards is written.
const SEEN_EVERY: Duration = Duration::from_secs(10);

/// How often what was counted is written.
const COUNTS_EVERY: Duration = Duration::from_secs(30);

/// Why we cannot start.
#[derive(Debug, Error)]
pub enum AppError {
    /// The audit log cannot be opened.
    #[error("the audit log cannot be used")]
    Audit(#[from] AuditError),
    /// The authority of the forward proxy cannot be used.
    #[error("the forward proxy's authority cannot be used")]
    Authority(#[from] AuthorityError),
    /// There is no backup.
    #[error(transparent)]
    Backup(#[from] vault::BackupError),
    /// A server's database is not ours to copy.
    #[error(
        "the vault is in PostgreSQL, whose own tools copy one moment of it while it is in use: run \
         pg_dump --format=custom --file=FILE DATABASE; the master key is not in what it writes"
    )]
    BackupOfServer,
    /// The list of seen cards cannot be read.
    #[error("cannot read {}", path.display())]
    CardsSeen {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// The folder for data cannot be made or used.
    #[error("cannot use the data folder {}", path.display())]
    DataDir {
        /// Which folder.
        path: PathBuf,
        /// What is wrong with it.
        source: std::io::Error,
    },
    /// An export was not written or read.
    #[error(transparent)]
    Export(#[from] vault::ExportError),
    /// The key of an export cannot be used.
    #[error("the export key cannot be used")]
    ExportKey(#[source] KeyError),
    /// The key of an export is not there.
    #[error("{} is missing; only the key that the export was made with opens it", path.display())]
    ExportKeyMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A certificate cannot be used.
    #[error("cannot use the certificates")]
    Identity(#[from] IdentityError),
    /// An address cannot be listened on.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// An access log cannot be opened.
    #[error("cannot open the access log")]
    Log(#[source] std::io::Error),
    /// A list of cards was not taken in.
    #[error(transparent)]
    List(#[from] vault::ListError),
    /// A key was not replaced.
    #[error("the key is not replaced yet; the same command goes on where this one stopped")]
    Rotate(#[from] vault::RotateError),
    /// A thread, runtime or signal handler is not to be had.
    #[error("the system refuses what a server needs")]
    System(#[source] std::io::Error),
    /// The operator's API has no token.
    #[error("the operator's API cannot be opened")]
    Token(#[from] TokenError),
    /// An upstream cannot be prepared.
    #[error("an upstream cannot be used")]
    Target(#[from] TargetError),
    /// The vault cannot be opened.
    #[error("cannot open the vault")]
    Vault(#[from] vault::OpenError),
    /// The open vault fails.
    #[error(transparent)]
    VaultCall(#[from] vault::VaultError),
    /// The files cannot be watched.
    #[error("cannot watch the files of the configuration")]
    Watch(#[from] WatchError),
    /// A worker cannot start.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// A server that listens on every address.
pub struct Running {
    addresses: Addresses,
    closing: CancellationToken,
    /// Cancelled when the last customer is gone: until then the admin page answers.
    ended: CancellationToken,
    control: JoinHandle<()>,
    workers: Vec<Worker>,
    services: Arc<Services>,
}

/// Where a server listens, with the ports the system chose.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// TLS.
    pub https: Vec<SocketAddr>,
    /// Clear text.
    pub http: Vec<SocketAddr>,
    /// Metrics and health.
    pub admin: SocketAddr,
    /// The payment gateways, by name.
    pub gateways: Vec<(String, SocketAddr)>,
    /// The forward proxy.
    pub forward: Option<SocketAddr>,
}

/// Starts a server from what was loaded; `watched` is the file it came from, if it did.
///
/// # Errors
/// When anything that is needed is wrong; nothing is then left running.
pub fn start(
    loaded: Loaded,
    watched: Option<&Path>,
    metrics: Metrics,
) -> Result<Running, AppError> {
    let Loaded { startup, snapshot, certificates, digest, files, warnings } = loaded;
    for warning in &warnings {
        warn!(problem = %warning, "configuration warning");
    }
    parts::harden();
    parts::make_data_dir(&startup.data_dir)?;
    let (notify, changes) = mpsc::channel(1);
    let watcher = Watcher::start(&files, notify)?;
    let identities = if startup.self_signed {
        parts::self_signed(&startup)?
    } else {
        Identities::load(&certificates)?
    };
    let identities = Arc::new(Live::new(identities));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(AppError::System)?;
    let mut services = runtime.block_on(parts::services(&startup, metrics))?;
    services.authority = parts::authority(&startup, &snapshot.intercepted_hosts(), &services)?;
    let services = Arc::new(services);
    let generation = Generation::new(snapshot, &services.metrics)?;
    services.metrics.card_modes(&generation.snapshot);
    reload::begin(&identities.load(), &services.metrics, SystemTime::now());
    let policy = Arc::new(Live::new(generation));
    let proxy = Arc::new(Proxy::new(Arc::clone(&policy), Arc::clone(&services)));

    let mut sockets = Sockets::bind(&startup, (&identities, &proxy))?;
    let (closing, ended) = (CancellationToken::new(), CancellationToken::new());
    let workers = (0..sockets.workers).map(|index| {
        let shares = sockets.shares();
        Worker::start(index, shares, Arc::clone(&proxy), closing.clone())
    });
    let workers = workers.collect::<Result<Vec<_>, _>>()?;

    let token = obtain_token(&startup.data_dir)?;
    let admin = Admin::new(Arc::clone(&services), Arc::clone(&policy), token, closing.clone());
    let reloader = watched.map(|path| {
        let live = (policy, identities);
        let loaded = (startup, digest);
        Reloader::new(path.to_owned(), loaded, live, Arc::clone(&services), watcher)
    });
    let mut control = Control {
        admin,
        closing: closing.clone(),
        ended: ended.clone(),
        reloader,
        changes,
        services: Arc::clone(&services),
    };
    let addresses = sockets.addresses.clone();
    let version = env!("CARGO_PKG_VERSION");
    services.audit.record(SystemTime::now(), AuditEvent::Started { version });
    // A file may have changed between its reading and the first look of the watcher. Before "ready":
    // who changes one after that is not read halfway.
    control.reload();
    let control = control.start(runtime, sockets.admin)?;
    sockets.listeners.iter().for_each(|(role, name, address)| {
        services.metrics.listening(*role, name.as_deref(), *address);
    });
    info!(version, workers = workers.len(), "ready");
    Ok(Running { addresses, closing, ended, control, workers, services })
}

/// Validates what loading alone does not: keys that must fit chains, upstreams that must be nameable.
/// Says what is odd about the certificates all the same.
///
/// # Errors
/// As a start would.
pub fn check(loaded: Loaded) -> Result<Vec<IdentityWarning>, AppError> {
    let identities = Identities::load(&loaded.certificates)?;
    Generation::new(loaded.snapshot, &Metrics::new())?;
    Ok(identities.warnings(SystemTime::now()))
}

/// Where card numbers were seen, as far as it has been written.
///
/// # Errors
/// When the file cannot be read.
pub fn cards_seen(startup: &Startup) -> Result<SeenReport, AppError> {
    let path = parts::seen_path(startup);
    CardsSeen::read(&path).map_err(|source| AppError::CardsSeen { path, source })
}

/// The certificate of the forward proxy's authority, for whoever is to trust it.
///
/// # Errors
/// When there is none yet, or something else in its place.
pub fn authority_certificate(startup: &Startup) -> Result<AuthorityCertificate, AppError> {
    Ok(Authority::exported(&startup.data_dir)?)
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Ends it: what is under way is finished within the grace.
    pub fn shutdown(self) {
        self.closing.cancel();
        self.wait();
    }

    /// Waits until a signal ends it, and then until what is under way is finished.
    pub fn wait(self) {
        let mut cut = 0;
        for worker in self.workers {
            if let Drained::Cut { connections } = worker.join() {
                cut += connections;
            }
        }
        self.ended.cancel();
        let _ended_too = self.control.join();
        if cut > 0 {
            warn!(connections = cut, "cut off what did not end within the grace");
        }
        self.services.seen.save();
        self.services.counts.save(SystemTime::now());
        // Without it nothing is lost, but the next start has a log to go through.
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.services.vault.close()),
            Err(error) => warn!(%error, "the vault is not closed in order"),
        }
        self.services.audit.record(SystemTime::now(), AuditEvent::Stopped);
        self.services.access.close();
        info!("stopped");
    }
}

/// The thread that serves no customer: signals, reloads, the admin page.
struct Control {
    admin: Arc<Admin>,
    closing: CancellationToken,
    ended: CancellationToken,
    reloader: Option<Reloader>,
    changes: mpsc::Receiver<()>,
    services: Arc<Services>,
}

impl Control {
    fn start(
        self,
        runtime: tokio::runtime::Runtime,
        admin: std::net::TcpListener,
    ) -> Result<JoinHandle<()>, AppError> {
        let (listener, signals) = {
            let _entered = runtime.enter();
            let listener = TcpListener::from_std(admin).map_err(AppError::System)?;
            (listener, Signals::new().map_err(AppError::System)?)
        };
        let thread = std::thread::Builder::new().name("control".to_owned());
        let work = move || runtime.block_on(self.run(listener, signals));
        thread.spawn(work).map_err(AppError::System)
    }

    async fn run(mut self, listener: TcpListener, signals: Signals) {
        let tasks = TaskTracker::new();
        tasks.spawn(Arc::clone(&self.admin).serve(listener, tasks.clone()));
        let Signals { mut hangup, mut ending } = signals;
        let mut seen = tokio::time::interval(SEEN_EVERY);
        let mut counts = tokio::time::interval(COUNTS_EVERY);
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
                () = self.closing.cancelled() => break,
            }
        }
        info!("draining");
        // For whoever takes over while customers are still being served here.
        self.services.counts.save(SystemTime::now());
        self.closing.cancel();
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = ending.told() => {
                warn!("told twice to stop: what is under way is cut off");
                std::process::exit(1);
            }
        }
    }

    /// Reading files and checking keys takes milliseconds, and this thread has nothing better to do.
    fn reload(&mut self) {
        if let Some(reloader) = &mut self.reloader {
            reloader.reload();
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
