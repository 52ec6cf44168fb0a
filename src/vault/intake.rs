//! Taking in cards whose tokens were given elsewhere: by another vault, or by another provider.
//!
//! Nothing that is there is overwritten, and a card that is there keeps its token: taking in the same
//! cards again changes nothing.

use tokio::time::{Instant, sleep};

use super::export::frames::ErasedToken;
use super::keeper::Keeper;
use super::store::{
    ErasedRow, Fingerprint, Inserted, KeptErased, KeyId, NewRow, SealedRow, Sought,
};
use super::tokenize::ROUNDS_MAX;
use super::{Outage, VaultError, cipher, draw};
use crate::card::{Pan, Token, TokenFormat};

/// A card, and what is to stand for it.
pub(super) struct Incoming {
    pub(super) card: Pan,
    pub(super) format: TokenFormat,
    pub(super) wish: Wish,
}

/// Which token a card is to have.
#[derive(Clone, Copy)]
pub(super) enum Wish {
    /// Any of the format.
    Any,
    /// This one or none.
    Exactly(Token),
    /// This one, or another if it is taken.
    IfFree(Token),
}

/// What became of a card.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[must_use]
pub(super) enum Taken {
    /// It was there, under this token.
    Known(Token),
    /// It is new, under this token.
    New(Token),
    /// It is not taken in.
    Refused(Refusal),
}

/// Why a card is not taken in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The card has another token of this format here.
    CardHasToken,
    /// The card's number is a token here, or was one.
    CardIsToken,
    /// The token's card was erased where it comes from, and here it is in use.
    ErasedThere,
    /// The number belongs to no known issuer.
    NoIssuer,
    /// So short a number has no token of this format.
    NoRoom,
    /// The token stands, or stood, for another card here, or is a card's number.
    TokenTaken,
}

/// Where a card's affair stands.
#[derive(Clone, Copy)]
enum Affair {
    Open(Wish),
    Settled(Taken),
}

impl Keeper {
    /// Takes in the cards that can be, and says of each, in order, what became of it.
    pub(super) async fn take_in(&mut self, cards: &[Incoming]) -> Result<Vec<Taken>, VaultError> {
        let cipher = self.keys.cipher.load();
        let prints: Vec<_> =
            cards.iter().map(|incoming| cipher.fingerprint(incoming.card.expose())).collect();
        let mut affairs = self.known(cards, &prints).await?;
        let began = Instant::now();
        let (mut wrote, mut key_gone) = (false, false);
        for _ in 0..ROUNDS_MAX {
            let (mut open, mut rows) = (Vec::new(), Vec::new());
            for ((affair, incoming), print) in affairs.iter_mut().zip(cards).zip(&prints) {
                let Affair::Open(wish) = *affair else { continue };
                match self.row(incoming, wish, *print) {
                    Ok(row) => {
                        open.push((affair, incoming));
                        rows.push(row);
                    }
                    Err(error) => *affair = Affair::Settled(Taken::Refused(refusal(error)?)),
                }
            }
            if rows.is_empty() {
                break;
            }
            wrote = true;
            let outcomes = self.patiently(|store| store.insert(&rows)).await?;
            key_gone = outcomes.contains(&Inserted::KeyGone);
            for ((affair, incoming), outcome) in open.into_iter().zip(outcomes) {
                *affair = incoming.after(*affair, outcome);
            }
            if key_gone {
                self.keys.renew(self.store.as_ref()).await?;
            }
        }
        if wrote {
            // As much of the store is left to running instances.
            sleep(began.elapsed()).await;
        }
        if key_gone && affairs.iter().any(|affair| matches!(affair, Affair::Open(_))) {
            return Err(VaultError::KeyReplaced);
        }
        affairs.into_iter().zip(cards).map(|(affair, incoming)| affair.end(incoming)).collect()
    }

    /// Keeps tokens of cards that were erased elsewhere, and says of each, in order, what became of it.
    pub(super) async fn take_in_erased(
        &self,
        tokens: &[ErasedToken],
    ) -> Result<Vec<KeptErased>, VaultError> {
        let cipher = self.keys.cipher.load();
        let row = |erased: &ErasedToken| ErasedRow {
            token: erased.token,
            token_print: cipher.fingerprint(erased.token.as_bytes()),
            format: erased.format,
        };
        let rows: Vec<_> = tokens.iter().map(row).collect();
        let began = Instant::now();
        let kept = self.patiently(|store| store.keep_erased(&rows)).await?;
        if kept.contains(&KeptErased::New) {
            // As much of the store is left to running instances.
            sleep(began.elapsed()).await;
        }
        Ok(kept)
    }

