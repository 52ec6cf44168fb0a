//! One entry as bytes. Times are told from the moment of writing, so that no clock must go on.

use std::time::Duration;

use super::bucket::Bucket;
use super::failures::{FAILURES_MAX, Failure};
use super::known::Known;
use super::ledger::Ledger;
use super::ticks::Ticks;
use crate::counters::{CounterKey, Tag};

/// An entry that can be written down.
pub(super) trait Record: Sized {
    fn write(&self, into: &mut Vec<u8>, now: Ticks);

    /// `None` where it is cut off.
    fn read(from: &mut Reader<'_>) -> Option<Self>;
}

/// Goes through what was written.
pub(super) struct Reader<'b> {
    pub(super) bytes: &'b [u8],
    /// What was then now, by the clock of today.
    pub(super) then: Ticks,
}

impl Reader<'_> {
    pub(super) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*taken)
    }

    pub(super) fn key(&mut self) -> Option<CounterKey> {
        Some(CounterKey::from_bytes(self.take()?))
    }

    fn byte(&mut self) -> Option<u8> {
        let [byte] = self.take()?;
        Some(byte)
    }

    fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take()?))
    }

    fn ticks(&mut self) -> Option<Ticks> {
        let offset = i32::from_be_bytes(self.take()?);
        let never = offset == i32::MIN;
        Some(if never {
            Ticks::default()
        } else {
            Ticks(self.then.0.saturating_add_signed(offset))
        })
    }
}

impl Record for Ledger {
    fn write(&self, into: &mut Vec<u8>, now: Ticks) {
        put_ticks(into, Ticks::after(self.attempts.idle_at()), now);
        put_ticks(into, self.locked_until, now);
        put_ticks(into, self.stale_at, now);
        into.extend(self.row.to_be_bytes());
        into.extend([self.level, self.locked_by, u8::from(self.barred)]);
        into.push(u8::try_from(self.failures.count()).unwrap_or(u8::MAX));
        for failure in self.failures.iter() {
            put_ticks(into, failure.at, now);
            into.extend(failure.tag.0.to_be_bytes());
        }
    }

    /// Places are not held for attempts that ended with their process: they were written as failures
    /// by whoever drained, and cost no more than one each where nobody did.
    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let mut ledger = Self {
            attempts: Bucket::idle_from(from.ticks()?.moment()),
            locked_until: from.ticks()?,
            stale_at: from.ticks()?,
            row: from.short()?,
            level: from.byte()?,
            locked_by: from.byte()?,
            barred: from.byte()? != 0,
            ..Self::default()
        };
        for _ in 0..usize::from(from.byte()?).min(FAILURES_MAX) {
            let at = from.ticks()?;
            ledger.failures.push(Failure { at, tag: Tag(u32::from_be_bytes(from.take()?)) });
        }
        Some(ledger)
    }
}

impl Record for Known {
    fn write(&self, into: &mut Vec<u8>, now: Ticks) {
        put_ticks(into, self.until, now);
        into.push(self.days);
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        Some(Self { until: from.ticks()?, days: from.byte()? })
    }
}

/// A moment, from now; one that never was stays so.
fn put_ticks(into: &mut Vec<u8>, moment: Ticks, now: Ticks) {
    let offset = i64::from(moment.0) - i64::from(now.0);
    let offset = if moment == Ticks::default() {
        i32::MIN
    } else {
        i32::try_from(offset).unwrap_or(i32::MAX)
    };
    into.extend(offset.to_be_bytes());
}

/// A moment so long before another.
pub(super) fn earlier(moment: Duration, by: Duration) -> Ticks {
    Ticks::after(moment.saturating_sub(by))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Limit;

    #[test]
    fn an_entry_is_read_as_it_was_written_and_older_by_what_has_passed() {
        let limit = Limit { lockout: Some(crate::policy::Lockout::default()), quota: None };
        let (mut ledger, now) = (Ledger::default(), Duration::from_secs(500));
        for tag in 0..9 {
            ledger.charge(now + Duration::from_secs(tag.into()), Tag(tag), &limit);
        }
        let mut bytes = Vec::new();
        ledger.write(&mut bytes, Ticks::after(now));
        let then = earlier(Duration::from_secs(9_000), Duration::from_secs(60));
        let read = Ledger::read(&mut Reader { bytes: &bytes, then }).unwrap();
        assert_eq!((read.row, read.failures.count(), read.locked_until), (9, 9, Ticks(0)));
        let last = read.failures.last().unwrap();
        assert_eq!((last.at.moment(), last.tag), (Duration::from_secs(8_948), Tag(8)));
        for end in 0..bytes.len() {
            assert!(Ledger::read(&mut Reader { bytes: &bytes[..end], then }).is_none());
        }
    }
}
