//! Card numbers to tokens and back.
//!
//! A [`Vault`] answers with a token only after the row that holds the sealed card is committed and
//! synced (promise P2). Sealing, opening and drawing happen on the caller's thread; the store, on a
//! thread of its own behind bounded queues, sees fingerprints and sealed bytes. Every call ends
//! within [`CALL_DEADLINE`], and when the store is down it says so instead of guessing.
//!
//! Returning cards, and numbers that are no tokens, are answered without the store: a core remembers
//! fingerprints and tokens for a minute, and a filter knows all that was ever issued.
//!
//! # Formats
//!
//! Digits are free where a token's are random; the check digit is not counted. Whoever has the token
//! guesses the card once in `10^f` tries; PCI's tokenization guidelines ask for no better than one in
//! a million.
//!
//! | format | a 16-digit Visa keeps | free | the card is guessed | told from a card by |
//! |---|---|---|---|---|
//! | `brand-four` | first 1, last 4 | 10 | once in 10^10 | the vault alone |
//! | `six-four` | first 6, last 4 | 5 | once in 10^5 | the vault alone |
//! | `six-four-invalid` | first 6, last 4 | 5 | once in 10^5 | failing Luhn |
//! | `opaque` | nothing | 18 characters | as without it | its shape and its check |
//!
//! `six-four` misses what PCI asks for, and `check` says so. `brand-four` keeps it except for some
//! short and rare cards: 9 digits are free in a Mastercard that begins with 5 and 7 in one with 2,
//! 8 in an American Express, 7 in a Visa of 13 digits, but only 3 in a Maestro of 12. A card that has
//! fewer than 3 free digits in a format has no token of it: such requests are refused (422).
//!
//! A card first seen later may equal an issued token and is then taken for it, which a metric counts
//! where it can be noticed. With `n` tokens that keep the same digits, the odds are `n` in `10^f` for
//! each such card. A token of `six-four-invalid` or `opaque` is nobody's card. When all cards begin
//! alike and their last four digits are evenly spread, one new card in so many equals a token:
//!
//! | cards with tokens | `brand-four`, Visa | `brand-four`, American Express | `six-four`, one issuer |
//! |---|---|---|---|
//! | 10^4 | 10^10 | 10^8 | 10^5 |
//! | 10^5 | 10^9 | 10^7 | 10^4 |
//! | 10^6 | 10^8 | 10^6 | 10^3 |
//! | 10^7 | 10^7 | 10^5 | 10^2 |
//!
//! # When a route's format changes
//!
//! Tokens of the old format stay tokens: they are left as they are wherever they are seen again, and a
//! gateway reveals tokens of all formats, whatever it is configured for. A card gets its token of the
//! new format when its number is next sent, and the same one from then on; changing back brings the
//! old one back. Nothing has to be converted, and a shop may keep both.

mod backup;
mod cache;
mod cipher;
mod draw;
mod envelope;
mod error;
mod export;
mod filter;
mod health;
mod intake;
mod issued;
mod keeper;
mod listing;
mod memory;
mod place;
mod presented;
mod rotate;
mod standin;
mod store;
mod unlock;
mod worker;

use std::borrow::Borrow;
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
use self::filter::Filter;
use self::memory::Memory;
use self::standin::RedisStandIns;
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
pub use place::{CodesPlace, StorePlace};
pub use presented::Presented;
pub use rotate::{MasterStep, RotateError, RotateProgress, Rotated};
pub use standin::{CODES_MAX, MemoryStandIns, StandInError, StandInFuture, StandInStore};
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
    /// Where verification codes wait for their payment.
    pub cvv_store: CodesPlace,
    /// How long they do.
    pub cvv_ttl: Duration,
}

