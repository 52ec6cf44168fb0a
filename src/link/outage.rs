//! Why a shared server does not do what it is asked.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a call failed. Carries nothing that came from a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum LinkOutage {
    /// The server refuses our login or our commands, or we its certificate.
    Denied,
    /// Its memory is full, by its own limit.
    Full,
    /// Its cluster keeps our keys elsewhere, or nowhere at the moment.
    Moved,
    /// A replica, which takes no writes.
    ReadOnly,
    /// Another refusal; its code is in the log.
    Refused,
    /// No answer in time.
    Stalled,
    /// It cannot be reached, or has cut us off.
    Unreachable,
}

impl LinkOutage {
    /// A short name, for logs and the readiness page: a closed set.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "denied",
            Self::Full => "full",
            Self::Moved => "moved",
            Self::ReadOnly => "read_only",
            Self::Refused => "refused",
            Self::Stalled => "stalled",
            Self::Unreachable => "unreachable",
        }
    }

    /// What the client library's failure is to us.
    pub(super) fn of(failure: &RedisError) -> Self {
        match failure.kind() {
            ErrorKind::AuthenticationFailed | ErrorKind::Server(ServerErrorKind::NoPerm) => {
                return Self::Denied;
            }
            ErrorKind::Server(ServerErrorKind::ReadOnly) => return Self::ReadOnly,
            // While the slot itself is on its way no script can have all its keys.
            ErrorKind::Server(
                ServerErrorKind::Ask
                | ServerErrorKind::ClusterDown
                | ServerErrorKind::Moved
                | ServerErrorKind::TryAgain,
            ) => return Self::Moved,
            ErrorKind::Server(ServerErrorKind::BusyLoading | ServerErrorKind::MasterDown)
            | ErrorKind::MasterNameNotFoundBySentinel
            | ErrorKind::NoValidReplicasFoundBySentinel => return Self::Unreachable,
            _ => {}
        }
        if failure.is_timeout() {
            return Self::Stalled;
        }
        if failure.is_io_error() {
            return if is_certificate(failure) { Self::Denied } else { Self::Unreachable };
        }
        match failure.code() {
            Some("NOAUTH" | "WRONGPASS") => Self::Denied,
            Some("OOM") => Self::Full,
            _ => Self::Refused,
        }
    }

    /// Whether another connection, perhaps to another server, may do better.
    pub(super) fn ends_connection(self) -> bool {
        match self {
            Self::Denied | Self::Moved | Self::ReadOnly | Self::Stalled | Self::Unreachable => true,
            Self::Full | Self::Refused => false,
        }
    }
}

impl fmt::Display for LinkOutage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Denied => "its server and we do not accept each other",
            Self::Full => "its memory is full",
            Self::Moved => "its cluster has our keys elsewhere",
            Self::ReadOnly => "its server takes no writes",
            Self::Refused => "its server refuses the call",
            Self::Stalled => "it did not answer in time",
            Self::Unreachable => "its server cannot be reached",
        })
    }
}

/// A certificate is refused in the midst of reading, and told as a failure to read.
fn is_certificate(failure: &RedisError) -> bool {
    let inner =
        failure.source().and_then(<dyn Error>::downcast_ref::<Arc<dyn Error + Send + Sync>>);
    let failure = inner.and_then(|inner| inner.downcast_ref::<io::Error>());
    failure.and_then(io::Error::get_ref).is_some_and(|inner| inner.is::<rustls::Error>())
}
