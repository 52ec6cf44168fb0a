//! Stores that fail under load and come back (issue item 4, promises P2 and P3).
//!
//! Each time: cards are refused with 503 and `Retry-After`, all else goes on, the store heals
//! without a restart, and every token that the shop ever received reveals its card.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::traces::Traces;
use crate::harness::{Disk, Postgres, Purchases, Relay, Sidecar};

/// An outage that begins under load and ends under load.
fn outlives(
    purchases: &mut Purchases,
    sidecar: &Sidecar,
    begins: impl FnOnce(),
    ends: impl FnOnce(),
) {
    let bought = |count| purchases.shop.wait(purchases.shop.count() + count);
    purchases.during(&[sidecar.address("http")], || {
        bought(50);
        begins();
        purchases.assert_only_cards_refused(sidecar);
        ends();
        purchases.assert_healed(sidecar);
        bought(50);
    });
    purchases.assert_kept(sidecar);
}

fn finish(mut purchases: Purchases, sidecar: &mut Sidecar) {
    purchases.assert_all_kept(sidecar);
    // What was only in memory would be gone now.
    sidecar.kill9();
    sidecar.restart();
    purchases.assert_all_kept(sidecar);
    let (accepted, refused) = purchases.outcomes();
    assert!(accepted > 0 && refused > 0, "{accepted} accepted, {refused} refused");
    let output = Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .args(["audit", "verify", "--config"])
        .arg(sidecar.config())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("unbroken"), "{said}{}", String::from_utf8_lossy(&output.stderr));
    Traces::of(&purchases.cards()).assert_none_under(&sidecar.data());
}

#[test]
fn p3_a_full_disk_refuses_cards_only_and_room_heals_it() {
    let Some(disk) = Disk::of(16) else { return };
    let mut purchases = Purchases::new();
    let mut sidecar = purchases.setup("").data(&disk.path().join("data")).start();
    for _ in 0..2 {
        let mark = sidecar.mark();
        outlives(&mut purchases, &sidecar, || disk.fill(), || disk.free());
        assert_eq!(sidecar.wait_for_log(mark, "the vault fails")["outage"], "disk_full");
        sidecar.wait_for_log(mark, "the vault works again");
    }
    finish(purchases, &mut sidecar);
}

#[test]
fn p1_no_card_is_revealed_that_the_audit_log_has_no_room_for() {
    let Some(disk) = Disk::of(16) else { return };
    let purchases = Purchases::new();
    let sidecar = purchases.setup("").data(&disk.path().join("data")).start();
    assert_eq!(purchases.try_buy(&mut sidecar.http()).unwrap().status, 200);
    let body = serde_json::json!({ "card": purchases.shop.last().form("number") }).to_string();
    disk.fill();
    sidecar.gateway("pay").json("/charge", &body).assert_refused(503);
    assert_eq!(purchases.provider.count(), 0);
    assert_eq!(sidecar.gateway("pay").json("/refund", "{\"charge\":\"ch_1\"}").status, 200);
    disk.free();
    assert_eq!(sidecar.gateway("pay").json("/charge", &body).status, 200);
}

#[test]
fn p3_a_disk_that_takes_no_writes_refuses_cards_only_and_heals() {
    let mut purchases = Purchases::new();
    let mut sidecar = purchases.setup("").start();
    let files = Immutable(sidecar.data());
    if !files.switch(&["vault.db-probe"], true) {
        eprintln!("SKIPPED: files cannot be made immutable here");
        return;
    }
    files.switch(&["vault.db-probe"], false);
    let address = [sidecar.address("http")];
    for _ in 0..2 {
        let mark = sidecar.mark();
        purchases.during(&address, || purchases.shop.wait(purchases.shop.count() + 50));
        // A real file system turns at once. Here it is file after file, so nothing is under way.
        assert!(files.switch(&FILES, true));
        purchases.during(&address, || {
            purchases.assert_only_cards_refused(&sidecar);
            let fails = sidecar.wait_for_log(mark, "the vault fails");
            assert_eq!(fails["outage"], "read_only");
            assert!(files.switch(&FILES, false));
            purchases.assert_healed(&sidecar);
        });
        purchases.assert_kept(&sidecar);
    }
    finish(purchases, &mut sidecar);
}

