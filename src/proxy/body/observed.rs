//! A body that is only looked at: every byte goes on as it comes, whatever it holds and whether or not it
//! can be read.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{BodyError, Source};
use crate::coding::{Bounds, Coding, DecodeError, Decoder};
use crate::proxy::cards::Editor;
use crate::scan::{Carrier, Decided, Rules, Stream};

/// A body being looked at.
pub struct Observed {
    source: Source,
    /// Nothing where it cannot be read, and when it has ended.
    look: Option<Look>,
    editor: Arc<Editor>,
}

/// What is known of it so far.
pub(crate) struct Look {
    /// For one that is coded.
    decoder: Option<Decoder>,
    stream: Stream,
    carrier: Carrier,
}

impl Look {
    /// Begins.
    ///
    /// # Errors
    /// When a library cannot start.
    pub(crate) fn new(
        codings: &[Coding],
        bounds: Bounds,
        (rules, carrier): (&Arc<Rules>, Carrier),
    ) -> Result<Self, DecodeError> {
        let coded = !codings.is_empty();
        let decoder = coded.then(|| Decoder::new(codings, bounds)).transpose()?;
        Ok(Self { decoder, stream: Stream::new(Arc::clone(rules), carrier), carrier })
    }

    fn see(&mut self, piece: Bytes) -> Result<Vec<Decided>, DecodeError> {
        let text = match &mut self.decoder {
            Some(decoder) => {
                let mut text = Vec::new();
                decoder.push(&piece, &mut text)?;
                Bytes::from(text)
            }
            None => piece,
        };
        let mut decided = Vec::new();
        self.stream.push(text, &mut decided);
        Ok(decided)
    }

    fn end(mut self) -> Result<Vec<Decided>, DecodeError> {
        let mut decided = Vec::new();
        if let Some(decoder) = &mut self.decoder {
            let mut rest = Vec::new();
            decoder.finish(&mut rest)?;
            self.stream.push(Bytes::from(rest), &mut decided);
        }
        self.stream.finish(&mut decided);
        Ok(decided)
    }
}

impl Observed {
    /// Begins a body; one that cannot be read is counted, and passes.
    pub(in crate::proxy) fn new(
        source: Source,
        look: Result<Look, DecodeError>,
        editor: Arc<Editor>,
    ) -> Self {
        let look = look.inspect_err(|error| editor.cannot_read(error)).ok();
        Self { source, look, editor }
    }

    pub(super) fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.source.poll_frame(context));
        if let Some(piece) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.look_at(piece.clone());
        }
        // Whoever knows the length does not ask again after the last piece.
        if frame.is_none() || self.source.is_end_stream() {
            self.end();
        }
        Poll::Ready(frame)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.source.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.source.size_hint()
    }

    fn look_at(&mut self, piece: Bytes) {
        let Some(look) = &mut self.look else { return };
        let (seen, carrier) = (look.see(piece), look.carrier);
        if self.tell(seen, carrier).is_none() {
            self.look = None;
        }
    }

    fn end(&mut self) {
        if let Some(look) = self.look.take() {
            let carrier = look.carrier;
            let _last = self.tell(look.end(), carrier);
        }
    }

    /// Nothing where the body cannot be read any further.
    fn tell(&self, seen: Result<Vec<Decided>, DecodeError>, carrier: Carrier) -> Option<()> {
        let decided = seen.inspect_err(|error| self.editor.cannot_read(error)).ok()?;
        if decided.iter().any(|run| !run.finds.is_empty()) {
            self.editor.observe(decided, carrier);
        }
        Some(())
    }
}
