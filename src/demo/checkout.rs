//! What the shop's own server checks before it accepts a card: the habits of an old shop, which a
//! token has to satisfy.

use crate::card::luhn;

/// What a customer typed.
pub(super) struct CardForm<'a> {
    pub(super) number: &'a str,
    pub(super) expiry: &'a str,
    pub(super) cvv: &'a str,
}

impl CardForm<'_> {
    /// The brand, or what to tell the customer.
    pub(super) fn check(&self) -> Result<&'static str, &'static str> {
        let digits: String = self.number.chars().filter(|c| !matches!(c, ' ' | '-')).collect();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("Please enter the card number: digits only, spaces are fine.");
        }
        let brand = brand(&digits)
            .ok_or("We take Visa, Mastercard, American Express and Discover only.")?;
        if !luhn::holds(digits.as_bytes()) {
            return Err("This card number is mistyped: please check every digit.");
        }
        if !sound_expiry(self.expiry) {
            return Err("Please enter the expiry date as MM/YY.");
        }
        let cvv_digits = if brand == "American Express" { 4 } else { 3 };
        if self.cvv.len() != cvv_digits || !self.cvv.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("The security code has three digits, or four on American Express.");
        }
        Ok(brand)
    }
}

fn brand(digits: &str) -> Option<&'static str> {
    let prefix = |length: usize| digits.get(..length).and_then(|head| head.parse::<u32>().ok());
    match (digits.len(), prefix(1)?, prefix(2)?, prefix(4)?) {
        (16, 4, _, _) => Some("Visa"),
        (16, _, 51..=55, _) | (16, _, _, 2221..=2720) => Some("Mastercard"),
        (15, _, 34 | 37, _) => Some("American Express"),
        (16, _, 65, _) | (16, _, _, 6011) => Some("Discover"),
        _ => None,
    }
}

fn sound_expiry(text: &str) -> bool {
    let Some((month, year)) = text.split_once('/') else { return false };
    let two = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
    two(month) && two(year) && month.parse().is_ok_and(|month: u8| (1..=12).contains(&month))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(number: &str, expiry: &str, cvv: &str) -> Result<&'static str, &'static str> {
        CardForm { number, expiry, cvv }.check()
    }

    #[test]
    fn each_brand_is_known_by_prefix_and_length() {
        for (number, cvv, brand) in [
            ("4111 1111 1111 1111", "123", "Visa"),
            ("5555-5555-5555-4444", "123", "Mastercard"),
            ("2223003122003222", "123", "Mastercard"),
            ("3782 822463 10005", "1234", "American Express"),
            ("6011000990139424", "123", "Discover"),
        ] {
            assert_eq!(check(number, "12/30", cvv), Ok(brand), "{number}");
        }
    }

    #[test]
    fn every_mistake_has_its_own_sentence() {
        for (number, expiry, cvv, part) in [
            ("", "12/30", "123", "digits only"),
            ("4111 1111 1111 111x", "12/30", "123", "digits only"),
            ("9111111111111111", "12/30", "123", "Visa, Mastercard"),
            ("411111111111111", "12/30", "123", "Visa, Mastercard"),
            ("4111111111111112", "12/30", "123", "mistyped"),
            ("4111111111111111", "13/30", "123", "MM/YY"),
            ("4111111111111111", "1230", "123", "MM/YY"),
            ("4111111111111111", "12/30", "1234", "security code"),
            ("378282246310005", "12/30", "123", "security code"),
        ] {
            let problem = check(number, expiry, cvv).unwrap_err();
            assert!(problem.contains(part), "{number} {expiry} {cvv}: {problem}");
        }
    }
}
