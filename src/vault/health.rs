//! Whether the vault can do its work, and why not.

use std::fmt;

/// Why the store does not answer. Carries nothing that came from a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Outage {
    /// More calls are waiting than the queue holds.
    Busy,
    /// The store says its own content is damaged.
    Corrupt,
    /// The server refuses our login, or we its certificate.
    Denied,
    /// The disk is full.
    Full,
    /// Reading or writing failed.
    Io,
    /// Another process holds the store locked.
    Locked,
    /// The system's random generator failed.
    Random,
    /// The store takes no writes.
    ReadOnly,
    /// No answer within `vault::CALL_DEADLINE`.
    Stalled,
    /// The vault is closed or closing.
    Stopped,
    /// The server is so set up that it may lose what it has confirmed.
    Unfit,
    /// The server cannot be reached, or has cut us off.
    Unreachable,
}

/// What `/readyz` wants to know.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// The last store operation failed so; the vault tries again by itself.
    Failing {
        /// What failed.
        cause: Outage,
    },
    /// The store reads and writes.
    Ready,
}

impl Outage {
    /// A short name, for logs and metrics: a closed set.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Corrupt => "corrupt",
            Self::Denied => "denied",
            Self::Full => "disk_full",
            Self::Io => "io",
            Self::Locked => "locked",
            Self::Random => "random",
            Self::ReadOnly => "read_only",
            Self::Stalled => "stalled",
            Self::Stopped => "stopped",
            Self::Unfit => "unfit",
            Self::Unreachable => "unreachable",
        }
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy => "too many calls are waiting",
            Self::Corrupt => "its content is damaged",
            Self::Denied => "its server and we do not accept each other",
            Self::Full => "the disk is full",
            Self::Io => "reading or writing failed",
            Self::Locked => "another process holds it locked",
            Self::Random => "the system's random generator failed",
            Self::ReadOnly => "it is read-only",
            Self::Stalled => "it did not answer in time",
            Self::Stopped => "it is closed",
            Self::Unfit => "its server may lose what it has confirmed",
            Self::Unreachable => "its server cannot be reached",
        })
    }
}
