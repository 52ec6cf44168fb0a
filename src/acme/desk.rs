//! What the thread does: look after each certificate, ask for those that are due, remember.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand;
use instant_acme::Error as ClientError;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::accounts::Accounts;
use super::books::Books;
use super::failure::AcmeError;
use super::leaf::Leaf;
use super::memory::Fault;
use super::order;
use super::prove::{Places, Proofs};
use super::schedule::{Chance, HOUR_S, Issued, MINUTE_S};
use crate::policy::{AcmeAuthority, AcmeCertificate, AcmePolicy};
use crate::telemetry::{AcmeFailed, Metrics};

/// The wall clock is looked at this often: it may be set, and a machine may sleep.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How long until another process may have stopped asking.
const LOCK_WAIT: Duration = Duration::from_secs(5);

/// For a whole attempt, beside what commands of the operator's may take.
const ATTEMPT_WAIT: Duration = Duration::from_secs(15 * 60);

/// For taking proofs away when the process ends.
const CLEAR_WAIT: Duration = Duration::from_secs(10);

/// Everything that asking needs.
pub(super) struct Desk {
    data_dir: PathBuf,
    places: Places,
    metrics: Arc<Metrics>,
    issued: mpsc::Sender<()>,
    closing: CancellationToken,
    accounts: Accounts,
}

impl Desk {
    pub(super) fn new(
        (data_dir, places): (PathBuf, Places),
        metrics: Arc<Metrics>,
        issued: mpsc::Sender<()>,
        closing: CancellationToken,
    ) -> Self {
        let accounts = Accounts::default();
        Self { data_dir, places, metrics, issued, closing, accounts }
    }

