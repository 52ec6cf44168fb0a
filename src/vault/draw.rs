//! Draws tokens: the digits, or the name, that stand for a card.
//!
//! Digits are uniform. A drawn number has the card's length, brand and last four and differs from
//! the card; whether it is free is for the store to say. Brands with a narrow range (six or eight
//! fixed digits) leave fewer digits to chance, since a token of another brand would be refused by
//! the shop.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::{Outage, VaultError};
use crate::card::iin::{self, Issuer};
use crate::card::{OPAQUE_RANDOM, PAN_DIGITS_MIN, Pan, Token, TokenFormat, luhn};
use crate::scan::{Carrier, FieldRules, Rules, find_all};

/// Fills a buffer with random bytes.
pub(super) type Entropy<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), Outage>;

/// Bytes of the system's generator, asked for many at a time: a call costs the same for one as for all.
pub(super) fn entropy() -> impl FnMut(&mut [u8]) -> Result<(), Outage> {
    let (mut ahead, mut left) = (Zeroizing::new([0; 64]), 0);
    move |buffer| {
        for byte in buffer {
            if left == 0 {
                rand::fill(ahead.as_mut_slice()).map_err(|_| Outage::Random)?;
                left = ahead.len();
            }
            left -= 1;
            *byte = ahead.get(left).copied().ok_or(Outage::Random)?;
        }
        Ok(())
    }
}

/// How many candidates are tried for one token. In the narrowest range of the table one in 200 is
/// of the card's brand, so that all of them miss once in 10^8 draws.
const CANDIDATES_MAX: usize = 4096;

/// The fewest digits left to chance, the check digit among them.
const FREE_DIGITS_MIN: usize = 4;

/// A token for the card.
///
/// # Errors
/// When the card has no known issuer, the format has no room in so short a number, or no candidate
/// fits.
pub(super) fn draw(
    card: &Pan,
    format: TokenFormat,
    entropy: Entropy<'_>,
) -> Result<Token, VaultError> {
    let issuer = issuer_of(card)?;
    let Some(shape) = Shape::of(card, issuer, format)? else {
        return opaque(entropy);
    };
    let mut digits = Zeroizing::new(card.expose().to_vec());
    for _ in 0..CANDIDATES_MAX {
        shape.fill(&mut digits, entropy)?;
        let same_brand = iin::issuer(&digits).is_some_and(|other| other.brand == issuer.brand);
        if same_brand && digits.as_slice() != card.expose() {
            return Token::parse(&digits).map_err(|_| VaultError::NoTokenFree { format });
        }
    }
    Err(VaultError::NoTokenFree { format })
}

/// An opaque token in which no scanner can find a card: with fewer digits than a card has, and none
/// that base64 could hide. One draw in 40,000 is thrown away.
fn opaque(entropy: Entropy<'_>) -> Result<Token, VaultError> {
    for _ in 0..CANDIDATES_MAX {
        let mut random = [0; OPAQUE_RANDOM];
        entropy(&mut random)?;
        let token = Token::opaque(&random);
        let digits = token.as_bytes().iter().filter(|byte| byte.is_ascii_digit()).count();
        let text = Bytes::copy_from_slice(token.as_bytes());
        if digits < PAN_DIGITS_MIN && find_all(&ANYTHING, Carrier::Text, &text).is_empty() {
            return Ok(token);
        }
    }
    Err(VaultError::NoTokenFree { format: TokenFormat::Opaque })
}

/// What no token may hold.
static ANYTHING: LazyLock<Arc<Rules>> =
    LazyLock::new(|| Arc::new(Rules::responses(FieldRules::default()).strict()));

/// Whether a token given elsewhere could have been drawn here.
///
/// # Errors
/// When no token can be, in this format.
pub(super) fn fits(card: &Pan, token: &Token, format: TokenFormat) -> Result<bool, VaultError> {
    let issuer = issuer_of(card)?;
    let Some(shape) = Shape::of(card, issuer, format)? else { return Ok(token.is_opaque()) };
    let (card, token) = (card.expose(), token.as_bytes());
    let same_brand = iin::issuer(token).is_some_and(|other| other.brand == issuer.brand);
    Ok(same_brand && token.len() == card.len() && token != card && shape.keeps(card, token))
}

