//! Starts the program anew beside us, and gives it our place once it has shown that it can take it.
//!
//! Until then nothing changes here, whatever it does: exit, hang, die. From `Go` on it has the counters
//! and the verification codes; we end when it says that it serves, and go on where it does not.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::info;

use super::heir::Heir;
use super::line::{Hello, Kind, Parts, VARIABLE, VERSION, Word};
use super::sockets::SharedSockets;
use crate::proxy::Services;
use crate::server::{PERSONAL_VARIABLES, send_descriptors};
use crate::tls::Listeners;

/// How long a successor that has shown itself sound may take to begin.
const BEGIN_WAIT: Duration = Duration::from_secs(10);

/// What is started: the program that lies where ours was found, with our arguments.
#[derive(Clone)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// What a process leaves to the next.
pub(super) struct Estate {
    pub(super) services: Arc<Services>,
    pub(super) sockets: SharedSockets,
    pub(super) listeners: Arc<Listeners>,
    /// The line to who may take our place; it is for one to decide whether that comes to be.
    candidate: Mutex<Option<UnixStream>>,
    /// Whether counters and lists of ours are somebody else's now.
    given: AtomicBool,
    heir: Mutex<Option<Arc<Heir>>>,
}

/// Why we go on ourselves.
#[derive(Debug, Error)]
pub(super) enum UpgradeError {
    #[error(
        "the new process crashed at its first customers, and we have our place again: {status}"
    )]
    Crashed { status: ExitStatus },
    #[error("we are ending")]
    Ending,
    #[error("the new process ended before it served: {status}; what it wrote to the log says why")]
    Exited { status: ExitStatus },
    #[error("the new process cannot be talked to")]
    Line(#[source] io::Error),
    #[error(
        "this is process 1, and a container ends with it: start another container in its place"
    )]
    First,
    #[error("the new process says: {problem}")]
    Refused { problem: String },
    #[error("cannot start {}", program.display())]
    Start { program: PathBuf, source: io::Error },
    #[error("the new process was not ready within {after:?}")]
    Stalled { after: Duration },
}

/// The process that has our place.
pub(super) struct Successor {
    pub(super) process: u32,
    /// How it ended, if it has.
    pub(super) ended: oneshot::Receiver<ExitStatus>,
}

impl UpgradeError {
    /// What came of the line; a wait on it that was too long looks like an error.
    fn of_line(error: io::Error, after: Duration) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Stalled { after },
            _ => Self::Line(error),
        }
    }

    /// What metrics call it.
    pub(super) fn result(&self) -> &'static str {
        match self {
            Self::Crashed { .. } => "crashed",
            Self::Ending => "ending",
            Self::Exited { .. } => "exited",
            Self::First => "first_process",
            Self::Line(_) => "broken",
            Self::Refused { .. } => "refused",
            Self::Start { .. } => "not_started",
            Self::Stalled { .. } => "stalled",
        }
    }
}

impl Program {
    /// To be asked at the start: later a name may lead elsewhere. A symbolic link stays one, so that
    /// it may lead to another version when the time comes.
    pub(super) fn of_this_process() -> Self {
        let mut arguments = std::env::args_os();
        let named = arguments.next().map(PathBuf::from);
        let path = named.and_then(|named| match named.components().count() {
            0 => None,
            1 => in_path(&named),
            _ => std::path::absolute(named).ok(),
        });
        let path = path.or_else(|| std::env::current_exe().ok()).unwrap_or_default();
        Self { path, arguments: arguments.collect() }
    }

    fn start(&self, line: UnixStream) -> Result<Child, UpgradeError> {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).stdin(Stdio::from(OwnedFd::from(line)));
        command.env(VARIABLE, std::process::id().to_string());
        PERSONAL_VARIABLES.iter().for_each(|name| _ = command.env_remove(name));
        let failed = |source| UpgradeError::Start { program: self.path.clone(), source };
        command.spawn().map_err(failed)
    }
}

impl Estate {
    pub(super) fn new(
        services: Arc<Services>,
        sockets: SharedSockets,
        listeners: Arc<Listeners>,
    ) -> Self {
        let (candidate, given, heir) = (Mutex::default(), AtomicBool::new(false), Mutex::default());
        Self { services, sockets, listeners, candidate, given, heir }
    }

