//! Card numbers to tokens and back.
//!
//! A [`Vault`] answers with a token only after the row that holds the sealed card is committed and
//! synced (promise P2). Sealing, opening and drawing happen on the caller's thread; the store, on a
//! thread of its own behind bounded queues, sees fingerprints and sealed bytes. Every call ends
//! within [`CALL_DEADLINE`], and when the store is down it says so instead of guessing.
//!
//! A card first seen later may equal an issued token and is then taken for it. With `n` tokens under
//! one brand prefix and last four digits, and `f` free digits (the check digit not counted), the
//! odds are `n` in `10^f` for each such card: `f` is 10 for a 16-digit Visa in `brand-four`.

mod backup;
mod cipher;
mod draw;
mod envelope;
mod error;
mod export;
mod health;
mod intake;
mod keeper;
mod listing;
mod place;
mod rotate;
mod standin;
mod store;
mod unlock;
mod worker;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use aws_lc_rs::rand;
use tokio::runtime;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::cipher::Cipher;
use self::store::{Fingerprint, Inserted, NewRow, SealedRow, TokenStore};
use self::unlock::{Renewal, Unlocked};
use self::worker::{Found, GROUP_MAX, Insertion, Lookup, QUEUE_MAX, Queues, Worker};
use crate::card::{Pan, Token, TokenFormat};
use crate::keys::{KeyRing, MasterKeys, SecretKey};
use crate::policy::Live;

pub use backup::{BackedUp, BackupError, CopyFault};
pub use error::{OpenError, VaultError};
pub use export::{ExportError, Exported, Imported, TransferProgress};
pub use health::{Health, Outage};
pub use intake::Refusal;
pub use keeper::{Keeper, Record};
pub use listing::{BadLine, LINE_MAX, ListError, ListImported, ListNews, ListRequest};
pub use place::StorePlace;
pub use rotate::{MasterStep, RotateError, RotateProgress, Rotated};
pub use standin::{CODES_MAX, StandInError, StandIns};
pub use store::postgres::{PostgresFailure, PostgresOpenError};
pub use store::sqlite::SqliteOpenError;
pub use store::{Census, KeyFacts, KeyId, KeyPurpose, Kind};
pub use unlock::{KeyEvent, KeyEventKind, KeyListener};

/// How long a call waits for the store before it is refused as stalled.
pub const CALL_DEADLINE: Duration = Duration::from_secs(5);

/// How often a card is given another token because the drawn one was not free.
const ROUNDS_MAX: usize = 16;

/// What a vault is opened with.
#[derive(Clone, Debug)]
pub struct VaultSettings {
    /// Where rows are kept.
    pub store: StorePlace,
    /// How long a verification code waits for its payment.
    pub cvv_ttl: Duration,
}

/// The vault. Shared by all runtimes of the process.
pub struct Vault {
    cipher: Arc<Live<Cipher>>,
    deadline: Duration,
    key_listener: Arc<OnceLock<KeyListener>>,
    master_made: bool,
    lookups: mpsc::Sender<Lookup>,
    insertions: mpsc::Sender<Insertion>,
    renewals: mpsc::Sender<Renewal>,
    health: watch::Sender<Health>,
    stand_ins: Arc<StandIns>,
    serving: TaskTracker,
    stop: CancellationToken,
}

/// What became of a number that was to be tokenized.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Tokenized {
    /// The number is itself an issued token: leave it as it is.
    AlreadyToken,
    /// The same, and a card by accident: it became another card's token after it was looked up.
    Collided,
    /// A card seen for the first time.
    Created(Token),
    /// A card that had this token.
    Known(Token),
}

/// What a number in an answer is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub enum Standing {
    /// A token of this vault.
    IssuedToken,
    /// Not a token of this vault.
    Unknown,
}

type Opening = Pin<Box<dyn Future<Output = Result<Box<dyn TokenStore>, OpenError>> + Send>>;

