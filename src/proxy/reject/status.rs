//! What HTTP and WebSocket have for each kind of refusal.

use std::time::Duration;

use http::StatusCode;

use super::Rejection;
use crate::proxy::websocket::Violation;

/// How long a client waits before it tries again when the vault, or another part of ours, is away.
const VAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

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
            Self::AnswerHeld(cause) if cause.is_upstreams() => cause.status(),
            // Not 503: what may have charged a card is not to be repeated without a look.
            Self::AnswerHeld(_)
            | Self::TunnelFailed(_)
            | Self::UnaskedPart
            | Self::UnaskedUpgrade
            | Self::UpgradeIgnored
            | Self::UpstreamBody(_)
            | Self::UpstreamCoding(_)
            | Self::UpstreamConnect(_)
            | Self::UpstreamFailed(_) => StatusCode::BAD_GATEWAY,
            Self::UpstreamTimeout { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Audit(_)
            | Self::Authority(_)
            | Self::BodiesHeld
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
    pub(super) fn scheme(&self) -> Option<&'static str> {
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
            | Self::BodiesHeld
            | Self::Overloaded
            | Self::StandIn(_)
            | Self::TunnelsFull { .. }
            | Self::Vault(_) => Some(VAULT_RETRY_AFTER),
            _ => None,
        }
    }
}
