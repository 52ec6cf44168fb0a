//! How the servers of a site share the work, and when it is closed.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http::uri::{Authority, PathAndQuery};

use super::compile::{Compiler, is};
use super::schema::{BalanceSchema, HealthSchema, MaintenanceSchema, SiteSchema};
use super::source::At;
use crate::policy::{Balance, Ejection, HealthCheck, Maintenance, QueueLimits, RetryBudget};

/// A server that is asked more often than this has nothing else to do.
const INTERVAL_MIN: Duration = Duration::from_millis(100);
/// How often names are looked up at most: resolvers are shared with others.
const RESOLVE_MIN: Duration = Duration::from_secs(1);
/// How often one request is sent at most.
const ATTEMPTS_MAX: u32 = 10;

const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);
const WAITING: usize = 100;
const QUEUE_WAIT: Duration = Duration::from_secs(2);
const RETRY_AFTER: Duration = Duration::from_secs(600);

/// As people write them.
type StatusList = At<Vec<At<NonZeroU32>>>;

impl Compiler<'_> {
    pub(super) fn balance(&mut self, site: &SiteSchema) -> Balance {
        let (written, health) = (&site.balance, &site.health);
        let base = Balance::default();
        let key = "site.health.slow_start";
        let slow_start = self.duration(key, health.slow_start.as_ref(), base.slow_start);
        let key = "site.health.panic_percent";
        Balance {
            check: self.health_check(health),
            ejection: self.ejection(health),
            slow_start,
            panic_percent: self.percent(key, health.panic_percent.as_ref(), base.panic_percent),
            retry: self.retry_budget(written),
            queue: self.queue_limits(written),
            sticky: written.sticky.as_ref().and_then(|at| self.cookie_name(at)).map(Into::into),
            resolve_every: self.at_least(
                "site.balance.resolve_every",
                (written.resolve_every.as_ref(), base.resolve_every),
                RESOLVE_MIN,
            ),
        }
    }

    pub(super) fn maintenance(&mut self, written: &MaintenanceSchema) -> Maintenance {
        let allow = written.allow.as_ref().map(|at| at.get().as_slice()).unwrap_or_default();
        let key = "site.maintenance.retry_after";
        Maintenance {
            enabled: is(written.enabled.as_ref()),
            flag: written.flag.as_ref().map(|at| self.path(at).into()),
            allow: self.network_list("site.maintenance.allow", allow),
            retry_after: self.duration(key, written.retry_after.as_ref(), RETRY_AFTER),
        }
    }

    fn health_check(&mut self, written: &HealthSchema) -> Option<HealthCheck> {
        let key = |name: &str| format!("site.health.{name}");
        let interval = (written.interval.as_ref(), INTERVAL);
        let interval = self.at_least(&key("interval"), interval, INTERVAL_MIN);
        let timeout = self.duration(&key("timeout"), written.timeout.as_ref(), TIMEOUT);
        let statuses = self.status_list(&key("status"), written.status.as_ref());
        let host = written.host.as_ref().and_then(|at| self.check_host(at));
        let Some(at) = &written.path else {
            if let Some(at) = &written.host {
                let message = "has no use: no server is asked";
                self.warn(&at.span(), &key("host"), message, "give `path`, or remove it");
            }
            return None;
        };
        let path: Option<PathAndQuery> =
            at.get().starts_with('/').then(|| at.get().parse().ok()).flatten();
        if path.is_none() {
            let message = format!("{} is not a path", self.source.quote(&at.span()));
            self.refuse(&at.span(), &key("path"), message, "write it as in \"/healthz\"");
        }
        let count = |at: &Option<At<NonZeroU32>>, default: u32| {
            let given = at.as_ref().map(|at| *at.get());
            given.unwrap_or(NonZeroU32::MIN.saturating_add(default - 1))
        };
        let (fall, rise) = (count(&written.fall, 3), count(&written.rise, 2));
        Some(HealthCheck { path: path?, host, interval, timeout, statuses, fall, rise })
    }

    fn check_host(&mut self, at: &At<String>) -> Option<Arc<str>> {
        if at.get().parse::<Authority>().is_err() {
            let message = format!("{} is not a host", self.source.quote(&at.span()));
            let remedy = "write it as in \"shop.example\"";
            self.refuse(&at.span(), "site.health.host", message, remedy);
            return None;
        }
        Some(at.get().as_str().into())
    }

    fn ejection(&mut self, written: &HealthSchema) -> Ejection {
        let base = Ejection::default();
        let statuses = written.failure_status.as_ref();
        let ejection = Ejection {
            failures: written.failures.as_ref().map_or(base.failures, |at| *at.get()),
            statuses: match statuses {
                Some(_) => self.status_list("site.health.failure_status", statuses),
                None => base.statuses,
            },
            time: self.duration("site.health.eject", written.eject.as_ref(), base.time),
            time_max: self.duration(
                "site.health.eject_max",
                written.eject_max.as_ref(),
                base.time_max,
            ),
        };
        if let Some(at) = written.eject_max.as_ref().or(written.eject.as_ref())
            && ejection.time_max < ejection.time
        {
            let remedy = "make `eject_max` at least as long as `eject`";
            self.refuse(&at.span(), "site.health.eject_max", "is shorter than `eject`", remedy);
        }
        ejection
    }

    fn retry_budget(&mut self, written: &BalanceSchema) -> RetryBudget {
        let base = RetryBudget::default();
        let attempts = written.attempts.as_ref();
        if let Some(at) = attempts.filter(|at| at.get().get() > ATTEMPTS_MAX) {
            let remedy = format!("write at most {ATTEMPTS_MAX}");
            self.refuse(&at.span(), "site.balance.attempts", "is too large", remedy);
        }
        let key = "site.balance.retry_percent";
        RetryBudget {
            attempts: attempts.map_or(base.attempts, |at| *at.get()),
            percent: self.percent(key, written.retry_percent.as_ref(), base.percent),
            per_second_min: written.retry_min.as_ref().map_or(base.per_second_min, |at| *at.get()),
        }
    }

    fn queue_limits(&mut self, written: &BalanceSchema) -> Option<QueueLimits> {
        let key = "site.balance.queue_wait";
        let wait = self.duration(key, written.queue_wait.as_ref(), QUEUE_WAIT);
        let waiting = written.queue.as_ref().map_or(WAITING, |at| *at.get());
        let in_flight = *written.in_flight.as_ref()?.get();
        Some(QueueLimits { in_flight, waiting, wait })
    }

    /// RFC 6265bis §4.1.1: a token.
    fn cookie_name(&mut self, at: &At<String>) -> Option<String> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if at.get().is_empty() || at.get().len() > 64 || !at.get().bytes().all(token) {
            let message = format!("{} is no name for a cookie", self.source.quote(&at.span()));
            let remedy = "write letters, digits, `-`, `_` and `.`, as in \"shop-server\"";
            self.refuse(&at.span(), "site.balance.sticky", message, remedy);
            return None;
        }
        Some(at.get().clone())
    }

    fn status_list(&mut self, key: &str, written: Option<&StatusList>) -> Vec<StatusCode> {
        let mut statuses = Vec::new();
        for at in written.into_iter().flat_map(|list| list.get()) {
            let number = u16::try_from(at.get().get()).ok().filter(|number| *number < 600);
            match number.and_then(|number| StatusCode::from_u16(number).ok()) {
                Some(status) => statuses.push(status),
                None => {
                    let message = format!("{} is not a status", at.get());
                    self.refuse(&at.span(), key, message, "write one from 100 to 599");
                }
            }
        }
        statuses
    }

    fn percent(&mut self, key: &str, at: Option<&At<u32>>, default: u32) -> u32 {
        if let Some(at) = at.filter(|at| *at.get() > 100) {
            self.refuse(&at.span(), key, "is more than 100", "write a percentage");
        }
        at.map_or(default, |at| *at.get())
    }

    fn at_least(
        &mut self,
        key: &str,
        (at, default): (Option<&At<String>>, Duration),
        least: Duration,
    ) -> Duration {
        let found = self.duration(key, at, default);
        if let Some(at) = at.filter(|_| found < least) {
            let remedy = format!("write at least {least:?}");
            self.refuse(&at.span(), key, "is too short", remedy);
        }
        found
    }
}
