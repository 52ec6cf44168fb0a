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
