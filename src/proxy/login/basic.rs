//! `Authorization: Basic` (RFC 7617), which comes with every request and not with the login alone.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use zeroize::Zeroizing;

use super::account::Account;
use super::guess::Guess;

/// As PHP reads it: without padding, with bits left over, with anything between.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The name and the password that a request shows.
pub(super) fn guess(headers: &HeaderMap) -> Option<Guess> {
    headers.get_all(AUTHORIZATION).iter().find_map(|value| {
        let (scheme, packed) = value.to_str().ok()?.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = Zeroizing::new(String::from_utf8_lossy(&unpack(packed)).into_owned());
        let name = pair.split_once(':').map_or(pair.as_str(), |(name, _)| name);
        Some(Guess::new(Account::of([name]), pair.clone()))
    })
}

/// What base64 stands for, whatever stands between.
pub(super) fn unpack(text: &str) -> Vec<u8> {
    let known = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let mut packed: Vec<u8> = text.bytes().filter(known).collect();
    if packed.len() % 4 == 1 {
        packed.pop();
    }
    LENIENT.decode(&packed).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn name(value: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
        guess(&headers)?.account.names().first().cloned()
    }

    #[test]
    fn a_name_is_read_as_shops_read_it() {
        for value in ["Basic QW5uOnA=", "basic  QW5uOnA", "BASIC QW*5uOnA=="] {
            assert_eq!(name(value).unwrap(), "ann", "{value}");
        }
        assert!(name("Bearer QW5uOnA=").is_none() && name("Basic").is_none());
    }
}
