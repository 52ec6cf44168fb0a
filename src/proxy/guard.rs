//! The login stages: reserve before the shop sees an attempt, settle by what it answers.

mod tell;

use std::time::SystemTime;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CONTENT_TYPE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use http::{HeaderMap, HeaderValue, StatusCode, request, response};

use self::tell::Refused;
use super::Proxy;
use super::body::{Reached, Source};
use super::device::Browser;
use super::exchange::Exchange;
use super::generation::{Generation, Place};
use super::headers::METHOD_OVERRIDES;
use super::login::{
    Attempt, BODY_LOOK_BYTES, Claim, ClaimError, Expected, Extent, Judgement, LoginGuard, Verdict,
};
use super::proof::Asker;
use super::reject::Rejection;
use super::suspicion::Caller;
use crate::coding::{Bounds, Coding, Decoder};
use crate::counters::{Outcome, Score};
use crate::policy::{GuardKind, LimitMode, Listed, ProofOfWork, Site, TrustedDevice};
use crate::telemetry::ProofOutcome;

/// What a coded login, or a coded answer to one, may decode to.
const DECODED: Bounds = Bounds { bytes_max: 1 << 20, ratio_max: 1_000 };

impl Proxy {
    /// Takes a place for each attempt that a request makes; none for most requests.
    pub(super) async fn reserve_login(
        &self,
        generation: &Generation,
        place: &Place<'_>,
        (exchange, browser): (&Exchange, &Browser),
        (head, source): (&request::Parts, &mut Source),
    ) -> Result<Vec<Attempt>, Rejection> {
        let Some(expected) = LoginGuard::recognise(place.site, head) else { return Ok(Vec::new()) };
        let snapshot = &generation.snapshot;
        let (listed, observes) =
            (snapshot.networks.find(exchange.client.0), snapshot.login.mode == LimitMode::Observe);
        let nothing = Score::default();
        let unread = Refused { site: place.site, guard: None, names: &[], score: &nothing };
        if listed == Some(Listed::Denied) && !observes {
            let denied = Rejection::NetworkDenied;
            return Err(self.services.attempt_refused(&unread, exchange, denied));
        }
        let (body, extent, too_large) = read_attempt(&expected, exchange, (head, source)).await?;
        let types = head.headers.get_all(CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
        let claims = match expected.claims(types, &body, extent) {
            Ok(claims) => claims,
            Err(ClaimError::TooMany) => {
                return Err(self.services.over_limit(&unread, exchange, LoginGuard::too_many()));
            }
            Err(ClaimError::Unreadable) => {
                return Err(too_large.unwrap_or(Rejection::LoginUnreadable));
            }
        };
        let work = snapshot.proof_of_work;
        let is_login = claims.iter().any(|claim| claim.guard().is_none());
        let wants_work = work.always && listed.is_none() && is_login;
        if wants_work && !observes {
            let shown = self.demand_proof((place.site, exchange), &head.headers, work);
            shown.map_err(|wanted| self.services.attempt_refused(&unread, exchange, wanted))?;
        }
        let headers = &head.headers;
        let caller = Caller { browser, headers, listed, worked: work.always, score: nothing };
        let at = (generation, place.site, exchange);
        let mut attempts = self.reserve_each(at, (&expected, &claims), caller).await?;
        // What only observes lets go on what it would have refused before any limit.
        let observed = match listed {
            Some(Listed::Denied) => Some(Rejection::NETWORK_DENIED),
            Some(Listed::Allowed) | None => wants_work.then_some(Rejection::PROOF_WANTED),
        };
        if let Some(rule) = observed.filter(|_| observes) {
            attempts.iter_mut().for_each(|attempt| attempt.observe(rule));
        }
        Ok(attempts)
    }

    /// Takes the places, or none where one of them is refused.
    async fn reserve_each(
        &self,
        (generation, site, exchange): (&Generation, &Site, &Exchange),
        (expected, claims): (&Expected<'_>, &[Claim<'_>]),
        mut caller: Caller<'_>,
    ) -> Result<Vec<Attempt>, Rejection> {
        let mut attempts = Vec::new();
        for claim in claims {
            let at = (site, exchange);
            let verdict = self.reserve_warily(generation, at, (expected, claim), &mut caller).await;
            let (guard, names, score) = (claim.guard(), claim.names(), &caller.score);
            let refused = Refused { site, guard, names, score };
            let rejection = match verdict {
                Ok(Verdict::Admit(attempt)) => {
                    attempts.push(attempt);
                    continue;
                }
                Ok(Verdict::Proven) => continue,
                Ok(Verdict::Refuse(refusal)) if caller.listed == Some(Listed::Allowed) => {
                    self.services.metrics.login_spared(&site.name.0, refusal.reason.as_str());
                    continue;
                }
                Ok(Verdict::Refuse(refusal)) => {
                    self.services.over_limit(&refused, exchange, refusal)
                }
                Err(rejection) => self.services.attempt_refused(&refused, exchange, rejection),
            };
            attempts.into_iter().for_each(Attempt::withdraw);
            return Err(rejection);
        }
        Ok(attempts)
    }