/// Who issued the card.
///
/// # Errors
/// When no range covers the number.
pub(super) fn issuer_of(card: &Pan) -> Result<&'static Issuer, VaultError> {
    iin::issuer(card.expose()).ok_or(VaultError::NoIssuer)
}

/// Which digits of a number are kept, and what its check digit must be.
struct Shape {
    head: usize,
    tail: usize,
    check: Check,
}

enum Check {
    Holds,
    Fails,
}

impl Shape {
    /// `None` for a format that keeps no digit.
    fn of(card: &Pan, issuer: &Issuer, format: TokenFormat) -> Result<Option<Self>, VaultError> {
        let (head, check) = match format {
            TokenFormat::BrandFour => (issuer.prefix_digits, Check::Holds),
            TokenFormat::Opaque => return Ok(None),
            TokenFormat::SixFour => (6, Check::Holds),
            TokenFormat::SixFourInvalid => (6, Check::Fails),
        };
        let shape = Self { head, tail: 4, check };
        let length = card.expose().len();
        if length < shape.head + shape.tail + FREE_DIGITS_MIN {
            return Err(VaultError::NoRoom { format, length });
        }
        Ok(Some(shape))
    }

    /// Whether `token` has what the shape keeps of `card`, of whose length it is.
    fn keeps(&self, card: &[u8], token: &[u8]) -> bool {
        let tail = card.len().saturating_sub(self.tail);
        let checks = match self.check {
            Check::Holds => luhn::holds(token),
            Check::Fails => !luhn::holds(token),
        };
        checks
            && card.get(..self.head) == token.get(..self.head)
            && card.get(tail..) == token.get(tail..)
    }

    /// Replaces the middle of `digits`, the last place of it by what the check digit asks for.
    fn fill(&self, digits: &mut [u8], entropy: Entropy<'_>) -> Result<(), VaultError> {
        let last = digits.len().saturating_sub(self.tail + 1);
        for place in digits.iter_mut().take(last).skip(self.head) {
            *place = b'0' + below(10, entropy)?;
        }
        // Each of the ten digits gives another Luhn sum, so exactly one of them makes it hold.
        let holds = (b'0'..=b'9').find(|digit| {
            if let Some(place) = digits.get_mut(last) {
                *place = *digit;
            }
            luhn::holds(digits)
        });
        if let (Check::Fails, Some(holds), Some(place)) = (&self.check, holds, digits.get_mut(last))
        {
            *place = b'0' + (holds - b'0' + 1 + below(9, entropy)?) % 10;
        }
        Ok(())
    }
}

