//! How requests are shared among the servers of a site, and what happens when one of them fails.

use std::num::{NonZeroU32, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::uri::PathAndQuery;
use ipnet::IpNet;

/// How requests are shared among servers.
#[derive(Clone, Debug)]
pub struct Balance {
    /// Questions that servers are asked beside the requests of customers.
    pub check: Option<HealthCheck>,
    /// When a server that fails customers is left alone.
    pub ejection: Ejection,
    /// How long a server that comes back is spared.
    pub slow_start: Duration,
    /// With fewer servers left than so many per cent, all are used: a wrong verdict must not bring
    /// the load of all on one.
    pub panic_percent: u32,
    /// How often a request may be sent again.
    pub retry: RetryBudget,
    /// How many requests a server is sent at once; as many as come where absent.
    pub queue: Option<QueueLimits>,
    /// The cookie that leads a client to the server that it had before.
    pub sticky: Option<Arc<str>>,
    /// How often names are looked up.
    pub resolve_every: Duration,
}

/// A question that a healthy server answers.
#[derive(Clone, Debug)]
pub struct HealthCheck {
    /// What is asked for.
    pub path: PathAndQuery,
    /// What `Host` says; the server's own name where absent.
    pub host: Option<Arc<str>>,
    /// How often.
    pub interval: Duration,
    /// How long the answer may take.
    pub timeout: Duration,
    /// What a healthy server answers; any 2xx or 3xx where empty.
    pub statuses: Vec<StatusCode>,
    /// So many failures in a row take a server out.
    pub fall: NonZeroU32,
    /// So many successes in a row bring it back.
    pub rise: NonZeroU32,
}

/// When a server that fails customers is left alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ejection {
    /// So many failures in a row.
    pub failures: NonZeroU32,
    /// Answers that count as failures, beside none.
    pub statuses: Vec<StatusCode>,
    /// For how long, the first time; each further time it is twice as long.
    pub time: Duration,
    /// But no longer than this.
    pub time_max: Duration,
}

/// How many requests may be sent again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RetryBudget {
    /// How often one request is sent in all.
    pub attempts: NonZeroU32,
    /// So many per cent of the requests.
    pub percent: u32,
    /// But at least so many in a second: a quiet site could send nothing again.
    pub per_second_min: u32,
}

/// How many requests there may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueLimits {
    /// That one server works on at once.
    pub in_flight: NonZeroUsize,
    /// That wait for a server of the site.
    pub waiting: usize,
    /// For how long.
    pub wait: Duration,
}

/// When a site is closed for work on it.
#[derive(Clone, Debug, Default)]
pub struct Maintenance {
    /// Whether it is closed.
    pub enabled: bool,
    /// It is closed while there is such a file, too.
    pub flag: Option<Arc<Path>>,
    /// Who is let in all the same.
    pub allow: Vec<IpNet>,
    /// What the others are told about when to come back.
    pub retry_after: Duration,
}

impl Default for Balance {
    fn default() -> Self {
        Self {
            check: None,
            ejection: Ejection::default(),
            slow_start: Duration::from_secs(10),
            panic_percent: 20,
            retry: RetryBudget::default(),
            queue: None,
            sticky: None,
            resolve_every: Duration::from_secs(30),
        }
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            failures: NonZeroU32::MIN.saturating_add(2),
            // By these a server says that it is not the one to ask; a 500 may be one page's fault.
            statuses: vec![
                StatusCode::BAD_GATEWAY,
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::GATEWAY_TIMEOUT,
            ],
            time: Duration::from_secs(10),
            time_max: Duration::from_secs(300),
        }
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { attempts: NonZeroU32::MIN.saturating_add(2), percent: 20, per_second_min: 10 }
    }
}

impl HealthCheck {
    /// Whether a healthy server answers so.
    #[must_use]
    pub fn accepts(&self, status: StatusCode) -> bool {
        if self.statuses.is_empty() {
            return status.is_success() || status.is_redirection();
        }
        self.statuses.contains(&status)
    }
}
