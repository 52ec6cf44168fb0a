//! The streaming rewriter: decode, scan, edit, encode again.
//!
//! Per body it holds one piece of the peer's, what the scanner holds back, and what waits for the
//! vault; the next piece is read when that has been given on.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};

use super::messages::{Messages, Step};
use super::{BodyError, Source};
use crate::coding::{Bounds, Coding, DecodeError, Decoder, Encoder};
use crate::proxy::cards::Editor;
use crate::proxy::digits::DigitRow;
use crate::proxy::reject::Rejection;
use crate::scan::{Carrier, Decided, Rules, Stream};

/// How much of a whole body is looked through at a time.
const STEP_BYTES: usize = 16 << 10;

/// A future of edited bytes.
pub(in crate::proxy) type Editing =
    Pin<Box<dyn Future<Output = Result<Vec<Bytes>, Rejection>> + Send>>;

/// A body being rewritten.
pub struct Rewritten {
    source: Source,
    coded: Option<Coded>,
    /// Where the body has messages; each is scanned by itself.
    messages: Option<(Messages, Arc<Rules>)>,
    stream: Stream,
    carrier: Carrier,
    editor: Arc<Editor>,
    decided: Vec<Decided>,
    ready: VecDeque<Bytes>,
    editing: Option<Editing>,
    trailers: Option<HeaderMap>,
    begun: bool,
    source_ended: bool,
}

/// The codings of a body, being undone and done again.
pub(crate) struct Coded {
    decoder: Decoder,
    /// Taken when the body has been ended.
    encoder: Option<Encoder>,
    /// Whether each piece must leave at once, as in a stream of events.
    prompt: bool,
}

impl Coded {
    /// Begins both ways.
    ///
    /// # Errors
    /// When a library cannot start.
    pub(crate) fn new(
        codings: &[Coding],
        bounds: Bounds,
        prompt: bool,
    ) -> Result<Self, DecodeError> {
        let encoder = Encoder::new(codings)
            .map_err(|source| DecodeError::Broken { coding: "encoder", source })?;
        Ok(Self { decoder: Decoder::new(codings, bounds)?, encoder: Some(encoder), prompt })
    }

    /// Whether a whole body, coded or plain, holds anything that has to be edited. What stands beside
    /// the coded bytes (a file name in a gzip head, a frame to be skipped in zstd) counts too: a body
    /// that is coded anew has none.
    ///
    /// # Errors
    /// When it cannot be decoded.
    pub(crate) async fn holds_any(
        pieces: &[Bytes],
        codings: &[Coding],
        bounds: Bounds,
        (rules, carrier): (Arc<Rules>, Carrier),
    ) -> Result<bool, DecodeError> {
        let mut decoder = Decoder::new(codings, bounds)?;
        let mut beside = DigitRow::default();
        let mut stream = Stream::new(rules, carrier);
        let mut decided = Vec::new();
        for step in pieces.iter().flat_map(steps) {
            if codings.is_empty() {
                stream.push(step, &mut decided);
            } else {
                let mut decoded = Vec::new();
                decoder.push(&step, &mut decoded)?;
                stream.push(Bytes::from(decoded), &mut decided);
                if beside.is_long_in(&step) {
                    return Ok(true);
                }
            }
            if decided.drain(..).any(|run| !run.finds.is_empty()) {
                return Ok(true);
            }
            // The other requests of this thread come first.
            tokio::task::yield_now().await;
        }
        let mut rest = Vec::new();
        decoder.finish(&mut rest)?;
        stream.push(Bytes::from(rest), &mut decided);
        stream.finish(&mut decided);
        Ok(decided.iter().any(|run| !run.finds.is_empty()))
    }
}

/// A piece in steps that keep no other request waiting for long.
fn steps(piece: &Bytes) -> impl Iterator<Item = Bytes> {
    let starts = (0..piece.len()).step_by(STEP_BYTES);
    starts.map(|start| piece.slice(start..piece.len().min(start + STEP_BYTES)))
}

impl Rewritten {
    /// Begins a body.
    pub(in crate::proxy) fn new(
        source: Source,
        coded: Option<Coded>,
        (stream, carrier): (Stream, Carrier),
        editor: Arc<Editor>,
    ) -> Self {
        Self {
            source,
            coded,
            messages: None,
            stream,
            carrier,
            editor,
            decided: Vec::new(),
            ready: VecDeque::new(),
            editing: None,
            trailers: None,
            begun: false,
            source_ended: false,
        }
    }

    /// Gives each message on when it has come.
    pub(in crate::proxy) fn by_message(mut self, messages: Messages, rules: &Arc<Rules>) -> Self {
        self.messages = Some((messages, Arc::clone(rules)));
        self
    }

