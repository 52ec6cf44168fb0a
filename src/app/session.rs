//! The vault, opened for one command of an operator, beside running instances or without any.
//!
//! What must be provable later is on the disk, in a log of the commands' own, before it is done.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::trail::Trail;
use super::{AppError, confine, parts};
use crate::card::{MaskedPan, Pan, Token};
use crate::config::{Startup, VaultStore};
use crate::keys::{FileKey, IfMissing, KeySource, MasterKey, Obtained};
use crate::telemetry::{AuditEvent, LastFour, Operator};
use crate::vault::{
    BackedUp, Census, Exported, Imported, Keeper, ListImported, ListNews, ListRequest,
    TransferProgress, VaultError,
};

/// How often a card's tokens are looked for again, as instances go on giving new ones.
const ERASE_ROUNDS: u32 = 8;

/// An open vault.
pub struct VaultSession {
    runtime: Runtime,
    keeper: Keeper,
    key_place: String,
    store: String,
    database: Option<PathBuf>,
    trail: Trail,
}

/// What `vault status` tells.
#[derive(Debug)]
pub struct VaultStatus {
    /// What the store holds.
    pub census: Census,
    /// Where the rows are.
    pub store: String,
    /// Where the master key is.
    pub key_place: String,
    /// Why the store takes no writes.
    pub failing: Option<VaultError>,
}

/// A card that was found, and all its tokens. Shown only by those who say why.
pub struct Found {
    card: Pan,
    tokens: Vec<Token>,
}

impl VaultSession {
    /// Opens a vault that is there.
    ///
    /// # Errors
    /// When there is none, or its keys are not at hand.
    pub fn open(startup: &Startup) -> Result<Self, AppError> {
        confine::act_for_owner(startup)?;
        parts::harden();
        parts::make_data_dir(&startup.data_dir)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(AppError::System)?;
        let keeper = runtime.block_on(parts::keeper(startup, IfMissing::Refuse))?;
        let trail = Trail::of(startup, &keeper);
        Ok(Self {
            runtime,
            keeper,
            key_place: parts::master_keys(startup).current.describe(),
            store: parts::store_place(startup).to_string(),
            database: match startup.vault.store {
                VaultStore::Postgres(_) => None,
                VaultStore::Sqlite => Some(startup.data_dir.join("vault.db")),
            },
            trail,
        })
    }

    /// Where the master key is.
    #[must_use]
    pub fn key_place(&self) -> &str {
        &self.key_place
    }

