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
    let bucket = INDEX.get(head(digits)?)?;
    let prefix = digits.first_chunk::<PREFIX_DIGITS>()?;
    let prefix = prefix.iter().fold(0, |sum, d| sum * 10 + u32::from(d.wrapping_sub(b'0')));
    let length = u32::try_from(digits.len()).ok().filter(|&length| length < u32::BITS)?;
    bucket.rows.iter().rev().find(|row| row.covers(prefix, length)).map(|row| &row.issuer)
}

/// Which lengths ranges have.
pub(crate) fn lengths() -> &'static LengthsByHead {
    &LENGTHS
}

/// The lengths of the ranges, by the first two digits, a nibble each: the place of an entry takes half the
/// instructions of their value, for every long number.
pub(crate) struct LengthsByHead([Lengths; 1 << u8::BITS]);

impl LengthsByHead {
    /// Those of ranges that begin with these two ASCII digits.
    #[inline(always)]
    pub(crate) fn of(&self, [tens, ones]: [u8; 2]) -> Lengths {
        let place = tens << 4 | ones & 0x0F;
        self.0.get(usize::from(place)).copied().unwrap_or_default()
    }
}

/// Lengths as bits: bit 16 for 16 digits.
#[derive(Clone, Copy, Default)]
pub(crate) struct Lengths {
    /// Of any range.
    pub(crate) any: u32,
    /// Of ranges without a check digit.
    pub(crate) unchecked: u32,
}

impl Lengths {
    /// Whether a range has so many digits, and their check digit is right where that has one. Both are
    /// computed, for chance decides both and no processor foresees it.
    #[inline(always)]
    pub(crate) fn fit(self, digits: usize, luhn: bool) -> bool {
        let has = |set: u32| set >> digits & 1;
        has(self.any) & (has(self.unchecked) | u32::from(luhn)) != 0
    }
}

static TABLE: LazyLock<Vec<Row>> =
    LazyLock::new(|| include_str!("iin.csv").lines().skip(1).filter_map(Row::parse).collect());

static LENGTHS: LazyLock<LengthsByHead> = LazyLock::new(|| {
    let lengths = |place: usize| match (place >> 4, place & 0x0F) {
        (tens @ 0..10, ones @ 0..10) => INDEX.get(tens * 10 + ones).map(|found| found.lengths),
        _ => None,
    };
    LengthsByHead(std::array::from_fn(|place| lengths(place).unwrap_or_default()))
});

/// What the first two digits can be.
const HEADS: usize = 100;

/// The most digits that a row looks at.
const PREFIX_DIGITS: usize = 8;

/// The rows by the first two digits of the numbers they cover, the most telling last.
static INDEX: LazyLock<Vec<Bucket>> = LazyLock::new(|| {
    let bucket = |first: usize| {
        let mut bucket = Bucket { rows: Vec::new(), lengths: Lengths::default() };
        for row in TABLE.iter().filter(|row| row.meets(first)) {
            bucket.rows.push(row);
            bucket.lengths.any |= row.lengths;
            bucket.lengths.unchecked |= if row.issuer.luhn { 0 } else { row.lengths };
        }
        bucket.rows.sort_by_key(|row| (row.issuer.strength, row.width));
        bucket
    };
    (0..HEADS).map(bucket).collect()
});

struct Bucket {
    rows: Vec<&'static Row>,
    lengths: Lengths,
}

/// The value of the first two digits.
fn head(digits: &[u8]) -> Option<usize> {
    let [tens, ones, ..] = digits else { return None };
    Some(usize::from(tens.wrapping_sub(b'0')) * 10 + usize::from(ones.wrapping_sub(b'0')))
}

struct Row {
    /// The first and the last prefix, of [`PREFIX_DIGITS`] digits.
    start: u32,
    end: u32,
    width: usize,
    lengths: u32,
    issuer: Issuer,
}

impl Row {
    fn parse(line: &'static str) -> Option<Self> {
        let mut columns = line.split(',');
        let brand = Brand(columns.next()?);
        let (start, end) = (columns.next()?, columns.next()?);
        let unit = 10_u32.pow(u32::try_from(PREFIX_DIGITS.checked_sub(start.len())?).ok()?);
        let lengths = columns.next()?.split('|').filter_map(|length| length.parse::<u32>().ok());
        let luhn = columns.next()? == "yes";
        let strength = if columns.next()? == "core" { Strength::Strong } else { Strength::Weak };
        Some(Self {
            start: start.parse::<u32>().ok()? * unit,
            end: (end.parse::<u32>().ok()? + 1) * unit - 1,
            width: start.len(),
            lengths: lengths.fold(0, |set, length| set | 1 << length),
            issuer: Issuer { brand, luhn, prefix_digits: start.len().min(4), strength },
        })
    }

    /// Whether numbers that begin with the two digits `first` may be in the range.
    fn meets(&self, first: usize) -> bool {
        const REST: u32 = 1_000_000;
        let first = u32::try_from(first).unwrap_or(u32::MAX);
        (self.start / REST..=self.end / REST).contains(&first)
    }

    fn covers(&self, prefix: u32, length: u32) -> bool {
        self.lengths >> length & 1 == 1 && (self.start..=self.end).contains(&prefix)
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
    fn a_number_in_a_range_has_one_of_its_lengths() {
        for head in 0..100 {
            for length in 12..=19 {
                let digits = format!("{head:02}").into_bytes();
                let known = lengths().of([digits[0], digits[1]]).fit(length, true);
                let covers = |row: &Row| row.meets(head) && row.lengths >> length & 1 == 1;
                assert_eq!(known, TABLE.iter().any(covers), "{head} {length}");
            }
        }
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
