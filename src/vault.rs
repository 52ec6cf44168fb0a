//! Card numbers to tokens and back.
//!
//! A [`Vault`] answers with a token only after the row that holds the sealed card is committed and
//! synced (promise P2). Sealing, opening and drawing happen on the caller's thread; the store, on a
//! thread of its own behind bounded queues, sees fingerprints and sealed bytes. Every call ends
//! within [`CALL_DEADLINE`], and when the store is down it says so instead of guessing.
//!
//! Returning cards, and numbers that are no tokens, are answered without the store: a core remembers
//! fingerprints and tokens for a minute, and on SQLite a filter knows all that was ever issued, and the
//! cards, so that a new one is kept without being looked for first. On SQLite, the
//! sealed rows of tokens that were given in the last quarter of an hour are remembered too, and
//! revealing those wakes no other thread.
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
mod call;
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
mod opening;
mod place;
mod presented;
mod recent;
mod rotate;
mod standin;
mod store;
mod tokenize;
mod unlock;
mod worker;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::cipher::Cipher;
use self::memory::Memory;
use self::store::SealedRow;
use self::unlock::Renewal;
use self::worker::{GROUP_MAX, Insertion, Lookup};
use crate::card::{Pan, Token, TokenFormat};
use crate::keys::SecretKey;
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
pub use standin::{
    CODE_KEYS, CODES_MAX, HeldCode, MemoryStandIns, StandInError, StandInFuture, StandInStore,
};
pub use store::postgres::{PostgresFailure, PostgresOpenError};
pub use store::sqlite::SqliteOpenError;
pub use store::{Census, KeyFacts, KeyId, KeyPurpose, Kind};
pub use unlock::{KeyEvent, KeyEventKind, KeyListener};

/// How long a call waits for the store before it is refused as stalled.
pub const CALL_DEADLINE: Duration = Duration::from_secs(5);

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
    /// The same, where codes are in the memory of this process.
    own_codes: Option<Arc<MemoryStandIns>>,
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

impl Vault {
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
                    answers.extend(self.tokenize_group((group, prints), format, now).await?);
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
        let prints = self.prints(presented.iter().map(Presented::expose));
        let (now, asked) = (self.memory.moment(), (presented.as_slice(), prints.as_slice()));
        if let Some(cards) = self.memory.revealed(asked, &self.cipher.peek(), now) {
            return Ok(cards);
        }
        self.in_time(async {
            match self.cards(asked, now).await {
                Err(VaultError::UnknownKey) => {
                    // Another process seals under a new key, or has dropped the row's old one.
                    self.renew_keys().await;
                    self.cards(asked, now).await
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
            let (asked, prints): (Vec<&Presented>, Vec<_>) =
                open.iter().map(|((_, one), print)| (*one, *print)).unzip();
            let of =
                |row: Option<&SealedRow>| row.map_or(Standing::Unknown, |_| Standing::IssuedToken);
            let told = self.each_token((&asked, &prints), |row| Ok(of(row)));
            for (((known, _), print), standing) in open.into_iter().zip(self.in_time(told).await?) {
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

    /// Copies the codes in our memory for the process that takes our place; `heir` leads to it and is
    /// asked from now on. Nothing where a server keeps them.
    #[must_use]
    pub fn lend_codes(&self, heir: Arc<dyn StandInStore>) -> Vec<HeldCode> {
        let own = self.own_codes.as_ref();
        own.map_or_else(Vec::new, |own| own.lend(heir, Instant::now()))
    }

    /// The other process is none after all.
    pub fn take_codes_back(&self) {
        self.own_codes.iter().for_each(|own| own.take_back());
    }

    /// The other process has them: ours are wiped.
    pub fn forget_lent_codes(&self) {
        self.own_codes.iter().for_each(|own| own.forget_lent());
    }

    /// Takes in what the process before us has lent.
    pub fn take_in_codes(&self, codes: Vec<HeldCode>) {
        let Some(own) = &self.own_codes else { return };
        codes.into_iter().for_each(|held| own.take_in(held, Instant::now()));
    }

    /// The key of the audit log's chain: one for the vault's life.
    #[must_use]
    pub fn audit_key(&self) -> SecretKey {
        self.cipher.peek().audit_key().duplicate()
    }

    /// The fingerprint of a card's digits, or of a token's text.
    #[must_use]
    pub fn print(&self, text: &[u8]) -> [u8; 32] {
        self.cipher.peek().fingerprint(text).0
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
}

impl Drop for Vault {
    /// Lets the thread end by itself; nothing waits for it here.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[cfg(test)]
mod tests;
