//! The login stages: reserve before the shop sees an attempt, settle by what it answers.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_TYPE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderValue, request, response};

use super::Proxy;
use super::body::{Reached, Source};
use super::exchange::Exchange;
use super::generation::{Generation, Place};
use super::headers::METHOD_OVERRIDES;
use super::login::{Attempt, BODY_LOOK_BYTES, Client, Judgement, LoginGuard, Unreadable, Verdict};
use super::reject::Rejection;
use crate::coding::{Bounds, Coding, Decoder};
use crate::counters::Outcome;
use crate::policy::Site;

/// The largest login that is read: what does not fit is refused (413), or padding would hide the
/// account's name; [`Expected::must_be_read`](super::login::Expected::must_be_read) tells where.
const LOGIN_BYTES_MAX: usize = 64 << 10;
/// What a coded login, or a coded answer to one, may decode to.
const DECODED: Bounds = Bounds { bytes_max: 1 << 20, ratio_max: 1_000 };

impl Proxy {
    /// Takes a place for a login. `None` where the request is none; a request that only looked like
    /// one goes on uncounted.
    pub(super) async fn reserve_login(
        &self,
        generation: &Generation,
        place: &Place<'_>,
        exchange: &Exchange,
        (head, source): (&request::Parts, &mut Source),
    ) -> Result<Option<Attempt>, Rejection> {
        let Some(expected) = LoginGuard::recognise(place.site, head) else { return Ok(None) };
        let read = source.read_up_to(LOGIN_BYTES_MAX + 1).await;
        let (pieces, reached) = read.map_err(|error| exchange.refusal(error))?;
        let types = || head.headers.get_all(CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
        let codings = Coding::of(&head.headers).map_err(Rejection::Coding)?;
        let (body, end) = plain(&pieces, reached, &codings);
        if reached == Reached::Enough
            && pieces.iter().map(Bytes::len).sum::<usize>() > LOGIN_BYTES_MAX
        {
            if expected.must_be_read(types(), &body) {
                let limit_bytes = u64::try_from(LOGIN_BYTES_MAX).unwrap_or(u64::MAX);
                return Err(Rejection::BodyTooLarge { limit_bytes });
            }
            source.put_back(pieces);
            return Ok(None);
        }
        if end == Reached::Enough && expected.must_be_read(types(), &body) {
            return Err(Rejection::LoginUnreadable);
        }
        source.put_back(pieces);
        let account = expected.account(types(), &body);
        let account = account.map_err(|Unreadable| Rejection::LoginUnreadable)?;
        let limits = &generation.snapshot.login;
        let client = Client { address: exchange.client.0, device: None };
        match self.services.logins.reserve(&expected, account, client, limits).await {
            Verdict::Admit(attempt) => Ok(Some(attempt)),
            Verdict::NotALogin => Ok(None),
            Verdict::Refuse(refusal) => {
                Err(self.services.login_refused(place.site, exchange, refusal))
            }
        }
    }

    /// Settles a login by the shop's answer, before the client sees it: whoever reads the answer
    /// and tries again is counted already.
    pub(super) async fn settle_login(
        &self,
        attempt: Option<Attempt>,
        (site, exchange): (&Site, &Exchange),
        (head, mut source): (&response::Parts, Source),
    ) -> Source {
        let Some(mut attempt) = attempt else { return source };
        let outcome = match attempt.judge_head(head) {
            Judgement::Failure => Outcome::Failure,
            Judgement::Neutral => Outcome::Neutral,
            Judgement::Success => Outcome::Success,
            Judgement::NeedsBody => match source.read_up_to(BODY_LOOK_BYTES).await {
                Ok((pieces, reached)) => {
                    let codings = Coding::of(&head.headers).unwrap_or_default();
                    let outcome = attempt.judge_body(&plain(&pieces, reached, &codings).0);
                    source.put_back(pieces);
                    outcome
                }
                // The answer broke off; its reader will meet the same end.
                Err(_) => Outcome::Neutral,
            },
        };
        self.settle(attempt, (site, exchange), outcome);
        source
    }

    /// Settles a login that the shop could not decide.
    pub(super) fn settle_undecided(
        &self,
        attempt: Option<Attempt>,
        (site, exchange): (&Site, &Exchange),
    ) {
        if let Some(attempt) = attempt {
            self.settle(attempt, (site, exchange), Outcome::Neutral);
        }
    }

    fn settle(&self, attempt: Attempt, (site, exchange): (&Site, &Exchange), outcome: Outcome) {
        self.services.metrics.login_attempt(&site.name.0, outcome.as_str());
        exchange.login_went(outcome.as_str());
        if let Some(refusal) = attempt.observed() {
            self.services.login_observed(site, exchange, (refusal, outcome));
        }
        attempt.settle(outcome);
    }
}

/// Asks the shop for an answer that can be judged: whole, uncoded and unconditional (RFC 9110 §13,
/// §14); a range of one byte shows no password input.
pub(super) fn plain_answer(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for name in [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE] {
        headers.remove(name);
    }
}

/// Keeps a login's method what its request line says: frameworks let a field replace it, and the
/// guard has looked at the line.
pub(super) fn plain_method(site: &Site, head: &mut request::Parts) {
    let overridden = METHOD_OVERRIDES.iter().any(|name| head.headers.contains_key(*name));
    if overridden && LoginGuard::is_login_address(site, &head.uri) {
        for name in METHOD_OVERRIDES {
            head.headers.remove(name);
        }
    }
}

/// The beginning of a body as text, as far as it can be decoded; short of its end that is `Enough`.
fn plain(pieces: &[Bytes], reached: Reached, codings: &[Coding]) -> (Vec<u8>, Reached) {
    if codings.is_empty() {
        return (pieces.concat(), Reached::End);
    }
    let mut text = Vec::new();
    let decoded = Decoder::new(codings, DECODED).and_then(|mut decoder| {
        pieces.iter().try_for_each(|piece| decoder.push(piece, &mut text))?;
        // A decoder keeps up to 32 KiB to itself until it is told that this is all.
        if reached == Reached::End { decoder.finish(&mut text) } else { Ok(()) }
    });
    (text, if decoded.is_ok() { Reached::End } else { Reached::Enough })
}
