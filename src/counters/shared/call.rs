//! What is asked of the server, and what it answers: keys, numbers and how they are packed.

use std::time::Duration;

use redis::{Script, ScriptInvocation};

use super::teller::Settlement;
use crate::counters::{
    CounterKey, Lease, Lock, Refusal, RefusalReason, Rule, Standing, Subject, Tag, Tried, Trust,
};
use crate::link::{Link, LinkOutage};
use crate::policy::{Dimension, Limit, LoginLimits};

/// What all keys begin with, for the operator's eyes and for an access list (`~tillgate:*`). The tag
/// in braces keeps those of one attempt in one slot of a cluster.
pub const LOGIN_KEYS: &str = "tillgate:{login}:";

/// How long an attempt may take before it counts, in case its instance has died: more than a shop
/// takes to answer.
const LEASE: Duration = Duration::from_secs(5 * 60);

/// The most failures remembered, as in one process.
const FAILURES_MAX: u32 = 100;

/// The scripts, each of which is atomic on the server.
pub(super) struct Scripts {
    reserve: Script,
    settle: Script,
    explain: Script,
    locks: Script,
    impose: Script,
    release: Script,
    scan: Script,
}

/// One attempt, as the server is asked about it.
pub(super) struct Question<'a> {
    pub(super) tried: &'a Tried,
    pub(super) limits: &'a LoginLimits,
    /// The device first, where there is one.
    pub(super) subjects: Vec<Subject>,
    /// Whether this process knows the network for the account.
    known_here: bool,
}

/// What the server answers to a wish to try.
pub(super) enum Placed {
    Admitted(Trust),
    Refused(Refusal),
}

/// How a subject stands there, and the lock that it is under.
pub(super) struct Stood {
    pub(super) standing: Standing,
    pub(super) lock: Option<Lock>,
}

/// Eleven numbers of `explain.lua`.
type Numbers = (u32, u32, u32, u32, u32, u8, u64, u32, u32, u8, u64);

impl Scripts {
    pub(super) fn new() -> Self {
        let script = |text: &str| Script::new(&[include_str!("ledger.lua"), text].concat());
        Self {
            reserve: script(include_str!("reserve.lua")),
            settle: script(include_str!("settle.lua")),
            explain: script(include_str!("explain.lua")),
            locks: script(include_str!("locks.lua")),
            impose: script(include_str!("impose.lua")),
            release: script(include_str!("release.lua")),
            scan: script(include_str!("scan.lua")),
        }
    }

    pub(super) async fn reserve(
        &self,
        link: &Link,
        lease: Lease,
        question: &Question<'_>,
    ) -> Result<Placed, LinkOutage> {
        let mut call = self.reserve.prepare_invoke();
        call.key(known(question.pair())).key(locks());
        call.arg(lease.0).arg(micros(LEASE));
        call.arg(match (question.limits.known_for, question.tried.accounts.as_slice()) {
            (Some(_), [_]) if question.known_here => 2,
            (Some(_), [_]) => 1,
            _ => 0,
        });
        call.arg(u8::from(question.has_device()));
        add(&mut call, &question.subjects, question.limits);
        let (verdict, place, rule, wait): (u8, usize, u8, u64) = link.call(&call).await?;
        let trust = match verdict {
            1 => Trust::Device,
            2 => Trust::KnownNetwork,
            3 => Trust::Stranger,
            _ => {
                let refusal = question.subjects.get(place).and_then(|it| refusal(it, rule, wait));
                return refusal.map(Placed::Refused).ok_or(LinkOutage::Refused);
            }
        };
        Ok(Placed::Admitted(trust))
    }

    /// Which locks that begins.
    pub(super) async fn settle(
        &self,
        link: &Link,
        settled: &Settlement,
    ) -> Result<Vec<Lock>, LinkOutage> {
        let mut call = self.settle.prepare_invoke();
        let account = settled.owned.map_or_else(locks, |it| ledger(Dimension::Account, it.account));
        call.key(known(settled.owned.map(|owned| owned.pair))).key(locks()).key(account);
        call.arg(settled.lease.0).arg(u8::from(settled.counts));
        call.arg(u8::from(settled.owned.is_some())).arg(u8::from(settled.trusted));
        let known_for = settled.owned.and(settled.limits.known_for);
        call.arg(known_for.map_or(0, millis));
        add(&mut call, &settled.subjects, &settled.limits);
        let begun: Vec<(usize, u32, u32, u8, u64)> = link.call(&call).await?;
        let lock = |(place, failures, level, barred, wait): (usize, u32, u32, u8, u64)| {
            let Subject { dimension, key, .. } = *settled.subjects.get(place)?;
            let (barred, remaining) = (barred != 0, Duration::from_micros(wait));
            Some(Lock { dimension, key, failures, level, barred, remaining })
        };
        Ok(begun.into_iter().filter_map(lock).collect())
    }

