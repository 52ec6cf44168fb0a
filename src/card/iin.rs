//! Issuer identification numbers (ISO/IEC 7812-1): which prefixes and lengths are cards of whom.
//!
//! The table is `iin.csv`, compiled into the binary and parsed once.

use std::fmt;
use std::sync::LazyLock;

/// A card brand, by its name in `iin.csv`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Brand(&'static str);

/// How much a number in a range proves by itself.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Strength {
    /// Short, rare, closed or domestic: needs a card-like name or phrase near.
    Weak,
    /// An international brand or a domestic one in active use: needs no context.
    Strong,
}

/// One row of the table, for one length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Issuer {
    /// Whose cards these are.
    pub brand: Brand,
    /// Whether numbers of this range carry a Luhn check digit.
    pub luhn: bool,
    /// How many leading digits make the brand known to a shop's own check (1–4).
    pub prefix_digits: usize,
    /// How much the range proves.
    pub strength: Strength,
}

impl Brand {
    /// The name, for metrics and rows: a closed set.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// The brand of that name, if the table has one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        TABLE.iter().map(|row| row.issuer.brand).find(|brand| brand.0 == name)
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// The most specific row for these ASCII digits and their length; a strong row wins over a weak one.
#[must_use]
pub fn issuer(digits: &[u8]) -> Option<&'static Issuer> {
    let matching = TABLE.iter().filter(|row| row.covers(digits));
    matching.max_by_key(|row| (row.issuer.strength, row.width)).map(|row| &row.issuer)
}

static TABLE: LazyLock<Vec<Row>> =
    LazyLock::new(|| include_str!("iin.csv").lines().skip(1).filter_map(Row::parse).collect());

struct Row {
    start: u64,
    end: u64,
    width: usize,
    lengths: u32,
    issuer: Issuer,
}

impl Row {
    fn parse(line: &'static str) -> Option<Self> {
        let mut columns = line.split(',');
        let brand = Brand(columns.next()?);
        let (start, end) = (columns.next()?, columns.next()?);
        let lengths = columns.next()?.split('|').filter_map(|length| length.parse::<u32>().ok());
        let luhn = columns.next()? == "yes";
        let strength = if columns.next()? == "core" { Strength::Strong } else { Strength::Weak };
        Some(Self {
            start: start.parse().ok()?,
            end: end.parse().ok()?,
            width: start.len(),
            lengths: lengths.fold(0, |set, length| set | 1 << length),
            issuer: Issuer { brand, luhn, prefix_digits: start.len().min(4), strength },
        })
    }

    fn covers(&self, digits: &[u8]) -> bool {
        let right_length =
            u32::try_from(digits.len()).is_ok_and(|n| n < 32 && self.lengths >> n & 1 == 1);
        right_length
            && digits.get(..self.width).is_some_and(|prefix| {
                let value =
                    prefix.iter().fold(0, |sum, d| sum * 10 + u64::from(d.wrapping_sub(b'0')));
                (self.start..=self.end).contains(&value)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_table_is_read() {
        assert_eq!(TABLE.len(), include_str!("iin.csv").lines().count() - 1);
    }

    #[test]
    fn the_most_specific_strong_row_names_the_brand() {
        let brand = |digits: &[u8]| issuer(digits).map(|found| found.brand.as_str());
        assert_eq!(brand(b"4111111111111111"), Some("visa"));
        assert_eq!(brand(b"378282246310005"), Some("amex"));
        assert_eq!(brand(b"4011780000000000"), Some("elo"));
        assert_eq!(brand(b"0000000000000000"), None);
    }
}
