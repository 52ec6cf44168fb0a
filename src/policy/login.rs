//! How many logins, or other guarded attempts, may fail.

use std::num::NonZeroU32;
use std::time::Duration;

/// How many logins may be tried and fail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoginLimits {
    /// Whether attempts are refused, or only said to be.
    pub mode: LimitMode,
    /// Which attempts count.
    pub counted: Counted,
    /// Per account, from wherever.
    pub account: Limit,
    /// Per device that has logged in before and shows it.
    pub device: Limit,
    /// Per site, of attempts that name no account we can read.
    pub nameless: Limit,
    /// Per client network (IPv4 /32, IPv6 /64).
    pub network: Limit,
    /// Per account and client network.
    pub pair: Limit,
    /// Per site, whoever tries.
    pub site: Limit,
    /// Per client network at large (IPv4 /24, IPv6 /48).
    pub wide_network: Limit,
    /// For how long a network from which an account was logged in stays known for it: from there
    /// the account's limits and locks do not refuse. `None` where no network is.
    pub known_for: Option<Duration>,
}

/// What an attempt is counted under.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Dimension {
    /// The account named.
    Account,
    /// A device that has logged in before and shows it.
    Device,
    /// The site, for attempts that name no account we can read.
    Nameless,
    /// The client's network (IPv4 /32, IPv6 /64).
    Network,
    /// The account from this network.
    Pair,
    /// The site.
    Site,
    /// The client's network at large (IPv4 /24, IPv6 /48).
    WideNetwork,
}

/// What is allowed under one dimension.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limit {
    /// How many attempts may count in a time.
    pub quota: Option<Quota>,
    /// What too many of them lead to.
    pub lockout: Option<Lockout>,
}

/// Whether a limit refuses.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum LimitMode {
    /// It does.
    #[default]
    Enforce,
    /// It says what it would refuse, and lets it pass.
    Observe,
}

/// Which attempts count against the limits. The others give their place back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Counted {
    /// All that were sent on: for what costs something each time, such as a letter.
    Attempts,
    /// Those that failed.
    #[default]
    Failures,
    /// Those that succeeded: for what is to happen seldom, such as a registration.
    Successes,
}

/// So many in so long.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Quota {
    /// How many; also the burst.
    pub count: NonZeroU32,
    /// In how long.
    pub per: Duration,
}

/// What many failures lead to. For an account PCI DSS 8.3.4 wants at most ten attempts, then at least
/// thirty minutes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lockout {
    /// How many failures lock, or begin the delays.
    pub failures: NonZeroU32,
    /// Within how long they must fall.
    pub within: Duration,
    /// For how long they lock the first time. A lock that begins within a day after the one before
    /// has ended is twice as long as that.
    pub lock: Duration,
    /// The longest lock.
    pub ceiling: Duration,
    /// What each failure from then on makes the next attempt wait; the one after the last delay locks.
    pub delays: Option<Delays>,
    /// Over how many different accounts the failures of a network must be.
    pub accounts_min: NonZeroU32,
    /// How many failures in a row, in whatever time, lock until somebody vouches for the account
    /// (NIST SP 800-63B-4 §3.2.2).
    pub consecutive_max: Option<NonZeroU32>,
}

/// Waits that double.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Delays {
    /// The shortest.
    pub first: Duration,
    /// The longest.
    pub last: Duration,
}

/// How many times a network's quota a whole site may have for attempts that name no account. They
/// share it and never a lock: in a shop whose field has a name of its own every customer is among
/// them, and failures of one must cost the others no more than seconds.
const NAMELESS_TIMES: u32 = 10;

impl LoginLimits {
    /// What holds under a dimension.
    #[must_use]
    pub fn of(&self, dimension: Dimension) -> &Limit {
        match dimension {
            Dimension::Account => &self.account,
            Dimension::Device => &self.device,
            Dimension::Nameless => &self.nameless,
            Dimension::Network => &self.network,
            Dimension::Pair => &self.pair,
            Dimension::Site => &self.site,
            Dimension::WideNetwork => &self.wide_network,
        }
    }

    /// No limits at all, to set some on.
    #[must_use]
    pub fn unlimited() -> Self {
        let none = Limit::default();
        Self {
            mode: LimitMode::Enforce,
            counted: Counted::Failures,
            account: none,
            device: none,
            nameless: none,
            network: none,
            pair: none,
            site: none,
            wide_network: none,
            known_for: None,
        }
    }
}

