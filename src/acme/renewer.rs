//! The thread that asks: one certificate after the other, each when its time has come.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::answers::HttpAnswers;
use super::desk::Desk;
use super::prove::Places;
use crate::policy::AcmePolicy;
use crate::telemetry::Metrics;
use crate::tls::Challenges;

/// What asking needs.
pub struct RenewerParts {
    /// Where accounts and certificates are kept.
    pub data_dir: PathBuf,
    /// Where authorities read proofs.
    pub answers: Arc<HttpAnswers>,
    /// Where they see them in handshakes.
    pub challenges: Challenges,
    /// What is counted and logged.
    pub metrics: Arc<Metrics>,
    /// Told after every change of a certificate's file.
    pub issued: mpsc::Sender<()>,
    /// Ends it.
    pub closing: CancellationToken,
}

/// Asks for certificates until it is dropped, once there is something to ask for.
pub struct Renewer {
    /// Until the thread has been started.
    parts: Option<RenewerParts>,
    policy: watch::Sender<Arc<AcmePolicy>>,
    closing: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Renewer {
    /// Asks nobody yet.
    #[must_use]
    pub fn new(parts: RenewerParts) -> Self {
        let closing = parts.closing.child_token();
        let parts = Some(RenewerParts { closing: closing.clone(), ..parts });
        Self { parts, policy: watch::Sender::default(), closing, thread: None }
    }

    /// Asks for these from now on, and for no others.
    pub fn follow(&mut self, policy: Arc<AcmePolicy>) {
        let needed = !policy.certificates.is_empty();
        self.policy.send_replace(policy);
        if needed
            && let Some(parts) = self.parts.take()
            && let Err(error) = self.start(parts)
        {
            warn!(%error, "no thread to ask for certificates; those in force stay");
        }
    }

    fn start(&mut self, parts: RenewerParts) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let policy = self.policy.subscribe();
        let RenewerParts { data_dir, answers, challenges, metrics, issued, closing } = parts;
        let places = Places { answers, challenges };
        let desk = Desk::new((data_dir, places), metrics, issued, closing);
        let thread = thread::Builder::new().name("acme".to_owned());
        self.thread = Some(thread.spawn(move || runtime.block_on(desk.run(policy)))?);
        Ok(())
    }
}

impl Drop for Renewer {
    fn drop(&mut self) {
        self.closing.cancel();
        // It fails only where the thread has panicked, which has been told.
        let _ended = self.thread.take().map(JoinHandle::join);
    }
}