    /// What the vault holds and how it is.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn status(&self) -> Result<VaultStatus, AppError> {
        let census = self.runtime.block_on(self.keeper.census())?;
        let failing = self.runtime.block_on(self.keeper.check()).err();
        let (store, key_place) = (self.store.clone(), self.key_place.clone());
        Ok(VaultStatus { census, store, key_place, failing })
    }

    /// The card behind a token, if there is one.
    ///
    /// # Errors
    /// When the vault fails.
    pub fn find(&self, token: &Token) -> Result<Option<Found>, AppError> {
        match self.runtime.block_on(self.keeper.reveal(token))? {
            Some(card) => self.find_card(card).map(Some),
            None => Ok(None),
        }
    }

    /// The tokens of a card; none where it is not in the vault.
    ///
    /// # Errors
    /// When the vault fails.
    pub fn find_card(&self, card: Pan) -> Result<Found, AppError> {
        let tokens = self.runtime.block_on(self.keeper.tokens_of(&card))?;
        Ok(Found { card, tokens })
    }

    /// The whole number, after the audit log says so.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn show(&self, found: Found, token: Token, reason: &str) -> Result<Pan, AppError> {
        self.record_look(&found, token, "full", reason)?;
        Ok(found.card)
    }

    /// First six and last four, after the audit log says so.
    ///
    /// # Errors
    /// When it cannot be recorded.
    pub fn show_masked(
        &self,
        found: &Found,
        token: Token,
        reason: &str,
    ) -> Result<MaskedPan, AppError> {
        self.record_look(found, token, "masked", reason)?;
        Ok(found.card.masked())
    }

    /// Erases a card under all its tokens, after the audit log says so. Gives the tokens, which stay
    /// and stand for nothing.
    ///
    /// # Errors
    /// When it cannot be recorded or the vault fails; the same call goes on.
    pub fn erase(&self, found: Found, reason: &str) -> Result<Vec<Token>, AppError> {
        let Found { card, mut tokens } = found;
        let mut erased = Vec::new();
        for _ in 0..ERASE_ROUNDS {
            if tokens.is_empty() {
                break;
            }
            self.trail.record(AuditEvent::CardErased {
                operator: Operator::current(),
                tokens: tokens.clone(),
                reason: reason.to_owned(),
            })?;
            self.runtime.block_on(self.keeper.erase(&tokens))?;
            erased.append(&mut tokens);
            tokens = self.runtime.block_on(self.keeper.tokens_of(&card))?;
        }
        Ok(erased)
    }

    /// Copies the database; only one that is a file of ours.
    ///
    /// # Errors
    /// When it cannot be recorded or made.
    pub fn back_up(&self, to: &Path) -> Result<BackedUp, AppError> {
        let Some(database) = &self.database else { return Err(AppError::BackupOfServer) };
        let (operator, file) = (Operator::current(), to.display().to_string());
        self.trail.record(AuditEvent::VaultBackedUp { operator, file })?;
        Ok(self.runtime.block_on(self.keeper.back_up(database, to))?)
    }

    /// Writes every card to a sealed file. The key is made where there is neither it nor the file.
    ///
    /// # Errors
    /// When it cannot be recorded or finished.
    pub fn export(
        &mut self,
        to: &Path,
        key: &Path,
        resume: bool,
        tell: &mut dyn FnMut(TransferProgress),
    ) -> Result<Exported, AppError> {
        let missing = if to.exists() { IfMissing::Refuse } else { IfMissing::Create };
        let key = export_key(key, missing)?;
        let (operator, file) = (Operator::current(), to.display().to_string());
        self.trail.record(AuditEvent::VaultExported { operator, file })?;
        let Self { runtime, keeper, .. } = self;
        Ok(runtime.block_on(keeper.export(to, key.as_ref(), resume, tell))?)
    }

    /// Takes in what an export holds.
    ///
    /// # Errors
    /// When it cannot be recorded or finished.
    pub fn import(
        &mut self,
        from: &Path,
        key: &Path,
        tell: &mut dyn FnMut(TransferProgress),
    ) -> Result<Imported, AppError> {
        let key = export_key(key, IfMissing::Refuse)?;
        self.record_import(from)?;
        let Self { runtime, keeper, .. } = self;
        Ok(runtime.block_on(keeper.import(from, key.as_ref(), tell))?)
    }

    /// Takes in another provider's list.
    ///
    /// # Errors
    /// When it cannot be recorded or finished.
    pub fn import_list(
        &mut self,
        request: &ListRequest,
        tell: &mut dyn FnMut(ListNews),
    ) -> Result<ListImported, AppError> {
        self.record_import(&request.list)?;
        let Self { runtime, keeper, .. } = self;
        Ok(runtime.block_on(keeper.import_list(request, tell))?)
    }

    fn record_import(&self, from: &Path) -> Result<(), AppError> {
        let (operator, file) = (Operator::current(), from.display().to_string());
        Ok(self.trail.record(AuditEvent::VaultImported { operator, file })?)
    }

    fn record_look(
        &self,
        found: &Found,
        token: Token,
        extent: &'static str,
        reason: &str,
    ) -> Result<(), AppError> {
        let (operator, last_four) = (Operator::current(), found.last_four());
        let reason = reason.to_owned();
        let shown = AuditEvent::CardShown { operator, extent, token, last_four, reason };
        Ok(self.trail.record(shown)?)
    }
}

impl Found {
    /// The last four digits.
    #[must_use]
    pub fn last_four(&self) -> LastFour {
        LastFour::of(&self.card)
    }

    /// The tokens.
    #[must_use]
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }
}

/// The key of an export, or a new one.
fn export_key(path: &Path, missing: IfMissing) -> Result<Arc<dyn MasterKey>, AppError> {
    if missing == IfMissing::Refuse && !path.exists() {
        return Err(AppError::ExportKeyMissing { path: path.to_owned() });
    }
    let obtained = FileKey { path: path.to_owned() }.obtain(missing);
    obtained.map(Obtained::into_key).map_err(AppError::ExportKey)
}
