//! One table per dimension, so that a flood under one takes nothing from another.

use std::sync::atomic::AtomicBool;

use super::known::Known;
use super::ledger::Ledger;
use super::table::Table;
use crate::policy::Dimension;

/// Parts of the memory, in hundredths. Pairs and accounts are the most, and each customer has a known
/// network or two; sites are as few as the configuration names.
const ACCOUNTS: usize = 30;
const DEVICES: usize = 4;
const KNOWN: usize = 20;
const NETWORKS: usize = 18;
const PAIRS: usize = 22;
const WIDE_NETWORKS: usize = 5;
const SITES: usize = 1;

/// Everything that is counted.
pub(super) struct Tables {
    /// Whether anything has, since it was written down.
    pub(super) changed: AtomicBool,
    accounts: Table<Ledger>,
    devices: Table<Ledger>,
    nameless: Table<Ledger>,
    networks: Table<Ledger>,
    pairs: Table<Ledger>,
    sites: Table<Ledger>,
    wide_networks: Table<Ledger>,
    /// Networks known for an account, by the pair's key.
    pub(super) known: Table<Known>,
}

/// How full a table is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Fill {
    /// The name used in metrics.
    pub table: &'static str,
    /// How many keys it holds, also of what it may forget.
    pub keys: usize,
    /// The most it can hold.
    pub keys_max: usize,
}

impl Tables {
    /// Empty; in at most so many bytes, and as much as a handful of entries take at least.
    pub(super) fn new(memory_bytes: usize) -> Self {
        let part = |hundredths| memory_bytes / 100 * hundredths;
        Self {
            changed: AtomicBool::new(false),
            accounts: Table::new(part(ACCOUNTS)),
            devices: Table::new(part(DEVICES)),
            nameless: Table::new(part(SITES) / 2),
            networks: Table::new(part(NETWORKS)),
            pairs: Table::new(part(PAIRS)),
            sites: Table::new(part(SITES) / 2),
            wide_networks: Table::new(part(WIDE_NETWORKS)),
            known: Table::new(part(KNOWN)),
        }
    }

    /// How full each table is.
    pub(super) fn fill(&self) -> impl Iterator<Item = Fill> + '_ {
        let ledgers = Dimension::ALL.into_iter().map(|dimension| {
            let table = self.of(dimension);
            Fill { table: dimension.as_str(), keys: table.keys(), keys_max: table.keys_max() }
        });
        let (keys, keys_max) = (self.known.keys(), self.known.keys_max());
        ledgers.chain([Fill { table: "known_network", keys, keys_max }])
    }

    /// The table of a dimension.
    pub(super) fn of(&self, dimension: Dimension) -> &Table<Ledger> {
        match dimension {
            Dimension::Account => &self.accounts,
            Dimension::Device => &self.devices,
            Dimension::Nameless => &self.nameless,
            Dimension::Network => &self.networks,
            Dimension::Pair => &self.pairs,
            Dimension::Site => &self.sites,
            Dimension::WideNetwork => &self.wide_networks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_memory_holds_what_the_reference_says() {
        let tables = Tables::new(256 << 20);
        let thousands = |dimension| tables.of(dimension).keys_max() / 1000;
        assert_eq!(thousands(Dimension::Account), 704);
        assert_eq!(thousands(Dimension::Pair), 516);
        assert_eq!(thousands(Dimension::Network), 422);
        assert_eq!(tables.known.keys_max() / 1000, 1_878);
    }
}
