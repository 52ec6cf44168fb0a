//! How cards that have no token are given one: drawn, sealed and inserted, in rounds.

use std::sync::Arc;

use super::cache::Moment;
use super::call::issued;
use super::store::{Fingerprint, Inserted, KeyId, NewRow, SealedRow};
use super::worker::Found;
use super::{Outage, Tokenized, Vault, VaultError, cipher, draw};
use crate::card::{Pan, TokenFormat};

/// How often a card is given another token because the drawn one was not free.
pub(super) const ROUNDS_MAX: usize = 16;

impl Vault {
    pub(super) async fn tokenize_group(
        &self,
        (pans, prints): (&[Pan], &[Fingerprint]),
        format: TokenFormat,
        now: Option<Moment>,
    ) -> Result<Vec<Tokenized>, VaultError> {
        let sought = self.memory.sought(prints);
        // A new card is asked for when it is kept, and only then.
        let found = match sought.cards.is_empty() {
            true => Arc::default(),
            false => self.find(sought).await?,
        };
        let mut answers = Vec::with_capacity(pans.len());
        for (pan, print) in pans.iter().zip(prints) {
            answers.push(self.stored(&found, (pan, *print), format, now)?);
        }
        let mut key_gone = false;
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
            let sealed: Vec<_> = rows.iter().map(|new| new.row.clone()).collect();
            let outcomes = self.insert(rows).await?;
            key_gone = outcomes.contains(&Inserted::KeyGone);
            for (answer, (outcome, row)) in
                missing.into_iter().zip(outcomes.into_iter().zip(sealed))
            {
                *answer = match outcome {
                    Inserted::Created(token) => {
                        self.memory.keep_row(|| row, now);
                        Some(Tokenized::Created(token))
                    }
                    Inserted::IsToken => Some(Tokenized::Collided),
                    Inserted::Known(token) => Some(Tokenized::Known(token)),
                    Inserted::KeyGone | Inserted::TokenTaken => None,
                };
            }
        }
        let stuck =
            if key_gone { VaultError::KeyReplaced } else { VaultError::NoTokenFree { format } };
        answers.into_iter().collect::<Option<_>>().ok_or(stuck)
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
        let mut entropy = draw::entropy();
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

    /// What the store has of this number.
    fn stored(
        &self,
        found: &Found,
        (number, print): (&Pan, Fingerprint),
        format: TokenFormat,
        now: Option<Moment>,
    ) -> Result<Option<Tokenized>, VaultError> {
        let token = issued(found, number.expose(), print)?;
        let row = token.or_else(|| found.by_card.get(&(print, format)));
        Ok(row.map(|row| {
            // The shop is about to charge it.
            self.memory.keep_row(|| row.clone(), now);
            token.map_or(Tokenized::Known(row.token), |_| Tokenized::AlreadyToken)
        }))
    }
}
