//! Points in time as people and other programs read them.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

/// RFC 3339, UTC, to the millisecond.
pub struct Rfc3339(pub SystemTime);

/// The date of HTTP's fields (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
pub struct HttpDate(pub SystemTime);

/// The time of Apache's log formats: `10/Oct/2000:13:55:36 +0000`.
pub(super) struct ApacheTime(pub(super) SystemTime);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = utc(self.0);
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        let (hour, minute, second) = at.to_hms();
        let millisecond = at.millisecond();
        write!(f, "{year:04}-{month:02}-{day:02}T")?;
        write!(f, "{hour:02}:{minute:02}:{second:02}.{millisecond:03}Z")
    }
}

impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = utc(self.0);
        let (weekday, month) = (at.weekday().to_string(), at.month().to_string());
        let [weekday, month] = [&weekday, &month].map(|name| name.get(..3).unwrap_or(name));
        let (day, year) = (at.day(), at.year());
        let (hour, minute, second) = at.to_hms();
        write!(f, "{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

impl fmt::Display for ApacheTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = utc(self.0);
        let (hour, minute, second) = at.to_hms();
        let name = at.month().to_string();
        let month = name.get(..3).unwrap_or(&name);
        let (day, year) = (at.day(), at.year());
        write!(f, "{day:02}/{month}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
    }
}

/// Total: a clock before 1970 or past the calendar reads as 1970.
fn utc(at: SystemTime) -> OffsetDateTime {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanoseconds = i128::try_from(since.as_nanos()).unwrap_or_default();
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_writings_of_a_known_instant() {
        let at = UNIX_EPOCH + Duration::from_millis(971_186_136_007);
        assert_eq!(Rfc3339(at).to_string(), "2000-10-10T13:55:36.007Z");
        assert_eq!(ApacheTime(at).to_string(), "10/Oct/2000:13:55:36 +0000");
        assert_eq!(HttpDate(at).to_string(), "Tue, 10 Oct 2000 13:55:36 GMT");
    }

    #[test]
    fn a_clock_before_1970_reads_as_1970() {
        let at = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Rfc3339(at).to_string(), "1970-01-01T00:00:00.000Z");
    }
}