    /// Nobody is to take our place who has not been told to; who has is soon known.
    pub(super) fn call_off(&self) {
        if let Some(line) = self.candidate.lock().take() {
            let _gone = line.shutdown(Shutdown::Both);
        }
    }

    /// Whether another process has what is written down now and then.
    pub(super) fn is_given(&self) -> bool {
        self.given.load(Ordering::Acquire)
    }

    /// Tells the next process, at our end, what it does not know yet.
    pub(super) fn settle(&self) {
        let Some(heir) = self.heir.lock().clone() else { return };
        if let Some(rest) = self.services.seen.rest() {
            let _gone = heir.tell_last(&Word::new(Kind::Seen, rest));
        }
        if self.services.counts.leave(SystemTime::now()) {
            let _gone = heir.tell_last(&Word::new(Kind::Counts, []));
        }
    }

    fn hello(&self) -> io::Result<(Hello, Vec<OwnedFd>)> {
        let (log, audit) = self.services.audit.hand_over()?;
        let sockets = self.sockets.0.lock();
        let (mut places, mut descriptors) = (Vec::new(), Vec::new());
        for (place, listeners) in sockets.each() {
            for listener in listeners {
                places.push(place.clone());
                descriptors.push(listener.as_fd().try_clone_to_owned()?);
            }
        }
        descriptors.push(log);
        Ok((Hello { version: VERSION, sockets: places, audit }, descriptors))
    }

    /// Gives what only one can have.
    fn give(&self, heir: &Arc<Heir>) -> io::Result<()> {
        self.given.store(true, Ordering::Release);
        self.services.counts.save(SystemTime::now());
        self.services.seen.hand_over();
        let lent = self.services.vault.lend_codes(Arc::<Heir>::clone(heir));
        for held in lent {
            heir.tell(&Parts::default().held(&held).word(Kind::Code))?;
        }
        if let Some(payload) = self.listeners.tickets().and_then(|tickets| tickets.hand_over()) {
            heir.tell(&Word { kind: Kind::Tickets, payload })?;
        }
        heir.tell(&Word::new(Kind::Go, []))
    }

    /// The other process is none after all: what we had given it is ours, as far as we have it.
    pub(super) fn take_back(&self) {
        *self.heir.lock() = None;
        self.services.vault.take_codes_back();
        self.services.seen.read_again();
        self.given.store(false, Ordering::Release);
    }
}

/// Tries it on a thread of its own; tells who has our place.
pub(super) fn begin(
    program: Program,
    estate: Arc<Estate>,
    patience: Duration,
) -> io::Result<oneshot::Receiver<Result<Successor, UpgradeError>>> {
    let (told, outcome) = oneshot::channel();
    let (line, far) = UnixStream::pair()?;
    *estate.candidate.lock() = Some(line.try_clone()?);
    let work = move || match hand_over(&program, &estate, (line, far), patience) {
        Ok((mut child, line, heir)) => {
            let (end, ended) = oneshot::channel();
            let _ending = told.send(Ok(Successor { process: child.id(), ended }));
            listen(&line, &heir);
            if let Some(status) = ended_as(&child) {
                if has_crashed(status) {
                    let _buried = child.wait();
                }
                let _ending = end.send(status);
            }
        }
        Err(error) => {
            estate.call_off();
            let _ending = told.send(Err(error));
        }
    };
    thread::Builder::new().name("upgrade".to_owned()).spawn(work)?;
    Ok(outcome)
}

fn hand_over(
    program: &Program,
    estate: &Estate,
    (line, far): (UnixStream, UnixStream),
    patience: Duration,
) -> Result<(Child, UnixStream, Arc<Heir>), UpgradeError> {
    if std::process::id() == 1 {
        return Err(UpgradeError::First);
    }
    let mut child = program.start(far)?;
    info!(program = %program.path.display(), process = child.id(), "upgrading");
    let done = prove(&line, estate, patience).and_then(|()| succeed(&line, estate));
    match done {
        Ok(heir) => {
            line.set_read_timeout(None).map_err(UpgradeError::Line)?;
            Ok((child, line, heir))
        }
        Err(error) => {
            let _ended_already = child.kill();
            let status = child.wait();
            Err(match (error, status) {
                (UpgradeError::Line(line), Ok(status)) if hung_up(&line) => {
                    UpgradeError::Exited { status }
                }
                (error, _) => error,
            })
        }
    }
}

