//! The audit log: a chain that is continued, and every way of tampering with it found.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::UNIX_EPOCH;

use super::*;
use crate::card::{Pan, Token};
use crate::telemetry::{LastFour, Metrics};

struct Log {
    _folder: tempfile::TempDir,
    path: PathBuf,
    dropped: DroppedLines,
}

impl Log {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        Self { _folder: folder, path, dropped: Metrics::new().lines_dropped("audit") }
    }

    fn open(&self) -> Audit {
        Audit::open(&self.path, key(), self.dropped.clone(), UNIX_EPOCH).unwrap()
    }

    fn holding(records: u64) -> Self {
        let log = Self::new();
        log.add(records);
        log
    }

    fn add(&self, records: u64) {
        let audit = self.open();
        for generation in 0..records {
            audit.record(UNIX_EPOCH, AuditEvent::ConfigReloaded { generation });
        }
    }

    fn verify(&self) -> Result<Verified, AuditFault> {
        verify(&self.path, &key())
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(&self.path).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.bytes()).unwrap();
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    fn fault_with(&self, text: impl AsRef<[u8]>) -> AuditFault {
        fs::write(&self.path, text).unwrap();
        self.verify().unwrap_err()
    }
}

fn key() -> AuditKey {
    AuditKey::new(&[7; 32])
}

#[test]
fn a_chain_goes_on_after_a_restart() {
    let log = Log::holding(3);
    log.add(2);
    assert_eq!(log.verify().unwrap(), Verified { records: 5, anchors: 0, unfinished: false });
    assert_eq!(fs::metadata(&log.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(log.dropped.count(), 0);
}

#[test]
fn two_processes_at_once_write_one_chain() {
    let log = Log::holding(3);
    let old = log.open();
    let (file, mark) = old.hand_over().unwrap();
    let handover = AuditHandover { file, mark };
    let new = Audit::join(&log.path, key(), log.dropped.clone(), handover).unwrap();
    thread::scope(|scope| {
        for audit in [&old, &new] {
            scope.spawn(move || {
                for generation in 0..400 {
                    audit.record(UNIX_EPOCH, AuditEvent::ConfigReloaded { generation });
                }
            });
        }
    });
    drop(old);
    new.record(UNIX_EPOCH, AuditEvent::Stopped);
    let third = Audit::open(&log.path, key(), log.dropped.clone(), UNIX_EPOCH);
    assert!(matches!(third, Err(AuditError::InUse { .. })), "the lock goes with the log");
    drop(new);
    let verified = log.verify().unwrap();
    assert_eq!(verified.records - verified.anchors, 804);
    assert!(!verified.unfinished && log.dropped.count() == 0);
    log.add(1);
    assert!(log.verify().is_ok());
}

#[test]
fn anchors_stand_in_a_long_log() {
    let log = Log::holding(600);
    let verified = log.verify().unwrap();
    assert_eq!((verified.records, verified.anchors), (602, 2));
}

#[test]
fn flipping_any_byte_is_found() {
    let log = Log::holding(3);
    let good = log.bytes();
    for place in 0..good.len() {
        for flip in [0x01, 0x20, 0x80] {
            let mut bad = good.clone();
            bad[place] ^= flip;
            fs::write(&log.path, &bad).unwrap();
            assert!(log.verify().is_err(), "byte {place} ^ {flip:#x}");
        }
    }
}

#[test]
fn removing_swapping_repeating_or_cutting_lines_is_found_where_it_was_done() {
    let log = Log::holding(4);
    let lines = log.lines();
    let [one, two, three, four] = lines.as_slice() else { panic!("four lines") };
    assert_eq!(log.fault_with([&**one, three, four].concat()).line, 2);
    assert_eq!(log.fault_with([&**two, three, four].concat()).line, 1);
    assert_eq!(log.fault_with([&**one, three, two, four].concat()).line, 2);
    assert_eq!(log.fault_with([&**one, two, two, three, four].concat()).line, 3);
    let cut = log.fault_with([&**one, two, three].concat());
    assert!(matches!(cut.what, FaultKind::TailMissing { expected: 4 }));
    assert!(matches!(log.fault_with("").what, FaultKind::TailMissing { .. }));
}

#[test]
fn every_cut_within_a_record_is_found() {
    let log = Log::holding(2);
    let good = log.bytes();
    for length in 0..good.len() - 1 {
        log.fault_with(&good[..length]);
    }
}

#[test]
fn another_key_and_a_changed_or_missing_anchor_are_found() {
    let log = Log::holding(2);
    assert!(verify(&log.path, &AuditKey::new(&[8; 32])).is_err());
    let anchor = log.path.with_extension("anchor");
    let good = fs::read(&anchor).unwrap();
    for place in 0..good.len() {
        let mut bad = good.clone();
        bad[place] ^= 1;
        fs::write(&anchor, bad).unwrap();
        assert!(matches!(log.verify().unwrap_err().what, FaultKind::AnchorForged), "{place}");
    }
    fs::remove_file(&anchor).unwrap();
    assert!(matches!(log.verify().unwrap_err().what, FaultKind::AnchorMissing));
}

#[test]
fn a_torn_line_is_recorded_and_the_chain_goes_on() {
    let log = Log::holding(2);
    let mut torn = log.bytes();
    torn.extend_from_slice(b"{\"seq\":3,\"time\":\"20");
    fs::write(&log.path, &torn).unwrap();
    assert!(log.verify().unwrap().unfinished);
    log.add(1);
    assert_eq!(log.verify().unwrap(), Verified { records: 4, anchors: 0, unfinished: false });
    let changed = String::from_utf8(log.bytes()).unwrap().replace("\"20\n", "\"21\n");
    assert!(matches!(log.fault_with(changed).what, FaultKind::Malformed));
}

#[test]
fn a_tail_that_was_cut_stays_found_after_the_log_went_on() {
    let log = Log::holding(4);
    fs::write(&log.path, log.lines()[..2].concat()).unwrap();
    log.add(3);
    let fault = log.verify().unwrap_err();
    assert!(matches!(fault.what, FaultKind::Gap { expected: 3, found: 5 }), "{fault}");
    let log = Log::holding(2);
    fs::remove_file(log.path.with_extension("anchor")).unwrap();
    log.add(1);
    assert!(matches!(log.verify().unwrap_err().what, FaultKind::Recorded(_)));
}

#[test]
fn a_second_writer_is_refused() {
    let log = Log::new();
    let _first = log.open();
    let second = Audit::open(&log.path, key(), log.dropped.clone(), UNIX_EPOCH);
    assert!(matches!(second, Err(AuditError::InUse { .. })));
}

#[tokio::test]
async fn a_durable_record_is_in_the_file_and_shows_no_card_number() {
    let log = Log::new();
    let audit = log.open();
    let pan = Pan::from_digits(b"4111111111111111").unwrap();
    let event = AuditEvent::CardRevealed {
        gateway: "stripe".to_owned(),
        request_id: "r-1\n{}".to_owned(),
        token: Token::parse(b"4000000000001111").unwrap(),
        last_four: LastFour::of(&pan),
    };
    audit.record_durable(UNIX_EPOCH, event).await.unwrap();
    let text = String::from_utf8(log.bytes()).unwrap();
    assert!(text.starts_with(
        "{\"seq\":1,\"time\":\"1970-01-01T00:00:00.000Z\",\"event\":\"card_revealed\",\
         \"gateway\":\"stripe\",\"request_id\":\"r-1\\n{}\",\"token\":\"4000000000001111\",\
         \"last_four\":\"1111\",\"mac\":\""
    ));
    assert_eq!(log.verify().unwrap().records, 1);
}
