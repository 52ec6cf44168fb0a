//! What the operator is told: one word for each kind of refusal.

use super::Rejection;

impl Rejection {
    /// The word for metrics and logs: a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::AnswerHeld(_) => "answer_held",
            Self::Audit(_) => "audit",
            Self::Authority(_) => "authority",
            Self::Blocked { .. } => "blocked",
            Self::BodyBroken(_) => "body_broken",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::CallerRefused => "caller_refused",
            Self::CallerSlowed { .. } => "caller_slowed",
            Self::CallerUnknown => "caller_unknown",
            Self::CardRefused { .. } => "card_refused",
            Self::CardUnsupported(_) => "card_unsupported",
            Self::Coding(_) => "coding",
            Self::ConnectOnly => "connect_only",
            Self::ConnectTarget => "connect_target",
            Self::DestinationInside { .. } => "destination_inside",
            Self::DestinationRefused { .. } => "destination_refused",
            Self::Frame(_) => "frame",
            Self::HeaderDenied => "header_denied",
            Self::HostConflict => "host_conflict",
            Self::HostMissing => "host_missing",
            Self::HostUnknown => "host_unknown",
            Self::InvalidCard { .. } => "invalid_card",
            Self::Login { .. } => "login",
            Self::LoginUnreadable => "login_unreadable",
            Self::Method => "method",
            Self::MethodDenied { .. } => "method_denied",
            Self::Misdirected => "misdirected",
            Self::NameRefused => "name_refused",
            Self::NetworkDenied => "network_denied",
            Self::ProofWanted(_) => "proof_wanted",
            Self::RevealLimit { .. } => "reveal_limit",
            Self::RevealOutside => "reveal_outside_policy",
            Self::StandIn(_) => "stand_in",
            Self::TooManyCards { .. } => "too_many_cards",
            Self::TrackData => "track_data",
            Self::TunnelFailed(_) => "tunnel_failed",
            Self::TunnelsFull { .. } => "tunnels_full",
            Self::UnaskedUpgrade => "unasked_upgrade",
            Self::UnknownCvv => "unknown_cvv",
            Self::UnknownToken => "unknown_token",
            Self::UpgradeUnknown => "upgrade_unknown",
            Self::UpstreamBody(_) => "upstream_body",
            Self::UpstreamCoding(_) => "upstream_coding",
            Self::UpstreamConnect(_) => "upstream_connect",
            Self::UpstreamFailed(_) => "upstream_failed",
            Self::UpstreamTimeout { .. } => "upstream_timeout",
            Self::Vault(_) => "vault",
            Self::Webhook(_) => "webhook",
        }
    }
}
