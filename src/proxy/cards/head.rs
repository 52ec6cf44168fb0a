//! Card numbers in the head of a message: target, cookies, referrer, any field.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CONTENT_DISPOSITION, COOKIE, PROXY_AUTHORIZATION, REFERER, SET_COOKIE,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::{Action, Editor};
use crate::card::PAN_DIGITS_MIN;
use crate::proxy::digits::may_be_card;
use crate::proxy::reject::Rejection;
use crate::scan::{Carrier, Decided, FindKind, Rules, Stream, find_all};
use crate::telemetry::{CardPlace, Direction};

/// The shortest verification code.
const CODE_DIGITS_MIN: usize = 3;

/// Replaces card numbers in the target and the fields of a head. Credentials are left alone: what
/// authenticates must arrive as it was made. A provider's answer has none.
pub(in crate::proxy) async fn rewrite_head(
    editor: &Arc<Editor>,
    rules: &Arc<Rules>,
    target: Option<&mut Uri>,
    headers: &mut HeaderMap,
) -> Result<(), Rejection> {
    if let Some(uri) = target {
        let text = uri.path_and_query().map_or("", PathAndQuery::as_str);
        if let Some(edited) = rewrite(editor, rules, Part::TARGET, text.as_bytes()).await? {
            let mut parts = uri.clone().into_parts();
            parts.path_and_query = PathAndQuery::try_from(edited.as_ref()).ok();
            *uri = Uri::from_parts(parts).unwrap_or_default();
        }
    }
    if editor.direction == Direction::Response && !matches!(editor.action, Action::Observe) {
        drop_names(headers);
    }
    let credentials = |name: &HeaderName| {
        !editor.edits_a_providers_answer() && (name == AUTHORIZATION || name == PROXY_AUTHORIZATION)
    };
    if editor.edits_a_providers_answer() {
        drop_file_names(rules, headers);
    }
    let suspects: Vec<HeaderName> = headers
        .iter()
        .filter(|(_, value)| may_hold_any(rules, value.as_bytes()))
        .map(|(name, _)| name.clone())
        .filter(|name| !credentials(name))
        .collect();
    for name in suspects {
        rewrite_field(editor, rules, headers, name).await?;
    }
    Ok(())
}

/// A request with such a name is refused, an answer goes without it: names are never edited.
fn drop_names(headers: &mut HeaderMap) {
    let cards = headers.keys().filter(|name| may_be_card(name.as_str().as_bytes()));
    for name in cards.cloned().collect::<Vec<_>>() {
        headers.remove(name);
    }
}

/// `4111111111111111.pdf` in a page is the name of a picture or a document, for the most part; what
/// a provider calls a file is not left to that.
fn drop_file_names(rules: &Arc<Rules>, headers: &mut HeaderMap) {
    let Some(value) = headers.get(CONTENT_DISPOSITION) else { return };
    let apart: Vec<u8> =
        value.as_bytes().iter().map(|&byte| if byte == b'.' { b' ' } else { byte }).collect();
    if may_hold_any(rules, &apart) && !find_all(rules, Carrier::Text, &apart.into()).is_empty() {
        let kind = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default();
        match HeaderValue::from_bytes(kind.trim_ascii()) {
            Ok(kind) => headers.insert(CONTENT_DISPOSITION, kind),
            Err(_) => headers.remove(CONTENT_DISPOSITION),
        };
    }
}

/// Replaces what the query of a target holds; the path stays.
pub(in crate::proxy) async fn rewrite_query(
    editor: &Arc<Editor>,
    rules: &Arc<Rules>,
    uri: &mut Uri,
) -> Result<(), Rejection> {
    let Some(query) = uri.query() else { return Ok(()) };
    let Some(edited) = rewrite(editor, rules, Part::TARGET, query.as_bytes()).await? else {
        return Ok(());
    };
    let target = [uri.path().as_bytes(), b"?", &edited].concat();
    let mut parts = uri.clone().into_parts();
    // Digits for digits: what was a target stays one.
    parts.path_and_query = PathAndQuery::try_from(target.as_slice()).ok();
    *uri = Uri::from_parts(parts).unwrap_or_default();
    Ok(())
}

/// A field may stand several times, and a name among the suspects with it: its values are taken out
/// and put back in order.
async fn rewrite_field(
    editor: &Arc<Editor>,
    rules: &Arc<Rules>,
    headers: &mut HeaderMap,
    name: HeaderName,
) -> Result<(), Rejection> {
    let part = Part::field(&name);
    let values: Vec<HeaderValue> = headers.get_all(&name).into_iter().cloned().collect();
    let mut edited = Vec::with_capacity(values.len());
    let mut changed = false;
    for value in values {
        match rewrite(editor, rules, part, value.as_bytes()).await? {
            Some(bytes) => {
                changed = true;
                edited.push(HeaderValue::from_maybe_shared(bytes).unwrap_or(value));
            }
            None => edited.push(value),
        }
    }
    if changed {
        headers.remove(&name);
        for value in edited {
            headers.append(name.clone(), value);
        }
    }
    Ok(())
}

