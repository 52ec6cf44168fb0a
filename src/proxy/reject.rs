//! Why we refuse a request, and the only place that turns a reason into HTTP.
//!
//! The public words help the honest and tell an attacker nothing; the reason goes to the log and
//! the metrics. If we cannot decide, we refuse.

mod challenge;
mod methods;
mod page;
mod reason;
mod wait;
mod words;

pub(super) use methods::capabilities;
pub(super) use page::Accept;
use page::Words;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, Response, StatusCode};
use thiserror::Error;

use super::body::{Body, BodyError};
use super::proof::Challenge;
use super::request_id::{REQUEST_ID, RequestId};
use super::webhook::WebhookFault;
use super::websocket::Violation;
use crate::coding::DecodeError;
use crate::policy::{Destination, Pages};
use crate::telemetry::audit::AuditError;
use crate::tls::AuthorityError;
use crate::vault::{StandInError, VaultError};

/// How long a client waits before it tries again when the vault, or another part of ours, is away.
const VAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// A refusal.
#[derive(Debug, Error)]
pub enum Rejection {
    /// A provider has answered, and the card numbers in its answer cannot become tokens.
    #[error("a provider's answer cannot be told")]
    AnswerHeld(#[source] Box<Self>),
    /// What must be provable cannot be recorded.
    #[error("the audit log cannot be written")]
    Audit(#[source] AuditError),
    /// No certificate can be made for an intercepted host.
    #[error("no certificate for an intercepted host")]
    Authority(#[source] AuthorityError),
    /// The client stopped sending, or sent what is no HTTP, inside a body.
    #[error("the request body broke off")]
    BodyBroken(#[source] hyper::Error),
    /// A request that a known hole of the shop is tried with.
    #[error("blocked by {rule}")]
    Blocked {
        /// The rule, as configured.
        rule: Arc<str>,
        /// What the rule answers.
        status: StatusCode,
    },
    /// The body is larger than the route allows.
    #[error("the request body is larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// What the route allows.
        limit_bytes: u64,
    },
    /// The client was silent for too long inside a body.
    #[error("the request body stalled")]
    BodyTimeout,
    /// The caller of a gateway showed a secret that is not the one.
    #[error("a caller of a gateway showed a wrong secret")]
    CallerRefused,
    /// The caller of a gateway showed too many wrong secrets.
    #[error("a caller of a gateway showed too many wrong secrets")]
    CallerSlowed {
        /// When to try again.
        retry_after: Duration,
    },
    /// The caller of a gateway did not say who it is.
    #[error("a caller of a gateway showed neither secret nor certificate")]
    CallerUnknown,
    /// A card number where the route allows none.
    #[error("card number in field {field:?} of a route that refuses them")]
    CardRefused {
        /// The field, as far as it is known.
        field: String,
    },
    /// Somebody brings one card after the other.
    #[error("cards are tried: {reason}")]
    CardTesting {
        /// What there was too much of.
        reason: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// A card for which there can be no token of the route's format.
    #[error("a card cannot have a token here")]
    CardUnsupported(#[source] VaultError),
    /// A body or header that must be looked into cannot be decoded.
    #[error("the request body cannot be decoded")]
    Coding(#[source] DecodeError),
    /// The forward proxy was asked for something else than a connection.
    #[error("the forward proxy takes CONNECT only")]
    ConnectOnly,
    /// CONNECT to what is no host and port.
    #[error("the target of CONNECT is not a host and a port")]
    ConnectTarget,
    /// The forward proxy may not lead to this host.
    #[error("{destination} is neither a gateway's nor allowed")]
    DestinationRefused {
        /// Which.
        destination: Destination,
    },
    /// The forward proxy may lead to this name, but not where it leads to.
    #[error("{destination} is not on the Internet, and its address is not allowed")]
    DestinationInside {
        /// Which.
        destination: Destination,
    },
    /// What is no WebSocket frame, or too large a message.
    #[error("a WebSocket connection was closed")]
    Frame(#[source] Violation),
    /// An attempt that a guard of the site counts, over a limit.
    #[error("attempt refused: {reason}")]
    Guard {
        /// The limit that refused.
        reason: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// A field that the route demands or forbids.
    #[error("a field of the request is not as the route demands")]
    HeaderDenied,
    /// Several hosts, or one that differs from the request line's.
    #[error("conflicting hosts")]
    HostConflict,
    /// HTTP/1.1 without `Host`.
    #[error("no host")]
    HostMissing,
    /// No site serves this host.
    #[error("unknown host")]
    HostUnknown,
    /// A Luhn-invalid number in a configured card field of a route that refuses those.
    #[error("invalid card number in field {field:?}")]
    InvalidCard {
        /// The field.
        field: String,
    },
    /// The client did not end the head of its request.
    #[error("the head of the request stalled")]
    HeadTimeout,
    /// A login that is over a limit.
    #[error("login refused: {reason}")]
    Login {
        /// The rule that refused.
        reason: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// The body of a login cannot be read, so nobody knows whom it is for.
    #[error("the body of a login cannot be read")]
    LoginUnreadable,
    /// The site is closed for work on it.
    #[error("the site is closed for maintenance")]
    Maintenance {
        /// When to come back.
        retry_after: Duration,
    },
    /// What is no HTTP.
    #[error("what came is no request")]
    Malformed {
        /// What HTTP has for it.
        status: StatusCode,
    },
    /// CONNECT and TRACE are not for a reverse proxy.
    #[error("method not allowed")]
    Method,
    /// A method that the route does not allow.
    #[error("method not allowed on this route")]
    MethodDenied {
        /// Those that it does.
        allowed: String,
    },
    /// A name that is passed on as it is may hold a card number.
    #[error("a method, host or field name may be a card number")]
    NameRefused,
    /// The client's network is on the operator's list.
    #[error("the network is denied")]
    NetworkDenied,
    /// The connection was opened for another site.
    #[error("the connection was opened for another site")]
    Misdirected,
    /// More requests under way than there is room for.
    #[error("too many requests are under way")]
    Overloaded,
    /// A login that is to be paid for with work.
    #[error("a proof of work is wanted")]
    ProofWanted(Box<Challenge>),
    /// More card numbers in one body than the route allows.
    #[error("more than {limit} card numbers or verification codes in one message")]
    TooManyCards {
        /// What the route allows.
        limit: usize,
    },
    /// More card numbers were to be put back than the gateway allows in its time.
    #[error("too many card numbers were put back for this gateway")]
    RevealLimit {
        /// When to try again.
        retry_after: Duration,
    },
    /// A token where the gateway's policy reveals none.
    #[error("a token where none becomes a card number")]
    RevealOutside,
    /// A verification code cannot be kept.
    #[error("a verification code cannot be kept")]
    StandIn(#[source] StandInError),
    /// A request-target that is no path of a web server.
    #[error("the request-target is no path")]
    TargetRefused,
    /// Magnetic-stripe or chip data, which nobody may keep.
    #[error("track data in the request")]
    TrackData,
    /// A body that is not framed by a length or by chunks alone.
    #[error("a transfer coding other than chunked")]
    TransferCoding,
    /// A host behind the forward proxy cannot be reached.
    #[error("cannot connect a tunnel")]
    TunnelFailed(#[source] std::io::Error),
    /// More tunnels than there may be.
    #[error("more than {limit} tunnels")]
    TunnelsFull {
        /// How many there may be.
        limit: NonZeroUsize,
    },
    /// The upstream changed protocols unasked.
    #[error("the upstream changed protocols unasked")]
    UnaskedUpgrade,
    /// A number at the gateway that is no token of ours.
    #[error("a card-like number is no known token")]
    UnknownToken,
    /// A verification code at the gateway that stands for none.
    #[error("a verification code is no live stand-in")]
    UnknownCvv,
    /// A protocol that cannot be looked into, on a route that guards cards.
    #[error("an upgrade to a protocol that cannot be looked into")]
    UpgradeUnknown,
    /// The upstream answered a WebSocket handshake with something else that sounds like a yes.
    #[error("the upstream did not change protocols")]
    UpgradeIgnored,
    /// The upstream's answer broke off before it could be shown.
    #[error("the upstream's answer broke off")]
    UpstreamBody(#[source] BodyError),
    /// The upstream's answer cannot be decoded, so it cannot be shown.
    #[error("the upstream's answer cannot be decoded")]
    UpstreamCoding(#[source] DecodeError),
    /// Every server of the site has as much to do as it may, and as many requests wait as may.
    #[error("every server of the site is busy")]
    UpstreamBusy {
        /// When to try again.
        retry_after: Duration,
    },
    /// No upstream can be reached.
    #[error("cannot connect to the upstream")]
    UpstreamConnect(#[source] std::io::Error),
    /// The upstream answered with something that is no HTTP, or hung up.
    #[error("the upstream failed")]
    UpstreamFailed(#[source] hyper::Error),
    /// The upstream took too long.
    #[error("the upstream took longer than {waited:?} to {what}")]
    UpstreamTimeout {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// The vault cannot answer.
    #[error("the vault is not available")]
    Vault(#[source] VaultError),
    /// A call that is not the provider's.
    #[error("a webhook was refused")]
    Webhook(#[source] WebhookFault),
}

impl From<VaultError> for Rejection {
    /// A card without room for a token has none tomorrow either: trying again is no remedy.
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::NoIssuer | VaultError::NoRoom { .. } => Self::CardUnsupported(error),
            VaultError::Damaged
            | VaultError::Newer { .. }
            | VaultError::NoTokenFree { .. }
            | VaultError::Unavailable { .. }
            | VaultError::UnknownKey => Self::Vault(error),
        }
    }
}

impl Rejection {
    /// The status a client sees.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::BodyBroken(_)
            | Self::ConnectTarget
            | Self::Frame(_)
            | Self::HostConflict
            | Self::HostMissing
            | Self::LoginUnreadable
            | Self::NameRefused
            | Self::TargetRefused => StatusCode::BAD_REQUEST,
            Self::Blocked { status, .. } | Self::Malformed { status } => *status,
            Self::BodyTimeout | Self::HeadTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge { .. } | Self::TooManyCards { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::CallerRefused
            | Self::DestinationInside { .. }
            | Self::DestinationRefused { .. }
            | Self::HeaderDenied
            | Self::NetworkDenied
            | Self::RevealOutside => StatusCode::FORBIDDEN,
            Self::CallerUnknown | Self::Webhook(_) => StatusCode::UNAUTHORIZED,
            Self::CardRefused { .. }
            | Self::CardUnsupported(_)
            | Self::InvalidCard { .. }
            | Self::TrackData
            | Self::UnknownCvv
            | Self::UnknownToken => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Coding(error) if error.is_too_large() => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Coding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::HostUnknown => StatusCode::NOT_FOUND,
            // 429 for work as well: a client that cannot do it understands that it should wait.
            Self::CallerSlowed { .. }
            | Self::CardTesting { .. }
            | Self::Guard { .. }
            | Self::Login { .. }
            | Self::ProofWanted(_)
            | Self::RevealLimit { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::ConnectOnly | Self::Method | Self::MethodDenied { .. } => {
                StatusCode::METHOD_NOT_ALLOWED
            }
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::TransferCoding | Self::UpgradeUnknown => StatusCode::NOT_IMPLEMENTED,
            // Not 503: what may have charged a card is not to be repeated without a look.
            Self::AnswerHeld(_)
            | Self::TunnelFailed(_)
            | Self::UnaskedUpgrade
            | Self::UpgradeIgnored
            | Self::UpstreamBody(_)
            | Self::UpstreamCoding(_)
            | Self::UpstreamConnect(_)
            | Self::UpstreamFailed(_) => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Audit(_)
            | Self::Authority(_)
            | Self::Maintenance { .. }
            | Self::Overloaded
            | Self::StandIn(_)
            | Self::TunnelsFull { .. }
            | Self::UpstreamBusy { .. }
            | Self::Vault(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What a WebSocket is closed with (RFC 6455 §7.4.1; 1013 is in IANA's registry).
    #[must_use]
    pub fn close_code(&self) -> u16 {
        match self {
            Self::Frame(Violation::TooLarge { .. }) | Self::TooManyCards { .. } => 1009,
            Self::Frame(_) => 1002,
            Self::Audit(_) | Self::StandIn(_) | Self::Vault(_) => 1013,
            _ => 1008,
        }
    }

    /// RFC 9110 §11.6.1: a 401 says what would help.
    fn scheme(&self) -> Option<&'static str> {
        match self {
            Self::CallerUnknown => Some("Bearer realm=\"tillgate\""),
            Self::Webhook(_) => Some("Signature realm=\"tillgate\""),
            _ => None,
        }
    }

    /// When to try again, where that helps.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::CallerSlowed { retry_after }
            | Self::CardTesting { retry_after, .. }
            | Self::Guard { retry_after, .. }
            | Self::Login { retry_after, .. }
            | Self::Maintenance { retry_after }
            | Self::RevealLimit { retry_after }
            | Self::UpstreamBusy { retry_after } => Some(*retry_after),
            Self::ProofWanted(challenge) => Some(challenge.lifetime),
            Self::Audit(_)
            | Self::Authority(_)
            | Self::Overloaded
            | Self::StandIn(_)
            | Self::TunnelsFull { .. }
            | Self::Vault(_) => Some(VAULT_RETRY_AFTER),
            _ => None,
        }
    }

    /// The whole answer, as HTML, JSON or plain text by what the client accepts (RFC 9110 §12.5.1).
    #[must_use]
    pub fn response(
        &self,
        accept: Accept,
        id: &RequestId,
        pages: Option<&Pages>,
    ) -> Response<Body> {
        let rendered = match (self, accept) {
            (Self::ProofWanted(challenge), Accept::Html) => challenge::page(challenge, id),
            _ => accept.render(&self.in_words(id), pages),
        };
        let mut response = Response::new(Body::Whole(Bytes::from(rendered.text)));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(rendered.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(REQUEST_ID, id.value());
        if matches!(self, Self::TransferCoding) {
            // RFC 9112 §6.1: where a body ends that two servers read differently, nobody knows.
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(policy) = rendered.policy {
            headers.insert(CONTENT_SECURITY_POLICY, policy);
        }
        if let Some(wait) = self.retry_after() {
            headers.insert(RETRY_AFTER, HeaderValue::from(wait::whole_seconds(wait)));
        }
        if let Some(scheme) = self.scheme() {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(scheme));
        }
        if let Some(allowed) = self.allowed() {
            headers.insert(ALLOW, allowed);
        }
        response
    }

    fn in_words<'r>(&'r self, id: &'r RequestId) -> Words<'r> {
        let proof = match self {
            Self::ProofWanted(challenge) => Some(("proof_of_work", challenge.terms())),
            _ => None,
        };
        Words {
            status: self.status().as_u16(),
            title: self.title(),
            message: self.words(),
            retry_after: self.retry_after(),
            request_id: id.as_str(),
            more: proof,
        }
    }
}
