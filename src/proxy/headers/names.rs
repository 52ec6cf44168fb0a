//! Names that a server behind us may take for others, and names that come too late.

use std::borrow::Cow;

use http::HeaderMap;
use http::header::HeaderName;

use super::{HEARSAY, drop_never, strip_hop_by_hop};

/// Whether a name has what becomes `_` in CGI's variables beside the dash, and in PHP's.
pub(super) fn folds(name: &HeaderName) -> bool {
    name.as_str().bytes().any(|byte| matches!(byte, b'_' | b'.'))
}

/// Names that say how a message is framed, who asks and for whom: not to be said twice.
const WEIGHTY: [&str; 12] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "proxy-authorization",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// What a trailer must not say (RFC 9110 §6.5.1): how the message was framed, routed, allowed or to be
/// read has been decided by then, on its head.
const NOT_IN_TRAILERS: [&str; 14] = [
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "forwarded",
    "if-match",
    "max-forwards",
    "proxy-authorization",
    "range",
    "set-cookie",
    "trailer",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];

/// A name as those servers read it, with dashes.
pub(super) fn folded(name: &HeaderName) -> Cow<'_, str> {
    match folds(name) {
        true => Cow::Owned(name.as_str().replace(['_', '.'], "-")),
        false => Cow::Borrowed(name.as_str()),
    }
}

/// CGI and its heirs make one variable of `Content_Length` and `Content-Length`, and dots are folded as
/// well: whichever they read last counts. A name that folds into one of weight, or into another that is
/// here, goes; others, which an API may have chosen so, stay.
pub(in crate::proxy) fn drop_doubles(headers: &mut HeaderMap) {
    let is_double = |name: &&HeaderName| {
        folds(name) && {
            let folded = folded(name);
            WEIGHTY.contains(&&*folded) || headers.contains_key(&*folded)
        }
    };
    let doubles: Vec<HeaderName> = headers.keys().filter(is_double).cloned().collect();
    for name in doubles {
        headers.remove(name);
    }
}

/// Drops a field in every spelling that a server behind us may take for it.
pub(in crate::proxy) fn drop_spellings(headers: &mut HeaderMap, wanted: &HeaderName) {
    let wanted = folded(wanted);
    let same: Vec<HeaderName> =
        headers.keys().filter(|name| folded(name) == wanted).cloned().collect();
    for name in same {
        headers.remove(name);
    }
}

/// Drops what a trailer must not say, in any spelling.
pub(in crate::proxy) fn strip_trailers(trailers: &mut HeaderMap) {
    strip_hop_by_hop(trailers);
    drop_never(trailers);
    let decided = |name: &&HeaderName| {
        let folded = folded(name);
        let lists = [&WEIGHTY[..], &NOT_IN_TRAILERS, &HEARSAY];
        lists.iter().any(|names| names.contains(&&*folded))
    };
    let refused: Vec<HeaderName> = trailers.keys().filter(decided).cloned().collect();
    for name in refused {
        trailers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let field =
            |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
        pairs.iter().map(field).collect()
    }

    #[test]
    fn a_name_that_folds_into_another_goes_and_a_name_of_its_own_stays() {
        let mut doubled = headers(&[
            ("content_length", "9"),
            ("transfer.encoding", "chunked"),
            ("x_sign", "1"),
            ("x-sign", "2"),
            ("api_key", "k"),
        ]);
        drop_doubles(&mut doubled);
        let mut kept: Vec<_> = doubled.keys().map(HeaderName::as_str).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["api_key", "x-sign"]);
    }

    #[test]
    fn a_field_goes_in_every_spelling() {
        let mut signed = headers(&[("x_signature", "1"), ("x.signature", "2"), ("x-sign", "3")]);
        drop_spellings(&mut signed, &HeaderName::from_static("x-signature"));
        assert_eq!(signed.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-sign"]);
    }

    #[test]
    fn a_trailer_says_nothing_that_the_head_decided() {
        let mut trailers = headers(&[
            ("content-length", "9"),
            ("host", "evil"),
            ("authorization", "b"),
            ("x_real_ip", "1"),
            ("set-cookie", "a=b"),
            ("grpc-status", "0"),
        ]);
        strip_trailers(&mut trailers);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["grpc-status"]);
    }
}
