//! The sealed rows of tokens that were given lately, for all threads of the process.
//!
//! A shop charges a token seconds after it was made, and often on another connection: such a reveal
//! opens what is remembered here and wakes no other thread. Rows are as sealed as on the disk; cards are
//! opened for each reveal anew, and no number is kept.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cache::Moment;
use super::store::{Fingerprint, SealedRow};

/// How long a row counts: a customer who has to confirm the payment elsewhere takes minutes.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Sets of rows, each behind a lock of its own that is held for a copy; a fingerprint has one set.
const SETS: usize = 1 << 12;
/// Rows of a set; the oldest one gives way. 16,384 rows take about 4 MiB.
const PLACES: usize = 4;

/// The rows of one vault.
pub(super) struct Recent {
    sets: Vec<Mutex<Vec<Entry>>>,
}

struct Entry {
    row: SealedRow,
    since: Moment,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self { sets: (0..SETS).map(|_| Mutex::default()).collect() }
    }

    /// The row of a token, unless one was erased since.
    pub(super) fn row(&self, token: &Fingerprint, now: Moment) -> Option<SealedRow> {
        let counts = |entry: &&Entry| {
            entry.row.token_print == *token
                && entry.since.erasure == now.erasure
                && now.at.saturating_duration_since(entry.since.at) < LIFE
        };
        self.set(token)?.iter().find(counts).map(|entry| entry.row.clone())
    }

    /// Remembers a row that is durable, as it was at a moment before the store was asked.
    pub(super) fn keep(&self, row: SealedRow, since: Moment) {
        let Some(mut set) = self.set(&row.token_print) else { return };
        set.retain(|old| old.row.token_print != row.token_print);
        if set.len() == PLACES {
            let oldest = set.iter().enumerate().min_by_key(|(_, old)| old.since.at);
            if let Some((oldest, _)) = oldest {
                set.swap_remove(oldest);
            }
        }
        set.push(Entry { row, since });
    }

    /// Fingerprints are keyed: nobody can choose tokens that meet in one set. What another thread may
    /// have left half done when it panicked is whole rows all the same.
    fn set(&self, token: &Fingerprint) -> Option<MutexGuard<'_, Vec<Entry>>> {
        let [high, low, ..] = token.0;
        let set = self.sets.get((usize::from(high) << 8 | usize::from(low)) % SETS)?;
        Some(set.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::card::{Token, TokenFormat};
    use crate::vault::store::KeyId;

    fn row(number: u32) -> SealedRow {
        let mut token_print = Fingerprint([0; 32]);
        token_print.0[..4].copy_from_slice(&number.wrapping_mul(0x9E37_79B1).to_be_bytes());
        token_print.0[28..].copy_from_slice(&number.to_be_bytes());
        SealedRow {
            token: Token::parse(format!("{number:016}").as_bytes()).unwrap(),
            token_print,
            card_print: Fingerprint([1; 32]),
            format: TokenFormat::BrandFour,
            version: 1,
            data_key: KeyId([2; 16]),
            sealed: vec![0; 44],
        }
    }

    fn now() -> Moment {
        Moment { at: Instant::now(), erasure: 7 }
    }

    #[test]
    fn a_row_is_remembered_until_its_time_is_over_or_something_is_erased() {
        let (recent, since) = (Recent::new(), now());
        let print = row(1).token_print;
        assert!(recent.row(&print, since).is_none());
        recent.keep(row(1), since);
        let at = |after| Moment { at: since.at + after, ..since };
        let kept = recent.row(&print, at(LIFE - Duration::from_nanos(1)));
        assert!(kept.is_some_and(|kept| kept.token == row(1).token));
        assert!(recent.row(&print, at(LIFE)).is_none());
        assert!(recent.row(&print, Moment { erasure: 8, ..since }).is_none());
        assert!(recent.row(&row(2).token_print, since).is_none());
    }

    #[test]
    fn a_row_that_is_kept_again_takes_its_own_place() {
        let (recent, since) = (Recent::new(), now());
        for _ in 0..2 * PLACES {
            recent.keep(row(1), since);
        }
        let print = row(1).token_print;
        assert_eq!(recent.set(&print).unwrap().len(), 1);
    }

    #[test]
    fn a_million_rows_take_no_more_room_and_the_last_are_still_known() {
        let (recent, since) = (Recent::new(), now());
        for number in 0..1_000_000 {
            let at = since.at + Duration::from_nanos(u64::from(number));
            recent.keep(row(number), Moment { at, ..since });
        }
        assert!(size_of::<Entry>() + 44 <= 256);
        let known = (999_000..1_000_000)
            .filter(|number| recent.row(&row(*number).token_print, since).is_some());
        assert!(known.count() > 950);
    }
}
