//! Real processes and sockets: the sidecar, the shop and gateway behind it, clients before it.

pub(crate) mod canary;
pub(crate) mod cards;
pub(crate) mod certificates;
mod client;
mod dice;
mod disk;
pub(crate) mod frames;
mod h2;
mod pebble;
#[expect(dead_code, reason = "the library's tests use the rest")]
pub(crate) mod postgres;
mod purchases;
pub(crate) mod raw_h2;
pub(crate) mod redis;
mod relay;
mod sidecar;
pub(crate) mod traces;
mod upstream;
mod wire;

use std::path::PathBuf;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub(crate) use certificates::{Identity, KeyKind};
pub(crate) use client::{Client, Tls};
pub(crate) use dice::Dice;
pub(crate) use disk::Disk;
pub(crate) use h2::H2;
pub(crate) use pebble::{Pebble, PebbleSetup, free_ports};
pub(crate) use postgres::Postgres;
pub(crate) use purchases::Purchases;
pub(crate) use raw_h2::{Outcome, RawH2};
pub(crate) use redis::{Cluster, Redis};
pub(crate) use relay::Relay;
pub(crate) use sidecar::{Setup, Sidecar};
pub(crate) use upstream::{Exchange, Upstream};
pub(crate) use wire::{Answer, Seen};

/// Limits that only the lockout of accounts can reach.
pub(crate) const ONLY_ACCOUNTS: &str = "[login]\nper_network = \"off\"\nper_wide_network = \"off\"\n\
    per_account = \"off\"\npair_lockout = { enabled = false }\n\
    network_lockout = { enabled = false }\nwide_network_lockout = { enabled = false }\n";

/// How long anything that must happen may take before the test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The name every test's shop goes by.
pub(crate) const HOST: &str = "shop.example";

/// A value that can be waited for.
#[derive(Default)]
pub(crate) struct Watched<T> {
    value: Mutex<T>,
    changed: Condvar,
}

impl<T> Watched<T> {
    /// Changes the value and wakes who waits.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let result = change(&mut self.lock());
        self.changed.notify_all();
        result
    }

    /// The first answer that `look` gives before the deadline.
    pub(crate) fn wait_for<R>(&self, look: impl FnMut(&T) -> Option<R>) -> Option<R> {
        self.wait_within(DEADLINE, look)
    }

    /// As `wait_for`, with a deadline of its own.
    pub(crate) fn wait_within<R>(
        &self,
        patience: Duration,
        mut look: impl FnMut(&T) -> Option<R>,
    ) -> Option<R> {
        let end = Instant::now() + patience;
        let mut value = self.lock();
        loop {
            if let Some(found) = look(&value) {
                return Some(found);
            }
            let left = end.checked_duration_since(Instant::now())?;
            value = self.changed.wait_timeout(value, left).unwrap().0;
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Repeats `attempt` until it gives something; fails the test at the deadline.
pub(crate) fn eventually<R>(what: &str, mut attempt: impl FnMut() -> Option<R>) -> R {
    let end = Instant::now() + DEADLINE;
    while Instant::now() < end {
        if let Some(found) = attempt() {
            return found;
        }
        std::thread::yield_now();
    }
    panic!("never happened: {what}");
}

/// Compressed as a web server does it.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut encoder, text).unwrap();
    encoder.finish().unwrap()
}

/// Where a program of the machine is. A test whose program is missing says so and ends; `tests/run`
/// installs them all.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&folders).collect();
    places.push("/usr/sbin".into());
    let found = places.into_iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    assert!(
        found.is_some() || std::env::var_os("TILLGATE_NO_SKIP").is_none(),
        "{name} is not installed"
    );
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed");
    }
    found
}

#[test]
fn the_harness_reads_what_it_writes() {
    let identity = Identity::new(&["localhost"]);
    let origin = Upstream::start_tls(&identity, |exchange| match exchange.target() {
        "/chunks" => exchange.chunked(&[], &[b"a", b"bc"]),
        _ => exchange.answer(200, &[("x-a", "1")], b"whole"),
    });
    let mut client = Tls::new("localhost").connect(origin.address).unwrap();
    assert_eq!(client.handshake().leaf, identity.leaf());
    assert_eq!(client.get("/chunks").text(), "abc");
    assert_eq!(client.request("HEAD", "/", &[], b"").field("content-length"), Some("5"));
    assert_eq!(client.form("/form", "a=1&b=2").text(), "whole");
    client.send(
        "POST /parts HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\
         transfer-encoding: chunked\r\n\r\n",
    );
    assert_eq!(client.head().status, 100);
    client.send("3\r\na=b\r\n0\r\nx-t: 1\r\n\r\n");
    assert_eq!(client.answer().field("x-a"), Some("1"));
    let seen = origin.wait(4);
    assert_eq!(seen[2].form("b"), "2");
    assert_eq!((seen[3].form("a").as_str(), &*seen[3].trailers[0].1), ("b", "1"));
    assert_eq!(origin.connections(), 1);
    let card = cards::quiet("amex");
    assert!(cards::luhn(&card) && !cards::luhn(&cards::broken(&card)) && card.len() == 15);
}
