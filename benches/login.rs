//! What the login guard costs: time per request and memory per key.
//!
//! `cargo bench --bench login`. One core, local counters, medians of several rounds: nanoseconds of CPU,
//! by the scheduler's account, of a request that is no login and of a login from its head to its
//! settling; then MiB for a million keys, by the growth of the process, and what a login costs while
//! strangers fill the tables.

#![expect(clippy::panic, reason = "a figure of refusals would be none of logins")]

use std::fs;
use std::hint::black_box;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Request, request};
use mimalloc::MiMalloc;
use tillgate::counters::{
    AttemptCounter, KeyHasher, LocalCounter, Lock, Outcome, Reserved, Scope, Tried,
};
use tillgate::policy::{Limit, Lockout, LoginLimits, Site, SiteName};
use tillgate::proxy::login::{Client, Extent, LockWatcher, LoginGuard, Verdict};

/// As the server has.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const ROUNDS: usize = 7;
const REQUESTS: u32 = 100_000;
const MILLION: u32 = 1_000_000;
/// What holds a million accounts.
const MEMORY: usize = 480 << 20;

fn main() {
    let mut out = std::io::stdout().lock();
    let site = site();
    let _ = writeln!(out, "{:<44}{:>10}", "one request", "ns");
    for (name, head) in [
        ("no login: GET of a page", head("GET", "/catalogue/shoes/blue-7?page=2")),
        ("no login: POST to the basket", head("POST", "/cart/add")),
    ] {
        let nanos = median(|| {
            for _ in 0..REQUESTS {
                black_box(LoginGuard::recognise(&site, black_box(&head)).is_some());
            }
        });
        let _ = writeln!(out, "{name:<44}{nanos:>10.0}");
    }
    let limits = Arc::new(LoginLimits::default());
    let bodies: Vec<_> = (0..REQUESTS)
        .map(|nth| format!("email=customer{nth}%40example.com&password=correct+horse"))
        .collect();
    let head = head("POST", "/login");
    for (name, outcome) in
        [("login: success", Outcome::Success), ("login: failure", Outcome::Failure)]
    {
        // Each round has a guard of its own, in which nobody is locked yet.
        let nanos = median(|| {
            let guard = guard();
            for (nth, body) in (0..).zip(&bodies) {
                log_in(&guard, (&site, &head), (nth, body), (outcome, &limits));
            }
        });
        let _ = writeln!(out, "{name:<44}{nanos:>10.0}");
    }
    let _ = writeln!(out, "\n{:<44}{:>10}", "a million keys", "MiB");
    for (name, failures) in [("accounts of one failure", 1), ("accounts of nine failures", 9)] {
        let _ = writeln!(out, "{name:<44}{:>10.0}", accounts(failures));
    }
    let _ = writeln!(out, "{:<44}{:>10.0}", "networks known for an account", known());
    let _ = writeln!(out, "\n{:<44}{:>10.0}", "reserve and settle in full tables, ns", flood());
}

fn site() -> Arc<Site> {
    let loaded = tillgate::config::for_upstream("http://127.0.0.1:9", None, PathBuf::from("data"));
    Arc::clone(&loaded.expect("an upstream is enough").snapshot.sites[0])
}

fn guard() -> LoginGuard {
    struct Nobody;
    impl LockWatcher for Nobody {
        fn locked(&self, _site: &SiteName, _lock: &Lock) {}
    }
    LoginGuard::new(Arc::new(LocalCounter::new(256 << 20)), &[7; 32], Arc::new(Nobody))
}

fn head(method: &str, uri: &str) -> request::Parts {
    let request = Request::builder().method(method).uri(uri).header("referer", "http://x/y");
    request.body(()).expect("a request").into_parts().0
}

/// A login from its head on, each of another customer.
fn log_in(
    guard: &LoginGuard,
    (site, head): (&Arc<Site>, &request::Parts),
    (nth, body): (u32, &str),
    (outcome, limits): (Outcome, &Arc<LoginLimits>),
) {
    let expected = LoginGuard::recognise(site, head).expect("a login");
    let form: &[u8] = b"application/x-www-form-urlencoded";
    let claims = expected.claims(Some(form), body.as_bytes(), Extent::Whole).unwrap_or_default();
    let claim = claims.first().expect("an attempt");
    let client = Client { address: address(nth), device: None };
    let verdict = guard.reserve(&expected, claim, client, limits).now_or_never();
    match verdict {
        Some(Verdict::Admit(attempt)) => attempt.settle(outcome),
        _ => panic!("refused"),
    }
}

fn address(nth: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(nth.wrapping_mul(2_654_435_761)))
}

/// MiB for accounts that have failed so often.
fn accounts(failures: u32) -> f64 {
    let lockout = Lockout { consecutive_max: None, ..Lockout::default() };
    let account = Limit { quota: None, lockout: Some(lockout) };
    let limits = Arc::new(LoginLimits { account, ..LoginLimits::unlimited() });
    grown(|counter, hasher| {
        for nth in 0..MILLION {
            for _ in 0..failures {
                settle(counter, tried(hasher, nth), &limits, Outcome::Failure);
            }
        }
    })
}

/// MiB for networks from which an account was logged in.
fn known() -> f64 {
    let known_for = Some(Duration::from_secs(3600));
    let limits = Arc::new(LoginLimits { known_for, ..LoginLimits::unlimited() });
    grown(|counter, hasher| {
        for nth in 0..MILLION {
            settle(counter, tried(hasher, nth), &limits, Outcome::Success);
        }
    })
}

/// How much the process grows by what is counted.
fn grown(count: impl Fn(&LocalCounter, &KeyHasher)) -> f64 {
    let hasher = KeyHasher::new(&[7; 32]);
    let before = resident_kib();
    let counter = LocalCounter::new(MEMORY);
    count(&counter, &hasher);
    let grown = (resident_kib() - before) / 1024.0;
    // Kept: what is freed would be taken for the next, and that would seem to need none.
    std::mem::forget(counter);
    grown
}

/// Nanoseconds of CPU once strangers have filled the tables.
fn flood() -> f64 {
    let hasher = KeyHasher::new(&[7; 32]);
    let counter = LocalCounter::new(16 << 20);
    let limits = Arc::new(LoginLimits::default());
    let begun = cpu_nanos();
    for nth in 0..MILLION {
        settle(&counter, tried(&hasher, nth), &limits, Outcome::Failure);
    }
    (cpu_nanos() - begun) / f64::from(MILLION)
}

fn tried(hasher: &KeyHasher, nth: u32) -> Tried {
    let scope = Scope { site: "shop.example", guard: None };
    Tried {
        site: hasher.site(scope),
        network: hasher.network(None, address(nth)),
        wide_network: hasher.wide_network(None, address(nth)),
        accounts: vec![hasher.account(scope, &nth.to_string())],
        device: None,
    }
}

fn settle(counter: &LocalCounter, tried: Tried, limits: &Arc<LoginLimits>, outcome: Outcome) {
    if let Some(Reserved::Admitted(place)) = counter.reserve(tried, limits).now_or_never() {
        counter.settle(place, outcome, Box::new(drop));
    }
}

/// Nanoseconds of one of [`REQUESTS`].
fn median(mut work: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begun = cpu_nanos();
            work();
            (cpu_nanos() - begun) / f64::from(REQUESTS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// What this thread has used of a core.
fn cpu_nanos() -> f64 {
    let account = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    account.split_whitespace().next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0.0)
}

fn resident_kib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").trim().parse().unwrap_or(0.0)
}
