//! Virtual patches: requests that a hole of the shop is tried with never reach it.
//!
//! A pattern is looked for in what is written and in what a shop may read there. A body is read whole,
//! within the route's limit, and only where everything else of a block holds; one that cannot be seen
//! whole is refused, or padding would be a way past.

use std::sync::Arc;

use bytes::Bytes;
use http::request;
use regex::bytes::Regex;

use super::Proxy;
use super::access::methods;
use super::body::Source;
use super::exchange::Exchange;
use super::generation::Place;
use super::login::Plus;
use super::reject::Rejection;
use super::spelling::{Paths, decodings, unescaped};
use crate::coding::{Bounds, Coding, DecodeError, Decoder};
use crate::policy::{BlockRule, HeaderPattern, LimitMode, Limits};
use crate::telemetry::BlockOutcome;

impl Proxy {
    /// Refuses what a block is for.
    ///
    /// # Errors
    /// When there is such a block, or a body cannot be read for one.
    pub(super) async fn check_blocks(
        &self,
        place: &Place<'_>,
        exchange: &Exchange,
        (head, source): (&request::Parts, &mut Source),
    ) -> Result<(), Rejection> {
        if place.site.blocks.is_empty() {
            return Ok(());
        }
        let paths = Paths::of(head.uri.path());
        let mut undecided = Vec::new();
        for block in place.site.blocks.iter().filter(|block| means(block, head, &paths)) {
            match &block.body {
                Some(pattern) => undecided.push((block, pattern)),
                None => self.met(place, exchange, block)?,
            }
        }
        if undecided.is_empty() {
            return Ok(());
        }
        let body = match read(source, head, (&place.route.limits, exchange)).await? {
            Ok(body) => body,
            Err(unreadable) => return self.unread(place, exchange, (&undecided, unreadable)),
        };
        let readings: Vec<_> = decodings(&body, Plus::Space).collect();
        let plain = unescaped(&body);
        for (block, pattern) in undecided {
            let mut texts = readings.iter().map(AsRef::as_ref).chain(plain.as_deref());
            if texts.any(|text| pattern.is_match(text)) {
                self.met(place, exchange, block)?;
            }
        }
        Ok(())
    }

    fn met(
        &self,
        place: &Place<'_>,
        exchange: &Exchange,
        block: &BlockRule,
    ) -> Result<(), Rejection> {
        let outcome = match block.mode {
            LimitMode::Enforce => BlockOutcome::Blocked,
            LimitMode::Observe => BlockOutcome::Observed,
        };
        let (site, id) = (&place.site.name.0, exchange.id.as_str());
        self.services.metrics.block_met(site, &block.name, outcome, id);
        match block.mode {
            LimitMode::Enforce => {
                Err(Rejection::Blocked { rule: Arc::clone(&block.name), status: block.status })
            }
            LimitMode::Observe => Ok(()),
        }
    }

    fn unread(
        &self,
        place: &Place<'_>,
        exchange: &Exchange,
        (blocks, why): (&[(&BlockRule, &Regex)], Rejection),
    ) -> Result<(), Rejection> {
        for (block, _) in blocks {
            let (site, id) = (&place.site.name.0, exchange.id.as_str());
            self.services.metrics.block_met(site, &block.name, BlockOutcome::Unread, id);
        }
        let enforced = blocks.iter().any(|(block, _)| block.mode == LimitMode::Enforce);
        if enforced { Err(why) } else { Ok(()) }
    }
}

/// Whether everything of a block but its body holds.
fn means(block: &BlockRule, head: &request::Parts, paths: &Paths<'_>) -> bool {
    block.means_method(&methods(head))
        && block
            .path
            .as_ref()
            .is_none_or(|pattern| paths.with_raw().any(|path| pattern.matches_loosely(path)))
        && block.query.as_ref().is_none_or(|pattern| {
            let query = head.uri.query().unwrap_or_default().as_bytes();
            decodings(query, Plus::Space).any(|text| pattern.is_match(&text))
        })
        && block.headers.iter().all(|field| has(field, head))
}

fn has(field: &HeaderPattern, head: &request::Parts) -> bool {
    field
        .values(&head.headers)
        .any(|value| decodings(value.as_bytes(), Plus::Literal).any(|value| field.fits(&value)))
}

/// The whole body, decoded; it is still to be given to the shop. What cannot be read so is the inner
/// error, and a client that does not send it the outer one.
async fn read(
    source: &mut Source,
    head: &request::Parts,
    (limits, exchange): (&Limits, &Exchange),
) -> Result<Result<Vec<u8>, Rejection>, Rejection> {
    let limit_bytes = limits.blocks_body_bytes_max;
    let most = usize::try_from(limit_bytes).unwrap_or(usize::MAX);
    let too_large = Rejection::BodyTooLarge { limit_bytes };
    let pieces = source.read_up_to(most.saturating_add(1)).await;
    let (pieces, _) = pieces.map_err(|error| exchange.refusal(error))?;
    let body = if pieces.iter().map(Bytes::len).sum::<usize>() > most {
        Err(too_large)
    } else {
        let bounds = Bounds { bytes_max: limit_bytes, ratio_max: limits.decoded_ratio_max };
        plain(&pieces, head, bounds).map_err(|error| match error {
            DecodeError::TooLarge => too_large,
            other => Rejection::Coding(other),
        })
    };
    source.put_back(pieces);
    Ok(body)
}

fn plain(pieces: &[Bytes], head: &request::Parts, bounds: Bounds) -> Result<Vec<u8>, DecodeError> {
    let codings = Coding::of(&head.headers)?;
    if codings.is_empty() {
        return Ok(pieces.concat());
    }
    let mut decoder = Decoder::new(&codings, bounds)?;
    let mut text = Vec::new();
    pieces.iter().try_for_each(|piece| decoder.push(piece, &mut text))?;
    decoder.finish(&mut text)?;
    Ok(text)
}