impl Vault {
    /// Opens the vault, and makes it on the first start; with it the master key, if its place is
    /// empty and may hold a new one.
    ///
    /// # Errors
    /// When the database cannot be opened, or the master key is not the one it was made with.
    pub async fn open(
        settings: VaultSettings,
        masters: Arc<MasterKeys>,
    ) -> Result<Self, OpenError> {
        let (place, missing) = (settings.store.clone(), settings.store.if_missing().await?);
        let ring = Unlocked::check(&place, &masters, masters.obtain(missing)?).await?;
        let open = move || -> Opening {
            Box::pin(async move {
                let store: Box<dyn TokenStore> = place.open().await?;
                Ok(store)
            })
        };
        Self::start(open, settings.cvv_ttl, masters, ring).await
    }

    async fn start(
        open: impl FnOnce() -> Opening + Send + 'static,
        cvv_ttl: Duration,
        masters: Arc<MasterKeys>,
        ring: KeyRing,
    ) -> Result<Self, OpenError> {
        let (lookups, lookup_queue) = mpsc::channel(QUEUE_MAX);
        let (insertions, insertion_queue) = mpsc::channel(QUEUE_MAX);
        let (renewals, renewal_queue) = mpsc::channel(QUEUE_MAX);
        let (health, stop) = (watch::Sender::new(Health::Ready), CancellationToken::new());
        let (stand_ins, serving) = (Arc::new(StandIns::new(cvv_ttl)), TaskTracker::new());
        let (opened, ready) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OpenError::Thread)?;
        let parts = (health.clone(), renewals.clone(), Arc::clone(&stand_ins), stop.clone());
        let queues =
            Queues { lookups: lookup_queue, insertions: insertion_queue, renewals: renewal_queue };
        let master_made = ring.made;
        let served = serving.track_future(async move {
            let (health, renewals, stand_ins, stop) = parts;
            match ready_store(open, masters, ring).await {
                Err(refused) => drop(opened.send(Err(refused))),
                Ok((store, keys)) => {
                    let shared = (Arc::clone(&keys.cipher), Arc::clone(&keys.listener));
                    if opened.send(Ok(shared)).is_ok() {
                        let worker = Worker { store, health, renewals, stand_ins, stop };
                        worker.serve(queues, keys).await;
                    }
                }
            }
        });
        thread::Builder::new()
            .name("vault".to_owned())
            .spawn(move || runtime.block_on(served))
            .map_err(OpenError::Thread)?;
        let stopped = |_| OpenError::Store { cause: Outage::Stopped };
        let (cipher, key_listener) = ready.await.map_err(stopped)??;
        Ok(Self {
            cipher,
            deadline: CALL_DEADLINE,
            key_listener,
            master_made,
            lookups,
            insertions,
            renewals,
            health,
            stand_ins,
            serving,
            stop,
        })
    }

    /// A token for each card, in order. Returns only after all of them are durable.
    ///
    /// # Errors
    /// When the store is unavailable, a card has no token in this format, or none is free. Nothing
    /// may be forwarded then.
    pub async fn tokenize(
        &self,
        pans: Vec<Pan>,
        format: TokenFormat,
    ) -> Result<Vec<Tokenized>, VaultError> {
        self.in_time(async {
            let mut answers = Vec::with_capacity(pans.len());
            for group in pans.chunks(GROUP_MAX) {
                answers.extend(self.tokenize_group(group, format).await?);
            }
            Ok(answers)
        })
        .await
    }

    /// The card behind each number, in order; `None` for what is no issued token.
    ///
    /// # Errors
    /// When the store is unavailable or a row is damaged.
    pub async fn reveal(&self, numbers: Vec<Pan>) -> Result<Vec<Option<Pan>>, VaultError> {
        self.in_time(async {
            match self.cards(&numbers).await {
                Err(VaultError::UnknownKey) => {
                    // Another process seals under a new key, or has dropped the row's old one.
                    self.renew_keys().await;
                    self.cards(&numbers).await
                }
                done => done,
            }
        })
        .await
    }

    /// What each number is, in order.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn standing(&self, numbers: Vec<Pan>) -> Result<Vec<Standing>, VaultError> {
        let standing =
            |row: Option<&SealedRow>| row.map_or(Standing::Unknown, |_| Standing::IssuedToken);
        self.in_time(self.each_token(&numbers, |row| Ok(standing(row)))).await
    }

    /// Whether the store works, by what was last seen of it; costs nothing.
    #[must_use]
    pub fn health(&self) -> Health {
        if self.lookups.is_closed() {
            return Health::Failing { cause: Outage::Stopped };
        }
        *self.health.borrow()
    }

    /// The verification codes that wait for their payment.
    #[must_use]
    pub fn stand_ins(&self) -> &StandIns {
        &self.stand_ins
    }

    /// The key of the audit log's chain: one for the vault's life.
    #[must_use]
    pub fn audit_key(&self) -> SecretKey {
        self.cipher.peek().audit_key().duplicate()
    }

    /// The key that names of accounts are hashed with: one for the vault's life.
    #[must_use]
    pub fn accounts_key(&self) -> SecretKey {
        self.cipher.peek().accounts_key().duplicate()
    }

    /// Whether the master key was made when the vault was opened: nobody has a backup of it.
    #[must_use]
    pub fn master_made(&self) -> bool {
        self.master_made
    }

    /// Tells `listener` of every key that comes or goes from now on. Only the first one is told.
    pub fn listen_to_keys(&self, listener: KeyListener) {
        let _first_stays = self.key_listener.set(listener);
    }

    /// Takes no more calls, finishes those that wait, and closes the store; at most for
    /// [`CALL_DEADLINE`]. Nothing is lost without it: what was answered is on the disk.
    pub async fn close(&self) {
        self.stop.cancel();
        self.serving.close();
        // Out of time, the process ends as it would by a signal.
        let _ = timeout(CALL_DEADLINE, self.serving.wait()).await;
    }

    async fn tokenize_group(
        &self,
        pans: &[Pan],
        format: TokenFormat,
    ) -> Result<Vec<Tokenized>, VaultError> {
        let cipher = self.cipher.load();
        let prints: Vec<_> = pans.iter().map(|pan| cipher.fingerprint(pan.expose())).collect();
        let found = self.find(prints.clone()).await?;
        let mut answers = Vec::with_capacity(pans.len());
        for (pan, print) in pans.iter().zip(&prints) {
            answers.push(stored(&found, pan, *print, format)?);
        }
        for _ in 0..ROUNDS_MAX {
            let mut missing = Vec::new();
            let mut rows = Vec::new();
            for ((answer, pan), print) in answers.iter_mut().zip(pans).zip(&prints) {
                if answer.is_none() {
                    missing.push(answer);
                    rows.push(self.draw_row(pan, *print, format, &prints)?);
                }
            }
            if missing.is_empty() {
                break;
            }
            for (answer, outcome) in missing.into_iter().zip(self.insert(rows).await?) {
                *answer = match outcome {
                    Inserted::Created(token) => Some(Tokenized::Created(token)),
                    Inserted::IsToken => Some(Tokenized::Collided),
                    Inserted::Known(token) => Some(Tokenized::Known(token)),
                    Inserted::KeyGone | Inserted::TokenTaken => None,
                };
            }
        }
        answers.into_iter().collect::<Option<_>>().ok_or(VaultError::NoTokenFree { format })
    }

    /// A sealed row under a token that is none of the cards of the same call; whether it is any
    /// other card or token, the store says.
    fn draw_row(
        &self,
        pan: &Pan,
        card_print: Fingerprint,
        format: TokenFormat,
        others: &[Fingerprint],
    ) -> Result<NewRow, VaultError> {
        // Loaded for each row: an earlier round may have found that the newest key is another one.
        let cipher = self.cipher.load();
        let mut entropy = |buffer: &mut [u8]| rand::fill(buffer).map_err(|_| Outage::Random);
        let brand = draw::issuer_of(pan)?.brand;
        for _ in 0..ROUNDS_MAX {
            let token = draw::draw(pan, format, &mut entropy)?;
            let token_print = cipher.fingerprint(token.as_bytes());
            if others.contains(&token_print) {
                continue;
            }
            let mut row = SealedRow {
                token,
                token_print,
                card_print,
                format,
                version: cipher::ROW_VERSION,
                data_key: KeyId([0; 16]),
                sealed: Vec::new(),
            };
            cipher.seal(&mut row, pan).map_err(|_| Outage::Random)?;
            let last_four = pan.last_four().iter().copied().map(char::from).collect();
            return Ok(NewRow { row, brand, last_four });
        }
        Err(VaultError::NoTokenFree { format })
    }

    async fn cards(&self, numbers: &[Pan]) -> Result<Vec<Option<Pan>>, VaultError> {
        let cipher = self.cipher.load();
        let card = |row: &SealedRow| cipher.open(row).card();
        self.each_token(numbers, |row| row.map(card).transpose()).await
    }

    /// Asks `about` for each number, with its row if it is an issued token.
    async fn each_token<T>(
        &self,
        numbers: &[Pan],
        about: impl Fn(Option<&SealedRow>) -> Result<T, VaultError>,
    ) -> Result<Vec<T>, VaultError> {
        let cipher = self.cipher.load();
        let mut answers = Vec::with_capacity(numbers.len());
        for group in numbers.chunks(GROUP_MAX) {
            let prints: Vec<_> =
                group.iter().map(|number| cipher.fingerprint(number.expose())).collect();
            let found = self.find(prints.clone()).await?;
            for (number, print) in group.iter().zip(prints) {
                answers.push(about(issued(&found, number, print)?)?);
            }
        }
        Ok(answers)
    }

    async fn find(&self, prints: Vec<Fingerprint>) -> Result<Arc<Found>, VaultError> {
        let (reply, answer) = oneshot::channel();
        ask(&self.lookups, Lookup { prints, reply }, answer).await
    }

    async fn insert(&self, rows: Vec<NewRow>) -> Result<Vec<Inserted>, VaultError> {
        let (reply, answer) = oneshot::channel();
        ask(&self.insertions, Insertion { rows, reply }, answer).await
    }

    /// Returns when the keys have been read again, or cannot be.
    async fn renew_keys(&self) {
        let (reply, done) = oneshot::channel();
        if self.renewals.try_send(reply).is_ok() {
            let _ = done.await;
        }
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, VaultError>>,
    ) -> Result<T, VaultError> {
        match timeout(self.deadline, call).await {
            Ok(done) => done,
            Err(_) => {
                let cause = Outage::Stalled;
                self.health.send_replace(Health::Failing { cause });
                Err(VaultError::Unavailable { cause })
            }
        }
    }
}

