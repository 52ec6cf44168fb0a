//! The login stages: reserve before the shop sees an attempt, settle by what it answers.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{request, response};

use super::Proxy;
use super::body::{Reached, Source};
use super::exchange::Exchange;
use super::generation::{Generation, Place};
use super::login::{Attempt, BODY_LOOK_BYTES, Judgement, LoginGuard, Verdict};
use super::reject::Rejection;
use crate::coding::{Bounds, Coding, Decoder};
use crate::counters::Outcome;
use crate::policy::Site;

/// The largest login that is read: what does not fit is refused (413), or padding would hide the
/// account's name.
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
        if reached == Reached::Enough
            && pieces.iter().map(Bytes::len).sum::<usize>() > LOGIN_BYTES_MAX
        {
            let limit_bytes = u64::try_from(LOGIN_BYTES_MAX).unwrap_or(u64::MAX);
            return Err(Rejection::BodyTooLarge { limit_bytes });
        }
        let codings = Coding::of(&head.headers).map_err(Rejection::Coding)?;
        let body = plain(&pieces, &codings);
        source.put_back(pieces);
        let content_type = head.headers.get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let account = expected.account(content_type, &body);
        let limits = &generation.snapshot.login;
        match self.services.logins.reserve(&expected, account, exchange.client.0, limits).await {
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
                Ok((pieces, _)) => {
                    let codings = Coding::of(&head.headers).unwrap_or_default();
                    let outcome = attempt.judge_body(&plain(&pieces, &codings));
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
        attempt.settle(outcome);
    }
}

/// The beginning of a body as text; what cannot be decoded is looked at as far as it could.
fn plain(pieces: &[Bytes], codings: &[Coding]) -> Vec<u8> {
    if codings.is_empty() {
        return pieces.concat();
    }
    let mut text = Vec::new();
    if let Ok(mut decoder) = Decoder::new(codings, DECODED) {
        let _as_far_as_it_goes = pieces.iter().try_for_each(|piece| decoder.push(piece, &mut text));
    }
    text
}
