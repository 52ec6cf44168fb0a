//! Card numbers in what passes: which bodies are looked into, and how.
//!
//! Requests are edited before the upstream sees a byte of them: small bodies are read whole first,
//! so that every refusal has its status; larger ones are edited as they stream, and a refusal cuts
//! them off before their end. Answers are edited as they stream. A coded body that holds nothing
//! arrives as the very bytes that were sent.
//!
//! A body that is cut off never looks whole: on HTTP/1.1 the connection ends before the announced length
//! or the last chunk (RFC 9112 section 8), on HTTP/2 the stream is reset with INTERNAL_ERROR. Masking what
//! the vault cannot judge instead would be as safe for cards, and is done for pages; a provider's answer
//! with a token masked for ever would break the next payment without a word.

mod editor;
mod head;
mod page;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue};

pub(super) use editor::{Action, Editor};
pub(super) use head::{drop_fields_with_finds, rewrite_head, rewrite_query};

use super::body::{
    Body, Coded, Look, Messages, Observed, Reached, Rewritten, Source, UNCOUNTED_BYTES,
};
use super::exchange::Exchange;
use super::reject::Rejection;
use crate::coding::{Bounds, Coding};
use crate::policy::Limits;
use crate::scan::{Carrier, Decided, Rules, Stream};

/// Request bodies up to this size are read whole before anything is forwarded.
const REQUEST_WHOLE_BYTES: usize = UNCOUNTED_BYTES;
/// Answers that are coded, or described byte for byte, are read whole up to this size: one without a
/// card then arrives as it was sent, description and all.
const RESPONSE_WHOLE_BYTES: usize = 256 << 10;

/// A shop that pauses for longer writes as it goes: its customer sees what there is. So does a client
/// that waits for an answer to each of its messages.
const PATIENCE: Duration = Duration::from_millis(50);

/// What one direction of one request asks for.
pub(super) struct Task<'a> {
    pub(super) editor: Arc<Editor>,
    pub(super) rules: &'a Arc<Rules>,
    pub(super) limits: &'a Limits,
    pub(super) forward: Forward,
    pub(super) opaque: Opaque,
}

/// What is done with what calls itself a picture, sound or film.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Opaque {
    /// It passes: a shop's pages are full of them.
    Pass,
    /// It is looked into like anything else: a payment provider sends none.
    Scan,
}

impl Task<'_> {
    fn guard_trailers(&self, source: &mut Source) {
        source.guard_trailers(Arc::clone(self.rules));
    }

    /// Begins a body that is edited as it streams.
    fn rewritten(&self, source: Source, coded: Option<Coded>, headers: &HeaderMap) -> Rewritten {
        let carrier = carrier(headers);
        let stream = Stream::new(Arc::clone(self.rules), carrier);
        let messages = if coded.is_none() { Messages::of(headers) } else { None };
        let body = Rewritten::new(source, coded, (stream, carrier), Arc::clone(&self.editor));
        match messages {
            Some(messages) => body.by_message(messages, self.rules),
            None => body,
        }
    }
}

/// When the first byte of a request may go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Forward {
    /// While the rest still comes.
    Streaming,
    /// When all of it has been edited.
    Whole,
}

/// Looks at a body of either direction, and changes nothing.
pub(super) fn observe(task: &Task<'_>, headers: &HeaderMap, source: Source) -> Body {
    if source.is_empty() || (task.opaque == Opaque::Pass && is_opaque(headers)) {
        return pass(source);
    }
    let scanned = (task.rules, carrier(headers));
    let look =
        Coding::of(headers).and_then(|codings| Look::new(&codings, bounds(task.limits), scanned));
    Body::Observed(Box::new(Observed::new(source, look, Arc::clone(&task.editor))))
}

/// A body that is not looked into.
pub(super) fn pass(source: Source) -> Body {
    if source.is_empty() { Body::Empty } else { Body::Passed(Box::new(source)) }
}

