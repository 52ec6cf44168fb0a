use std::sync::Arc;

use futures_util::FutureExt;
use governor::clock::FakeRelativeClock;

use super::*;
use crate::counters::{
    AttemptCounter, CounterKey, KeyHasher, LockDesk, Outcome, Reserved, Scope, Tried, Trust,
};
use crate::policy::LoginLimits;

const HOUR: Duration = Duration::from_secs(3600);
const KEY: [u8; 32] = [5; 32];

/// One life of a process.
struct Life {
    counter: LocalCounter<FakeRelativeClock>,
    file: CounterFile<FakeRelativeClock>,
    hasher: KeyHasher,
}

fn begin(path: &Path, key: &[u8; 32], wall: SystemTime) -> Life {
    let counter = LocalCounter::with_clock(FakeRelativeClock::default(), 1 << 20);
    let file = CounterFile::new(&counter, path.to_owned(), key);
    file.restore(wall);
    Life { counter, file, hasher: KeyHasher::new(key) }
}

impl Life {
    fn account(&self) -> CounterKey {
        self.hasher.account(Scope::logins("shop"), "ann")
    }

    fn try_as(&self, outcome: Outcome, from: &str) -> Result<Trust, &'static str> {
        let mut limits = LoginLimits::default();
        (limits.account.quota, limits.pair) = (None, Default::default());
        let scope = Scope::logins("shop");
        let tried = Tried {
            site: self.hasher.site(scope),
            network: self.hasher.network(None, from.parse().unwrap()),
            wide_network: self.hasher.wide_network(None, from.parse().unwrap()),
            accounts: vec![self.account()],
            device: None,
        };
        match self.counter.reserve(tried, &Arc::new(limits)).now_or_never().unwrap() {
            Reserved::Admitted(reservation) => {
                let trust = reservation.trust;
                self.counter.settle(reservation, outcome, Box::new(drop));
                Ok(trust)
            }
            Reserved::Refused(refusal) => Err(refusal.reason.as_str()),
        }
    }
}

#[test]
fn what_a_process_counts_after_it_was_succeeded_counts_in_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let (path, wall) = (folder.path().join("counters.state"), SystemTime::UNIX_EPOCH + HOUR);
    let old = begin(&path, &KEY, wall);
    let _admitted = old.try_as(Outcome::Failure, "198.51.100.7");
    old.file.save(wall);
    let new = begin(&path, &KEY, wall);
    assert!(!old.file.leave(wall), "nothing is new");
    for _ in 0..9 {
        let _admitted = old.try_as(Outcome::Failure, "198.51.100.7");
    }
    assert!(old.file.leave(wall));
    assert!(new.try_as(Outcome::Failure, "198.51.100.7").is_ok());
    new.file.take_over(wall);
    assert!(new.try_as(Outcome::Failure, "198.51.100.7").is_err(), "locked there, locked here");
    assert!(!path.with_extension("left").exists());
}

/// Ann was locked by a stranger, having logged in from home, and that was written at `wall`.
fn written(path: &Path, wall: SystemTime) {
    let life = begin(path, &KEY, wall);
    assert_eq!(life.try_as(Outcome::Success, "192.0.2.1"), Ok(Trust::Stranger));
    for _ in 0..10 {
        assert_eq!(life.try_as(Outcome::Failure, "198.51.100.1"), Ok(Trust::Stranger));
    }
    life.file.save(wall);
}

#[test]
fn locks_and_known_networks_outlive_their_process_and_end_when_they_would_have() {
    let folder = tempfile::tempdir().unwrap();
    let (path, wall) = (folder.path().join("counters.state"), SystemTime::now());
    written(&path, wall);
    let soon = begin(&path, &KEY, wall + HOUR / 4);
    assert_eq!(soon.try_as(Outcome::Failure, "198.51.100.2"), Err("locked"));
    assert_eq!(soon.try_as(Outcome::Neutral, "192.0.2.1"), Ok(Trust::KnownNetwork));
    let locks = soon.counter.locked(10).now_or_never().unwrap();
    assert_eq!((locks.len(), locks[0].key, locks[0].failures), (1, soon.account(), 10));
    assert!(locks[0].remaining.abs_diff(HOUR / 4) < Duration::from_secs(1));
    // Half an hour is over, and what was a lock within a day is still known.
    let later = begin(&path, &KEY, wall + HOUR);
    for _ in 0..10 {
        assert_eq!(later.try_as(Outcome::Failure, "198.51.100.2"), Ok(Trust::Stranger));
    }
    let locks = later.counter.locked(10).now_or_never().unwrap();
    assert_eq!((locks[0].level, locks[0].remaining), (1, HOUR));
    // A clock that was put back shortens nothing.
    let back = begin(&path, &KEY, wall - HOUR);
    assert_eq!(back.try_as(Outcome::Failure, "198.51.100.2"), Err("locked"));
    let month = begin(&path, &KEY, wall + 24 * 31 * HOUR);
    assert_eq!(month.try_as(Outcome::Neutral, "192.0.2.1"), Ok(Trust::Stranger));
}

#[test]
fn a_torn_or_foreign_file_is_not_read_and_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let (path, wall) = (folder.path().join("counters.state"), SystemTime::now());
    written(&path, wall);
    let whole = fs::read(&path).unwrap();
    let foreign = |life: &Life| {
        matches!(life.file.read(&life.file.path, wall), Err(StateError::Foreign { .. }))
    };
    assert!(foreign(&begin(&path, &[6; 32], wall)));
    for end in 0..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let life = begin(&path, &KEY, wall);
        assert!(foreign(&life), "read {end} of {} bytes", whole.len());
    }
    let life = begin(&path, &KEY, wall);
    assert_eq!(life.try_as(Outcome::Failure, "198.51.100.2"), Ok(Trust::Stranger));
    life.file.save(wall);
    let life = begin(&path, &KEY, wall);
    assert_eq!(life.file.read(&path, wall).unwrap(), 3, "account, both networks");
}

#[test]
fn nothing_is_written_when_nothing_has_changed_and_no_name_ever() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (path, wall) = (folder.path().join("counters.state"), SystemTime::now());
    let life = begin(&path, &KEY, wall);
    life.file.save_changes(wall);
    assert!(!path.exists());
    written(&path, wall);
    let bytes = fs::read(&path).unwrap();
    assert!(bytes.len() < 400 && !bytes.windows(3).any(|part| part == b"ann"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}
