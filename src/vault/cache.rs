//! What the vault said lately, remembered by each thread for itself.
//!
//! Fingerprints and tokens, never a number; only what is durable is kept (promise P2). A returning card
//! then costs two HMACs and no turn of another thread. Every erasure is noticed at once: where the store
//! has a ledger, by that; on PostgreSQL by a notification, and while the connection for those is away, an
//! erasure by another instance goes unnoticed for [`LIFE`] at most.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::store::Fingerprint;
use super::{Standing, Tokenized};
use crate::card::{Token, TokenFormat};

/// How long an entry counts.
pub(super) const LIFE: Duration = Duration::from_secs(60);

/// Sets of places; a fingerprint has one set.
const SETS: usize = 1 << 12;
/// Places of a set; the one that was used longest ago gives way. 16,384 entries take about 2 MiB.
const PLACES: usize = 4;

thread_local! {
    static ENTRIES: RefCell<Vec<Option<Entry>>> = const { RefCell::new(Vec::new()) };
}

/// Tells the vaults of one process apart: the entries are the thread's.
static VAULTS: AtomicU64 = AtomicU64::new(0);

/// The entries of one vault, on whatever thread it is asked.
pub(super) struct Cache {
    vault: u64,
}

/// When something was asked, and after which erasure.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) erasure: u64,
}

#[derive(Clone)]
struct Entry {
    vault: u64,
    print: Fingerprint,
    meaning: Meaning,
    since: Moment,
    used: Instant,
}

/// What a fingerprint stands for.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Meaning {
    /// A card with this token of this format.
    Card(TokenFormat, Token),
    /// An issued token.
    Token,
}

impl Cache {
    pub(super) fn new() -> Self {
        Self { vault: VAULTS.fetch_add(1, Ordering::Relaxed) }
    }

    /// What the vault would say of this card or token.
    pub(super) fn tokenized(
        &self,
        print: &Fingerprint,
        format: TokenFormat,
        now: Moment,
    ) -> Option<Tokenized> {
        let meaning = self.find(print, now, |meaning| match meaning {
            Meaning::Card(of, _) => of == format,
            Meaning::Token => true,
        })?;
        Some(match meaning {
            Meaning::Card(_, token) => Tokenized::Known(token),
            Meaning::Token => Tokenized::AlreadyToken,
        })
    }

    /// The same of a number in an answer.
    pub(super) fn standing(&self, print: &Fingerprint, now: Moment) -> Option<Standing> {
        let found = self.find(print, now, |meaning| meaning == Meaning::Token);
        found.map(|_| Standing::IssuedToken)
    }

    /// Remembers a card's token, as it was at a moment before the store was asked.
    pub(super) fn keep_card(
        &self,
        print: Fingerprint,
        (format, token): (TokenFormat, Token),
        since: Moment,
    ) {
        self.keep(print, Meaning::Card(format, token), since);
    }

    /// Remembers an issued token.
    pub(super) fn keep_token(&self, print: Fingerprint, since: Moment) {
        self.keep(print, Meaning::Token, since);
    }

    fn find(
        &self,
        print: &Fingerprint,
        now: Moment,
        wanted: impl Fn(Meaning) -> bool,
    ) -> Option<Meaning> {
        ENTRIES.with_borrow_mut(|entries| {
            let places = entries.get_mut(set_of(print))?;
            let counts = |entry: &&mut Entry| {
                entry.vault == self.vault
                    && entry.print == *print
                    && entry.since.erasure == now.erasure
                    && now.at.saturating_duration_since(entry.since.at) < LIFE
                    && wanted(entry.meaning)
            };
            let entry = places.iter_mut().flatten().find(counts)?;
            entry.used = now.at;
            Some(entry.meaning)
        })
    }

