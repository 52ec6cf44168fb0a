//! Card numbers in the head of a message: target, cookies, referrer, any field.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, REFERER, SET_COOKIE};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::Editor;
use crate::card::PAN_DIGITS_MIN;
use crate::proxy::reject::Rejection;
use crate::scan::{Carrier, Decided, Rules, Stream};
use crate::telemetry::CardPlace;

/// Replaces card numbers in the target and the fields of a head. Credentials are left alone: what
/// authenticates must arrive as it was made.
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
    let suspects: Vec<HeaderName> = headers
        .iter()
        .filter(|(_, value)| may_hold_card(value.as_bytes()))
        .map(|(name, _)| name.clone())
        .filter(|name| name != AUTHORIZATION && name != PROXY_AUTHORIZATION)
        .collect();
    for name in suspects {
        rewrite_field(editor, rules, headers, name).await?;
    }
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
    if !may_hold_card(text) {
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

/// Cheap and never wrong the dangerous way: every writing of a digit has an ASCII digit in it, or a
/// byte beyond ASCII.
fn may_hold_card(text: &[u8]) -> bool {
    let carries_digit = |byte: &&u8| byte.is_ascii_digit() || !byte.is_ascii();
    text.len() >= PAN_DIGITS_MIN && text.iter().filter(carries_digit).count() >= PAN_DIGITS_MIN
}
