//! The counts beside those that are committed.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;

use crate::counted::Cost;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions/baseline.txt");

/// Hash seeds and what else the clock and chance decide move a count by less than half of this.
const TOLERANCE_PER_MILLE: i64 = 30;

/// The baseline, and what was counted now.
pub(crate) struct Ledger {
    baseline: BTreeMap<String, u64>,
    now: Vec<(&'static str, Cost)>,
}

impl Ledger {
    pub(crate) const HEAD: &str = "| per request                | instructions | allocations |  baseline |  change |\n\
         | ---                        |         ---: |        ---: |      ---: |    ---: |";

    /// Lines of a count and a name.
    pub(crate) fn read() -> io::Result<Self> {
        let text = match std::fs::read_to_string(FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let entry = |line: &str| {
            let (count, name) = line.trim().split_once(' ')?;
            Some((name.trim().to_owned(), count.parse().ok()?))
        };
        Ok(Self { baseline: text.lines().filter_map(entry).collect(), now: Vec::new() })
    }

    /// Takes a count; gives its row.
    pub(crate) fn enter(&mut self, name: &'static str, cost: Cost) -> String {
        self.now.push((name, cost));
        let (before, change) = match self.change(name, cost) {
            Some((before, change)) => {
                let sign = if change < 0 { '-' } else { '+' };
                let change = change.unsigned_abs();
                (before.to_string(), format!("{sign}{}.{} %", change / 10, change % 10))
            }
            None => ("none".to_owned(), String::new()),
        };
        let Cost { instructions, allocations } = cost;
        format!(
            "| {name:<26} | {instructions:>12} | {allocations:>11.1} | {before:>9} | {change:>7} |"
        )
    }

    /// Whether no path costs more than its baseline and a little.
    pub(crate) fn holds(&self) -> bool {
        self.now.iter().all(|(name, cost)| {
            self.change(name, *cost).is_some_and(|(_, change)| change <= TOLERANCE_PER_MILLE)
        })
    }

    /// Writes down what was counted, beside what was not counted this time.
    pub(crate) fn save(mut self) -> io::Result<()> {
        for (name, cost) in self.now {
            self.baseline.insert(name.to_owned(), cost.instructions);
        }
        let mut text = String::new();
        for (name, count) in self.baseline {
            let _ = writeln!(text, "{count:>9} {name}");
        }
        std::fs::write(FILE, text)
    }

    /// What it was, and the change in thousandths of it.
    fn change(&self, name: &str, cost: Cost) -> Option<(u64, i64)> {
        let before = *self.baseline.get(name)?;
        let difference = i64::try_from(cost.instructions).ok()? - i64::try_from(before).ok()?;
        Some((before, difference * 1000 / i64::try_from(before).ok()?.max(1)))
    }
}
