//! Tokens and numbers as they stand in a body or a row.

use tillgate::card::{
    Brand, Cvv, MaskedPan, OPAQUE_RANDOM, Pan, TOKEN_BYTES_MAX, Token, iin, is_token_byte, luhn,
};
use tillgate::scan::Carrier;

/// The most digits of a token.
const DIGITS_MAX: usize = 19;

/// Reads the bytes as each of them.
pub fn check(data: &[u8]) {
    token(data);
    opaque(data);
    number(data);
    code(data);
    let name = Carrier::declared(data).as_str();
    assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
}

fn token(text: &[u8]) {
    let digits = (1..=DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    let token = Token::parse(text);
    let named = token.is_ok_and(|token| token.is_opaque());
    assert_eq!(token.is_ok(), digits || named, "a token is what its alphabet and length say");
    if let Ok(token) = token {
        let name = text.starts_with(b"tok_") && text.iter().all(|byte| is_token_byte(*byte));
        assert_eq!(named, name && text.len() == TOKEN_BYTES_MAX, "an opaque token is no name");
        assert_eq!(token.as_bytes(), text, "a token is not what was read");
        assert_eq!(token.to_string().as_bytes(), text, "a token is not written as it was read");
        assert_eq!(token.as_str().as_bytes(), text, "a token is another text");
    }
}

/// Whatever the randomness: what is written is read again, and a changed character breaks it.
fn opaque(data: &[u8]) {
    let mut random = [0; OPAQUE_RANDOM];
    random.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
    let token = Token::opaque(&random);
    assert_eq!(Token::parse(token.as_bytes()), Ok(token), "an opaque token is not read again");
    let mut changed = token.as_bytes().to_vec();
    let place = data.first().map_or(0, |byte| usize::from(*byte) % changed.len());
    changed[place] = if changed[place] == b'x' { b'y' } else { b'x' };
    assert!(Token::parse(&changed).is_err(), "a changed token is still one");
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
