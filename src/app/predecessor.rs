//! The process before us, which has started us to take its place.
//!
//! It serves on until we say that we do. Until it says `Go`, nothing here changes what it works with.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use thiserror::Error;
use tracing::warn;

use super::inherited::Inherited;
use super::line::{Hello, Kind, Parts, Taker, VARIABLE, VERSION, Word};
use crate::proxy::Services;
use crate::server::receive_descriptors;
use crate::telemetry::audit::AuditHandover;
use crate::tls::Listeners;
use crate::vault::HeldCode;

/// Why a place cannot be taken.
#[derive(Debug, Error)]
pub enum SuccessionError {
    /// It does not say what we understand.
    #[error("the process to succeed does not hand its place over")]
    Line(#[from] io::Error),
    /// It speaks of another version.
    #[error("the process to succeed is of another version ({version}): restart it instead")]
    Version {
        /// Which.
        version: u32,
    },
}

/// The line to it, and what we have of it.
pub struct Predecessor {
    line: UnixStream,
    inherited: Option<Inherited>,
    audit: Option<AuditHandover>,
    /// What it asked for before we served.
    early: Vec<Word>,
}

/// Says why its place is not taken.
pub struct Complaint(UnixStream);

impl Predecessor {
    /// Finds it, if it has started us.
    ///
    /// # Errors
    /// When it has, and does not say what it must.
    pub fn find() -> Result<Option<Self>, SuccessionError> {
        let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().to_string());
        let named = std::env::var(VARIABLE).ok();
        // The variable is inherited also by whom others start.
        if named.is_none() || named != parent {
            return Ok(None);
        }
        let line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        // What we start must not find it.
        let nothing = OpenOptions::new().read(true).open("/dev/null")?;
        rustix::stdio::dup2_stdin(&nothing).map_err(io::Error::from)?;
        let hello = expect(&line, Kind::Hello)?;
        let hello: Hello = serde_json::from_slice(&hello.payload).map_err(io::Error::from)?;
        if hello.version != VERSION {
            return Err(SuccessionError::Version { version: hello.version });
        }
        let mut descriptors = receive_descriptors(&line, hello.sockets.len() + 1)?;
        let log: OwnedFd =
            descriptors.pop().ok_or_else(|| io::Error::from(ErrorKind::UnexpectedEof))?;
        let inherited = Inherited::of_predecessor(hello.sockets.into_iter().zip(descriptors))?;
        let audit = Some(AuditHandover { file: log, mark: hello.audit });
        Ok(Some(Self { line, inherited: Some(inherited), audit, early: Vec::new() }))
    }

    /// For the case that we cannot take its place.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn complaint(&self) -> io::Result<Complaint> {
        self.line.try_clone().map(Complaint)
    }

    /// The sockets; once.
    pub(super) fn sockets(&mut self) -> Inherited {
        self.inherited.take().unwrap_or_else(Inherited::nothing)
    }

    /// The audit log; once.
    pub(super) fn audit(&mut self) -> Option<AuditHandover> {
        self.audit.take()
    }

    /// Says that we could serve, and waits until we are to. Gives the codes that wait; clients go on
    /// with the sessions that they have.
    pub(super) fn ready(
        &mut self,
        listeners: &Listeners,
    ) -> Result<Vec<HeldCode>, SuccessionError> {
        Word::new(Kind::Ready, []).write(&self.line)?;
        let mut codes = Vec::new();
        loop {
            let word = Word::read(&self.line)?;
            match word.kind {
                Kind::Code => codes.extend(Taker(&word.payload).held()),
                Kind::Tickets => {
                    if let Some(tickets) = listeners.tickets() {
                        tickets.take_over(&word.payload);
                    }
                }
                Kind::Go => return Ok(codes),
                // Of requests that are still there, in the moment in which the codes were given away.
                Kind::Keep | Kind::Take => self.early.push(word),
                _ => return Err(io::Error::from(ErrorKind::InvalidData).into()),
            }
        }
    }

    /// Says that we serve, and answers what it asks until it ends; the thread that does so.
    pub(super) fn serving(
        self,
        services: Arc<Services>,
    ) -> Result<JoinHandle<()>, SuccessionError> {
        let Self { line, early, .. } = self;
        // It has given us everything: were it gone, there would be nobody but us.
        if let Err(error) = Word::new(Kind::Serving, []).write(&line) {
            warn!(%error, "the process before us ended as we took its place");
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let thread = thread::Builder::new().name("predecessor".to_owned());
        Ok(thread.spawn(move || {
            let mut early = early.into_iter();
            while let Some(word) = early.next().or_else(|| Word::read(&line).ok()) {
                let done = match runtime.block_on(answer(&services, &word)) {
                    Some(answer) => answer.write(&line),
                    None => Ok(()),
                };
                if let Err(error) = done {
                    return warn!(%error, "the process before us cannot be answered");
                }
            }
        })?)
    }
}

impl Complaint {
    /// Says it.
    pub fn refuse(&self, problem: &str) {
        let _gone = Word::new(Kind::Refused, problem).write(&self.0);
    }
}

/// Does what the old process asks for.
async fn answer(services: &Services, word: &Word) -> Option<Word> {
    let mut taker = Taker(&word.payload);
    match word.kind {
        Kind::Counts => services.counts.take_over(SystemTime::now()),
        Kind::Seen => services.seen.take_in(&word.payload),
        _ => {}
    }
    let (id, code, tokens) = (taker.number()?, taker.code()?, taker.tokens()?);
    // Ours by now, or those of the process after us: then it is asked in turn.
    let stand_ins = services.vault.stand_ins();
    let found = match word.kind {
        Kind::Keep => stand_ins.keep(code, &tokens).await.ok().map(Box::new),
        Kind::Take => stand_ins.take(&code, &tokens).await.ok().flatten(),
        _ => None,
    };
    let parts = Parts::default().number(id);
    Some(found.iter().fold(parts, |parts, found| parts.code(found)).word(Kind::Answer))
}

fn expect(line: &UnixStream, kind: Kind) -> io::Result<Word> {
    let word = Word::read(line)?;
    if word.kind == kind { Ok(word) } else { Err(ErrorKind::InvalidData.into()) }
}
