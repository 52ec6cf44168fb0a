//! Which numbers are certainly neither an issued token nor a card that has one, known without asking the
//! store: what a shop shows of other things, and new cards.
//!
//! A Bloom filter over the fingerprints of all tokens ever issued, erased ones among them, and of their
//! cards: 16 bits each, in blocks of half a cache line with one bit in each of eight words (Putze, Sanders and
//! Singler, 2007), so that one number in 800 that is neither is asked for anyway. It answers only while
//! the store's ledger says that none is missing: an issued token is never taken for a number.
//!
//! It is filled in the background after the start, and grows by layers that double: 4 to 8 MiB per
//! million tokens.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use super::store::{Fingerprint, Ledger};
use crate::policy::Live;

/// How many tokens and cards the first layer takes at least.
const TOKENS_MIN: usize = 1 << 16;
/// How many a block of 256 bits takes.
const TOKENS_PER_BLOCK: usize = 16;

/// Odd multipliers that spread one key over eight words (those of Apache Parquet's filter).
const SALTS: [u32; 8] = [
    0x47B6_137B,
    0x4497_4D91,
    0x8824_AD5B,
    0xA2B7_289D,
    0x7054_95C7,
    0x2DF1_424B,
    0x9EFC_4947,
    0x5C6B_FB31,
];

/// What the filter knows a token by: eight bytes of its fingerprint.
pub(super) type FilterKey = u64;

/// The filter of one vault.
pub(super) struct Filter {
    /// None where the store cannot say at once that others issued tokens.
    ledger: Option<Arc<Ledger>>,
    layers: Live<Vec<Arc<Layer>>>,
}

struct Layer {
    blocks: Vec<[AtomicU32; 8]>,
    /// How many more tokens it takes; only the vault's thread adds any.
    room: AtomicU32,
}

impl Filter {
    pub(super) fn new(ledger: Option<Arc<Ledger>>) -> Self {
        Self { ledger, layers: Live::new(Vec::new()) }
    }

    /// Whether this is the fingerprint of no token that was ever issued, and of no card that has one.
    /// `false` where that is not certain.
    pub(super) fn excludes(&self, print: &Fingerprint) -> bool {
        let Some(ledger) = &self.ledger else { return false };
        // First the ledger: what it says is known now stays known.
        ledger.is_followed() && {
            let key = key_of(print);
            !self.layers.peek().iter().any(|layer| layer.holds(key))
        }
    }

    /// Makes room for so many tokens and cards at once.
    pub(super) fn reserve(&self, tokens: usize) {
        if self.ledger.is_some() {
            self.grow(tokens);
        }
    }

    /// Adds a token or a card. Only one thread may: the vault's.
    pub(super) fn add(&self, key: FilterKey) {
        if self.ledger.is_none() {
            return;
        }
        let is_full = |layer: &Arc<Layer>| layer.room.load(Ordering::Relaxed) == 0;
        if self.layers.peek().last().is_none_or(is_full) {
            let last = self.layers.peek().last().map_or(0, |layer| layer.blocks.len());
            self.grow(2 * last * TOKENS_PER_BLOCK);
        }
        if let Some(layer) = self.layers.peek().last() {
            layer.add(key);
        }
    }

    fn grow(&self, tokens: usize) {
        let mut layers = self.layers.load().as_ref().clone();
        layers.push(Arc::new(Layer::new(tokens.max(TOKENS_MIN))));
        self.layers.publish(layers);
    }
}

/// What the filter knows a fingerprint by.
pub(super) fn key_of(print: &Fingerprint) -> FilterKey {
    print.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl Layer {
    fn new(tokens: usize) -> Self {
        let blocks = tokens.div_ceil(TOKENS_PER_BLOCK);
        let room = u32::try_from(blocks * TOKENS_PER_BLOCK).unwrap_or(u32::MAX);
        Self { blocks: (0..blocks).map(|_| Default::default()).collect(), room: room.into() }
    }

    fn holds(&self, key: FilterKey) -> bool {
        self.block(key).is_some_and(|words| {
            let mut bits = words.iter().zip(bits_of(key));
            bits.all(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
        })
    }

    fn add(&self, key: FilterKey) {
        let Some(words) = self.block(key) else { return };
        for (word, bit) in words.iter().zip(bits_of(key)) {
            word.fetch_or(bit, Ordering::Release);
        }
        self.room.store(self.room.load(Ordering::Relaxed).saturating_sub(1), Ordering::Relaxed);
    }

    /// By the upper half of the key; its lower half chooses the bits.
    fn block(&self, key: FilterKey) -> Option<&[AtomicU32; 8]> {
        let count = u64::try_from(self.blocks.len()).ok()?;
        self.blocks.get(usize::try_from(((key >> 32) * count) >> 32).ok()?)
    }
}

fn bits_of(key: FilterKey) -> impl Iterator<Item = u32> {
    let low = u32::try_from(key & u64::from(u32::MAX)).unwrap_or(0);
    SALTS.into_iter().map(move |salt| 1 << (salt.wrapping_mul(low) >> 27))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand;

    use super::*;

    fn print() -> Fingerprint {
        let mut print = Fingerprint([0; 32]);
        rand::fill(&mut print.0).unwrap();
        print
    }

    fn followed(folder: &std::path::Path) -> Filter {
        let ledger = Ledger::open(&folder.join("vault.db")).unwrap();
        ledger.follow(ledger.issues().unwrap());
        Filter::new(Some(Arc::new(ledger)))
    }

    #[test]
    fn no_token_is_excluded_over_several_layers_and_few_others_are_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let filter = followed(folder.path());
        filter.reserve(10);
        let tokens: Vec<_> = (0..300_000).map(|_| print()).collect();
        tokens.iter().for_each(|token| filter.add(key_of(token)));
        assert!(tokens.iter().all(|token| !filter.excludes(token)));
        assert_eq!(filter.layers.peek().len(), 3);
        let missed = (0..100_000).filter(|_| !filter.excludes(&print())).count();
        // Each full layer lets through one in 800; six standard deviations above three of them.
        assert!(missed < 500, "{missed} of 100,000");
    }

    #[test]
    fn a_filter_that_may_lack_a_token_excludes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let filter = followed(folder.path());
        assert!(filter.excludes(&print()));
        Ledger::open(&folder.path().join("vault.db")).unwrap().issue().unwrap();
        assert!(!filter.excludes(&print()));
        assert!(!Filter::new(None).excludes(&print()));
    }
}