/// A part of a head.
#[derive(Clone, Copy)]
struct Part<'a> {
    place: CardPlace,
    carrier: Carrier,
    name: &'a str,
}

impl<'a> Part<'a> {
    const TARGET: Self = Self { place: CardPlace::Target, carrier: Carrier::Form, name: "" };

    fn field(name: &'a HeaderName) -> Self {
        let place = match *name {
            COOKIE | SET_COOKIE => CardPlace::Cookie,
            REFERER => CardPlace::Referrer,
            _ => CardPlace::Header,
        };
        Self { place, carrier: Carrier::Text, name: name.as_str() }
    }
}

async fn rewrite(
    editor: &Arc<Editor>,
    rules: &Arc<Rules>,
    part: Part<'_>,
    text: &[u8],
) -> Result<Option<Bytes>, Rejection> {
    if !may_hold_any(rules, text) {
        return Ok(None);
    }
    let mut stream = Stream::new(Arc::clone(rules), part.carrier);
    let mut runs: Vec<Decided> = Vec::new();
    stream.push(Bytes::copy_from_slice(text), &mut runs);
    stream.finish(&mut runs);
    if runs.iter().all(|run| run.finds.is_empty()) {
        return Ok(None);
    }
    // A number with no name of its own is known by the field of the head it stands in.
    let nameless = runs.iter_mut().flat_map(|run| &mut run.finds).filter(|it| it.field.is_empty());
    nameless.for_each(|find| find.field.push_str(part.name));
    let pieces = editor.edit_in(part.place, runs, part.carrier).await?;
    Ok(Some(pieces.concat().into()))
}

/// Drops the trailer fields that hold a find. They come after the body, when the vault can no longer
/// be asked without keeping the reader waiting, and no recipient may rely on a trailer field
/// (RFC 9110 §6.5.1): a field less is safe where one edited late is not.
pub(in crate::proxy) fn drop_fields_with_finds(rules: &Arc<Rules>, trailers: &mut HeaderMap) {
    let holds_any = |value: &HeaderValue| {
        let text = value.as_bytes();
        may_hold_any(rules, text)
            && find_all(rules, Carrier::Text, &Bytes::copy_from_slice(text))
                .iter()
                .any(|find| !matches!(find.kind, FindKind::Token(_)))
    };
    let found: Vec<HeaderName> = trailers
        .iter()
        .filter(|(name, value)| may_be_card(name.as_str().as_bytes()) || holds_any(value))
        .map(|(name, _)| name.clone())
        .collect();
    for name in found {
        trailers.remove(name);
    }
}

/// Cheap and never wrong the dangerous way: every writing of a digit has an ASCII digit in it, or a
/// byte beyond ASCII.
fn may_hold_any(rules: &Rules, text: &[u8]) -> bool {
    let carries_digit = |byte: &&u8| byte.is_ascii_digit() || !byte.is_ascii();
    match text.iter().filter(carries_digit).count() {
        PAN_DIGITS_MIN.. => true,
        CODE_DIGITS_MIN.. if rules.may_name_code(text) => true,
        _ => rules.may_hold_token(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::FieldRules;

    fn requests() -> Arc<Rules> {
        Arc::new(Rules::requests(FieldRules::default()))
    }

    #[test]
    fn a_code_in_a_query_or_a_cookie_is_looked_for() {
        let fields = FieldRules { cvv: vec!["Pruefziffer".to_owned()], ..FieldRules::default() };
        let named = Arc::new(Rules::requests(fields));
        for (carrier, text) in [
            (Carrier::Form, "/pay?cvv=123"),
            (Carrier::Form, "/pay?a=1&card_security_code=1234"),
            (Carrier::Form, "/pay?pruefziffer=123&b=2"),
            (Carrier::Text, "a=b; cvc=123"),
        ] {
            assert!(may_hold_any(&named, text.as_bytes()), "{text}");
            let body = Bytes::copy_from_slice(text.as_bytes());
            assert_eq!(find_all(&named, carrier, &body).len(), 1, "{text}");
        }
        let answers = Rules::responses(FieldRules::default());
        assert!(!may_hold_any(&answers, b"cvv=123"));
        assert!(!may_hold_any(&requests(), b"/shop?page=123&year=2026"));
    }

    #[test]
    fn only_trailer_fields_with_a_find_are_dropped() {
        let mut trailers = HeaderMap::new();
        trailers.append("x-digest", "abc123".parse().unwrap());
        trailers.append("x-card", "4111111111111111".parse().unwrap());
        trailers.append("x-note", "cvv=123".parse().unwrap());
        trailers.append("x-4111111111111111", "1".parse().unwrap());
        drop_fields_with_finds(&requests(), &mut trailers);
        assert_eq!(trailers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-digest"]);
    }
}
