//! Fields that tell the shop who a client is by its certificate.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::proxy::digits::may_be_card;
use crate::tls::ClientIdentity;

pub(super) const FINGERPRINT: &str = "x-client-cert-fingerprint";
pub(super) const SERIAL: &str = "x-client-cert-serial";
pub(super) const SUBJECT: &str = "x-client-cert-subject";
pub(super) const VERIFIED: &str = "x-client-cert-verified";

/// Tells who the client is where it was asked, or that it did not say. The words are those of nginx,
/// which shops know. What a client says of itself in these fields has been dropped before.
pub(in crate::proxy) fn set_client(headers: &mut HeaderMap, client: Option<&ClientIdentity>) {
    let verified = if client.is_some() { "SUCCESS" } else { "NONE" };
    set(headers, VERIFIED, verified);
    let Some(client) = client else { return };
    set(headers, SERIAL, &client.serial);
    set(headers, FINGERPRINT, &client.fingerprint);
    // No clear card number passes, not even one that an authority has signed.
    if !may_be_card(client.subject.as_bytes()) {
        set(headers, SUBJECT, &client.subject);
    }
}

fn set(headers: &mut HeaderMap, name: &'static str, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(HeaderName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_that_may_be_a_card_number_is_withheld() {
        let told = |subject: &str| {
            let mut headers = HeaderMap::new();
            let (serial, fingerprint) = ("01ab".to_owned(), "ff".to_owned());
            let client = ClientIdentity { subject: subject.to_owned(), serial, fingerprint };
            set_client(&mut headers, Some(&client));
            assert_eq!(headers[VERIFIED], "SUCCESS");
            headers.get(SUBJECT).is_some_and(|value| value == subject)
        };
        assert!(told("CN=ada,O=Office"));
        assert!(!told("CN=4111111111111111"));
    }
}