    /// Looks after certificates until it is told to end.
    pub(super) async fn run(mut self, mut policy: watch::Receiver<Arc<AcmePolicy>>) {
        let Some(mut books) = self.open().await else { return };
        let mut current = Arc::clone(&policy.borrow_and_update());
        self.take_stock(&mut books, &current);
        loop {
            for certificate in &current.certificates {
                self.look_after(&mut books, certificate).await;
                if self.closing.is_cancelled() {
                    return;
                }
            }
            let next_s = self.tell_next(&books, &current);
            let wait = Duration::from_secs(next_s.saturating_sub(now_s()).max(1)).min(LOOK_EVERY);
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = sleep(wait) => {}
                changed = policy.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    current = Arc::clone(&policy.borrow_and_update());
                    self.take_stock(&mut books, &current);
                }
            }
        }
    }

    /// Waits until nobody else asks for this data folder.
    async fn open(&self) -> Option<Books> {
        let mut waited = false;
        loop {
            let wait = match Books::open(&self.data_dir) {
                Ok(Some(books)) => {
                    if waited {
                        // What the other one got in the meantime.
                        self.bring_in();
                    }
                    return Some(books);
                }
                Ok(None) => LOCK_WAIT,
                Err(failed) => {
                    error!(problem = failed.words(), "no certificate can be asked for");
                    LOOK_EVERY
                }
            };
            if !waited {
                debug!("another process asks for certificates");
            }
            waited = true;
            tokio::select! {
                () = self.closing.cancelled() => return None,
                () = sleep(wait) => {}
            }
        }
    }

    /// Looks at what is there, and names everybody who may be asked to the metrics.
    fn take_stock(&self, books: &mut Books, policy: &AcmePolicy) {
        for authority in policy.certificates.iter().flat_map(|wanted| &wanted.authorities) {
            self.metrics.acme_known(&authority.name);
        }
        books.take_stock(policy, now_s(), chance);
    }

    async fn look_after(&mut self, books: &mut Books, wanted: &AcmeCertificate) {
        let now_s = now_s();
        if books.due_s(wanted) <= now_s {
            for authority in &wanted.authorities {
                if books.memory.held_s(wanted.label(), &authority.directory, now_s) > now_s {
                    continue;
                }
                if self.attempt(books, wanted, authority).await || self.closing.is_cancelled() {
                    return;
                }
            }
            return;
        }
        if books.memory.issued(wanted).is_some_and(|issued| issued.ask_s <= now_s) {
            self.ask_for_time(books, wanted).await;
        }
    }

    /// Asks one authority once; says whether there is a certificate now.
    async fn attempt(
        &mut self,
        books: &mut Books,
        wanted: &AcmeCertificate,
        authority: &AcmeAuthority,
    ) -> bool {
        let whom = (wanted.label(), authority);
        books.memory.begin(whom, now_s(), chance());
        // What cannot be written down is not done: it would be done again after every restart.
        if let Err(failed) = books.store.remember(&books.memory) {
            self.tell_failed(books, whom, &failed, now_s() + MINUTE_S);
            return false;
        }
        let _earlier = self.accounts.asked_to_wait();
        let places = self.places.clone();
        let mut proofs = Proofs::new(&places, &authority.challenge);
        let closing = self.closing.clone();
        let outcome = tokio::select! {
            biased;
            () = closing.cancelled() => None,
            outcome = timeout(ATTEMPT_WAIT, self.obtain(books, wanted, authority, &mut proofs)) => {
                Some(outcome.unwrap_or(Err(AcmeError::Late)))
            }
        };
        // A shutdown does not wait for a command that hangs.
        let wait = if closing.is_cancelled() { CLEAR_WAIT } else { ATTEMPT_WAIT };
        let _left_behind = timeout(wait, proofs.clear()).await;
        let (issued, failed) = match outcome {
            None => return false,
            Some(Ok(issued)) => (Some(issued), None),
            Some(Err(failed)) => (None, Some(failed)),
        };
        if let Some(failed) = &failed {
            let retry_after_s = self.accounts.asked_to_wait().map(|wait| wait.as_secs());
            let fault = Fault { blame: failed.blame(), retry_after_s };
            let again_s = books.memory.failed(whom, fault, now_s(), chance());
            self.accounts.drop_opened(authority);
            if failed.account_is_gone() {
                books.store.forget_account(authority);
            }
            self.tell_failed(books, whom, failed, again_s);
        }
        if let Some(issued) = issued {
            let (not_after, renewal) = (time(issued.not_after_s), time(issued.renew_s));
            books.there.insert(wanted.label().to_owned());
            books.memory.succeeded(wanted.label(), issued);
            self.metrics.acme_issued((whom.0, &authority.name), not_after, renewal);
            self.bring_in();
        }
        if let Err(failed) = books.store.remember(&books.memory) {
            error!(problem = failed.words(), "what was asked of authorities is not written down");
        }
        failed.is_none()
    }

    async fn obtain(
        &mut self,
        books: &Books,
        wanted: &AcmeCertificate,
        authority: &AcmeAuthority,
        proofs: &mut Proofs<'_>,
    ) -> Result<Issued, AcmeError> {
        let account = self.accounts.with(&books.store, authority).await?;
        let before = books.memory.issued(wanted);
        let before = before.filter(|issued| issued.directory == authority.directory);
        // RFC 9773 §5: an order that says what it replaces is spared some limits.
        let told = before.filter(|issued| issued.window.is_some());
        let replaces = told.and_then(|_| books.store.leaf(wanted)?.identifier());
        let chain = order::obtain(&account, &wanted.names, replaces, proofs).await?;
        let leaf = Leaf::of(chain.chain.as_bytes()).ok_or(AcmeError::Unfit)?;
        if leaf.not_after_s <= now_s() {
            return Err(AcmeError::Unfit);
        }
        books.store.keep_certificate(wanted, (&chain.chain, &chain.key))?;
        let whose = (authority.directory.clone(), wanted.names.clone());
        let mut issued = Issued::new(whose, &leaf, now_s(), chance());
        if let Some(before) = before
            && issued.at_s < before.usual_renewal_s(0.0)
        {
            issued.early = before.early.saturating_add(1);
        }
        Ok(issued)
    }

    /// Asks when a certificate should be renewed (RFC 9773).
    async fn ask_for_time(&mut self, books: &mut Books, wanted: &AcmeCertificate) {
        let Some(issued) = books.memory.issued_mut(wanted) else { return };
        issued.ask_s = now_s() + issued.ask_wait_s();
        let (directory, soonest_s) = (issued.directory.clone(), issued.ask_wait_s().min(MINUTE_S));
        if let Err(failed) = books.store.remember(&books.memory) {
            return error!(problem = failed.words(), "what was asked is not written down");
        }
        let mut authorities = wanted.authorities.iter();
        let Some(authority) = authorities.find(|one| one.directory == directory) else { return };
        let leaf = books.store.leaf(wanted);
        let Some(identifier) = leaf.and_then(|leaf| leaf.identifier()) else { return };
        let closing = self.closing.clone();
        let said = tokio::select! {
            () = closing.cancelled() => return,
            said = async {
                let account = self.accounts.with(&books.store, authority).await?;
                Ok::<_, AcmeError>(account.renewal_info(&identifier).await?)
            } => said,
        };
        let Some(issued) = books.memory.issued_mut(wanted) else { return };
        match said {
            Ok((said, wait)) => {
                let at_s = |at: i64| u64::try_from(at).unwrap_or_default();
                let window = said.suggested_window;
                let (start, end) = (window.start.unix_timestamp(), window.end.unix_timestamp());
                let before_s = issued.renew_s;
                issued.suggest((at_s(start), at_s(end)), chance());
                issued.ask_s = now_s() + wait.as_secs().clamp(soonest_s, 24 * HOUR_S);
                if issued.renew_s != before_s {
                    let (certificate, explanation) = (wanted.label(), said.explanation_url);
                    let in_s = issued.renew_s.saturating_sub(now_s());
                    info!(certificate, in_s, explanation, "the authority names a time for renewal");
                }
            }
            // It has none to name; the next certificate's is asked for again.
            Err(AcmeError::Client(ClientError::Unsupported(_))) => {
                issued.ask_s = issued.not_after_s.max(issued.ask_s);
            }
            Err(failed) => {
                self.accounts.drop_opened(authority);
                debug!(problem = failed.words(), "no time for renewal was named");
            }
        }
        if let Err(failed) = books.store.remember(&books.memory) {
            error!(problem = failed.words(), "what was asked is not written down");
        }
    }

    fn tell_failed(
        &self,
        books: &Books,
        (certificate, authority): (&str, &AcmeAuthority),
        failed: &AcmeError,
        again_s: u64,
    ) {
        let left_s = books.memory.left_s(certificate, now_s());
        self.metrics.acme_failed(&AcmeFailed {
            certificate,
            authority: &authority.name,
            outcome: failed.outcome(),
            problem: &failed.words(),
            again: time(again_s),
            left_s: left_s.filter(|_| books.there.contains(certificate)),
        });
    }

    /// Tells when each certificate is asked for next, and gives the first of these times.
    fn tell_next(&self, books: &Books, policy: &AcmePolicy) -> u64 {
        let now_s = now_s();
        let mut first_s = u64::MAX;
        let mut times = Vec::new();
        for certificate in &policy.certificates {
            let next_s = books.next_s(certificate, now_s);
            let asked_s = books.memory.issued(certificate).map_or(u64::MAX, |issued| issued.ask_s);
            first_s = first_s.min(next_s).min(asked_s);
            times.push((certificate.label(), time(next_s)));
        }
        self.metrics.acme_next(&times);
        first_s
    }

    /// Has what lies in the files served.
    fn bring_in(&self) {
        // Full: a reload is pending anyway. Closed: nobody serves any more.
        let _ = self.issued.try_send(());
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn time(at_s: u64) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_secs(at_s)).unwrap_or(UNIX_EPOCH)
}

/// Without randomness all instances ask at the same moment, which is no reason not to ask.
fn chance() -> Chance {
    let mut bytes = [0; 4];
    if rand::fill(&mut bytes).is_err() {
        return 0.0;
    }
    f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