/// Lets it show that it could serve.
fn prove(line: &UnixStream, estate: &Estate, patience: Duration) -> Result<(), UpgradeError> {
    let (hello, descriptors) = estate.hello().map_err(UpgradeError::Line)?;
    let hello = serde_json::to_vec(&hello).map_err(|error| UpgradeError::Line(error.into()))?;
    let failed = |error| UpgradeError::of_line(error, patience);
    // Many sockets fill the line, and whoever hangs reads nothing.
    line.set_write_timeout(Some(patience)).map_err(failed)?;
    Word::new(Kind::Hello, hello).write(line).map_err(failed)?;
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(|one| one.as_fd()).collect();
    send_descriptors(line, &borrowed).map_err(failed)?;
    drop(descriptors);
    let word = next(line, patience)?;
    match word.kind {
        Kind::Ready => Ok(()),
        _ => Err(refused(&word)),
    }
}

/// Gives it our place.
fn succeed(line: &UnixStream, estate: &Estate) -> Result<Arc<Heir>, UpgradeError> {
    let heir = Arc::new(Heir::new(line.try_clone().map_err(UpgradeError::Line)?));
    // From here on only it or we ourselves can say that it does not.
    estate.candidate.lock().take().ok_or(UpgradeError::Ending)?;
    let given = estate.give(&heir).map_err(|error| UpgradeError::of_line(error, BEGIN_WAIT));
    match given.and_then(|()| await_service(line, &heir)) {
        Ok(()) => {
            estate.services.vault.forget_lent_codes();
            *estate.heir.lock() = Some(Arc::clone(&heir));
            Ok(heir)
        }
        Err(error) => {
            estate.take_back();
            heir.gone();
            Err(error)
        }
    }
}

fn await_service(line: &UnixStream, heir: &Heir) -> Result<(), UpgradeError> {
    let end = Instant::now() + BEGIN_WAIT;
    loop {
        let word = next(line, end.saturating_duration_since(Instant::now()))?;
        match word.kind {
            Kind::Answer => heir.answered(&word.payload),
            Kind::Serving => return Ok(()),
            _ => return Err(refused(&word)),
        }
    }
}

/// Whether a process ended of itself, and not because it was told to, once or twice.
pub(super) fn has_crashed(status: ExitStatus) -> bool {
    status.code().is_none_or(|code| code > 1)
}

/// Waits for its end, and leaves it to be asked for by who comes after us.
fn ended_as(child: &Child) -> Option<ExitStatus> {
    let how = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status = waitid(WaitId::Pid(Pid::from_child(child)), how).ok()??;
    let exited = || status.exit_status().map(|code| code << 8);
    status.terminating_signal().or_else(exited).map(ExitStatus::from_raw)
}

/// Hears answers until one of us ends.
fn listen(line: &UnixStream, heir: &Heir) {
    while let Ok(word) = Word::read(line) {
        if word.kind == Kind::Answer {
            heir.answered(&word.payload);
        }
    }
    heir.gone();
}

fn next(line: &UnixStream, patience: Duration) -> Result<Word, UpgradeError> {
    if patience.is_zero() {
        return Err(UpgradeError::Stalled { after: BEGIN_WAIT });
    }
    line.set_read_timeout(Some(patience)).map_err(UpgradeError::Line)?;
    Word::read(line).map_err(|error| UpgradeError::of_line(error, patience))
}

fn refused(word: &Word) -> UpgradeError {
    match word.kind {
        Kind::Refused => {
            UpgradeError::Refused { problem: String::from_utf8_lossy(&word.payload).into_owned() }
        }
        _ => UpgradeError::Line(ErrorKind::InvalidData.into()),
    }
}

/// A process that ends without having read all leaves a reset behind.
fn hung_up(error: &io::Error) -> bool {
    use ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// The first program of this name that the shell would find.
fn in_path(name: &Path) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}
