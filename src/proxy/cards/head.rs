//! Card numbers in the head of a message: target, cookies, referrer, any field.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Uri};

use super::Editor;
use crate::card::PAN_DIGITS_MIN;
use crate::proxy::reject::Rejection;
use crate::scan::{Carrier, Decided, Rules, Stream};

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
        if let Some(edited) = rewrite(editor, rules, Carrier::Form, text.as_bytes()).await? {
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
    let values: Vec<HeaderValue> = headers.get_all(&name).into_iter().cloned().collect();
    let mut edited = Vec::with_capacity(values.len());
    let mut changed = false;
    for value in values {
        match rewrite(editor, rules, Carrier::Text, value.as_bytes()).await? {
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

async fn rewrite(
    editor: &Arc<Editor>,
    rules: &Arc<Rules>,
    carrier: Carrier,
    text: &[u8],
) -> Result<Option<Bytes>, Rejection> {
    if !may_hold_card(text) {
        return Ok(None);
    }
    let mut stream = Stream::new(Arc::clone(rules), carrier);
    let mut runs: Vec<Decided> = Vec::new();
    stream.push(Bytes::copy_from_slice(text), &mut runs);
    stream.finish(&mut runs);
    if runs.iter().all(|run| run.finds.is_empty()) {
        return Ok(None);
    }
    let pieces = editor.edit(runs, carrier).await?;
    Ok(Some(pieces.concat().into()))
}

/// Cheap and never wrong the dangerous way: every writing of a digit has an ASCII digit in it, or a
/// byte beyond ASCII.
fn may_hold_card(text: &[u8]) -> bool {
    let carries_digit = |byte: &&u8| byte.is_ascii_digit() || !byte.is_ascii();
    text.len() >= PAN_DIGITS_MIN && text.iter().filter(carries_digit).count() >= PAN_DIGITS_MIN
}
