//! Sizes, spans of time and rates, as people write them.

use std::num::NonZeroU32;
use std::time::Duration;

use thiserror::Error;

use crate::policy::Quota;

/// The longest span of time: beyond it a clock may overflow, and nobody waits so long.
const DURATION_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// The largest size: what fits everywhere a length is kept.
const SIZE_BYTES_MAX: u64 = 1 << 50;

const SIZE_UNITS: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
];

const TIME_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const RATE_UNITS: &[(&str, u64)] = &[("s", 1), ("min", 60), ("hour", 3_600), ("day", 86_400)];

/// Why a text is no size, span of time or rate.
#[derive(Clone, Debug, Eq, Error, PartialEq)]
pub(super) enum UnitError {
    #[error("has no unit")]
    NoUnit,
    #[error("does not begin with a whole number")]
    NotANumber,
    #[error("is too large")]
    TooLarge,
    #[error("has a unit that is not known here")]
    UnknownUnit,
    #[error("is zero, which would mean never")]
    Zero,
}

/// Reads `"10MiB"` as bytes.
pub(super) fn size(text: &str) -> Result<u64, UnitError> {
    let (count, unit) = split(text)?;
    let bytes = count.checked_mul(factor(unit, SIZE_UNITS)?).ok_or(UnitError::TooLarge)?;
    if bytes > SIZE_BYTES_MAX { Err(UnitError::TooLarge) } else { Ok(bytes) }
}

/// Reads `"250ms"` as a span of time.
pub(super) fn duration(text: &str) -> Result<Duration, UnitError> {
    let (count, unit) = split(text)?;
    let millis = count.checked_mul(factor(unit, TIME_UNITS)?).ok_or(UnitError::TooLarge)?;
    let duration = Duration::from_millis(millis);
    if duration > DURATION_MAX { Err(UnitError::TooLarge) } else { Ok(duration) }
}

/// Reads `"20/min"` as a rate.
pub(super) fn rate(text: &str) -> Result<Quota, UnitError> {
    let (count, unit) = split(text)?;
    let unit = unit.strip_prefix('/').ok_or(UnitError::NoUnit)?;
    let per = Duration::from_secs(factor(unit.trim_start(), RATE_UNITS)?);
    let count = u32::try_from(count).map_err(|_| UnitError::TooLarge)?;
    Ok(Quota { count: NonZeroU32::new(count).ok_or(UnitError::Zero)?, per })
}

/// The number, never zero, and what follows it.
fn split(text: &str) -> Result<(u64, &str), UnitError> {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || rest.starts_with('.') {
        return Err(UnitError::NotANumber);
    }
    // Digits only, so the one way to fail is to be too large.
    let count: u64 = digits.parse().map_err(|_| UnitError::TooLarge)?;
    if count == 0 {
        return Err(UnitError::Zero);
    }
    Ok((count, rest.trim_start()))
}

fn factor(unit: &str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    if unit.is_empty() {
        return Err(UnitError::NoUnit);
    }
    let known = units.iter().find(|(name, _)| *name == unit);
    known.map(|(_, factor)| *factor).ok_or(UnitError::UnknownUnit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit_of_a_thousand_or_of_1024() {
        let table = [
            ("10MiB", Ok(10 << 20)),
            ("64KB", Ok(64_000)),
            ("1 GiB", Ok(1 << 30)),
            ("7B", Ok(7)),
            ("10", Err(UnitError::NoUnit)),
            ("0MiB", Err(UnitError::Zero)),
            ("1.5MiB", Err(UnitError::NotANumber)),
            ("-1MiB", Err(UnitError::NotANumber)),
            ("", Err(UnitError::NotANumber)),
            ("10mib", Err(UnitError::UnknownUnit)),
            ("10M", Err(UnitError::UnknownUnit)),
            ("18446744073709551615GiB", Err(UnitError::TooLarge)),
            ("99999999999999999999999B", Err(UnitError::TooLarge)),
            ("2000000GiB", Err(UnitError::TooLarge)),
        ];
        for (text, expected) in table {
            assert_eq!(size(text), expected, "{text}");
        }
    }

    #[test]
    fn a_span_of_time_has_a_unit_and_an_end() {
        let table = [
            ("250ms", Ok(Duration::from_millis(250))),
            ("5s", Ok(Duration::from_secs(5))),
            ("30m", Ok(Duration::from_secs(1_800))),
            ("24h", Ok(Duration::from_secs(86_400))),
            ("366d", Ok(DURATION_MAX)),
            ("367d", Err(UnitError::TooLarge)),
            ("5", Err(UnitError::NoUnit)),
            ("0s", Err(UnitError::Zero)),
            ("5min", Err(UnitError::UnknownUnit)),
            ("s", Err(UnitError::NotANumber)),
            ("٣s", Err(UnitError::NotANumber)),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text), expected, "{text}");
        }
    }

    #[test]
    fn a_rate_is_a_count_per_unit() {
        let per = |count, seconds| {
            let count = NonZeroU32::new(count).unwrap();
            Ok(Quota { count, per: Duration::from_secs(seconds) })
        };
        let table = [
            ("20/min", per(20, 60)),
            ("5/s", per(5, 1)),
            ("100/hour", per(100, 3_600)),
            ("3 / day", per(3, 86_400)),
            ("20", Err(UnitError::NoUnit)),
            ("20min", Err(UnitError::NoUnit)),
            ("20/", Err(UnitError::NoUnit)),
            ("0/min", Err(UnitError::Zero)),
            ("20/fortnight", Err(UnitError::UnknownUnit)),
            ("5000000000/s", Err(UnitError::TooLarge)),
        ];
        for (text, expected) in table {
            assert_eq!(rate(text), expected, "{text}");
        }
    }
}
