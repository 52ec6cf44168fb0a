//! What the person at the other end is told: enough for the honest, nothing for an attacker.

use http::StatusCode;

use super::Rejection;

impl Rejection {
    /// The heading: the name of the status, where that says something to a customer.
    pub(super) fn title(&self) -> &'static str {
        match self {
            Self::CallerSlowed { .. } | Self::Login { .. } => "Too many attempts",
            Self::Maintenance { .. } => "Back soon",
            Self::NetworkDenied => "Not possible from here",
            Self::ProofWanted(_) => "One moment, please",
            _ => self.status().canonical_reason().unwrap_or("Error"),
        }
    }

    /// One sentence for the person at the other end.
    pub(in crate::proxy) fn words(&self) -> &'static str {
        match self {
            Self::AnswerHeld(_) => {
                "The payment provider has been asked, but its answer cannot be shown. Please look the \
                 payment up before trying again."
            }
            Self::BodyBroken(_)
            | Self::ConnectTarget
            | Self::Frame(_)
            | Self::HostConflict
            | Self::HostMissing
            | Self::LoginUnreadable
            | Self::NameRefused
            | Self::TargetRefused
            | Self::TransferCoding => "The request could not be understood.",
            Self::Blocked { .. } | Self::HeaderDenied => "This request is not accepted here.",
            Self::BodyTimeout | Self::HeadTimeout => "The request took too long to arrive.",
            Self::BodyTooLarge { .. } | Self::TooManyCards { .. } => "The request is too large.",
            Self::CallerRefused | Self::CallerUnknown => "The caller is not known here.",
            Self::CallerSlowed { .. } => "The caller has tried too often. Please wait.",
            Self::CardRefused { .. } => "Card numbers are not accepted here.",
            Self::CardTesting { .. } => {
                "Too many cards have been tried. Please wait, then try again."
            }
            Self::CardUnsupported(_) => "This card cannot be used here. Please use another one.",
            Self::Coding(_) => "The request body is in a form that is not accepted here.",
            Self::ConnectOnly => {
                "This is a proxy for https: set HTTPS_PROXY to this address, and not HTTP_PROXY."
            }
            Self::DestinationInside { .. } | Self::DestinationRefused { .. } => {
                "This proxy does not lead to that address."
            }
            Self::Guard { .. } => "Too many attempts. Please wait, then try again.",
            Self::HostUnknown | Self::Misdirected => "There is no such site here.",
            Self::InvalidCard { .. } => "The card number is not valid. Please check it.",
            Self::Login { .. } => {
                "There have been too many attempts to sign in. Your password may be right all the \
                 same: please wait, then try again."
            }
            Self::Maintenance { .. } => "The shop is being worked on. Please come back later.",
            Self::Method | Self::MethodDenied { .. } => "This method is not allowed here.",
            Self::NetworkDenied => {
                "This is not possible from your network. Please contact the shop if you think it \
                 should be."
            }
            Self::BodiesHeld | Self::Overloaded => {
                "There are too many visitors at the moment. Please try again soon."
            }
            Self::ProofWanted(_) => {
                "Before you can sign in, your browser must show that it is one. Please allow scripts, \
                 or try again later."
            }
            Self::RevealLimit { .. } => "Too many card payments at once. Please try again soon.",
            Self::RevealOutside => "A stored card may not be used here.",
            Self::Webhook(_) => "The signature of the request is not accepted.",
            Self::TrackData => "Magnetic-stripe data is not accepted here.",
            Self::UnknownCvv | Self::UnknownToken => {
                "The request holds a number that was not issued here."
            }
            Self::TunnelFailed(_) => "That address cannot be reached at the moment.",
            Self::TunnelsFull { .. } => "Too many connections are open. Please try again soon.",
            Self::Malformed { status: StatusCode::BAD_REQUEST } => {
                "The request could not be understood."
            }
            Self::Malformed { .. } => {
                "The request is too large. Deleting the cookies of this site may help."
            }
            Self::UpgradeUnknown => "This protocol is not supported here.",
            Self::UnaskedPart
            | Self::UnaskedUpgrade
            | Self::UpgradeIgnored
            | Self::UpstreamBody(_)
            | Self::UpstreamCoding(_)
            | Self::UpstreamConnect(_)
            | Self::UpstreamFailed(_) => {
                "The shop cannot be reached at the moment. Please try again soon."
            }
            Self::UpstreamBusy { .. } => "The shop is very busy. Please try again in a moment.",
            Self::UpstreamTimeout { .. } => "The shop did not answer in time. Please try again.",
            Self::Audit(_) | Self::Authority(_) | Self::StandIn(_) | Self::Vault(_) => {
                "Card payments are not possible at the moment. Please try again soon."
            }
        }
    }
}
