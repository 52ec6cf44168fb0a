//! The last steps to the shop: its head, and the asking.

use std::sync::Arc;

use http::header::{EXPECT, HOST, HeaderValue};
use http::{HeaderMap, Request, Uri, request};

use super::body::Body;
use super::exchange::Exchange;
use super::forward::{self, Answer, Keep, Sending};
use super::generation::{Generation, Place};
use super::headers::{self, Origin};
use super::login::Attempt;
use super::reject::Rejection;
use super::upgrade::Wanted;
use super::upstreams::Entry;
use super::{Peer, cards, guard, proof, suspicion};
use crate::policy::{ResponseAction, Timeouts};
use crate::tls::Admission;

/// Whose request it is, and which server is to have it.
pub(super) type Way<'w> = (&'w Peer, &'w Arc<Exchange>, Option<&'w Arc<Entry>>);

/// Turns the client's head into ours: this hop's fields go, what the upstream needs to know comes.
pub(super) fn prepare(
    head: &mut request::Parts,
    (generation, place): (&Generation, &Place<'_>),
    (peer, exchange): (&Peer, &Exchange),
    wanted: &Wanted,
) {
    if place.route.cards.responses != ResponseAction::Off {
        headers::limit_codings(&mut head.headers);
    }
    let trailers = headers::trailers_welcome(&head.headers);
    let host = authority(head);
    headers::strip_hop_by_hop(&mut head.headers);
    headers::drop_doubles(&mut head.headers);
    // The client has been told to go on by us, who read its body.
    head.headers.remove(EXPECT);
    if trailers {
        headers::welcome_trailers(&mut head.headers);
    }
    wanted.ask(&mut head.headers);
    proof::strip(&mut head.headers);
    let origin = Origin {
        peer: peer.address.ip().to_canonical(),
        proxies: &generation.snapshot.trusted_proxies,
        host: host.to_str().unwrap_or_default(),
        scheme: if peer.tls_version.is_some() { "https" } else { "http" },
    };
    headers::set_forwarded(&mut head.headers, &origin);
    if let Some(client) = peer.admission.as_ref().and_then(Admission::client) {
        headers::set_client(&mut head.headers, client);
    }
    headers::set_trace(&mut head.headers, &exchange.id);
    head.headers.insert(HOST, host);
    // RFC 9112 §3.2.1: an origin server is sent the origin form.
    let target = head.uri.path_and_query().cloned();
    head.uri = target.map(Uri::from).unwrap_or_default();
    head.version = http::Version::HTTP_11;
    guard::plain_method(place.site, head);
}

/// What logins ask of the shop: their outcome may have to be read in the body of its answer.
pub(super) fn prepare_login(attempts: &[Attempt], headers: &mut HeaderMap) {
    if attempts.is_empty() {
        return;
    }
    guard::plain_answer(headers);
    suspicion::tell_shop(attempts, headers);
}

/// Asks the shop, and again for the whole where it answers with a part that cannot be looked into.
///
/// # Errors
/// When no server can be reached, or the one that was fails or does not answer in time.
pub(super) async fn ask(
    place: &Place<'_>,
    way: Way<'_>,
    request: Request<Body>,
    timeouts: &Timeouts,
) -> Result<Answer, Rejection> {
    let whole = forward::without_range(&request);
    let answer = send(place, way, request, timeouts).await?;
    if let Some(whole) = whole
        && place.route.cards.responses == ResponseAction::Mask
        && cards::is_unreadable_part(answer.response.status(), answer.response.headers())
    {
        drop(answer);
        return send(place, way, whole, timeouts).await;
    }
    Ok(answer)
}

async fn send(
    place: &Place<'_>,
    (peer, exchange, wished): Way<'_>,
    request: Request<Body>,
    timeouts: &Timeouts,
) -> Result<Answer, Rejection> {
    let sending = Sending { timeouts, exchange, keep: Keep::Small };
    peer.dialer.forward(place.targets, wished, request, sending).await
}

fn authority(head: &request::Parts) -> HeaderValue {
    let line = head.uri.authority().and_then(|name| HeaderValue::from_str(name.as_str()).ok());
    let field = || head.headers.get(HOST).cloned();
    line.or_else(field).unwrap_or_else(|| HeaderValue::from_static("localhost"))
}
