//! Card numbers that a language turned into floats and wrote with an exponent: `4.111…e15`.

use super::cluster::{Cluster, Gap};
use super::shape::{self, Luhn};
use super::view::View;
use crate::card::PAN_DIGITS_MAX;
use crate::card::iin::Issuer;

/// Zeros at the end of a number that the writing may leave out; no more than every token keeps.
const ZEROS_MAX: usize = 4;

/// A number in scientific notation.
pub(super) struct Scientific {
    /// All digits of the number, those left out too.
    pub(super) digits: Vec<u8>,
    pub(super) issuer: &'static Issuer,
}

/// The card number that a whole cluster writes with an exponent behind it.
pub(super) fn read(view: &View<'_>, cluster: &Cluster) -> Option<Scientific> {
    let [whole, fraction] = cluster.groups() else { return None };
    if whole.count != 1
        || fraction.gap != Some(Gap::Dot)
        || fraction.end - whole.start != 2 + fraction.count
    {
        return None;
    }
    let length = exponent(view, fraction.end)? + 1;
    let mut digits = cluster.digits().to_vec();
    if length > PAN_DIGITS_MAX || !(digits.len()..=digits.len() + ZEROS_MAX).contains(&length) {
        return None;
    }
    digits.resize(length, b'0');
    let issuer = shape::issuer_of(&digits, Luhn::Holds)?;
    Some(Scientific { digits, issuer })
}

/// `e15`, `E+15`: two digits that end the number.
fn exponent(view: &View<'_>, at: usize) -> Option<usize> {
    if !matches!(view.byte(at)?, b'e' | b'E') {
        return None;
    }
    let at = at + 1 + usize::from(view.byte(at + 1) == Some(b'+'));
    let digit = |at: usize| view.byte(at).filter(u8::is_ascii_digit).map(|b| usize::from(b - b'0'));
    let exponent = digit(at)? * 10 + digit(at + 1)?;
    let ends = !view.byte(at + 2).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    ends.then_some(exponent)
}

#[cfg(test)]
mod tests {
    use super::super::Carrier;
    use super::super::tests::{finds, masked, response};

    #[test]
    fn a_float_with_an_exponent_stays_one_and_is_no_card() {
        let cases = [
            (r#"{"card":4.111111111111111e15}"#, r#"{"card":4.111110000001111e15}"#),
            (
                r#"{"pan": 5.555555555554444E+15, "n":1}"#,
                r#"{"pan": 5.555550000004444E+15, "n":1}"#,
            ),
            // 5200828282828210, its last zero left out.
            (r#"{"card":5.20082828282821e15}"#, r#"{"card":5.20082000002821e15}"#),
        ];
        for (body, expected) in cases {
            let once = masked(response, Carrier::Json, body);
            assert_eq!(once, expected);
            assert!(finds(response(), Carrier::Json, &once).is_empty(), "{once}");
        }
        for body in [
            "{\"mass\":4.111111111111111e15}",
            "card 4.111111111111111e16",
            "card 14.11111111111111e14",
        ] {
            assert!(finds(response(), Carrier::Json, body).is_empty(), "{body}");
        }
    }
}
