//! The Luhn check digit (ISO/IEC 7812-1, annex B).

/// Whether a run of ASCII digits satisfies the Luhn formula.
#[must_use]
#[inline(always)]
pub fn holds(digits: &[u8]) -> bool {
    !digits.is_empty() && sum(digits).is_multiple_of(10)
}

/// The ASCII digit that, appended to `payload`, makes the whole satisfy Luhn.
#[must_use]
pub fn check_digit(payload: &[u8]) -> u8 {
    let doubled = payload.iter().rev().enumerate().map(|(place, &digit)| {
        weigh(digit, if place.is_multiple_of(2) { Place::Doubled } else { Place::Plain })
    });
    let missing = (10 - doubled.sum::<u32>() % 10) % 10;
    b"0123456789".get(usize::try_from(missing).unwrap_or(0)).copied().unwrap_or(b'0')
}

/// The sum of the weights, or what leaves the same rest when divided by ten.
#[inline(always)]
fn sum(digits: &[u8]) -> u32 {
    let (Some(first), Some(last)) = (digits.first_chunk(), digits.last_chunk()) else {
        return sum_of_any(digits);
    };
    let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
    // The first digits are moved to where the last of eight stand.
    match digits.len() {
        length @ 9..=16 => weigh_both(first << (128 - length * 8), last),
        length @ 17..=24 => {
            let middle = digits.get(length - 16..).and_then(|tail| tail.first_chunk());
            let middle = middle.map_or(0, |eight| u64::from_le_bytes(*eight));
            weigh_both(first << (192 - length * 8), last) + weigh_both(middle, 0)
        }
        _ => sum_of_any(digits),
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// Twice eight digits, one in a byte, the last of them highest: a card number in 30 instructions,
/// where a loop over its digits takes 170.
#[inline(always)]
fn weigh_both(some: u64, others: u64) -> u32 {
    const DOUBLED: u64 = 0x00FF_00FF_00FF_00FF;
    // Where a doubled digit has two, their sum is nine less, which is one more but for a ten. Five
    // and more have the bit of eight after three is added.
    let fives = |doubled: u64| (doubled + ONES * 3) >> 3 & ONES;
    let values = [some & (ONES * 0x0F), others & (ONES * 0x0F)];
    let doubled = values.map(|values| values & DOUBLED);
    let twice = doubled.map(|doubled| doubled + fives(doubled));
    // No byte has more than four times nine and two, and all together no more than 224.
    let lanes = values.into_iter().chain(twice).sum::<u64>();
    u32::try_from(lanes.wrapping_mul(ONES) >> 56).unwrap_or(0)
}

#[cold]
fn sum_of_any(digits: &[u8]) -> u32 {
    let pairs = digits.rchunks(2).map(|pair| match pair {
        [tens, ones] => weigh(*tens, Place::Doubled) + weigh(*ones, Place::Plain),
        [ones] => weigh(*ones, Place::Plain),
        _ => 0,
    });
    pairs.sum()
}

enum Place {
    Doubled,
    Plain,
}

fn weigh(digit: u8, place: Place) -> u32 {
    let value = u32::from(digit.wrapping_sub(b'0'));
    match place {
        Place::Plain => value,
        Place::Doubled if value > 4 => value * 2 - 9,
        Place::Doubled => value * 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_numbers_hold_and_a_changed_digit_does_not() {
        for good in [&b"4111111111111111"[..], b"378282246310005", b"6011000990139424"] {
            assert!(holds(good));
        }
        assert!(!holds(b"4111111111111112"));
        assert!(!holds(b""));
    }

    #[test]
    fn digits_at_once_weigh_as_one_by_one() {
        let digits: Vec<u8> = (0..64_u8).map(|place| b'0' + place % 23 * 7 % 10).collect();
        for start in 0..40 {
            for end in start..=digits.len() {
                let run = &digits[start..end];
                assert_eq!(sum(run) % 10, sum_of_any(run) % 10, "{}", run.escape_ascii());
            }
        }
    }

    #[test]
    fn the_largest_sums_fit() {
        for length in 1..=32 {
            let nines = vec![b'9'; length];
            assert_eq!(sum(&nines) % 10, sum_of_any(&nines) % 10, "{length}");
        }
    }

    #[test]
    fn check_digit_completes_the_number() {
        assert_eq!(check_digit(b"411111111111111"), b'1');
        assert_eq!(check_digit(b"37828224631000"), b'5');
    }
}
