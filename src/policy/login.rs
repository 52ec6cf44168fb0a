//! What counts as a login, and how many may fail.

use std::num::NonZeroU32;
use std::time::Duration;

use http::{Method, StatusCode};
use regex::bytes::Regex as BytesRegex;

use super::PathPattern;

/// A configured login of a site.
#[derive(Clone, Debug)]
pub struct LoginRule {
    /// The method of an attempt.
    pub method: Method,
    /// The path of an attempt.
    pub path: PathPattern,
    /// The form field or JSON key (dots go deeper: `user.email`) that names the account; `None`
    /// means the usual names are tried.
    pub account_field: Option<String>,
    /// Any of these makes the attempt a success; looked at before `failure`.
    pub success: Vec<Sign>,
    /// Any of these makes the attempt a failure. With neither list, the built-in signs decide; with
    /// one list only, everything else is the other outcome; with both, a failure.
    pub failure: Vec<Sign>,
}

/// Something in the shop's answer that tells how a login went.
#[derive(Clone, Debug)]
pub enum Sign {
    /// The first 64 KiB of the decoded body match.
    Body(BytesRegex),
    /// A cookie of this name is set to something.
    Cookie(String),
    /// The `Location` matches.
    Location(BytesRegex),
    /// The status is this.
    Status(StatusCode),
}

/// How many logins may be tried and fail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoginLimits {
    /// Attempts per client network (IPv4 /32, IPv6 /64).
    pub per_network: Quota,
    /// Attempts per account.
    pub per_account: Quota,
    /// Failures that lock an account.
    pub lockout: Lockout,
}

/// So many in so long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// How many; also the burst.
    pub count: NonZeroU32,
    /// In how long.
    pub per: Duration,
}

/// PCI DSS 8.3.4: at most ten attempts, then at least thirty minutes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lockout {
    /// How many failures lock.
    pub failures: NonZeroU32,
    /// Within how long they must fall.
    pub within: Duration,
    /// For how long the account is then locked.
    pub lock: Duration,
}

impl Default for LoginLimits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        let quota =
            |count: u32| Quota { count: NonZeroU32::MIN.saturating_add(count - 1), per: minute };
        Self { per_network: quota(20), per_account: quota(5), lockout: Lockout::default() }
    }
}

impl Default for Lockout {
    fn default() -> Self {
        let half_hour = Duration::from_secs(30 * 60);
        let failures = NonZeroU32::MIN.saturating_add(9);
        Self { failures, within: half_hour, lock: half_hour }
    }
}
