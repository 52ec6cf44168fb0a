//! Why a handshake did not come to its end, for metrics.

use std::io;

use rustls::{Error, InvalidMessage, PeerIncompatible};

use super::accept::UnknownName;

/// Why a handshake did not come to its end, as a closed set of metric labels.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum HandshakeFailure {
    /// The client refused, most often our certificate.
    ClientAlert,
    /// The client showed no certificate that is accepted here.
    ClientCertificate,
    /// The connection ended first.
    Closed,
    /// No version, cipher suite, group, signature scheme or protocol in common.
    NothingInCommon,
    /// What came first was no TLS record: plain HTTP on a TLS port, or a port scan.
    NotTls,
    /// The client speaks no version that is spoken here.
    OldVersion,
    /// Anything else: TLS that breaks its own rules, or an error of the operating system.
    Other,
    /// The time for a handshake was over.
    Timeout,
    /// The client asked for a name that no certificate here carries.
    UnknownName,
}

impl HandshakeFailure {
    /// Every reason, so that each metric exists from the start.
    pub const ALL: [Self; 9] = [
        Self::ClientAlert,
        Self::ClientCertificate,
        Self::Closed,
        Self::NothingInCommon,
        Self::NotTls,
        Self::OldVersion,
        Self::Other,
        Self::Timeout,
        Self::UnknownName,
    ];

    /// The reason in what a handshake returned.
    #[must_use]
    pub fn of(error: &io::Error) -> Self {
        if error.get_ref().is_some_and(|inner| inner.is::<UnknownName>()) {
            return Self::UnknownName;
        }
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        if let Some(error) = inner {
            return Self::of_tls(error);
        }
        match error.kind() {
            io::ErrorKind::TimedOut => Self::Timeout,
            io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::NotConnected
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::WriteZero => Self::Closed,
            _ => Self::Other,
        }
    }

    fn of_tls(error: &Error) -> Self {
        match error {
            Error::AlertReceived(_) => Self::ClientAlert,
            Error::InvalidCertificate(_) | Error::NoCertificatesPresented => {
                Self::ClientCertificate
            }
            Error::InvalidMessage(
                InvalidMessage::InvalidContentType | InvalidMessage::UnknownProtocolVersion,
            ) => Self::NotTls,
            Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled,
            ) => Self::OldVersion,
            Error::NoApplicationProtocol | Error::PeerIncompatible(_) => Self::NothingInCommon,
            _ => Self::Other,
        }
    }

    /// The metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientAlert => "client_alert",
            Self::ClientCertificate => "client_certificate",
            Self::Closed => "closed",
            Self::NothingInCommon => "nothing_in_common",
            Self::NotTls => "not_tls",
            Self::OldVersion => "old_version",
            Self::Other => "other",
            Self::Timeout => "timeout",
            Self::UnknownName => "unknown_name",
        }
    }
}