impl Default for LoginLimits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        let (hour, day) = (60 * minute, 24 * 60 * minute);
        let quota = |count| Some(Quota { count: number(count), per: minute });
        let network = |failures, accounts_min| Lockout {
            accounts_min: number(accounts_min),
            ..Lockout::new(number(failures), 10 * minute, hour, day)
        };
        let pair = Lockout::new(number(5), 15 * minute, 15 * minute, day);
        let delays = Delays { first: Duration::from_secs(1), last: Duration::from_secs(30) };
        let device = Lockout::new(number(5), 15 * minute, 15 * minute, day);
        Self {
            account: Limit { quota: quota(5), lockout: Some(Lockout::default()) },
            device: Limit { quota: None, lockout: Some(device) },
            network: Limit { quota: quota(20), lockout: Some(network(20, 5)) },
            pair: Limit { quota: None, lockout: Some(Lockout { delays: Some(delays), ..pair }) },
            // A flood of failures must not keep strangers out of the whole site: none by default.
            site: Limit::default(),
            wide_network: Limit { quota: quota(200), lockout: Some(network(100, 25)) },
            nameless: Limit::nameless(quota(20)),
            known_for: Some(30 * day),
            ..Self::unlimited()
        }
    }
}

impl Limit {
    /// Whether there is nothing to count for.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.quota.is_none() && self.lockout.is_none()
    }

    /// What attempts without an account share, given a network's quota.
    #[must_use]
    pub fn nameless(network: Option<Quota>) -> Self {
        let times = |quota: Quota| Quota {
            count: quota.count.saturating_mul(number(NAMELESS_TIMES)),
            ..quota
        };
        Self { quota: network.map(times), lockout: None }
    }
}

impl Lockout {
    /// Without delays, over any number of accounts, and with no limit in a row.
    #[must_use]
    pub fn new(failures: NonZeroU32, within: Duration, lock: Duration, ceiling: Duration) -> Self {
        let accounts_min = NonZeroU32::MIN;
        Self { failures, within, lock, ceiling, delays: None, accounts_min, consecutive_max: None }
    }

    /// How many failures lock, those that only delay among them.
    #[must_use]
    pub fn locks_at(&self) -> u32 {
        self.failures.get().saturating_add(self.delays.map_or(0, |delays| delays.count()))
    }

    /// What is waited after so many failures.
    #[must_use]
    pub fn delay_after(&self, failures: u32) -> Option<Duration> {
        let before = failures.checked_sub(self.failures.get())?;
        Some(self.delays?.nth(before))
    }

    /// How long a lock is after so many before it.
    #[must_use]
    pub fn lock_after(&self, locks: u32) -> Duration {
        let times = 1_u32.checked_shl(locks).unwrap_or(u32::MAX);
        self.lock.saturating_mul(times).min(self.ceiling.max(self.lock))
    }
}

impl Default for Lockout {
    fn default() -> Self {
        let half_hour = Duration::from_secs(30 * 60);
        let consecutive_max = Some(number(100));
        Self { consecutive_max, ..Self::new(number(10), half_hour, half_hour, 48 * half_hour) }
    }
}

impl Delays {
    /// The delay after so many others.
    fn nth(&self, before: u32) -> Duration {
        let times = 1_u32.checked_shl(before).unwrap_or(u32::MAX);
        self.first.saturating_mul(times).min(self.last)
    }

    /// How many there are, up to the longest.
    fn count(&self) -> u32 {
        let before = (0..u32::BITS).take_while(|&nth| self.nth(nth) < self.last).count();
        u32::try_from(before).unwrap_or(u32::MAX).saturating_add(1)
    }
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Account,
        Self::Device,
        Self::Nameless,
        Self::Network,
        Self::Pair,
        Self::Site,
        Self::WideNetwork,
    ];

    /// The name used in metrics, logs and shared stores.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Device => "device",
            Self::Nameless => "nameless",
            Self::Network => "network",
            Self::Pair => "pair",
            Self::Site => "site",
            Self::WideNetwork => "wide_network",
        }
    }
}

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(number.saturating_sub(1))
}
