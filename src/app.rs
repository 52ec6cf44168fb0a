//! Wiring: the only place where every part meets.

mod confine;
mod control;
mod heir;
mod inherited;
mod line;
mod parts;
mod pid_file;
mod predecessor;
mod session;
mod sockets;
mod trail;
mod upgrade;
mod upkeep;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::SystemTime;

use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::acme::{Renewer, RenewerParts};
use crate::config::{Loaded, Startup};
use crate::keys::KeyError;
use crate::policy::Live;
use crate::proxy::{Generation, Leave, Proxy, Services, TargetError, Upstreams};
use crate::reload::{Listening, Reloader, WatchError, Watcher};
use crate::server::{
    Admin, Drained, ListenError, Supervisor, TokenError, Worker, WorkerError, obtain_token,
};
use crate::telemetry::audit::AuditError;
use crate::telemetry::{AuditEvent, CardsSeen, Metrics, SeenReport};
use crate::tls::{
    Authority, AuthorityCertificate, AuthorityError, Challenges, Identities, IdentityError,
    IdentityWarning, ListenerError, Listeners,
};
use crate::{reload, vault};
use control::{Control, Ending, Signals};
use inherited::Inherited;
use pid_file::PidFile;
use sockets::{SharedSockets, Sockets};
use upgrade::{Estate, Program};

pub use confine::{ConfineError, Confined, confine};
pub use inherited::ActivationError;
pub use predecessor::{Complaint, Predecessor, SuccessionError};
pub use session::{Found, VaultSession, VaultStatus};
pub use upkeep::{CheckedLog, KeyRotated, RotateNews, RotateRequest, rotate_keys, verify_audit};

