//! What the operator is told: one word for each kind of refusal.

use super::Rejection;

impl Rejection {
    /// The same where a provider has been asked and its answer cannot be told because of it. Where no
    /// byte of the request left, nothing has been charged.
    pub(in crate::proxy) fn holding_an_answer(self) -> Self {
        match self {
            Self::AnswerHeld(_) | Self::UpstreamBusy { .. } | Self::UpstreamConnect(_) => self,
            other => Self::AnswerHeld(Box::new(other)),
        }
    }

    /// Whether the other side did wrong, and not we.
    pub(super) fn is_upstreams(&self) -> bool {
        matches!(
            self,
            Self::UnaskedPart
                | Self::UnaskedUpgrade
                | Self::UpstreamBody(_)
                | Self::UpstreamCoding(_)
                | Self::UpstreamFailed(_)
                | Self::UpstreamTimeout { .. }
        )
    }

    /// The word for a login that is to be paid for with work.
    pub(in crate::proxy) const PROOF_WANTED: &str = "proof_wanted";
    /// The word for a network that the operator denies.
    pub(in crate::proxy) const NETWORK_DENIED: &str = "network_denied";

    /// The rule that refused an attempt, which is more than that a limit did.
    pub(in crate::proxy) fn rule(&self) -> &'static str {
        match self {
            Self::Guard { reason, .. } | Self::Login { reason, .. } => reason,
            other => other.reason(),
        }
    }

    /// The word for metrics and logs: a closed set.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            // What the provider itself did wrong stays that.
            Self::AnswerHeld(cause) if cause.is_upstreams() => cause.reason(),
            Self::AnswerHeld(_) => "answer_held",
            Self::Audit(_) => "audit",
            Self::Authority(_) => "authority",
            Self::Blocked { .. } => "blocked",
            Self::BodyBroken(_) => "body_broken",
            Self::BodiesHeld => "bodies_held",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge { .. } => "body_too_large",
            Self::CallerRefused => "caller_refused",
            Self::CallerSlowed { .. } => "caller_slowed",
            Self::CallerUnknown => "caller_unknown",
            Self::CardRefused { .. } => "card_refused",
            Self::CardTesting { .. } => "card_testing",
            Self::CardUnsupported(_) => "card_unsupported",
            Self::Coding(_) => "coding",
            Self::ConnectOnly => "connect_only",
            Self::ConnectTarget => "connect_target",
            Self::DestinationInside { .. } => "destination_inside",
            Self::DestinationRefused { .. } => "destination_refused",
            Self::Frame(_) => "frame",
            Self::Guard { .. } => "guard",
            Self::HeadTimeout => "head_timeout",
            Self::HeaderDenied => "header_denied",
            Self::HostConflict => "host_conflict",
            Self::HostMissing => "host_missing",
            Self::HostUnknown => "host_unknown",
            Self::InvalidCard { .. } => "invalid_card",
            Self::Login { .. } => "login",
            Self::LoginUnreadable => "login_unreadable",
            Self::Maintenance { .. } => "maintenance",
            Self::Malformed { .. } => "malformed",
            Self::Method => "method",
            Self::MethodDenied { .. } => "method_denied",
            Self::Misdirected => "misdirected",
            Self::NameRefused => "name_refused",
            Self::NetworkDenied => Self::NETWORK_DENIED,
            Self::Overloaded => "overloaded",
            Self::ProofWanted(_) => Self::PROOF_WANTED,
            Self::RevealLimit { .. } => "reveal_limit",
            Self::RevealOutside => "reveal_outside_policy",
            Self::StandIn(_) => "stand_in",
            Self::TooManyCards { .. } => "too_many_cards",
            Self::TargetRefused => "target_refused",
            Self::TrackData => "track_data",
            Self::TransferCoding => "transfer_coding",
            Self::TunnelFailed(_) => "tunnel_failed",
            Self::TunnelsFull { .. } => "tunnels_full",
            Self::UnaskedPart => "unasked_part",
            Self::UnaskedUpgrade => "unasked_upgrade",
            Self::UnknownCvv => "unknown_cvv",
            Self::UnknownToken => "unknown_token",
            Self::UpgradeIgnored => "upgrade_ignored",
            Self::UpgradeUnknown => "upgrade_unknown",
            Self::UpstreamBody(_) => "upstream_body",
            Self::UpstreamBusy { .. } => "upstream_busy",
            Self::UpstreamCoding(_) => "upstream_coding",
            Self::UpstreamConnect(_) => "upstream_connect",
            Self::UpstreamFailed(_) => "upstream_failed",
            Self::UpstreamTimeout { .. } => "upstream_timeout",
            Self::Vault(_) => "vault",
            Self::Webhook(_) => "webhook",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_never_left_may_be_tried_again() {
        let refused = Rejection::UpstreamConnect(io::ErrorKind::ConnectionRefused.into());
        assert!(refused.holding_an_answer().words().contains("try again soon"));
        let busy = Rejection::UpstreamBusy { retry_after: Duration::from_secs(1) };
        assert!(busy.holding_an_answer().retry_after().is_some());
    }

    #[test]
    fn a_provider_that_fails_is_told_apart_from_us() {
        let waited = Duration::from_secs(1);
        let late = Rejection::UpstreamTimeout { what: "answer", waited }.holding_an_answer();
        assert_eq!((late.reason(), late.status().as_u16()), ("upstream_timeout", 504));
        let ours = Rejection::TrackData.holding_an_answer();
        assert_eq!((ours.reason(), ours.status().as_u16()), ("answer_held", 502));
    }
}