    pub(in crate::proxy) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let step = match &mut self.editing {
                Some(editing) => {
                    let edited = ready!(editing.as_mut().poll(context));
                    self.editing = None;
                    edited.and_then(|pieces| self.give(pieces))
                }
                None if self.source_ended => {
                    let Some(last) = self.last_piece() else {
                        let trailers = self.trailers.take().map(Frame::trailers);
                        return Poll::Ready(trailers.map(Ok));
                    };
                    last.map(|bytes| self.ready.extend(bytes))
                }
                None => match ready!(self.source.poll_frame(context)).transpose() {
                    Ok(frame) => self.take(frame),
                    Err(error) => return Poll::Ready(Some(Err(error))),
                },
            };
            if let Err(rejection) = step {
                self.source_ended = true;
                self.coded = None;
                self.editor.refuse(rejection);
                return Poll::Ready(Some(Err(BodyError::Refused)));
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.source_ended && self.nothing_left() && self.trailers.is_none()
    }

    /// Most editing keeps every length, coding does not; asked when the head is written. Where the
    /// length is not known, the body is sent in chunks.
    pub(super) fn size_hint(&self) -> SizeHint {
        if self.coded.is_some() || self.begun || self.editor.resizes() {
            return SizeHint::default();
        }
        self.source.size_hint()
    }

    fn nothing_left(&self) -> bool {
        let encoded = self.coded.as_ref().is_none_or(|coded| coded.encoder.is_none());
        self.ready.is_empty() && self.editing.is_none() && encoded
    }

    fn take(&mut self, frame: Option<Frame<Bytes>>) -> Result<(), Rejection> {
        self.begun = true;
        match frame.map(Frame::into_data) {
            Some(Ok(bytes)) => {
                let bytes = match &mut self.coded {
                    Some(coded) => {
                        let mut decoded = Vec::new();
                        let pushed = coded.decoder.push(&bytes, &mut decoded);
                        pushed.map_err(|error| self.editor.undecodable(error))?;
                        Bytes::from(decoded)
                    }
                    None => bytes,
                };
                self.scan(bytes)?;
            }
            Some(Err(frame)) => self.trailers = frame.into_trailers().ok(),
            None => {
                self.source_ended = true;
                if let Some(coded) = &mut self.coded {
                    let mut rest = Vec::new();
                    let finished = coded.decoder.finish(&mut rest);
                    finished.map_err(|error| self.editor.undecodable(error))?;
                    self.stream.push(Bytes::from(rest), &mut self.decided);
                }
                self.stream.finish(&mut self.decided);
            }
        }
        self.dispatch()
    }

    fn scan(&mut self, mut bytes: Bytes) -> Result<(), Rejection> {
        let Some((messages, rules)) = &mut self.messages else {
            self.stream.push(bytes, &mut self.decided);
            return Ok(());
        };
        while !bytes.is_empty() {
            let step = messages.follow(&bytes).map_err(|error| self.editor.undecodable(error))?;
            let (Step::Goes(length) | Step::Ends(length)) = step;
            self.stream.push(bytes.split_to(length), &mut self.decided);
            if let Step::Ends(_) = step {
                self.stream.finish(&mut self.decided);
                self.stream = Stream::new(Arc::clone(rules), self.carrier);
            }
        }
        Ok(())
    }

    /// Runs without a find are given on as they are; with one, all wait for the editor.
    fn dispatch(&mut self) -> Result<(), Rejection> {
        if self.decided.iter().all(|run| run.finds.is_empty()) {
            self.editor.pass_by(&self.decided);
            if self.coded.is_none() {
                let runs = self.decided.drain(..).map(|run| run.bytes);
                self.ready.extend(runs.filter(|bytes| !bytes.is_empty()));
                return Ok(());
            }
            let pieces = self.decided.drain(..).map(|run| run.bytes).collect();
            return self.give(pieces);
        }
        let runs = std::mem::take(&mut self.decided);
        self.editing = Some(self.editor.edit(runs, self.carrier));
        Ok(())
    }

    fn give(&mut self, pieces: Vec<Bytes>) -> Result<(), Rejection> {
        let Some(coded) = &mut self.coded else {
            self.ready.extend(pieces.into_iter().filter(|bytes| !bytes.is_empty()));
            return Ok(());
        };
        let Some(encoder) = &mut coded.encoder else { return Ok(()) };
        let broken = |source| DecodeError::Broken { coding: "encoder", source };
        let mut wire = Vec::new();
        for piece in pieces {
            let encoded = encoder.push(&piece).map_err(broken);
            wire.extend(encoded.map_err(|error| self.editor.undecodable(error))?);
        }
        if coded.prompt {
            let flushed = encoder.flush().map_err(broken);
            wire.extend(flushed.map_err(|error| self.editor.undecodable(error))?);
        }
        if !wire.is_empty() {
            self.ready.push_back(Bytes::from(wire));
        }
        Ok(())
    }

    /// What the encoder still holds; `None` where all has been given.
    fn last_piece(&mut self) -> Option<Result<Option<Bytes>, Rejection>> {
        let encoder = self.coded.as_mut()?.encoder.take()?;
        let finished = encoder.finish().map(|wire| (!wire.is_empty()).then(|| Bytes::from(wire)));
        let broken = |source| DecodeError::Broken { coding: "encoder", source };
        Some(finished.map_err(|error| self.editor.undecodable(broken(error))))
    }
}
