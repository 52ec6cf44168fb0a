//! Tokens and numbers as they stand in a body or a row.

use tillgate::card::{Brand, Cvv, MaskedPan, Pan, Token, iin, luhn};
use tillgate::scan::Carrier;

/// The longest token.
const TOKEN_MAX: usize = 19;

/// Reads the bytes as each of them.
pub fn check(data: &[u8]) {
    token(data);
    number(data);
    code(data);
    let name = Carrier::declared(data).as_str();
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
}

fn token(text: &[u8]) {
    let sound = (1..=TOKEN_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let token = Token::parse(text);
    assert_eq!(token.is_ok(), sound, "a token is what its alphabet and length say");
    if let Ok(token) = token {
        assert_eq!(token.as_bytes(), text, "a token is not what was read");
        assert_eq!(token.to_string().as_bytes(), text, "a token is not written as it was read");
        assert_eq!(token.as_str().as_bytes(), text, "a token is another text");
    }
}

fn number(text: &[u8]) {
    let sound = (12..=19).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let pan = Pan::from_digits(text);
    assert_eq!(pan.is_some(), sound, "a number is 12 to 19 digits");
    if text.iter().all(u8::is_ascii_digit) {
        let whole = [text, &[luhn::check_digit(text)]].concat();
        assert!(luhn::holds(&whole), "a check digit does not complete the number");
    }
    if let Some(issuer) = iin::issuer(text) {
        assert_eq!(Brand::named(issuer.brand.as_str()), Some(issuer.brand), "a nameless brand");
        assert!((1..=4).contains(&issuer.prefix_digits), "a prefix is too long");
    }
    let Some(pan) = pan else { return };
    assert_eq!(pan.expose(), text, "a number is another");
    let (masked, hidden) = (pan.masked(), MaskedPan::hidden(text.len()));
    assert!(hidden.len() >= 4 && hidden.start <= 6, "a mask shows too much");
    assert_eq!(text.len() - hidden.end, 4, "a mask ends elsewhere");
    for (place, (shown, digit)) in masked.as_bytes().iter().zip(text).enumerate() {
        let expected = if hidden.contains(&place) { &b'*' } else { digit };
        assert_eq!(shown, expected, "a mask shows another digit");
    }
}

fn code(text: &[u8]) {
    let sound = matches!(text.len(), 3 | 4) && text.iter().all(u8::is_ascii_digit);
    let code = Cvv::from_digits(text);
    assert_eq!(code.is_some(), sound, "a code is 3 or 4 digits");
    assert!(code.is_none_or(|code| code.expose() == text), "a code is another");
}