    pub(super) async fn explain(
        &self,
        link: &Link,
        pair: Option<CounterKey>,
        subjects: &[Subject],
        limits: &LoginLimits,
    ) -> Result<Vec<Stood>, LinkOutage> {
        let mut call = self.explain.prepare_invoke();
        call.key(known(pair));
        add(&mut call, subjects, limits);
        let (is_known, all): ((u8,), Vec<Numbers>) = head_and_rest(link.call(&call).await?)?;
        let stands = |(subject, numbers)| Stood::new(subject, numbers, is_known.0 != 0);
        Ok(subjects.iter().zip(all).map(stands).collect())
    }

    /// What is locked; those whose lock ends last first.
    pub(super) async fn locked(
        &self,
        link: &Link,
        most: usize,
    ) -> Result<Vec<(Dimension, CounterKey)>, LinkOutage> {
        let mut call = self.locks.prepare_invoke();
        let names: Vec<String> = link.call(call.key(locks()).arg(most)).await?;
        Ok(names.iter().filter_map(|name| subject_of(name)).collect())
    }

    pub(super) async fn impose(&self, link: &Link, all: &[Lock]) -> Result<(), LinkOutage> {
        let mut call = self.impose.prepare_invoke();
        call.key(locks());
        for lock in all {
            call.key(ledger(lock.dimension, lock.key));
            call.arg(micros(lock.remaining)).arg(lock.failures).arg(lock.level);
            call.arg(u8::from(lock.barred));
        }
        link.call(&call).await
    }

    pub(super) async fn release(
        &self,
        link: &Link,
        ledgers: &[String],
    ) -> Result<usize, LinkOutage> {
        let mut call = self.release.prepare_invoke();
        call.key(locks());
        for name in ledgers {
            call.key(name);
        }
        link.call(&call).await
    }

    /// The ledgers of the pairs of an account, found by going through all keys.
    pub(super) async fn pairs_of(
        &self,
        link: &Link,
        account: CounterKey,
    ) -> Result<Vec<String>, LinkOutage> {
        // A pair begins with half of its account.
        let account = account.to_string();
        let half = account.get(..account.len() / 2).unwrap_or_default();
        // Braces are no pattern of the server.
        let pattern = format!("{LOGIN_KEYS}s:{}:{half}*", Dimension::Pair.as_str());
        let (mut cursor, mut found) = (String::from("0"), Vec::new());
        loop {
            let mut call = self.scan.prepare_invoke();
            let (next, keys): (String, Vec<String>) =
                link.call(call.arg(&cursor).arg(&pattern)).await?;
            found.extend(keys);
            if next == "0" {
                return Ok(found);
            }
            cursor = next;
        }
    }
}

impl<'a> Question<'a> {
    pub(super) fn new(tried: &'a Tried, limits: &'a LoginLimits, known_here: bool) -> Self {
        let device = tried.device.is_some() && tried.accounts.len() == 1;
        let device = device.then(|| tried.subjects(Trust::Device, limits));
        let strangers = tried.subjects(Trust::Stranger, limits);
        let subjects = device.into_iter().flatten().chain(strangers).collect();
        Self { tried, limits, subjects, known_here }
    }

    /// Whether there is nothing to count.
    pub(super) fn is_empty(&self) -> bool {
        self.subjects.is_empty()
    }

    /// The pair of the one account named, which may be known.
    pub(super) fn pair(&self) -> Option<CounterKey> {
        match self.tried.accounts.as_slice() {
            [account] => Some(self.tried.pair(*account)),
            _ => None,
        }
    }

    fn has_device(&self) -> bool {
        self.subjects.first().is_some_and(|first| first.dimension == Dimension::Device)
    }
}

