//! The Luhn check digit (ISO/IEC 7812-1, annex B).

/// Whether a run of ASCII digits satisfies the Luhn formula.
#[must_use]
#[inline]
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

#[inline]
fn sum(digits: &[u8]) -> u32 {
    let (Some(first), Some(last)) = (digits.first_chunk(), digits.last_chunk()) else {
        return sum_of_any(digits);
    };
    let (middle, rest) = match digits.len() {
        length @ 9..=16 => (0, length - 8),
        length @ 17..=24 => {
            let middle = digits.get(length - 16..).and_then(|tail| tail.first_chunk());
            (middle.map_or(0, |eight| weigh_eight(u64::from_le_bytes(*eight))), length - 16)
        }
        _ => return sum_of_any(digits),
    };
    // The first digits, moved to where the last of eight stand.
    let first = u64::from_le_bytes(*first) << (64 - rest * 8);
    let lanes = weigh_eight(first) + middle + weigh_eight(u64::from_le_bytes(*last));
    u32::try_from(lanes.wrapping_mul(ONES) >> 56).unwrap_or(0)
}

const ONES: u64 = 0x0101_0101_0101_0101;

/// The weights of eight digits, one in a byte, the last of them highest: a card number in 60
/// instructions, where a loop over its digits takes 170.
#[inline]
fn weigh_eight(digits: u64) -> u64 {
    const DOUBLED: u64 = 0x00FF_00FF_00FF_00FF;
    let values = digits & (ONES * 0x0F);
    let twice = (values & DOUBLED) << 1;
    // Ten and more have the bit of sixteen after six is added.
    let tens = (twice + (ONES & DOUBLED) * 6) >> 4 & ONES;
    (values & !DOUBLED) + twice - tens * 9
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
                assert_eq!(sum(&digits[start..end]), sum_of_any(&digits[start..end]));
            }
        }
    }

    #[test]
    fn check_digit_completes_the_number() {
        assert_eq!(check_digit(b"411111111111111"), b'1');
        assert_eq!(check_digit(b"37828224631000"), b'5');
    }
}