/// The vault. Shared by all runtimes of the process.
pub struct Vault {
    cipher: Arc<Live<Cipher>>,
    memory: Memory,
    deadline: Duration,
    key_listener: Arc<OnceLock<KeyListener>>,
    master_made: bool,
    lookups: mpsc::Sender<Lookup>,
    insertions: mpsc::Sender<Insertion>,
    renewals: mpsc::Sender<Renewal>,
    health: watch::Sender<Health>,
    stand_ins: Arc<dyn StandInStore>,
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
        let codes = (settings.cvv_store, settings.cvv_ttl);
        Self::start(open, codes, masters, ring).await
    }

    async fn start(
        open: impl FnOnce() -> Opening + Send + 'static,
        (cvv_store, cvv_ttl): (CodesPlace, Duration),
        masters: Arc<MasterKeys>,
        ring: KeyRing,
    ) -> Result<Self, OpenError> {
        let (lookups, lookup_queue) = mpsc::channel(QUEUE_MAX);
        let (insertions, insertion_queue) = mpsc::channel(QUEUE_MAX);
        let (renewals, renewal_queue) = mpsc::channel(QUEUE_MAX);
        let (health, stop) = (watch::Sender::new(Health::Ready), CancellationToken::new());
        let in_memory = Arc::new(MemoryStandIns::new(cvv_ttl));
        let swept = matches!(cvv_store, CodesPlace::Memory).then(|| Arc::clone(&in_memory));
        let serving = TaskTracker::new();
        let (opened, ready) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(OpenError::Thread)?;
        let parts = (health.clone(), renewals.clone(), swept, stop.clone());
        let queues =
            Queues { lookups: lookup_queue, insertions: insertion_queue, renewals: renewal_queue };
        let master_made = ring.made;
        let served = serving.track_future(async move {
            let (health, renewals, stand_ins, stop) = parts;
            match ready_store(open, masters, ring).await {
                Err(refused) => drop(opened.send(Err(refused))),
                Ok((store, keys)) => {
                    let ledger = store.issued().map(|issued| Arc::clone(issued.ledger()));
                    let filter = Arc::new(Filter::new(ledger.clone()));
                    let keys_shared = (Arc::clone(&keys.cipher), Arc::clone(&keys.listener));
                    let shared = (keys_shared, Memory::new(Arc::clone(&filter), ledger));
                    if opened.send(Ok(shared)).is_ok() {
                        let worker = Worker { store, filter, health, renewals, stand_ins, stop };
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
        let ((cipher, key_listener), memory) = ready.await.map_err(stopped)??;
        let stand_ins: Arc<dyn StandInStore> = match cvv_store {
            CodesPlace::Memory => in_memory,
            CodesPlace::Redis(link) => {
                Arc::new(RedisStandIns::new(link, cvv_ttl, cipher.peek().codes_key()))
            }
        };
        Ok(Self {
            cipher,
            memory,
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
        let (now, prints) = (self.memory.moment(), self.prints(pans.iter().map(Pan::expose)));
        if let Some(answers) = self.memory.tokenized(&prints, format, now) {
            return Ok(answers);
        }
        let answers = self
            .in_time(async {
                let mut answers = Vec::with_capacity(pans.len());
                for (group, prints) in pans.chunks(GROUP_MAX).zip(prints.chunks(GROUP_MAX)) {
                    answers.extend(self.tokenize_group(group, prints, format).await?);
                }
                Ok(answers)
            })
            .await?;
        let told = prints.into_iter().zip(answers.iter().copied());
        self.memory.keep_tokenized(told, (format, &self.cipher.peek()), now);
        Ok(answers)
    }

    /// The card behind each token, in order; `None` for what is no issued token.
    ///
    /// # Errors
    /// When the store is unavailable or a row is damaged.
    pub async fn reveal(
        &self,
        presented: Vec<impl Into<Presented>>,
    ) -> Result<Vec<Option<Pan>>, VaultError> {
        let presented: Vec<Presented> = presented.into_iter().map(Into::into).collect();
        self.in_time(async {
            match self.cards(&presented).await {
                Err(VaultError::UnknownKey) => {
                    // Another process seals under a new key, or has dropped the row's old one.
                    self.renew_keys().await;
                    self.cards(&presented).await
                }
                done => done,
            }
        })
        .await
    }

    /// What each is, in order.
    ///
    /// # Errors
    /// When the store is unavailable.
    pub async fn standing(
        &self,
        presented: Vec<impl Into<Presented>>,
    ) -> Result<Vec<Standing>, VaultError> {
        let presented: Vec<Presented> = presented.into_iter().map(Into::into).collect();
        let prints = self.prints(presented.iter().map(Presented::expose));
        let now = self.memory.moment();
        let known = prints.iter().map(|print| self.memory.standing(print, now));
        let mut standings: Vec<Option<Standing>> = known.collect();
        let open = standings.iter_mut().zip(&presented).zip(prints);
        let open: Vec<_> = open.filter(|((known, _), _)| known.is_none()).collect();
        if !open.is_empty() {
            let asked: Vec<&Presented> = open.iter().map(|((_, one), _)| *one).collect();
            let of =
                |row: Option<&SealedRow>| row.map_or(Standing::Unknown, |_| Standing::IssuedToken);
            let told = self.in_time(self.each_token(&asked, |row| Ok(of(row)))).await?;
            for (((known, _), print), standing) in open.into_iter().zip(told) {
                *known = Some(standing);
                self.memory.keep_standing(print, standing, now);
            }
        }
        Ok(standings.into_iter().map(|known| known.unwrap_or(Standing::Unknown)).collect())
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
    pub fn stand_ins(&self) -> &dyn StandInStore {
        self.stand_ins.as_ref()
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
        prints: &[Fingerprint],
        format: TokenFormat,
    ) -> Result<Vec<Tokenized>, VaultError> {
        let found = self.find(prints.to_vec()).await?;
        let mut answers = Vec::with_capacity(pans.len());
        for (pan, print) in pans.iter().zip(prints) {
            answers.push(stored(&found, pan, *print, format)?);
        }
        for _ in 0..ROUNDS_MAX {
            let mut missing = Vec::new();
            let mut rows = Vec::new();
            for ((answer, pan), print) in answers.iter_mut().zip(pans).zip(prints) {
                if answer.is_none() {
                    missing.push(answer);
                    rows.push(self.draw_row(pan, *print, format, prints)?);
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

    fn prints<'a>(&self, texts: impl Iterator<Item = &'a [u8]>) -> Vec<Fingerprint> {
        let cipher = self.cipher.peek();
        texts.map(|text| cipher.fingerprint(text)).collect()
    }

    async fn cards(&self, presented: &[Presented]) -> Result<Vec<Option<Pan>>, VaultError> {
        let cipher = self.cipher.load();
        let card = |row: &SealedRow| cipher.open(row).card();
        self.each_token(presented, |row| row.map(card).transpose()).await
    }

    /// Asks `about` for each, with its row if it is an issued token.
    async fn each_token<T>(
        &self,
        presented: &[impl Borrow<Presented>],
        about: impl Fn(Option<&SealedRow>) -> Result<T, VaultError>,
    ) -> Result<Vec<T>, VaultError> {
        let mut answers = Vec::with_capacity(presented.len());
        for group in presented.chunks(GROUP_MAX) {
            let prints = self.prints(group.iter().map(|one| one.borrow().expose()));
            let found = self.find(prints.clone()).await?;
            for (one, print) in group.iter().zip(prints) {
                answers.push(about(issued(&found, one.borrow().expose(), print)?)?);
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
    match Unlocked::open(store.as_ref(), masters, ring).await {
        Ok(keys) => Ok((store, keys)),
        Err(refused) => {
            let _closed = store.close().await;
            Err(refused)
        }
    }
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
    text: &[u8],
    print: Fingerprint,
) -> Result<Option<&'a SealedRow>, VaultError> {
    match found.by_token.get(&print) {
        Some(row) if row.token.as_bytes() != text => Err(VaultError::Damaged),
        row => Ok(row),
    }
}

fn stored(
    found: &Found,
    number: &Pan,
    print: Fingerprint,
    format: TokenFormat,
) -> Result<Option<Tokenized>, VaultError> {
    if issued(found, number.expose(), print)?.is_some() {
        return Ok(Some(Tokenized::AlreadyToken));
    }
    Ok(found.by_card.get(&(print, format)).map(|row| Tokenized::Known(row.token)))
}

#[cfg(test)]
mod tests;
