//! How a call reaches the store's thread: through a bounded queue, and in time.

use std::borrow::Borrow;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::cache::Moment;
use super::store::{Fingerprint, Inserted, NewRow, SealedRow, Sought};
use super::worker::{Found, GROUP_MAX, Insertion, Lookup};
use super::{Health, Outage, Presented, Vault, VaultError};
use crate::card::Pan;

impl Vault {
    pub(super) fn prints<'a>(&self, texts: impl Iterator<Item = &'a [u8]>) -> Vec<Fingerprint> {
        let cipher = self.cipher.peek();
        texts.map(|text| cipher.fingerprint(text)).collect()
    }

    /// The cards of issued tokens, which are remembered as of `now`.
    pub(super) async fn cards(
        &self,
        asked: (&[Presented], &[Fingerprint]),
        now: Option<Moment>,
    ) -> Result<Vec<Option<Pan>>, VaultError> {
        let cipher = self.cipher.load();
        let card = |row: &SealedRow| {
            let card = cipher.open(row).card()?;
            self.memory.keep_row(|| row.clone(), now);
            Ok(card)
        };
        self.each_token(asked, |row| row.map(card).transpose()).await
    }

    /// Asks `about` for each, with its row if it is an issued token.
    pub(super) async fn each_token<T>(
        &self,
        (presented, prints): (&[impl Borrow<Presented>], &[Fingerprint]),
        about: impl Fn(Option<&SealedRow>) -> Result<T, VaultError>,
    ) -> Result<Vec<T>, VaultError> {
        let mut answers = Vec::with_capacity(presented.len());
        for (group, prints) in presented.chunks(GROUP_MAX).zip(prints.chunks(GROUP_MAX)) {
            let found = self.find(Sought::tokens(prints.to_vec())).await?;
            for (one, print) in group.iter().zip(prints) {
                answers.push(about(issued(&found, one.borrow().expose(), *print)?)?);
            }
        }
        Ok(answers)
    }

    pub(super) async fn find(&self, sought: Sought) -> Result<Arc<Found>, VaultError> {
        let (reply, answer) = oneshot::channel();
        ask(&self.lookups, Lookup { sought, reply }, answer).await
    }

    pub(super) async fn insert(&self, rows: Vec<NewRow>) -> Result<Vec<Inserted>, VaultError> {
        let (reply, answer) = oneshot::channel();
        ask(&self.insertions, Insertion { rows, reply }, answer).await
    }

    /// Returns when the keys have been read again, or cannot be.
    pub(super) async fn renew_keys(&self) {
        let (reply, done) = oneshot::channel();
        if self.renewals.try_send(reply).is_ok() {
            let _ = done.await;
        }
    }

    pub(super) async fn in_time<T>(
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
pub(super) fn issued<'a>(
    found: &'a Found,
    text: &[u8],
    print: Fingerprint,
) -> Result<Option<&'a SealedRow>, VaultError> {
    match found.by_token.get(&print) {
        Some(row) if row.token.as_bytes() != text => Err(VaultError::Damaged),
        row => Ok(row),
    }
}