    /// Lets a login go on that shows a proof of work, and asks for one otherwise.
    pub(super) fn demand_proof(
        &self,
        (site, exchange): (&Site, &Exchange),
        headers: &HeaderMap,
        work: ProofOfWork,
    ) -> Result<(), Rejection> {
        let asker = Asker { site: &site.name, client: exchange.client.0 };
        let now = SystemTime::now();
        let outcome = self.services.proofs.redeem(headers, asker, work, now);
        self.services.metrics.proof_demanded(&site.name.0, outcome);
        if outcome == ProofOutcome::Accepted {
            return Ok(());
        }
        let challenge = self.services.proofs.challenge(asker, work, now);
        Err(Rejection::ProofWanted(Box::new(challenge)))
    }

    /// Settles attempts by the shop's answer, before the client sees it: whoever reads the answer
    /// and tries again is counted already. After a success there is a cookie that makes the browser
    /// known.
    pub(super) async fn settle_login(
        &self,
        attempts: Vec<Attempt>,
        (site, exchange): (&Site, &Exchange),
        (browser, trusted): (&Browser, Option<&TrustedDevice>),
        (head, mut source): (&response::Parts, Source),
    ) -> (Source, Option<HeaderValue>) {
        // Read once, for the first attempt that needs it; `None` inside where it broke off.
        let mut read: Option<Option<Vec<u8>>> = None;
        let mut granted = None;
        for mut attempt in attempts {
            let outcome = match attempt.judge_head(head) {
                Judgement::Failure => Outcome::Failure,
                Judgement::Neutral => Outcome::Neutral,
                Judgement::Success => Outcome::Success,
                Judgement::NeedsBody => {
                    if read.is_none() {
                        read = Some(look(&head.headers, &mut source).await);
                    }
                    // An answer that broke off decides nothing; its reader will meet the same end.
                    let body = read.as_ref().and_then(Option::as_deref);
                    body.map_or(Outcome::Neutral, |body| attempt.judge_body(body))
                }
            };
            let outcome = self.believe(&attempt, site, (head.status, outcome));
            let trusted = trusted.filter(|_| outcome == Outcome::Success);
            granted =
                trusted.and_then(|trusted| self.grant(&attempt, browser, trusted)).or(granted);
            self.settle(attempt, (site, exchange), outcome);
        }
        (source, granted)
    }

    /// Turns a success that cannot be one into a failure. A shop that is broken has seemed to take
    /// nothing.
    fn believe(
        &self,
        attempt: &Attempt,
        site: &Site,
        (status, outcome): (StatusCode, Outcome),
    ) -> Outcome {
        if status.is_server_error() {
            return outcome;
        }
        let believed = attempt.doubt(outcome);
        if believed != outcome {
            self.services.metrics.login_doubted(&site.name.0);
        }
        believed
    }

