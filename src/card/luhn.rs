//! The Luhn check digit (ISO/IEC 7812-1, annex B).

/// Whether a run of ASCII digits satisfies the Luhn formula.
#[must_use]
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

fn sum(digits: &[u8]) -> u32 {
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
    fn check_digit_completes_the_number() {
        assert_eq!(check_digit(b"411111111111111"), b'1');
        assert_eq!(check_digit(b"37828224631000"), b'5');
    }
}