/// A uniform number below `bound`: bytes past the last whole multiple are thrown away, as `%` alone
/// would favour the small ones.
fn below(bound: u8, entropy: Entropy<'_>) -> Result<u8, VaultError> {
    /// A byte is thrown away with odds below 1/25, so this many in a row means a broken generator.
    const BYTES_MAX: usize = 64;
    let limit = u8::MAX - u8::MAX % bound;
    for _ in 0..BYTES_MAX {
        let mut byte = Zeroizing::new([0]);
        entropy(byte.as_mut_slice())?;
        if let Some(value) = byte.first().filter(|value| **value < limit) {
            return Ok(value % bound);
        }
    }
    Err(VaultError::Unavailable { cause: Outage::Random })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(buffer: &mut [u8]) -> Result<(), Outage> {
        entropy()(buffer)
    }

    #[test]
    fn no_random_byte_is_given_twice() {
        let (mut next, mut seen) = (entropy(), std::collections::HashSet::new());
        for length in [16, 64, 100, 7, 24] {
            let mut bytes = vec![0; length];
            next(&mut bytes).unwrap();
            assert!(bytes.chunks_exact(8).all(|part| seen.insert(part.to_vec())));
        }
    }

    fn pan(digits: &[u8]) -> Pan {
        Pan::from_digits(digits).unwrap()
    }

    /// Published test numbers of 13 to 19 digits, narrow ranges among them.
    const CARDS: &[&[u8]] = &[
        b"4111111111111111",
        b"5555555555554444",
        b"378282246310005",
        b"6011000990139424",
        b"30569309025904",
        b"3530111333300000",
        b"4222222222222",
        b"6362970000457013",
        b"6304000000000000000",
    ];

    #[test]
    fn a_brand_four_token_keeps_length_brand_prefix_and_last_four_and_holds_luhn() {
        for card in CARDS.iter().map(|digits| pan(digits)) {
            let issuer = issuer_of(&card).unwrap();
            for _ in 0..20 {
                let token = draw(&card, TokenFormat::BrandFour, &mut system).unwrap();
                let (digits, kept) = (token.as_bytes(), issuer.prefix_digits);
                assert_eq!(digits.len(), card.expose().len());
                assert_eq!(digits[..kept], card.expose()[..kept]);
                assert_eq!(&digits[digits.len() - 4..], card.last_four());
                assert!(luhn::holds(digits));
                assert_eq!(iin::issuer(digits).unwrap().brand, issuer.brand);
                assert_ne!(digits, card.expose());
            }
        }
    }

    #[test]
    fn six_four_keeps_six_and_its_invalid_twin_never_holds_luhn() {
        let card = pan(b"5555555555554444");
        for _ in 0..50 {
            let valid = draw(&card, TokenFormat::SixFour, &mut system).unwrap();
            let invalid = draw(&card, TokenFormat::SixFourInvalid, &mut system).unwrap();
            for token in [valid, invalid] {
                assert_eq!(&token.as_bytes()[..6], b"555555");
                assert_eq!(&token.as_bytes()[12..], b"4444");
            }
            assert!(luhn::holds(valid.as_bytes()));
            assert!(!luhn::holds(invalid.as_bytes()));
        }
    }

    #[test]
    fn an_opaque_token_has_its_shape_and_no_scanner_finds_anything_else_in_it() {
        let card = pan(b"4222222222222");
        for _ in 0..2000 {
            let token = draw(&card, TokenFormat::Opaque, &mut system).unwrap();
            assert!(token.is_opaque() && Token::parse(token.as_bytes()) == Ok(token));
            for text in [format!("{token}"), format!("{{\"card_number\":\"{token}\"}}")] {
                let text = Bytes::from(text);
                assert!(find_all(&ANYTHING, Carrier::Json, &text).is_empty(), "{token}");
            }
        }
    }

    #[test]
    fn an_opaque_token_that_could_hold_a_card_is_drawn_again() {
        // '0' is the 53rd character; a name of zeros, then one of 'A's.
        let mut drawn = [52, 0].into_iter();
        let mut next = |buffer: &mut [u8]| {
            buffer.fill(drawn.next().unwrap());
            Ok(())
        };
        let token = draw(&pan(b"4111111111111111"), TokenFormat::Opaque, &mut next).unwrap();
        assert!(token.as_str().starts_with("tok_AAAA"), "{token}");
    }

    #[test]
    fn a_token_given_elsewhere_fits_if_it_could_have_been_drawn() {
        let card = pan(b"4111111111111111");
        let fit =
            |digits: &[u8], format| fits(&card, &Token::parse(digits).unwrap(), format).unwrap();
        for _ in 0..20 {
            for format in TokenFormat::ALL {
                assert!(fit(draw(&card, format, &mut system).unwrap().as_bytes(), format));
            }
        }
        let format = TokenFormat::BrandFour;
        // The card itself, another length, last four, brand, and a wrong check digit.
        for foreign in [
            &b"4111111111111111"[..],
            b"4222222222221111111",
            b"4012888888881881",
            b"5555555555551111",
            b"4000000000001111",
        ] {
            assert!(!fit(foreign, format));
        }
        let invalid =
            fits(&pan(b"4222222222222"), &Token::parse(b"4").unwrap(), TokenFormat::SixFour);
        assert_eq!(invalid, Err(VaultError::NoRoom { format: TokenFormat::SixFour, length: 13 }));
    }

    #[test]
    fn bytes_that_would_favour_small_digits_are_thrown_away() {
        let mut bytes = [255, 250, 249, 0].into_iter();
        let mut next = |buffer: &mut [u8]| {
            buffer[0] = bytes.next().unwrap();
            Ok(())
        };
        assert_eq!(below(10, &mut next), Ok(9));
        assert_eq!(below(10, &mut next), Ok(0));
    }

    #[test]
    fn every_digit_comes_about_equally_often() {
        let mut counts = [0; 10];
        for _ in 0..10_000 {
            counts[usize::from(below(10, &mut system).unwrap())] += 1;
        }
        // Six standard deviations of a fair die with ten sides: sqrt(10000 * 0.09) is 30.
        assert!(counts.iter().all(|count| (820..=1180).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_generator_that_is_stuck_or_broken_ends_the_draw() {
        let card = pan(b"4111111111111111");
        let mut stuck = |buffer: &mut [u8]| {
            buffer.fill(255);
            Ok(())
        };
        let random = Err(VaultError::Unavailable { cause: Outage::Random });
        assert_eq!(draw(&card, TokenFormat::BrandFour, &mut stuck), random);
        assert_eq!(draw(&card, TokenFormat::BrandFour, &mut |_| Err(Outage::Random)), random);
    }

    #[test]
    fn a_draw_that_only_gives_the_card_itself_ends() {
        let card = pan(b"4111111111111111");
        let mut ones = |buffer: &mut [u8]| {
            buffer.fill(1);
            Ok(())
        };
        let format = TokenFormat::BrandFour;
        assert_eq!(draw(&card, format, &mut ones), Err(VaultError::NoTokenFree { format }));
    }

    /// Digits that are random and not the check digit.
    fn free(digits: &[u8], format: TokenFormat) -> usize {
        let card = pan(digits);
        let shape = Shape::of(&card, issuer_of(&card).unwrap(), format).unwrap().unwrap();
        digits.len() - shape.head - shape.tail - 1
    }

    #[test]
    fn the_odds_are_those_that_the_documentation_states() {
        let documentation = include_str!("../vault.rs");
        let states = |text: &str| assert!(documentation.contains(text), "not stated: {text}");
        let visa = b"4111111111111111";
        for (format, kept) in [
            (TokenFormat::BrandFour, 1),
            (TokenFormat::SixFour, 6),
            (TokenFormat::SixFourInvalid, 6),
        ] {
            let (name, free) = (format.as_str(), free(visa, format));
            states(&format!("| `{name}` | first {kept}, last 4 | {free} | once in 10^{free} |"));
        }
        states(&format!("| `opaque` | nothing | {OPAQUE_RANDOM} characters |"));
        let format = TokenFormat::BrandFour;
        let (five, two) = (free(b"5555555555554444", format), free(b"2223003122003222", format));
        states(&format!("{five} digits are free in a Mastercard that begins with 5 and {two} in"));
        let (amex, short) = (free(b"378282246310005", format), free(b"4222222222222", format));
        states(&format!("{amex} in an American Express, {short} in a Visa of 13 digits"));
        states(&format!("only {} in a Maestro of 12", free(b"501800000009", format)));
        // `n` tokens keep a new card's digits if the last four are evenly spread over 10^4.
        for exponent in 4..=7 {
            let once = |free: usize| format!("10^{}", free + 4 - exponent);
            let six = once(free(visa, TokenFormat::SixFour));
            let (visa, amex) = (once(free(visa, format)), once(amex));
            states(&format!("| 10^{exponent} | {visa} | {amex} | {six} |"));
        }
    }

    #[test]
    fn a_card_without_room_or_issuer_is_refused() {
        let format = TokenFormat::SixFour;
        let short = draw(&pan(b"4222222222222"), format, &mut system);
        assert_eq!(short, Err(VaultError::NoRoom { format, length: 13 }));
        let nobody = draw(&pan(b"0000000000000000"), format, &mut system);
        assert_eq!(nobody, Err(VaultError::NoIssuer));
    }
}