    /// Which cards are there already. Only reads, so that an import that is resumed is quick about
    /// what it has done before.
    async fn known(
        &self,
        cards: &[Incoming],
        prints: &[Fingerprint],
    ) -> Result<Vec<Affair>, VaultError> {
        let sought = Sought::cards(prints.to_vec());
        let found = self.patiently(|store| store.find(&sought)).await?;
        let affairs = cards.iter().zip(prints).map(|(incoming, print)| {
            let mut rows = found.iter();
            rows.find(|row| row.card_print == *print && row.format == incoming.format)
                .map_or(Affair::Open(incoming.wish), |row| incoming.meets(row.token))
        });
        Ok(affairs.collect())
    }

    fn row(
        &self,
        incoming: &Incoming,
        wish: Wish,
        card_print: Fingerprint,
    ) -> Result<NewRow, VaultError> {
        let (card, format, cipher) = (&incoming.card, incoming.format, self.keys.cipher.load());
        let brand = draw::issuer_of(card)?.brand;
        let mut entropy = draw::entropy();
        let token = match wish {
            Wish::Any => draw::draw(card, format, &mut entropy)?,
            Wish::Exactly(token) | Wish::IfFree(token) => token,
        };
        let mut row = SealedRow {
            token,
            token_print: cipher.fingerprint(token.as_bytes()),
            card_print,
            format,
            version: cipher::ROW_VERSION,
            data_key: KeyId([0; 16]),
            sealed: Vec::new(),
        };
        cipher.seal(&mut row, card).map_err(|_| Outage::Random)?;
        let last_four = card.last_four().iter().copied().map(char::from).collect();
        Ok(NewRow { row, brand, last_four })
    }
}

impl Incoming {
    /// The card is here, under this token.
    fn meets(&self, token: Token) -> Affair {
        Affair::Settled(match self.wish {
            Wish::Exactly(wanted) if wanted != token => Taken::Refused(Refusal::CardHasToken),
            Wish::Any | Wish::Exactly(_) | Wish::IfFree(_) => Taken::Known(token),
        })
    }

    fn after(&self, affair: Affair, outcome: Inserted) -> Affair {
        match outcome {
            Inserted::Created(token) => Affair::Settled(Taken::New(token)),
            Inserted::IsToken => Affair::Settled(Taken::Refused(Refusal::CardIsToken)),
            Inserted::KeyGone => affair,
            Inserted::Known(token) => self.meets(token),
            Inserted::TokenTaken => match self.wish {
                Wish::Exactly(_) => Affair::Settled(Taken::Refused(Refusal::TokenTaken)),
                Wish::Any | Wish::IfFree(_) => Affair::Open(Wish::Any),
            },
        }
    }
}

impl Affair {
    fn end(self, incoming: &Incoming) -> Result<Taken, VaultError> {
        match self {
            Self::Open(_) => Err(VaultError::NoTokenFree { format: incoming.format }),
            Self::Settled(taken) => Ok(taken),
        }
    }
}

/// What is wrong with the card alone; everything else ends the whole import.
fn refusal(error: VaultError) -> Result<Refusal, VaultError> {
    match error {
        VaultError::NoIssuer => Ok(Refusal::NoIssuer),
        VaultError::NoRoom { .. } => Ok(Refusal::NoRoom),
        VaultError::Damaged
        | VaultError::KeyReplaced
        | VaultError::Newer { .. }
        | VaultError::NoTokenFree { .. }
        | VaultError::Unavailable { .. }
        | VaultError::UnknownKey => Err(error),
    }
}

impl Refusal {
    /// A short name, for answers in JSON: a closed set.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CardHasToken => "card_has_token",
            Self::CardIsToken => "card_is_token",
            Self::ErasedThere => "erased_there",
            Self::NoIssuer => "no_issuer",
            Self::NoRoom => "no_room",
            Self::TokenTaken => "token_taken",
        }
    }

    /// What to tell people.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::CardHasToken => "its card has another token of this format here, which stays",
            Self::CardIsToken => "the card's number is, or was, a token here",
            Self::ErasedThere => {
                "its card was erased there and is still here: `vault erase` it too"
            }
            Self::NoIssuer => "the number belongs to no known card issuer",
            Self::NoRoom => "so short a number has no token of this format",
            Self::TokenTaken => "the token is, or was, another card's here",
        }
    }
}