/// The folder and all in it that is written to.
const FILES: [&str; 6] =
    ["vault.db-probe", "vault.db-shm", "vault.db-wal", "vault.db", "audit.log", ""];

/// A folder whose files can be closed for writing, also to those who have them open.
struct Immutable(PathBuf);

impl Immutable {
    /// Whether it could be switched. What is mapped is written to the disk first: a page that waits
    /// for that can be written once more, and hides what happens to one that does not.
    fn switch(&self, files: &[&str], on: bool) -> bool {
        let _ = Command::new("sync").arg("--file-system").arg(&self.0).status();
        let mut command = Command::new("chattr");
        command.arg(if on { "+i" } else { "-i" });
        command.args(files.iter().map(|name| self.0.join(name)));
        command.output().is_ok_and(|output| output.status.success())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        self.switch(&FILES, false);
    }
}

#[test]
fn p3_a_file_system_that_breaks_refuses_cards_only_and_once_repaired_has_every_token() {
    let Some(mut disk) = Disk::ext4(32) else { return };
    let mut purchases = Purchases::new();
    let mut sidecar = purchases.setup("").data(&disk.path().join("data")).start();
    purchases.during(&[sidecar.address("http")], || {
        purchases.shop.wait(100);
        disk.corrupt();
        purchases.assert_only_cards_refused(&sidecar);
    });
    // As nothing mends it, nothing ends it either.
    purchases.assert_only_cards_refused(&sidecar);
    sidecar.kill9();
    disk = disk.repair();
    sidecar.restart();
    assert!(purchases.assert_all_kept(&sidecar) > 0);
    drop(sidecar);
    drop(disk);
}

fn tables(url: &str, keys: &Path) -> String {
    let keys = keys.display();
    format!("[vault]\nstore = \"{url}\"\nmaster_key = {{ file = \"{keys}/master.key\" }}")
}

#[test]
fn p3_a_network_that_freezes_and_is_cut_refuses_cards_only_and_heals() {
    let Some(server) = Postgres::start(&[]) else { return };
    server.database("vault");
    let (relay, keys) = (Relay::to(server.port()), tempfile::tempdir().unwrap());
    let url = server.url("vault").replace(&server.port().to_string(), &relay.port().to_string());
    let mut purchases = Purchases::new();
    let mut sidecar = purchases.setup(&tables(&url, keys.path())).start();
    outlives(&mut purchases, &sidecar, || relay.freeze(), || relay.mend());
    outlives(&mut purchases, &sidecar, || relay.cut(), || relay.mend());
    // Gone silently: what was sent on the old connections never arrives.
    let ends = || {
        relay.cut();
        relay.mend();
    };
    outlives(&mut purchases, &sidecar, || relay.freeze(), ends);
    finish(purchases, &mut sidecar);
}

#[test]
fn p3_a_server_that_ends_dies_fills_its_disk_or_turns_read_only_refuses_cards_only_and_heals() {
    let (Some(mut server), Some(disk)) = (Postgres::start(&[]), Disk::of(24)) else { return };
    server.database_in("vault", disk.path());
    let keys = tempfile::tempdir().unwrap();
    let mut purchases = Purchases::new();
    let mut sidecar = purchases.setup(&tables(&server.url("vault"), keys.path())).start();
    outlives(&mut purchases, &sidecar, || disk.fill(), || disk.free());
    let read_only = |on| {
        server.sql("postgres", &format!("ALTER SYSTEM SET default_transaction_read_only = {on}"));
        server.sql("postgres", "SELECT pg_reload_conf()");
    };
    outlives(&mut purchases, &sidecar, || read_only("on"), || read_only("off"));
    for ends in [Postgres::stop, Postgres::kill9] {
        let server = std::cell::RefCell::new(&mut server);
        let begins = || ends(&mut server.borrow_mut());
        outlives(&mut purchases, &sidecar, begins, || server.borrow_mut().start_again());
    }
    finish(purchases, &mut sidecar);
}
