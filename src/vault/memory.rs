//! What can be answered without the store: returning cards, numbers that are no tokens, and reveals
//! of tokens that were given lately.

use std::sync::Arc;
use std::time::Instant;

use super::cache::{Cache, Moment};
use super::cipher::Cipher;
use super::filter::Filter;
use super::recent::Recent;
use super::store::{Erasures, Fingerprint, Ledger, SealedRow, Sought};
use super::{Presented, Standing, Tokenized};
use crate::card::{Pan, TokenFormat};

/// The memory of one vault.
pub(super) struct Memory {
    cache: Cache,
    filter: Arc<Filter>,
    /// None where an erasure by others may be heard of late.
    ledger: Option<Arc<Ledger>>,
    /// Those that were heard of there.
    erasures: Arc<Erasures>,
    recent: Recent,
}

impl Memory {
    pub(super) fn new(
        filter: Arc<Filter>,
        ledger: Option<Arc<Ledger>>,
        erasures: Arc<Erasures>,
    ) -> Self {
        Self { cache: Cache::new(), filter, ledger, erasures, recent: Recent::new() }
    }

    /// Now, as far as erasures go; `None` if that cannot be known.
    pub(super) fn moment(&self) -> Option<Moment> {
        let erasure = match &self.ledger {
            Some(ledger) => ledger.erasure()?,
            None => self.erasures.count(),
        };
        Some(Moment { at: Instant::now(), erasure })
    }

    /// What the vault would say of these cards, if all of it is remembered.
    pub(super) fn tokenized(
        &self,
        prints: &[Fingerprint],
        format: TokenFormat,
        now: Option<Moment>,
    ) -> Option<Vec<Tokenized>> {
        let now = now?;
        prints.iter().map(|print| self.cache.tokenized(print, format, now)).collect()
    }

    /// What the store has to be asked of these cards before they are kept: nothing of new ones.
    pub(super) fn sought(&self, prints: &[Fingerprint]) -> Sought {
        let seen = prints.iter().filter(|print| !self.filter.excludes(print));
        let cards: Vec<_> = seen.copied().collect();
        Sought { tokens: cards.clone(), cards }
    }

    /// The same of a number in an answer.
    pub(super) fn standing(&self, print: &Fingerprint, now: Option<Moment>) -> Option<Standing> {
        if self.filter.excludes(print) {
            return Some(Standing::Unknown);
        }
        self.cache.standing(print, now?)
    }

    /// Remembers what the store has said since a moment.
    pub(super) fn keep_tokenized(
        &self,
        told: impl Iterator<Item = (Fingerprint, Tokenized)>,
        (format, cipher): (TokenFormat, &Cipher),
        since: Option<Moment>,
    ) {
        let Some(since) = since else { return };
        for (print, answer) in told {
            match answer {
                Tokenized::Created(token) | Tokenized::Known(token) => {
                    self.cache.keep_card(print, (format, token), since);
                    // The shop's next page shows it.
                    self.cache.keep_token(cipher.fingerprint(token.as_bytes()), since);
                }
                Tokenized::AlreadyToken => self.cache.keep_token(print, since),
                // Rare, and a case to be counted every time.
                Tokenized::Collided => {}
            }
        }
    }

    /// The same of a number in an answer.
    pub(super) fn keep_standing(
        &self,
        print: Fingerprint,
        standing: Standing,
        since: Option<Moment>,
    ) {
        if let (Standing::IssuedToken, Some(since)) = (standing, since) {
            self.cache.keep_token(print, since);
        }
    }

    /// The cards behind these tokens, if all that the vault would say of them is remembered.
    pub(super) fn revealed(
        &self,
        (presented, prints): (&[Presented], &[Fingerprint]),
        cipher: &Cipher,
        now: Option<Moment>,
    ) -> Option<Vec<Option<Pan>>> {
        let now = now?;
        let card = |(one, print): (&Presented, &Fingerprint)| {
            if self.filter.excludes(print) {
                return Some(None);
            }
            let row = self.recent.row(print, now)?;
            // What does not open here may have been sealed anew: the store says.
            let row = Some(row).filter(|row| row.token.as_bytes() == one.expose())?;
            cipher.open(&row).card().ok().map(Some)
        };
        presented.iter().zip(prints).map(card).collect()
    }

    /// Remembers a row that the store has kept or found since a moment. Not where an erasure may go
    /// unnoticed for a while: an erased card is revealed no more.
    pub(super) fn keep_row(&self, row: impl FnOnce() -> SealedRow, since: Option<Moment>) {
        if let (Some(_), Some(since)) = (&self.ledger, since) {
            self.recent.keep(row(), since);
        }
    }
}
