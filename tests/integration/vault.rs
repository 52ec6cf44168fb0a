//! What is durable, and when (issue item 7, promise P2).

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::harness::{Client, Identity, Setup, Sidecar, Upstream, cards};

#[test]
fn p2_no_token_that_left_the_process_is_lost_by_kill_9() {
    kill_9_loses_no_token("");
}

/// With these further tables of the configuration.
pub(crate) fn kill_9_loses_no_token(tables: &str) {
    let shop = Upstream::ok();
    let provider = Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(200, &[("content-type", "application/json")], b"{\"ok\":true}")
    });
    let mut sidecar = Setup::new(&shop).gateway("pay", &provider).tables(tables).start();
    let mut bought = std::collections::HashSet::new();
    for round in 1..=3 {
        let cards: Vec<Vec<_>> =
            (0..4).map(|_| (0..100).map(|_| cards::fresh("visa")).collect()).collect();
        bought.extend(cards.iter().flatten().cloned());
        let (address, stop) = (sidecar.address("http"), Arc::new(AtomicBool::new(false)));
        let buyers: Vec<_> = cards
            .into_iter()
            .map(|mine| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || buy(&mut Client::plain(address), &mine, &stop))
            })
            .collect();
        shop.wait(round * 60);
        sidecar.kill9();
        stop.store(true, Ordering::Relaxed);
        for buyer in buyers {
            buyer.join().unwrap();
        }
        sidecar.restart();
    }
    let seen = shop.seen();
    let mut gateway = sidecar.gateway("pay");
    for request in &seen {
        let token = request.form("number");
        let answer = gateway.json("/charge", &format!("{{\"card\":\"{token}\"}}"));
        assert_eq!(answer.status, 200, "{token} is lost: {}", answer.text());
        let number = provider.last().json()["card"].as_str().unwrap().to_owned();
        assert!(bought.contains(&number), "{token} reveals a number nobody sent");
        assert_eq!(token[12..], number[12..]);
    }
    assert!(seen.len() >= 180);
}

fn buy(client: &mut Client, mine: &[String], stop: &AtomicBool) {
    for card in mine {
        let fields = [("content-type", "application/x-www-form-urlencoded")];
        let body = format!("number={card}");
        let bought = client.try_request("POST", "/buy", &fields, body.as_bytes());
        if bought.is_err() || stop.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[test]
fn a_token_survives_a_restart() {
    let shop = Upstream::ok();
    let mut sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    sidecar.restart();
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    let seen = shop.seen();
    assert_eq!(seen[0].form("number"), seen[1].form("number"));
}

#[test]
fn the_master_key_is_made_for_its_owner_alone() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let mode = |name: &str| {
        std::fs::metadata(sidecar.data().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("master.key"), 0o600);
    assert_eq!(mode("vault.db") & 0o077, 0);
    assert_eq!(mode("audit.log") & 0o077, 0);
}

#[test]
fn p2_the_database_is_in_wal_mode_and_commits_before_the_shop_sees_a_token() {
    let database = Arc::new(std::sync::OnceLock::<std::path::PathBuf>::new());
    let known = Arc::clone(&database);
    let shop = Upstream::start(move |exchange| {
        let token = exchange.request()?.form("number");
        // Another process reads the file while the request is still open.
        let copy = tempfile::tempdir()?;
        for suffix in ["", "-wal"] {
            let name = format!("{}{suffix}", known.get().unwrap().display());
            std::fs::copy(name, copy.path().join(format!("vault.db{suffix}")))?;
        }
        let bytes =
            Command::new("sqlite3").arg(copy.path().join("vault.db")).arg(".dump").output()?;
        let dump = String::from_utf8_lossy(&bytes.stdout).into_owned();
        let hex: String = token.bytes().map(|byte| format!("{byte:02x}")).collect();
        let stored = dump.contains(&token) || dump.to_lowercase().contains(&hex);
        exchange.answer(if stored { 200 } else { 500 }, &[], b"")
    });
    let sidecar = Sidecar::start(&shop, "");
    let path = sidecar.data().join("vault.db");
    database.set(path.clone()).unwrap();
    let card = cards::fresh("visa");
    let answer = sidecar.http().form("/pay", &format!("number={card}"));
    assert_eq!(answer.status, 200, "the shop saw a token that was not stored");
    let mode = Command::new("sqlite3").arg(&path).arg("PRAGMA journal_mode;").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&mode.stdout).trim(), "wal");
}

#[test]
fn two_hundred_purchases_of_one_card_at_once_have_one_token() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let address = sidecar.address("http");
    let buyers: Vec<_> = (0..20)
        .map(|_| {
            let mine = vec![card.clone(); 10];
            thread::spawn(move || buy(&mut Client::plain(address), &mine, &AtomicBool::new(false)))
        })
        .collect();
    for buyer in buyers {
        buyer.join().unwrap();
    }
    let tokens: std::collections::HashSet<_> =
        shop.wait(200).iter().map(|seen| seen.form("number")).collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
}

#[test]
fn a_wrong_master_key_is_noticed_at_the_start() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    assert_eq!(sidecar.https().form("/pay", &format!("number={card}")).status, 200);
    sidecar.sigterm();
    sidecar.exit_status();
    let key = sidecar.data().join("master.key");
    let kept = std::fs::read(&key).unwrap();
    let changed: Vec<u8> = kept
        .iter()
        .map(|byte| match byte {
            b'0'..=b'8' | b'a'..=b'e' | b'A'..=b'Y' | b'f'..=b'y' => byte + 1,
            other => *other,
        })
        .collect();
    std::fs::write(&key, changed).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .args(["run", "--config"])
        .arg(sidecar.config())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "started with a key that opens nothing");
    assert!(String::from_utf8_lossy(&output.stderr).contains("key"));
    std::fs::write(&key, kept).unwrap();
}
