//! An authority's word that a certificate stands (OCSP, RFC 6960), to be handed on in handshakes.
//!
//! Only what a client needs not to be misled is read: that the word is about this certificate, that it
//! is good, and for how long. Who gave it is for clients to verify: they do, whoever hands it on.

use x509_parser::asn1_rs::oid;
use x509_parser::certificate::X509Certificate;

/// RFC 7633: the certificate asks clients to refuse it without a staple.
const TLS_FEATURE: x509_parser::asn1_rs::Oid<'static> = oid!(1.3.6.1.5.5.7.1.24);

/// `status_request`, as a DER INTEGER.
const STATUS_REQUEST: [u8; 3] = [0x02, 0x01, 0x05];

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const FIRST: u8 = 0xa0;
/// `good`, an implicit NULL.
const GOOD: u8 = 0x80;

/// What a file of an authority's word is good for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Word {
    /// It can be handed on until then, in seconds since 1970.
    Good { until_s: i64 },
    /// It is about another certificate.
    OtherCertificate,
    /// The authority does not say that the certificate stands.
    Revoked,
    /// It is no such word.
    Unreadable,
}

/// Whether a certificate asks not to be accepted without a staple.
pub(super) fn is_demanded(leaf: &X509Certificate<'_>) -> bool {
    let extensions = leaf.extensions().iter();
    let mut features = extensions.filter(|extension| extension.oid == TLS_FEATURE);
    features.any(|extension| memchr::memmem::find(extension.value, &STATUS_REQUEST).is_some())
}

/// What a file says of the certificate with this serial number.
pub(super) fn read(der: &[u8], serial: &[u8]) -> Word {
    let Some(responses) = responses(der) else { return Word::Unreadable };
    let mut rest = responses;
    let mut found = Word::OtherCertificate;
    while let Some((SEQUENCE, single, after)) = element(rest) {
        rest = after;
        match about(single, serial) {
            Some(Word::OtherCertificate) => {}
            Some(word) => found = word,
            None => return Word::Unreadable,
        }
    }
    found
}

/// The list of answers in a response that is one.
fn responses(der: &[u8]) -> Option<&[u8]> {
    let (response, _) = expect(der, SEQUENCE)?;
    let (status, rest) = expect(response, ENUMERATED)?;
    if status != [0] {
        return None;
    }
    let (bytes, _) = expect(rest, FIRST)?;
    let (bytes, _) = expect(bytes, SEQUENCE)?;
    let (_, _, rest) = element(bytes)?;
    let (basic, _) = expect(rest, OCTET_STRING)?;
    let (basic, _) = expect(basic, SEQUENCE)?;
    let (mut data, _) = expect(basic, SEQUENCE)?;
    if let Some((FIRST, _, after)) = element(data) {
        data = after;
    }
    let (_, _, rest) = element(data)?;
    let (_, rest) = expect(rest, GENERALIZED_TIME)?;
    Some(expect(rest, SEQUENCE)?.0)
}

fn about(single: &[u8], serial: &[u8]) -> Option<Word> {
    let (id, rest) = expect(single, SEQUENCE)?;
    let (_, _, id) = element(id)?;
    let (_, id) = expect(id, OCTET_STRING)?;
    let (_, id) = expect(id, OCTET_STRING)?;
    if expect(id, INTEGER)?.0 != serial {
        return Some(Word::OtherCertificate);
    }
    let (status, _, rest) = element(rest)?;
    if status != GOOD {
        return Some(Word::Revoked);
    }
    let (_, rest) = expect(rest, GENERALIZED_TIME)?;
    // §2.4: without a time of the next one, newer word can be had at any time; this one ages at once.
    let until_s = match element(rest) {
        Some((FIRST, next, _)) => seconds(expect(next, GENERALIZED_TIME)?.0)?,
        _ => 0,
    };
    Some(Word::Good { until_s })
}

fn expect(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    element(bytes).filter(|found| found.0 == tag).map(|(_, inside, after)| (inside, after))
}

/// The first element: its tag, what is in it, and what comes after (X.690 §8.1).
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    let (inside, after) = rest.split_at_checked(length)?;
    Some((*tag, inside, after))
}

/// `YYYYMMDDHHMMSSZ`, as RFC 5280 §4.1.2.5.2 wants it.
fn seconds(text: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u8>().ok();
    let year = digits.get(0..4)?.parse().ok()?;
    let month = time::Month::try_from(number(4..6)?).ok()?;
    let date = time::Date::from_calendar_date(year, month, number(6..8)?).ok()?;
    let time = time::Time::from_hms(number(8..10)?, number(10..12)?, number(12..14)?).ok()?;
    Some(date.with_time(time).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let inside = parts.concat();
        let mut out = vec![tag, 0x82];
        out.extend(u16::try_from(inside.len()).unwrap().to_be_bytes());
        out.extend(inside);
        out
    }

    fn response(serial: &[u8], status: u8, next: &[u8]) -> Vec<u8> {
        let id = der(
            SEQUENCE,
            &[
                &der(SEQUENCE, &[]),
                &der(OCTET_STRING, &[b"name"]),
                &der(OCTET_STRING, &[b"key"]),
                &der(INTEGER, &[serial]),
            ],
        );
        let now = der(GENERALIZED_TIME, &[b"20260101000000Z"]);
        let next = der(FIRST, &[&der(GENERALIZED_TIME, &[next])]);
        let single = der(SEQUENCE, &[&id, &[status, 0], &now, &next]);
        let data = der(SEQUENCE, &[&der(0xa2, &[]), &now, &der(SEQUENCE, &[&single])]);
        let basic = der(OCTET_STRING, &[&der(SEQUENCE, &[&data])]);
        let bytes = der(FIRST, &[&der(SEQUENCE, &[&der(0x06, &[]), &basic])]);
        der(SEQUENCE, &[&der(ENUMERATED, &[&[0]]), &bytes])
    }

    #[test]
    fn a_word_counts_for_its_certificate_and_until_its_end() {
        let good = response(b"\x01\x02", GOOD, b"20330518033320Z");
        assert_eq!(read(&good, b"\x01\x02"), Word::Good { until_s: 2_000_000_000 });
        assert_eq!(read(&good, b"\x01\x03"), Word::OtherCertificate);
        assert_eq!(read(&response(b"\x01", 0xa1, b"20330518033320Z"), b"\x01"), Word::Revoked);
        for length in 0..good.len() {
            assert_eq!(read(&good[..length], b"\x01\x02"), Word::Unreadable, "{length}");
        }
        assert_eq!(read(&response(b"\x01", GOOD, b"20331518033320Z"), b"\x01"), Word::Unreadable);
    }
}
