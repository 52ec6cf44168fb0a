//! Every card of a vault with its token, and every token whose card was erased, in a file that only its
//! key opens; and back.
//!
//! Both ways can be killed at any moment and gone on with. An export remembers nothing outside its
//! file: what stands last there says how far it came. An import takes in what is not there yet, erased
//! tokens first: a card that was erased while it was being exported stays erased.

mod file;
pub(super) mod frames;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::file::{Left, Next, Reader, Writer};
use self::frames::{CardRow, ErasedToken, FRAME_ROWS, Head};
use super::VaultError;
use super::intake::{Incoming, Refusal, Taken, Wish};
use super::keeper::{Keeper, Record, count};
use super::store::{Fingerprint, KeptErased};
use super::worker::GROUP_MAX;
use crate::card::Token;
use crate::keys::{MasterKey, WrapError};

/// How many tokens are named in an answer.
const NAMED_MAX: usize = 100;

/// Why an export was not written or not read. What was done stays; the same command goes on.
#[derive(Debug, Error)]
pub enum ExportError {
    /// It has no end.
    #[error(
        "{} ends after {rows} rows, before its end; let the export finish with --resume, or copy \
         the file again", path.display()
    )]
    Cut {
        /// The file.
        path: PathBuf,
        /// How many rows are there.
        rows: u64,
    },
    /// A frame is not the one that was written there.
    #[error("{} was changed: frame {frame} does not open", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Which frame, from 0.
        frame: u64,
    },
    /// The name is taken.
    #[error("{} exists; name another file, or go on with it with --resume", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is no export of tillgate", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// A newer version wrote it.
    #[error("{} has format {version}, which this version does not know", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format's number.
        version: u8,
    },
    /// It was begun on another vault.
    #[error("{} is the export of another vault", path.display())]
    OtherVault {
        /// The file.
        path: PathBuf,
    },
    /// The system's random generator failed.
    #[error("the system's random generator failed")]
    Random,
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The vault fails.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The export key does not answer.
    #[error("the export key does not wrap or open")]
    Wrap(#[source] WrapError),
    /// It cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key opens another file.
    #[error("{} does not open with this key, or its head was changed", path.display())]
    WrongKey {
        /// The file.
        path: PathBuf,
    },
}

/// How far an export or an import has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TransferProgress {
    /// Rows done.
    pub done: u64,
    /// Rows there are, about.
    pub total: u64,
}

/// What an export holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exported {
    /// An earlier export was gone on with.
    pub resumed: bool,
    /// How many rows the file holds.
    pub rows: u64,
    /// How many tokens of erased cards it holds.
    pub erased: u64,
    /// Rows that came into the vault since, and may be missing.
    pub since: u64,
    /// How many rows did not open and are missing.
    pub damaged: u64,
    /// Their tokens, at most a hundred.
    pub damaged_tokens: Vec<Token>,
}

/// What became of an export that was read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Imported {
    /// Rows that are new here.
    pub new: u64,
    /// Rows that were here already.
    pub known: u64,
    /// Tokens of erased cards that are kept here now, never to be given again.
    pub erased: u64,
    /// How many rows or erased tokens were refused.
    pub refused: u64,
    /// Their tokens and why, at most a hundred.
    pub refusals: Vec<(Token, Refusal)>,
}

impl Keeper {
    /// Writes every card and every erased token to a file, sealed under a key of its own that `key` wraps. With `resume`,
    /// goes on with what an earlier command left there.
    ///
    /// # Errors
    /// When it cannot be finished.
    pub async fn export(
        &mut self,
        path: &Path,
        key: &dyn MasterKey,
        resume: bool,
        tell: &mut dyn FnMut(TransferProgress),
    ) -> Result<Exported, ExportError> {
        let (rows, vault) = (self.census().await?.rows, self.name().ok_or(VaultError::Damaged)?);
        let left = if resume { Writer::resume(path, key, vault)? } else { Left::Nothing };
        let mut exported = Exported::default();
        let (mut writer, last) = match left {
            Left::Begun(writer, last) => {
                exported.resumed = true;
                (writer, last)
            }
            Left::Nothing => (Writer::create(path, key, Head { vault, rows })?, None),
            Left::Whole(done) => {
                let (since, erased) = (rows.saturating_sub(done.rows), done.erased);
                return Ok(Exported { resumed: true, rows: done.rows, erased, since, ..exported });
            }
        };
        let after = last.map(|token| self.keys.cipher.load().fingerprint(token.as_bytes()));
        self.export_rows(&mut writer, after, &mut exported, (rows, tell)).await?;
        self.export_erased(&mut writer).await?;
        let done = writer.finish()?;
        (exported.rows, exported.erased) = (done.rows, done.erased);
        exported.since = self.census().await?.rows.saturating_sub(exported.rows + exported.damaged);
        Ok(exported)
    }