/// Replaces what a request's body holds.
pub(super) async fn rewrite_request(
    task: &Task<'_>,
    headers: &mut HeaderMap,
    mut source: Source,
    exchange: &Exchange,
) -> Result<Body, Rejection> {
    task.guard_trailers(&mut source);
    let codings = Coding::of(headers).map_err(Rejection::Coding)?;
    let streaming = codings.is_empty() && task.forward == Forward::Streaming;
    let enough = if streaming { REQUEST_WHOLE_BYTES } else { usize::MAX };
    let mut messages = Messages::of(headers).filter(|_| streaming);
    let patience = if messages.is_some() { PATIENCE } else { Duration::MAX };
    let read = source.read_while(enough, patience).await;
    let (pieces, reached) = read.map_err(|error| exchange.refusal(error))?;
    if !codings.is_empty() {
        return recode_request(task, headers, (source, pieces), &codings).await;
    }
    if streaming && reached != Reached::End {
        source.put_back(pieces);
        return Ok(Body::Rewritten(Box::new(task.rewritten(source, None, headers))));
    }
    if let Some(messages) = &mut messages {
        let mut pieces = pieces.iter();
        pieces.try_for_each(|piece| messages.admit(piece)).map_err(Rejection::Coding)?;
    }
    let mut stream = Stream::new(Arc::clone(task.rules), carrier(headers));
    let mut runs = Vec::with_capacity(pieces.len());
    for piece in pieces {
        stream.push(piece, &mut runs);
    }
    stream.finish(&mut runs);
    edit_whole(task, runs, carrier(headers)).await
}

/// Replaces what an answer's body holds.
pub(super) async fn rewrite_response(
    task: &Task<'_>,
    headers: &mut HeaderMap,
    mut source: Source,
) -> Result<Body, Rejection> {
    task.guard_trailers(&mut source);
    if source.is_empty() || (task.opaque == Opaque::Pass && is_opaque(headers)) {
        return Ok(Body::Passed(Box::new(source)));
    }
    let carrier = carrier(headers);
    let codings = Coding::of(headers).map_err(Rejection::UpstreamCoding)?;
    let mut prompt = carrier == Carrier::EventStream;
    // Only what is described byte for byte, or would have to be coded anew, is worth waiting for.
    let whole = task.forward == Forward::Whole;
    let described = describes_bytes(headers) || whole || task.editor.resizes();
    let mut ended = false;
    if !prompt && (!codings.is_empty() || described) {
        let read = source.read_while(RESPONSE_WHOLE_BYTES, PATIENCE).await;
        let (pieces, reached) = read.map_err(Rejection::UpstreamBody)?;
        let scanned = (Arc::clone(task.rules), carrier);
        let clean = reached == Reached::End
            && !Coded::holds_any(&pieces, &codings, bounds(task.limits), scanned)
                .await
                .map_err(Rejection::UpstreamCoding)?;
        (prompt, ended) = (reached == Reached::Pause, reached == Reached::End);
        source.put_back(pieces);
        if clean {
            return Ok(Body::Passed(Box::new(source)));
        }
        forget_digests(headers);
        // A long plain body is more likely unchanged, and then its tag and its parts stay true.
        if reached == Reached::End || !codings.is_empty() {
            forget_identity(headers);
        }
    }
    if !codings.is_empty() || task.editor.resizes() {
        headers.remove(CONTENT_LENGTH);
    }
    let coded = if codings.is_empty() {
        None
    } else {
        let coded = Coded::new(&codings, bounds(task.limits), prompt);
        Some(coded.map_err(Rejection::UpstreamCoding)?)
    };
    let rewritten = task.rewritten(source, coded, headers);
    if whole && ended {
        return Ok(Body::Whole(edited(task, headers, rewritten).await?));
    }
    Ok(Body::Rewritten(Box::new(rewritten)))
}

/// Whether an answer is a part of something whose edges could cut a card number in two: it is asked
/// for again, whole.
pub(super) fn is_unreadable_part(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::PARTIAL_CONTENT && !is_opaque(headers)
}