    /// Settles attempts that the shop could not decide.
    pub(super) fn settle_undecided(
        &self,
        attempts: Vec<Attempt>,
        (site, exchange): (&Site, &Exchange),
    ) {
        for attempt in attempts {
            self.settle(attempt, (site, exchange), Outcome::Neutral);
        }
    }

    fn grant(
        &self,
        attempt: &Attempt,
        browser: &Browser,
        trusted: &TrustedDevice,
    ) -> Option<HeaderValue> {
        let clock = (SystemTime::now(), trusted.lifetime);
        self.services.logins.grant(attempt, (&browser.shown, browser.scheme), clock)
    }

    fn settle(&self, attempt: Attempt, (site, exchange): (&Site, &Exchange), outcome: Outcome) {
        match attempt.guard() {
            Some(guard) => {
                self.services.metrics.guard_attempt(&site.name.0, &guard.name, outcome.as_str());
                if guard.kind == GuardKind::Payment && outcome == Outcome::Failure {
                    self.services.payment_declined(site, exchange);
                }
            }
            None => {
                self.services.metrics.login_attempt(&site.name.0, outcome.as_str());
                exchange.login_went(outcome.as_str());
            }
        }
        if let Some(rule) = attempt.observed() {
            let of = (site, attempt.guard());
            self.services.attempt_observed(of, exchange, (rule, outcome));
        }
        attempt.settle(outcome);
    }
}

/// The beginning of a request's body, decoded; how much of it that is; and, where it has no end in
/// sight, the refusal of a body that must be read.
async fn read_attempt(
    expected: &Expected<'_>,
    exchange: &Exchange,
    (head, source): (&request::Parts, &mut Source),
) -> Result<(Vec<u8>, Extent, Option<Rejection>), Rejection> {
    let Some(bytes_max) = expected.body_bytes_max() else {
        return Ok((Vec::new(), Extent::Whole, None));
    };
    let read = source.read_up_to(bytes_max.saturating_add(1)).await;
    let (pieces, reached) = read.map_err(|error| exchange.refusal(error))?;
    let codings = Coding::of(&head.headers).map_err(Rejection::Coding)?;
    let (body, end) = plain(&pieces, reached, &codings);
    let long = pieces.iter().map(Bytes::len).sum::<usize>() > bytes_max;
    source.put_back(pieces);
    let limit_bytes = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    if reached == Reached::Enough && long {
        let too_large = Rejection::BodyTooLarge { limit_bytes };
        return Ok((body, Extent::Beginning, Some(too_large)));
    }
    let extent = if end == Reached::End { Extent::Whole } else { Extent::Beginning };
    Ok((body, extent, None))
}

/// The beginning of an answer, decoded; `None` where it broke off.
async fn look(headers: &HeaderMap, source: &mut Source) -> Option<Vec<u8>> {
    let (pieces, reached) = source.read_up_to(BODY_LOOK_BYTES).await.ok()?;
    let codings = Coding::of(headers).unwrap_or_default();
    let (body, _) = plain(&pieces, reached, &codings);
    source.put_back(pieces);
    Some(body)
}

/// Asks the shop for an answer that can be judged: whole, uncoded and unconditional (RFC 9110 §13,
/// §14); a range of one byte shows no password input.
pub(super) fn plain_answer(headers: &mut HeaderMap) {
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    for name in [IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE] {
        headers.remove(name);
    }
}

/// Keeps an attempt's method what its request line says: frameworks let a field replace it, and the
/// guard has looked at the line.
pub(super) fn plain_method(site: &Site, head: &mut request::Parts) {
    let overridden = METHOD_OVERRIDES.iter().any(|name| head.headers.contains_key(*name));
    if overridden && LoginGuard::is_guarded_address(site, &head.uri) {
        for name in METHOD_OVERRIDES {
            head.headers.remove(name);
        }
    }
}

/// The beginning of a body as text, as far as it can be decoded; short of its end that is `Enough`.
pub(super) fn plain(pieces: &[Bytes], reached: Reached, codings: &[Coding]) -> (Vec<u8>, Reached) {
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