impl Stood {
    fn new(subject: &Subject, numbers: Numbers, known: bool) -> Self {
        let (failures, spread, consecutive, held, level, rule, wait, by, locks, barred, left) =
            numbers;
        let Subject { dimension, key, .. } = *subject;
        let refusal = refusal(subject, rule, wait);
        let standing =
            Standing { dimension, key, failures, spread, consecutive, held, level, known, refusal };
        let (barred, remaining) = (barred != 0, Duration::from_micros(left));
        let lock = Lock { dimension, key, failures: by, level: locks, barred, remaining };
        Self { standing, lock: (left > 0).then_some(lock) }
    }
}

/// A subject of which only the ledger matters.
pub(super) fn bare((dimension, key): (Dimension, CounterKey)) -> Subject {
    Subject { dimension, key, tag: Tag(0), binds: true }
}

/// Where the ledger of a subject is kept.
pub(super) fn ledger(dimension: Dimension, key: CounterKey) -> String {
    format!("{LOGIN_KEYS}s:{}:{key}", dimension.as_str())
}

fn places(subject: &Subject) -> String {
    format!("{LOGIN_KEYS}p:{}:{}", subject.dimension.as_str(), subject.key)
}

/// Without a pair, a key that is never written.
fn known(pair: Option<CounterKey>) -> String {
    pair.map_or_else(|| format!("{LOGIN_KEYS}k"), |pair| format!("{LOGIN_KEYS}k:{pair}"))
}

fn locks() -> String {
    format!("{LOGIN_KEYS}locks")
}

fn subject_of(ledger: &str) -> Option<(Dimension, CounterKey)> {
    let (dimension, key) = ledger.strip_prefix(LOGIN_KEYS)?.strip_prefix("s:")?.split_once(':')?;
    let dimension = Dimension::ALL.into_iter().find(|it| it.as_str() == dimension)?;
    let key = u128::from_str_radix(key, 16).ok()?;
    Some((dimension, CounterKey::from_bytes(key.to_be_bytes())))
}

fn add(call: &mut ScriptInvocation<'_>, subjects: &[Subject], limits: &LoginLimits) {
    for subject in subjects {
        call.key(ledger(subject.dimension, subject.key)).key(places(subject));
        call.arg(packed(subject, limits.of(subject.dimension)).as_slice());
    }
}

/// As `limit_of` of `ledger.lua` reads it.
fn packed(subject: &Subject, limit: &Limit) -> Vec<u8> {
    let binds_known = Trust::KnownNetwork.binds(subject.dimension);
    let mut numbers = [0; 13];
    let [known, tag, interval, count, lockout @ ..] = &mut numbers;
    (*known, *tag) = (u64::from(binds_known), u64::from(subject.tag.0));
    if let Some(quota) = limit.quota {
        let time = quota.per.checked_div(quota.count.get()).unwrap_or_default();
        (*interval, *count) = (micros(time).max(1), u64::from(quota.count.get()));
    }
    if let Some(rule) = &limit.lockout {
        let (first, last) =
            rule.delays.map_or((0, 0), |delays| (micros(delays.first), micros(delays.last)));
        let bounded = |count: u32| u64::from(count.min(FAILURES_MAX));
        *lockout = [
            bounded(rule.failures.get()),
            bounded(rule.locks_at()),
            micros(rule.within),
            micros(rule.lock),
            micros(rule.ceiling),
            first,
            last,
            bounded(rule.accounts_min.get()),
            rule.consecutive_max.map_or(0, |most| u64::from(most.get())),
        ];
    }
    numbers.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn refusal(subject: &Subject, rule: u8, wait: u64) -> Option<Refusal> {
    let rule = match rule {
        1 => Rule::Barred,
        2 => Rule::Delay,
        3 => Rule::InFlight,
        4 => Rule::Lockout,
        5 => Rule::Quota,
        _ => return None,
    };
    let reason = RefusalReason { dimension: subject.dimension, rule };
    Some(Refusal { retry_after: Duration::from_micros(wait), reason })
}

/// Splits what a script gives: something, then any number of something else.
fn head_and_rest<H, R>(all: Vec<redis::Value>) -> Result<(H, Vec<R>), LinkOutage>
where
    H: redis::FromRedisValue,
    R: redis::FromRedisValue,
{
    let mut all = all.into_iter();
    let head = all.next().and_then(|head| H::from_redis_value(head).ok());
    let rest = all.map(|each| R::from_redis_value(each).ok()).collect::<Option<_>>();
    head.zip(rest).ok_or(LinkOutage::Refused)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