/// A coded request body has been read whole: it goes on as it came, or decoded, edited and coded
/// again.
async fn recode_request(
    task: &Task<'_>,
    headers: &mut HeaderMap,
    (mut source, pieces): (Source, Vec<Bytes>),
    codings: &[Coding],
) -> Result<Body, Rejection> {
    let (carrier, bounds) = (carrier(headers), bounds(task.limits));
    let scanned = (Arc::clone(task.rules), carrier);
    let found = Coded::holds_any(&pieces, codings, bounds, scanned).await;
    let found = found.map_err(Rejection::Coding)?;
    if !found {
        return Ok(Body::Whole(joined(pieces)));
    }
    source.put_back(pieces);
    let coded = Coded::new(codings, bounds, false).map_err(Rejection::Coding)?;
    let rewritten = task.rewritten(source, Some(coded), headers);
    Ok(Body::Whole(edited(task, headers, rewritten).await?))
}

/// All of a body that has been read whole, so that a refusal has its status. Not unbounded: what was
/// read is bounded, and so is what it decodes to.
async fn edited(
    task: &Task<'_>,
    headers: &mut HeaderMap,
    mut rewritten: Rewritten,
) -> Result<Bytes, Rejection> {
    let mut whole = BytesMut::new();
    while let Some(frame) = std::future::poll_fn(|context| rewritten.poll_frame(context)).await {
        let frame = frame.map_err(|error| task.editor.exchange.refusal(error))?;
        if let Ok(bytes) = frame.into_data() {
            whole.extend_from_slice(&bytes);
        }
    }
    headers.remove(CONTENT_LENGTH);
    Ok(whole.freeze())
}

async fn edit_whole(
    task: &Task<'_>,
    runs: Vec<Decided>,
    carrier: Carrier,
) -> Result<Body, Rejection> {
    if runs.iter().all(|run| run.finds.is_empty()) {
        return Ok(whole(runs.into_iter().map(|run| run.bytes).collect()));
    }
    Ok(whole(task.editor.edit(runs, carrier).await?))
}

fn whole(pieces: Vec<Bytes>) -> Body {
    let bytes = joined(pieces);
    if bytes.is_empty() { Body::Empty } else { Body::Whole(bytes) }
}

fn joined(mut pieces: Vec<Bytes>) -> Bytes {
    pieces.retain(|piece| !piece.is_empty());
    if pieces.len() == 1 {
        return pieces.pop().unwrap_or_default();
    }
    let mut bytes = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
    for piece in pieces {
        bytes.extend_from_slice(&piece);
    }
    bytes.freeze()
}

fn carrier(headers: &HeaderMap) -> Carrier {
    headers.get(CONTENT_TYPE).map_or(Carrier::Text, |value| Carrier::declared(value.as_bytes()))
}

fn bounds(limits: &Limits) -> Bounds {
    Bounds { bytes_max: limits.decoded_body_bytes_max, ratio_max: limits.decoded_ratio_max }
}

/// Pictures, sound, film and fonts carry no text: digits in them are chance, and editing breaks them.
fn is_opaque(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(CONTENT_TYPE) else { return false };
    let lower = value.as_bytes().to_ascii_lowercase();
    let media = [&b"image/"[..], b"audio/", b"video/", b"font/"];
    media.iter().any(|prefix| lower.starts_with(prefix)) && !lower.starts_with(b"image/svg")
}

/// Fields that describe a body byte for byte (RFC 9530, and its predecessors).
const DIGESTS: [&str; 4] = ["content-digest", "content-md5", "digest", "repr-digest"];

fn describes_bytes(headers: &HeaderMap) -> bool {
    strong_tag(headers).is_some() || DIGESTS.iter().any(|name| headers.contains_key(*name))
}

fn strong_tag(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")).cloned()
}

fn forget_digests(headers: &mut HeaderMap) {
    for name in DIGESTS {
        headers.remove(name);
    }
}

/// The bytes differ from those the upstream described: its strong validator no longer holds
/// (RFC 9110 §8.8.1), and no part of them can be asked for by its place.
fn forget_identity(headers: &mut HeaderMap) {
    headers.remove(ACCEPT_RANGES);
    if let Some(tag) = strong_tag(headers) {
        let weak = [b"W/", tag.as_bytes()].concat();
        match HeaderValue::from_bytes(&weak) {
            Ok(value) => headers.insert(ETAG, value),
            Err(_) => headers.remove(ETAG),
        };
    }
}