    async fn export_rows(
        &mut self,
        writer: &mut Writer,
        mut after: Option<Fingerprint>,
        exported: &mut Exported,
        (total, tell): (u64, &mut dyn FnMut(TransferProgress)),
    ) -> Result<(), ExportError> {
        loop {
            tell(TransferProgress { done: writer.counts().rows, total });
            let opened = match self.open_page(after).await {
                // A rotation has dropped the key under which the page was read.
                Err(VaultError::UnknownKey) => {
                    self.keys.renew(self.store.as_ref()).await.map_err(VaultError::from)?;
                    self.open_page(after).await
                }
                done => done,
            };
            let OpenedPage { rows, damaged, last } = opened?;
            if last.is_none() {
                return Ok(());
            }
            after = last;
            exported.damaged += count(damaged.len());
            let room = NAMED_MAX.saturating_sub(exported.damaged_tokens.len());
            exported.damaged_tokens.extend(damaged.into_iter().take(room));
            if !rows.is_empty() {
                writer.add(&rows)?;
            }
        }
    }

    /// After all rows, and all of them by every command that ends an export, so that none is erased in
    /// between and told of nowhere.
    async fn export_erased(&self, writer: &mut Writer) -> Result<(), ExportError> {
        let mut after = None;
        loop {
            let page = self.patiently(|store| store.erased_page(after, FRAME_ROWS)).await;
            let page = page.map_err(VaultError::from)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.token_print);
            let tokens: Vec<_> = page
                .iter()
                .map(|row| ErasedToken { token: row.token, format: row.format })
                .collect();
            writer.add_erased(&tokens)?;
        }
    }

    async fn open_page(&self, after: Option<Fingerprint>) -> Result<OpenedPage, VaultError> {
        let page = self.patiently(|store| store.page(after, FRAME_ROWS)).await?;
        let last = page.last().map(|stored| stored.row.token_print);
        let (mut rows, mut damaged) = (Vec::with_capacity(page.len()), Vec::new());
        for record in page.into_iter().map(Record::of) {
            let (token, format) = (record.token(), record.format());
            match self.card(&record) {
                Ok(card) => rows.push(CardRow { token, format, card }),
                Err(VaultError::Damaged) => damaged.push(token),
                Err(error) => return Err(error),
            }
        }
        Ok(OpenedPage { rows, damaged, last })
    }

    /// Takes in what an export holds and is not here yet. The whole file is looked through first, and
    /// `tell` hears of that too: of one that was cut or changed, nothing is taken.
    ///
    /// # Errors
    /// When the file or the vault fails.
    pub async fn import(
        &mut self,
        path: &Path,
        key: &dyn MasterKey,
        tell: &mut dyn FnMut(TransferProgress),
    ) -> Result<Imported, ExportError> {
        let mut look = Reader::open(path, key)?;
        while !matches!(look.next()?, Next::End) {
            tell(TransferProgress { done: look.counts().rows, total: look.expected() });
        }
        let (total, mut imported) = (look.counts().rows, Imported::default());
        if look.counts().erased > 0 {
            self.import_erased(Reader::open(path, key)?, &mut imported).await?;
        }
        let mut reader = Reader::open(path, key)?;
        loop {
            let rows = match reader.next()? {
                Next::End => return Ok(imported),
                Next::Erased(_) => continue,
                Next::Rows(rows) => rows,
            };
            let cards: Vec<_> = rows.into_iter().map(Incoming::of).collect();
            for group in cards.chunks(GROUP_MAX) {
                let taken = self.take_in(group).await?;
                taken.iter().zip(group).for_each(|(taken, card)| imported.count(card, *taken));
            }
            tell(TransferProgress { done: reader.counts().rows, total });
        }
    }

    async fn import_erased(
        &self,
        mut reader: Reader,
        imported: &mut Imported,
    ) -> Result<(), ExportError> {
        loop {
            let tokens = match reader.next()? {
                Next::End => return Ok(()),
                Next::Erased(tokens) => tokens,
                Next::Rows(_) => continue,
            };
            for group in tokens.chunks(GROUP_MAX) {
                let kept = self.take_in_erased(group).await?;
                kept.iter().zip(group).for_each(|(kept, one)| imported.count_erased(one, *kept));
            }
        }
    }
}

/// A page of rows, opened.
struct OpenedPage {
    rows: Vec<CardRow>,
    damaged: Vec<Token>,
    last: Option<Fingerprint>,
}

impl Incoming {
    fn of(row: CardRow) -> Self {
        Self { card: row.card, format: row.format, wish: Wish::Exactly(row.token) }
    }
}

impl Imported {
    fn count(&mut self, incoming: &Incoming, taken: Taken) {
        match taken {
            Taken::Known(_) => self.known += 1,
            Taken::New(_) => self.new += 1,
            Taken::Refused(why) => {
                if let Wish::Exactly(token) = incoming.wish {
                    self.refuse(token, why);
                }
            }
        }
    }

    fn count_erased(&mut self, erased: &ErasedToken, kept: KeptErased) {
        match kept {
            KeptErased::InUse => self.refuse(erased.token, Refusal::ErasedThere),
            KeptErased::Known => {}
            KeptErased::New => self.erased += 1,
        }
    }

    fn refuse(&mut self, token: Token, why: Refusal) {
        self.refused += 1;
        if self.refusals.len() < NAMED_MAX {
            self.refusals.push((token, why));
        }
    }
}

#[cfg(test)]
mod tests;
