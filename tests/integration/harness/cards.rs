//! Test numbers: Luhn-valid, in the ranges the brands publish test numbers in, each used once.

use std::sync::atomic::{AtomicU64, Ordering};

use super::canary;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A number of that brand which no other test uses; its test fails if it is seen anywhere it must
/// not be.
pub(crate) fn fresh(brand: &str) -> String {
    let number = quiet(brand);
    canary::register(&number);
    number
}

/// As [`fresh`], but not looked for afterwards.
pub(crate) fn quiet(brand: &str) -> String {
    let (prefix, length) = match brand {
        "visa" => ("411111", 16),
        "mastercard" => ("555555", 16),
        "amex" => ("378282", 15),
        "discover" => ("601111", 16),
        "jcb" => ("353011", 16),
        other => panic!("no test range for {other}"),
    };
    let scrambled = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let body = length - prefix.len() - 1;
    let random = format!("{scrambled:020}");
    let digits = format!("{prefix}{}", &random[20 - body..]);
    format!("{digits}{}", check_digit(&digits))
}

/// Another number of the same brand, length and last four digits, which holds Luhn: what a token of
/// another provider may look like.
pub(crate) fn like(number: &str) -> String {
    let (head, tail) = (&number[..number.len() - 5], &number[number.len() - 4..]);
    let mut middle: u64 = head[1..].parse().unwrap();
    middle -= 7;
    let width = head.len() - 1;
    let candidates = (0..10).map(|check| format!("{}{middle:0width$}{check}{tail}", &head[..1]));
    candidates.into_iter().find(|candidate| luhn(candidate)).unwrap()
}

/// The same digits with a wrong check digit.
pub(crate) fn broken(number: &str) -> String {
    let (body, last) = number.split_at(number.len() - 1);
    let last: u32 = last.parse().unwrap();
    format!("{body}{}", (last + 1) % 10)
}

/// Whether the check digit holds.
pub(crate) fn luhn(number: &str) -> bool {
    let (body, last) = number.split_at(number.len() - 1);
    number.bytes().all(|byte| byte.is_ascii_digit()) && check_digit(body).to_string() == last
}

/// Digits in groups of four.
pub(crate) fn grouped(number: &str, separator: &str) -> String {
    let groups = number.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).unwrap());
    groups.collect::<Vec<_>>().join(separator)
}

/// `411111******1111`.
pub(crate) fn masked(number: &str) -> String {
    let hidden = "*".repeat(number.len() - 10);
    format!("{}{hidden}{}", &number[..6], &number[number.len() - 4..])
}

/// Asserts that `token` stands for `number` as `brand-four` promises.
pub(crate) fn assert_brand_four(token: &str, number: &str) {
    assert_ne!(token, number, "the number itself passed");
    assert_eq!(token.len(), number.len(), "{token} has another length");
    assert!(luhn(token), "{token} fails Luhn");
    assert_eq!(token[token.len() - 4..], number[number.len() - 4..], "last four");
    assert_eq!(token[..1], number[..1], "brand of {token}");
}

fn check_digit(body: &str) -> u32 {
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(place, byte)| {
            let digit = u32::from(byte - b'0');
            let doubled = if place % 2 == 0 { digit * 2 } else { digit };
            doubled / 10 + doubled % 10
        })
        .sum();
    (10 - sum % 10) % 10
}