    fn keep(&self, print: Fingerprint, meaning: Meaning, since: Moment) {
        let entry = Entry { vault: self.vault, print, meaning, since, used: since.at };
        let same = |old: &Entry| {
            old.vault == self.vault && old.print == print && old.meaning.is_like(meaning)
        };
        ENTRIES.with_borrow_mut(|entries| {
            if entries.is_empty() {
                entries.resize(SETS * PLACES, None);
            }
            let Some(places) = entries.get_mut(set_of(&print)) else { return };
            let rank = |place: &&mut Option<Entry>| {
                let kept = place.as_ref().filter(|old| !same(old));
                kept.map(|old| old.used)
            };
            if let Some(place) = places.iter_mut().min_by_key(rank) {
                *place = Some(entry);
            }
        });
    }
}

impl Meaning {
    /// Whether one of the two replaces the other.
    fn is_like(self, other: Self) -> bool {
        match (self, other) {
            (Self::Card(one, _), Self::Card(other, _)) => one == other,
            (Self::Token, Self::Token) => true,
            (Self::Card(..), Self::Token) | (Self::Token, Self::Card(..)) => false,
        }
    }
}

/// Fingerprints are keyed: nobody can choose cards that meet in one set.
fn set_of(print: &Fingerprint) -> std::ops::Range<usize> {
    let [high, low, ..] = print.0;
    let set = (usize::from(high) << 8 | usize::from(low)) % SETS;
    set * PLACES..(set + 1) * PLACES
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: TokenFormat = TokenFormat::BrandFour;

    fn print(number: u32) -> Fingerprint {
        let mut print = Fingerprint([0; 32]);
        print.0[..4].copy_from_slice(&number.wrapping_mul(0x9E37_79B1).to_be_bytes());
        print.0[28..].copy_from_slice(&number.to_be_bytes());
        print
    }

    fn token(number: u32) -> Token {
        Token::parse(format!("{number:016}").as_bytes()).unwrap()
    }

    fn now() -> Moment {
        Moment { at: Instant::now(), erasure: 7 }
    }

    #[test]
    fn a_card_is_remembered_per_format_and_vault_until_its_time_is_over() {
        let (cache, other, since) = (Cache::new(), Cache::new(), now());
        cache.keep_card(print(1), (FORMAT, token(1)), since);
        let known = Some(Tokenized::Known(token(1)));
        assert_eq!(cache.tokenized(&print(1), FORMAT, since), known);
        assert_eq!(cache.tokenized(&print(1), TokenFormat::SixFour, since), None);
        assert_eq!(other.tokenized(&print(1), FORMAT, since), None);
        assert_eq!(cache.standing(&print(1), since), None, "a card is no token");
        let later = |after| Moment { at: since.at + after, ..since };
        assert_eq!(
            cache.tokenized(&print(1), FORMAT, later(LIFE - Duration::from_nanos(1))),
            known
        );
        assert_eq!(cache.tokenized(&print(1), FORMAT, later(LIFE)), None);
    }

    #[test]
    fn an_erasure_ends_what_was_known_before_it() {
        let (cache, since) = (Cache::new(), now());
        cache.keep_card(print(1), (FORMAT, token(1)), since);
        cache.keep_token(print(2), since);
        let after = Moment { erasure: 8, ..since };
        assert_eq!(cache.tokenized(&print(1), FORMAT, after), None);
        assert_eq!(cache.standing(&print(2), after), None);
        assert_eq!(cache.standing(&print(2), since), Some(Standing::IssuedToken));
        assert_eq!(cache.tokenized(&print(2), FORMAT, since), Some(Tokenized::AlreadyToken));
    }

    #[test]
    fn a_million_cards_take_no_more_room_and_the_last_are_still_known() {
        let (cache, since) = (Cache::new(), now());
        for number in 0..1_000_000 {
            let at = since.at + Duration::from_nanos(u64::from(number));
            cache.keep_card(print(number), (FORMAT, token(number)), Moment { at, ..since });
        }
        let places = ENTRIES.with_borrow(Vec::len);
        assert_eq!(places, SETS * PLACES);
        assert!(places * size_of::<Option<Entry>>() <= 2 << 20);
        let now = Moment { at: since.at + Duration::from_millis(1), ..since };
        let known = (999_000..1_000_000)
            .filter(|number| cache.tokenized(&print(*number), FORMAT, now).is_some());
        assert!(known.count() > 950);
    }
}