/// Why we cannot start.
#[derive(Debug, Error)]
pub enum AppError {
    /// The service manager's sockets cannot be used.
    #[error(transparent)]
    Activation(#[from] ActivationError),
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
    /// The server cannot be confined as the operator asked.
    #[error(transparent)]
    Confine(#[from] ConfineError),
    /// The folder for data is open to everybody.
    #[error(
        "everybody may look into the data folder {} (mode {mode:o}); run: chmod 700 {}",
        path.display(), path.display()
    )]
    DataDirMode {
        /// Which folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
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
    /// TLS cannot be spoken as a listener says.
    #[error(transparent)]
    Listener(#[from] ListenerError),
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
    /// The place of another process cannot be taken.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
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
    leave: Leave,
    /// Cancelled when the last customer is gone: until then the admin page answers.
    ended: CancellationToken,
    control: JoinHandle<()>,
    workers: Vec<Worker>,
    services: Arc<Services>,
    estate: Arc<Estate>,
    /// Ends with the process before us.
    before: Option<JoinHandle<()>>,
    pid_file: Option<PidFile>,
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

/// Starts a server from what was loaded; `watched` is the file it came from, if it did, and
/// `predecessor` the process whose place it takes.
///
/// # Errors
/// When anything that is needed is wrong; nothing is then left running.
pub fn start(
    loaded: Loaded,
    watched: Option<&Path>,
    metrics: Metrics,
    mut predecessor: Option<Predecessor>,
) -> Result<Running, AppError> {
    let served = loaded.served(&loaded.startup.data_dir);
    let Loaded { startup, snapshot, acme, digest, files, warnings, .. } = loaded;
    for warning in &warnings {
        warn!(problem = %warning, "configuration warning");
    }
    let runtime = parts::runtime()?;
    let signals = Signals::heard_on(&runtime)?;
    parts::harden().tell(&metrics);
    parts::make_data_dir(&startup.data_dir)?;
    let (notify, changes) = mpsc::channel(1);
    let watcher = Watcher::start(&files, notify.clone())?;
    let identities = Arc::new(Live::new(parts::identities(&startup, &served)?));
    let challenges = Challenges::default();
    let listeners = Arc::new(Listeners::new(Arc::clone(&identities), challenges.clone()));
    listeners.publish(listeners.prepare(&snapshot.tls)?, &snapshot.tls);
    let audit = predecessor.as_mut().and_then(Predecessor::audit);
    let mut services = runtime.block_on(parts::services(&startup, metrics, audit))?;
    services.authority = parts::authority(&startup, &snapshot.intercepted_hosts(), &services)?;
    let services = Arc::new(services);
    let generation = runtime.block_on(parts::generation(snapshot, &services))?;
    let tls = &generation.snapshot.tls;
    reload::begin(&identities.load(), tls, &services.metrics, SystemTime::now());
    let policy = Arc::new(Live::new(generation));
    let doorman = parts::doorman(&policy.peek().snapshot.doors);
    let room = doorman.files_allow();
    let proxy = Arc::new(Proxy::new(Arc::clone(&policy), Arc::clone(&services), room));

    let (leave, ended) = (Leave::default(), CancellationToken::new());
    let inherited = match &mut predecessor {
        Some(predecessor) => predecessor.sockets(),
        None => Inherited::of_manager()?,
    };
    let owners = (leave.clone(), runtime.handle().clone());
    let mut sockets =
        Sockets::bind(&startup, (&identities, &proxy, &listeners), inherited, owners)?;
    let workers = (0..sockets.workers_max()).map(|index| {
        let shared = (Arc::clone(&proxy), Arc::clone(&doorman));
        Worker::start(index, shared, leave.closing.clone())
    });
    let mut renewer = Renewer::new(RenewerParts {
        data_dir: startup.data_dir.clone(),
        answers: Arc::clone(&services.answers),
        challenges,
        metrics: Arc::clone(&services.metrics),
        issued: notify,
        closing: leave.closing.clone(),
    });
    let workers = workers.collect::<Result<Vec<_>, _>>()?;

    let token = obtain_token(&startup.data_dir)?;
    let closing = leave.closing.clone();
    let admin = Admin::new(Arc::clone(&services), Arc::clone(&policy), token, closing);
    let handles: Vec<_> = workers.iter().map(Worker::handle).collect();
    let addresses = sockets.addresses();
    let pid_file = startup.pid_file.clone().map(PidFile);
    if let Some(predecessor) = &mut predecessor {
        parts::take_over(&services, predecessor.ready(&listeners)?);
    }
    let ending = Ending::heard_on(&runtime)?;
    sockets.accept(handles.clone());
    let before = predecessor.map(|predecessor| predecessor.serving(Arc::clone(&services)));
    let before = before.transpose()?;
    if before.is_some() {
        services.metrics.took_over();
    }
    let sockets = SharedSockets(Arc::new(Mutex::new(sockets)));
    let (left, spoken) = (sockets.clone(), Arc::clone(&listeners));
    let estate = Arc::new(Estate::new(Arc::clone(&services), left, spoken));
    let reloader = watched.map(|path| {
        renewer.follow(Arc::new(acme));
        let live = (policy, identities, listeners);
        let loaded = (startup, digest);
        let addresses: Box<dyn Listening> = Box::new(sockets.clone());
        let owned = (addresses, watcher, renewer);
        Reloader::new(path.to_owned(), loaded, live, Arc::clone(&services), owned)
    });
    let mut control = Control {
        admin,
        leave: leave.clone(),
        ended: ended.clone(),
        reloader,
        changes,
        estate: Arc::clone(&estate),
        program: Program::of_this_process(),
        proxy,
        services: Arc::clone(&services),
        sockets,
        pid_file: pid_file.clone(),
        supervisor: Arc::new(Supervisor::from_environment()),
        workers: handles,
    };
    let version = env!("CARGO_PKG_VERSION");
    services.audit.record(SystemTime::now(), AuditEvent::Started { version });
    // A file may have changed between its reading and the first look of the watcher. Before "ready":
    // who changes one after that is not read halfway.
    // The access log may have been moved by then.
    control.reopen();
    control.reload();
    let control = control.start(runtime, (signals, ending))?;
    let count = workers.len();
    if let Some(file) = &pid_file {
        file.write();
    }
    info!(version, workers = count, "ready");
    Ok(Running { addresses, leave, ended, control, workers, services, estate, before, pid_file })
}

/// Validates what loading alone does not: keys that must fit chains, upstreams that must be nameable.
/// Says what is odd about the certificates all the same.
///
/// # Errors
/// As a start would.
pub fn check(loaded: Loaded) -> Result<Vec<IdentityWarning>, AppError> {
    let identities = Identities::load(&loaded.served(&loaded.startup.data_dir))?;
    let listeners =
        Listeners::new(Arc::new(Live::new(Identities::default())), Challenges::default());
    listeners.prepare(&loaded.snapshot.tls)?;
    Generation::new(loaded.snapshot, &Upstreams::new(&[0; 32]), &Metrics::new())?;
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
        self.leave.now();
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
        if let (true, Some(before)) = (self.estate.is_given(), self.before) {
            // What it tells us at its end is for the process after us.
            let _ended_too = before.join();
        }
        self.estate.settle();
        if !self.estate.is_given() {
            self.services.seen.save();
            self.services.counts.save(SystemTime::now());
        }
        // Without it nothing is lost, but the next start has a log to go through.
        match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.services.vault.close()),
            Err(error) => warn!(%error, "the vault is not closed in order"),
        }
        self.services.audit.record(SystemTime::now(), AuditEvent::Stopped);
        self.services.access.close();
        if let Some(file) = &self.pid_file {
            file.remove();
        }
        info!("stopped");
    }
}
