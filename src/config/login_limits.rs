//! `[login]`: the limits of attempts. A guard of another name writes them in the same words.

use std::num::NonZeroU32;
use std::time::Duration;

use super::compile::Compiler;
use super::schema::{LimitModeSchema, LoginSchema, NetworkLockoutSchema};
use super::source::At;
use crate::policy::{Delays, Limit, LimitMode, Lockout, LoginLimits, Quota};

/// PCI DSS 8.3.4: an account is locked after at most so many attempts.
const FAILURES_MAX: u32 = 10;

/// PCI DSS 8.3.4: for at least so long.
const LOCK_SECONDS_MIN: u64 = 30 * 60;

/// NIST SP 800-63B-4 §3.2.2: no more failures than these in a row.
const CONSECUTIVE_MAX: u32 = 100;

/// More failures than these are not remembered of anything.
const REMEMBERED_MAX: u32 = 100;

/// What is written of a lockout, whichever it is.
struct Written<'w> {
    enabled: Option<&'w At<bool>>,
    failures: Option<&'w At<NonZeroU32>>,
    within: Option<&'w At<String>>,
    lock: Option<&'w At<String>>,
    ceiling: Option<&'w At<String>>,
}

impl Compiler<'_> {
    /// The limits that a table sets, and those of `base` for what it leaves out.
    pub(super) fn login_limits(
        &mut self,
        table: &str,
        written: &LoginSchema,
        base: &LoginLimits,
    ) -> LoginLimits {
        self.refuse_signals(table, written);
        let mut quota = |name: &str, at: &Option<At<String>>, base: Limit| {
            self.quota(&format!("{table}.{name}"), at.as_ref(), base.quota)
        };
        let network = quota("per_network", &written.per_network, base.network);
        let wide_network = quota("per_wide_network", &written.per_wide_network, base.wide_network);
        let account = quota("per_account", &written.per_account, base.account);
        let pair = quota("per_pair", &written.per_pair, base.pair);
        let site = quota("per_site", &written.per_site, base.site);
        let wide = ("wide_network_lockout", &written.wide_network_lockout, base.wide_network);
        let narrow = ("network_lockout", &written.network_lockout, base.network);
        LoginLimits {
            mode: match written.mode.as_ref().map(At::get) {
                Some(LimitModeSchema::Enforce) => LimitMode::Enforce,
                Some(LimitModeSchema::Observe) => LimitMode::Observe,
                None => base.mode,
            },
            counted: base.counted,
            account: Limit { quota: account, lockout: self.account_lockout(table, written, base) },
            device: base.device,
            nameless: Limit::nameless(network),
            network: Limit { quota: network, lockout: self.network_lockout(table, narrow) },
            pair: Limit { quota: pair, lockout: self.pair_lockout(table, written, base) },
            site: Limit { quota: site, lockout: base.site.lockout },
            wide_network: Limit { quota: wide_network, lockout: self.network_lockout(table, wide) },
            known_for: self.known_for(table, written, base),
        }
    }

    fn quota(&mut self, key: &str, at: Option<&At<String>>, base: Option<Quota>) -> Option<Quota> {
        if at.is_some_and(|at| at.get() == "off") {
            return None;
        }
        // What is not written stays as it is, also where that is none.
        at.map_or(base, |at| Some(self.rate(key, Some(at), base.unwrap_or(ONE_PER_SECOND))))
    }

    fn account_lockout(
        &mut self,
        table: &str,
        written: &LoginSchema,
        base: &LoginLimits,
    ) -> Option<Lockout> {
        let key = format!("{table}.lockout");
        let consecutive = written.consecutive_failures.as_ref();
        let lockout = &written.lockout;
        let read = Written {
            enabled: lockout.enabled.as_ref(),
            failures: lockout.failures.as_ref(),
            within: lockout.within.as_ref(),
            lock: lockout.lock.as_ref(),
            ceiling: lockout.ceiling.as_ref(),
        };
        let mut compiled = self.lockout(&key, &read, base.account.lockout)?;
        if let Some(at) = consecutive {
            compiled.consecutive_max = Some(*at.get());
        }
        let advice = "PCI DSS 8.3.4 asks for at most 10 failures and at least 30 minutes";
        if let Some(at) = &lockout.failures
            && compiled.failures.get() > FAILURES_MAX
        {
            self.warn(&at.span(), &format!("{key}.failures"), "locks late", advice);
        }
        if let Some(at) = &lockout.lock
            && compiled.lock.as_secs() < LOCK_SECONDS_MIN
        {
            self.warn(&at.span(), &format!("{key}.lock"), "unlocks early", advice);
        }
        if let Some(at) = consecutive
            && at.get().get() > CONSECUTIVE_MAX
        {
            let advice = "NIST SP 800-63B-4 3.2.2 asks for at most 100";
            self.warn(&at.span(), &format!("{table}.consecutive_failures"), "bars late", advice);
        }
        Some(compiled)
    }

    fn pair_lockout(
        &mut self,
        table: &str,
        written: &LoginSchema,
        base: &LoginLimits,
    ) -> Option<Lockout> {
        let key = format!("{table}.pair_lockout");
        let (lockout, base) = (&written.pair_lockout, base.pair.lockout);
        let read = Written {
            enabled: lockout.enabled.as_ref(),
            failures: lockout.failures.as_ref(),
            within: lockout.within.as_ref(),
            lock: lockout.lock.as_ref(),
            ceiling: lockout.ceiling.as_ref(),
        };
        let compiled = self.lockout(&key, &read, base)?;
        let delays = base.and_then(|base| base.delays).unwrap_or(NO_DELAYS);
        let (first, last) = (lockout.first_delay.as_ref(), lockout.last_delay.as_ref());
        let first = self.duration(&format!("{key}.first_delay"), first, delays.first);
        let usual = if delays == NO_DELAYS { first } else { delays.last };
        let delays =
            Delays { first, last: self.duration(&format!("{key}.last_delay"), last, usual) };
        if let Some(at) = lockout.last_delay.as_ref().or(lockout.first_delay.as_ref())
            && delays.last < delays.first
        {
            let message = "makes the first delay longer than the last one";
            let remedy = "make `last_delay` at least as long as `first_delay`";
            self.refuse(&at.span(), &key, message, remedy);
        }
        let delays = (delays != NO_DELAYS).then_some(delays);
        Some(Lockout { delays, ..compiled })
    }

    fn network_lockout(
        &mut self,
        table: &str,
        (name, lockout, base): (&str, &NetworkLockoutSchema, Limit),
    ) -> Option<Lockout> {
        let key = format!("{table}.{name}");
        let read = Written {
            enabled: lockout.enabled.as_ref(),
            failures: lockout.failures.as_ref(),
            within: lockout.within.as_ref(),
            lock: lockout.lock.as_ref(),
            ceiling: lockout.ceiling.as_ref(),
        };
        let compiled = self.lockout(&key, &read, base.lockout)?;
        let accounts_min =
            lockout.accounts_min.as_ref().map_or(compiled.accounts_min, |at| *at.get());
        if let Some(at) = &lockout.accounts_min
            && accounts_min > compiled.failures
        {
            let message = "is more than `failures`, which are over as many accounts at most";
            let remedy = "make it at most as large as `failures`";
            self.refuse(&at.span(), &format!("{key}.accounts_min"), message, remedy);
        }
        Some(Lockout { accounts_min: accounts_min.min(compiled.failures), ..compiled })
    }

    /// What all lockouts have.
    fn lockout(
        &mut self,
        key: &str,
        written: &Written<'_>,
        base: Option<Lockout>,
    ) -> Option<Lockout> {
        let enabled = written.enabled.map_or(base.is_some(), |at| *at.get());
        let base = base.unwrap_or_default();
        let lock = self.duration(&format!("{key}.lock"), written.lock, base.lock);
        let compiled = Lockout {
            failures: written.failures.map_or(base.failures, |at| *at.get()),
            within: self.duration(&format!("{key}.within"), written.within, base.within),
            lock,
            ceiling: self.duration(&format!("{key}.ceiling"), written.ceiling, base.ceiling),
            ..base
        };
        if let Some(at) = written.failures
            && compiled.failures.get() > REMEMBERED_MAX
        {
            let message = "is more than are remembered";
            let remedy = format!("write a number of at most {REMEMBERED_MAX}");
            self.refuse(&at.span(), &format!("{key}.failures"), message, remedy);
        }
        if let Some(at) = written.ceiling
            && compiled.ceiling < lock
        {
            let (message, remedy) = ("is shorter than `lock`", "make it at least as long");
            self.refuse(&at.span(), &format!("{key}.ceiling"), message, remedy);
        }
        enabled.then_some(compiled)
    }

    fn known_for(
        &mut self,
        table: &str,
        written: &LoginSchema,
        base: &LoginLimits,
    ) -> Option<Duration> {
        let at = written.known_networks.as_ref();
        let usual = base.known_for.unwrap_or(KNOWN_FOR);
        let known_for = self.duration(&format!("{table}.known_networks"), at, usual);
        let bypass = written.trusted_networks_bypass.as_ref();
        bypass.map_or(base.known_for.is_some(), |at| *at.get()).then_some(known_for)
    }
}

const ONE_PER_SECOND: Quota = Quota { count: NonZeroU32::MIN, per: Duration::from_secs(1) };
const NO_DELAYS: Delays = Delays { first: Duration::ZERO, last: Duration::ZERO };
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 3600);
