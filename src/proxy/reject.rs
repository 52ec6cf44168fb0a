//! Why we refuse a request, and the only place that turns a reason into HTTP.
//!
//! The public words help the honest and tell an attacker nothing; the reason goes to the log and
//! the metrics. If we cannot decide, we refuse.

mod answer;
mod challenge;
mod methods;
mod page;
mod reason;
mod status;
mod wait;
mod words;

pub(super) use methods::capabilities;
pub(super) use page::Accept;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use thiserror::Error;

use super::body::BodyError;
use super::proof::Challenge;
use super::webhook::WebhookFault;
use super::websocket::Violation;
use crate::coding::DecodeError;
use crate::policy::Destination;
use crate::telemetry::audit::AuditError;
use crate::tls::AuthorityError;
use crate::vault::{StandInError, VaultError};

/// A refusal.
#[derive(Debug, Error)]
pub enum Rejection {
    /// A provider has been asked, and its answer cannot be told: the card may have been charged.
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
    /// More of bodies that must be read whole is in memory than there is room for.
    #[error("too much is held of bodies that are read whole")]
    BodiesHeld,
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
    /// A provider answered with a part that nobody asked for.
    #[error("the provider answered with a part of something unasked")]
    UnaskedPart,
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
            | VaultError::KeyReplaced
            | VaultError::Newer { .. }
            | VaultError::NoTokenFree { .. }
            | VaultError::Unavailable { .. }
            | VaultError::UnknownKey => Self::Vault(error),
        }
    }
}
