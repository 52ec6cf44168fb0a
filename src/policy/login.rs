//! How many logins, or other guarded attempts, may fail.

use std::num::NonZeroU32;
use std::time::Duration;

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