impl Drop for Vault {
    /// Lets the thread end by itself; nothing waits for it here.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Opens the store and its keys.
async fn ready_store(
    open: impl FnOnce() -> Opening,
    masters: Arc<MasterKeys>,
    ring: KeyRing,
) -> Result<(Box<dyn TokenStore>, Unlocked), OpenError> {
    let store = open().await?;
    let keys = Unlocked::open(store.as_ref(), masters, ring).await?;
    Ok((store, keys))
}

/// Puts a call into a queue, refused at once if it is full, and waits for the answer.
async fn ask<J, T>(
    queue: &mpsc::Sender<J>,
    job: J,
    answer: oneshot::Receiver<Result<T, VaultError>>,
) -> Result<T, VaultError> {
    queue.try_send(job).map_err(|refused| match refused {
        mpsc::error::TrySendError::Full(_) => Outage::Busy,
        mpsc::error::TrySendError::Closed(_) => Outage::Stopped,
    })?;
    answer.await.unwrap_or(Err(Outage::Stopped.into()))
}

/// The row of an issued token. The text is compared too: fingerprints are not bound to the sealed
/// card, and a swapped one must not reveal another card.
fn issued<'a>(
    found: &'a Found,
    number: &Pan,
    print: Fingerprint,
) -> Result<Option<&'a SealedRow>, VaultError> {
    match found.by_token.get(&print) {
        Some(row) if row.token.as_bytes() != number.expose() => Err(VaultError::Damaged),
        row => Ok(row),
    }
}

fn stored(
    found: &Found,
    number: &Pan,
    print: Fingerprint,
    format: TokenFormat,
) -> Result<Option<Tokenized>, VaultError> {
    if issued(found, number, print)?.is_some() {
        return Ok(Some(Tokenized::AlreadyToken));
    }
    Ok(found.by_card.get(&(print, format)).map(|row| Tokenized::Known(row.token)))
}

#[cfg(test)]
mod tests;
