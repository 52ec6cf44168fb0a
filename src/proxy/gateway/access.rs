//! Who may call a gateway. Whoever can charges cards, so a secret is compared in constant time, shown
//! to nobody further on, and guessed only slowly.

use http::header::PROXY_AUTHORIZATION;
use http::{HeaderMap, HeaderName};

use super::super::exchange::Exchange;
use super::super::generation::GatewayPlace;
use super::super::headers::only;
use super::super::reject::Rejection;
use super::super::{Peer, Proxy, Role};

/// For callers whose HTTP client has no word in `Proxy-Authorization`.
const KEY: HeaderName = HeaderName::from_static("x-tillgate-key");

impl Proxy {
    /// Lets in who may call at a gateway's own address, and takes the secret out of the request. Other
    /// roads to a gateway have doors of their own.
    ///
    /// # Errors
    /// When the caller may not, or has tried too often.
    pub(super) fn admit_caller(
        &self,
        place: &GatewayPlace<'_>,
        (peer, exchange): (&Peer, &Exchange),
        headers: &mut HeaderMap,
    ) -> Result<(), Rejection> {
        let shown = take_secret(headers);
        if !matches!(peer.role, Role::Gateway(_)) {
            return Ok(());
        }
        let access = &place.gateway.access;
        // The handshake demands one too; a connection may be older than the demand.
        if access.clients.is_some() && !peer.certified {
            return Err(self.caller_refused(place, exchange, Rejection::CallerUnknown));
        }
        let Some(bearer) = &access.bearer else { return Ok(()) };
        // Not whom it speaks for: the shop's machine may be a trusted proxy's too, and would name another
        // client with every guess.
        let client = peer.address.ip().to_canonical();
        let watch = &self.services.gateways;
        // Before the comparison: otherwise every answer but this one would still tell.
        watch.may_try(client).map_err(|retry_after| {
            self.caller_refused(place, exchange, Rejection::CallerSlowed { retry_after })
        })?;
        let Some(shown) = shown else {
            return Err(self.caller_refused(place, exchange, Rejection::CallerUnknown));
        };
        if bearer.is(&shown) {
            return Ok(());
        }
        watch.was_wrong(client);
        Err(self.caller_refused(place, exchange, Rejection::CallerRefused))
    }

    fn caller_refused(
        &self,
        place: &GatewayPlace<'_>,
        exchange: &Exchange,
        rejection: Rejection,
    ) -> Rejection {
        self.services.reveal_refused(&place.gateway.name, exchange, rejection)
    }
}

/// What the caller shows, if it shows one thing.
fn take_secret(headers: &mut HeaderMap) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    let [key, authorization] = [&KEY, &PROXY_AUTHORIZATION]
        .map(|name| only(headers, name).map(|value| value.as_bytes().to_vec()));
    headers.remove(KEY);
    headers.remove(PROXY_AUTHORIZATION);
    let bearer = authorization.and_then(|value| {
        let (scheme, rest) = value.split_at_checked("Bearer ".len())?;
        // RFC 9110 §11.1: the name of a scheme has no case.
        let fits = scheme.eq_ignore_ascii_case(b"Bearer ");
        fits.then(|| rest.trim_ascii().to_vec())
    });
    key.or(bearer).map(zeroize::Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_secret_is_taken_from_either_field_and_left_in_none() {
        let take = |fields: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            let shown = take_secret(&mut headers).map(|shown| shown.to_vec());
            assert!(headers.is_empty());
            shown.map(|shown| String::from_utf8(shown).unwrap())
        };
        assert_eq!(take(&[("x-tillgate-key", "word")]).as_deref(), Some("word"));
        assert_eq!(take(&[("proxy-authorization", "bearer  word")]).as_deref(), Some("word"));
        assert_eq!(take(&[("proxy-authorization", "Basic word")]), None);
        assert_eq!(take(&[("x-tillgate-key", "one"), ("x-tillgate-key", "two")]), None);
        assert_eq!(take(&[]), None);
    }
}
