//! Who a client's verified certificate says it is, as fields of a head can carry it.

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::asn1_rs::FromDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::asn1_rs::{Any, Oid, oid};
use x509_parser::x509::X509Name;

/// The attributes that RFC 4514 §3 gives a name, and the one for addresses that OpenSSL adds.
const KNOWN: [(Oid<'static>, &str); 10] = [
    (oid!(2.5.4.3), "CN"),
    (oid!(2.5.4.7), "L"),
    (oid!(2.5.4.8), "ST"),
    (oid!(2.5.4.10), "O"),
    (oid!(2.5.4.11), "OU"),
    (oid!(2.5.4.6), "C"),
    (oid!(2.5.4.9), "STREET"),
    (oid!(0.9.2342.19200300.100.1.25), "DC"),
    (oid!(0.9.2342.19200300.100.1.1), "UID"),
    (oid!(1.2.840.113549.1.9.1), "emailAddress"),
];

/// The longest subject that is told.
const SUBJECT_BYTES_MAX: usize = 2048;

/// Who a client is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientIdentity {
    /// The subject as RFC 4514 writes it, in ASCII; empty where it is too long.
    pub subject: String,
    /// The serial number, in lower-case hexadecimal.
    pub serial: String,
    /// The SHA-256 of the certificate, in lower-case hexadecimal.
    pub fingerprint: String,
}

impl ClientIdentity {
    /// Reads a leaf that was verified.
    #[must_use]
    pub fn of(leaf: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
        let mut subject = distinguished(certificate.subject());
        if subject.len() > SUBJECT_BYTES_MAX {
            subject.clear();
        }
        let serial = hex(certificate.raw_serial());
        let fingerprint = hex(digest::digest(&digest::SHA256, leaf).as_ref());
        Some(Self { subject, serial, fingerprint })
    }
}

/// RFC 4514 §2: the last part comes first.
fn distinguished(name: &X509Name<'_>) -> String {
    let parts = name.iter_rdn().map(|part| {
        let values = part.iter().map(|value| attribute(value.attr_type(), value.attr_value()));
        values.collect::<Vec<_>>().join("+")
    });
    let mut parts: Vec<String> = parts.collect();
    parts.reverse();
    parts.join(",")
}

fn attribute(kind: &Oid<'_>, value: &Any<'_>) -> String {
    let known = KNOWN.iter().find(|(oid, _)| oid == kind).map(|(_, name)| *name);
    match (known, value.as_any_str()) {
        (Some(name), Ok(text)) => format!("{name}={}", escape(&text)),
        // §2.4: what has no name, or is no text, is written as its bytes.
        _ => format!("{}=#{}", kind.to_id_string(), hex(value.data)),
    }
}

/// §2.4, and every byte beyond ASCII as hexadecimal: a field of a head has no other way to say it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let last = text.len().saturating_sub(1);
    for (place, byte) in text.bytes().enumerate() {
        let edge = place == 0 && matches!(byte, b' ' | b'#') || place == last && byte == b' ';
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                out.extend(['\\', char::from(byte)]);
            }
            _ if edge => out.extend(['\\', char::from(byte)]),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\{byte:02X}")),
        }
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber};

    use super::*;

    fn identity(values: &[(DnType, &str)]) -> ClientIdentity {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in values {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.serial_number = Some(SerialNumber::from(vec![0x01, 0xab]));
        let key = KeyPair::generate().unwrap();
        ClientIdentity::of(params.self_signed(&key).unwrap().der()).unwrap()
    }

    #[test]
    fn a_subject_is_written_from_its_end_with_nothing_that_could_pass_for_another_part() {
        let ada = identity(&[
            (DnType::OrganizationName, "Back Office, Inc"),
            (DnType::CommonName, "#Ada+Lovelace=\"x\",CN=root \u{e9}\n"),
        ]);
        let expected =
            "CN=\\#Ada\\+Lovelace\\=\\\"x\\\"\\,CN\\=root \\C3\\A9\\0A,O=Back Office\\, Inc";
        assert_eq!(ada.subject, expected);
        assert_eq!(ada.serial, "01ab");
        assert_eq!(ada.fingerprint.len(), 64);
    }

    #[test]
    fn a_subject_that_is_empty_or_too_long_is_empty() {
        assert_eq!(identity(&[]).subject, "");
        assert_eq!(identity(&[(DnType::CommonName, &"x".repeat(3000))]).subject, "");
    }
}
