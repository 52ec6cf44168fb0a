//! Replacing the vault's keys under a process that serves (issue item 3).

use std::collections::HashSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::commands;
use crate::harness::{Client, Identity, Setup, Sidecar, Upstream, cards, eventually, program};

fn provider() -> Upstream {
    Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(200, &[("content-type", "application/json")], b"{\"ok\":true}")
    })
}

fn tillgate(sidecar: &Sidecar, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    command.args(arguments).arg("--config").arg(sidecar.config());
    command
}

fn succeed(output: &Output) -> String {
    let (said, failed) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{failed}");
    String::from_utf8_lossy(said).into_owned()
}

pub(crate) fn rotate(sidecar: &Sidecar, options: &[&str]) -> Value {
    let arguments = [&["vault", "rotate", "--json"], options].concat();
    serde_json::from_str(&succeed(&tillgate(sidecar, &arguments).output().unwrap())).unwrap()
}

/// Buys with new cards until told to stop; gives each card and the token the shop saw for it.
fn buy_until(sidecar: &Sidecar, stop: &Arc<AtomicBool>) -> thread::JoinHandle<usize> {
    let (address, stop) = (sidecar.address("http"), Arc::clone(stop));
    thread::spawn(move || {
        let (mut client, mut bought) = (Client::plain(address), 0);
        while !stop.load(Ordering::Relaxed) {
            let answer = client.form("/buy", &format!("number={}", cards::fresh("visa")));
            assert_eq!(answer.status, 200, "refused during a rotation: {}", answer.text());
            bought += 1;
        }
        bought
    })
}

/// Every token that the shop has seen reveals the number whose last four digits it has.
pub(crate) fn assert_all_revealed(
    sidecar: &Sidecar,
    shop: &Upstream,
    provider: &Upstream,
) -> usize {
    let mut gateway = sidecar.gateway("pay");
    let tokens: HashSet<_> = shop.seen().iter().map(|request| request.form("number")).collect();
    let tokens: Vec<_> = tokens.into_iter().collect();
    let mut numbers = HashSet::new();
    for some in tokens.chunks(50) {
        let answer = gateway.json("/charge", &serde_json::json!({ "cards": some }).to_string());
        assert_eq!(answer.status, 200, "tokens are lost: {}", answer.text());
        let sent = provider.last().json();
        for (number, token) in sent["cards"].as_array().unwrap().iter().zip(some) {
            let number = number.as_str().unwrap();
            assert!(number != token && number[12..] == token[12..], "{token} gave another card");
            assert!(numbers.insert(number.to_owned()), "one card has two tokens");
        }
    }
    numbers.len()
}

fn audit_verified(sidecar: &Sidecar) {
    let output = tillgate(sidecar, &["audit", "verify"]).output().unwrap();
    assert!(succeed(&output).contains("unbroken"));
}

/// How many records of one event the commands have written of keys of this kind.
fn audited(sidecar: &Sidecar, event: &str, kind: &str) -> usize {
    let of_kind = |record: &&Value| record["purpose"] == kind || record["key"] == kind;
    commands::audited(sidecar, event).iter().filter(of_kind).count()
}

/// The files of the master key, and whatever a command has left of one.
fn key_files(sidecar: &Sidecar) -> Vec<String> {
    let files = std::fs::read_dir(sidecar.data()).unwrap().map(Result::unwrap);
    let of_key = |name: &String| name.starts_with("master.key") || name.starts_with(".tmp");
    files.map(|file| file.file_name().into_string().unwrap()).filter(of_key).collect()
}

fn queried(sidecar: &Sidecar, query: &str) -> String {
    let mut command = Command::new("sqlite3");
    let output = command.arg(sidecar.data().join("vault.db")).arg(query).output().unwrap();
    succeed(&output).trim().to_owned()
}

fn sealing_keys(sidecar: &Sidecar) -> String {
    queried(sidecar, "SELECT count(*) FROM data_keys WHERE purpose = 'seal'")
}

/// How many master keys open the vault's keys.
fn master_keys(sidecar: &Sidecar) -> String {
    queried(sidecar, "SELECT count(DISTINCT master) FROM key_wraps")
}

#[test]
fn every_key_is_replaced_under_load_and_no_request_notices() {
    let (shop, provider) = (Upstream::ok(), provider());
    let mut sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let stop = Arc::new(AtomicBool::new(false));
    let buyers = [buy_until(&sidecar, &stop)];
    shop.wait(50);
    let rotated = rotate(&sidecar, &[]);
    assert!(rotated["resumed"] == false && rotated["dropped"] == 1, "{rotated}");
    assert!(rotated["rows"].as_u64().unwrap() >= 50, "{rotated}");
    let rotated = rotate(&sidecar, &["--master"]);
    let steps = ["made", "wrapped", "kept", "swapped", "dropped", "forgotten"];
    assert_eq!(rotated["steps"], serde_json::json!(steps));
    // A data key that only the new master key opens: the process must have read it again.
    let rotated = rotate(&sidecar, &["--rate", "100000"]);
    assert_eq!(rotated["dropped"], 1, "{rotated}");
    stop.store(true, Ordering::Relaxed);
    let bought: usize = buyers.into_iter().map(|buyer| buyer.join().unwrap()).sum();
    assert_eq!(assert_all_revealed(&sidecar, &shop, &provider), bought);
    assert_eq!(audited(&sidecar, "key_dropped", "seal"), 2);
    assert_eq!(audited(&sidecar, "key_dropped", "master"), 1);
    // The process tells in its own log what it finds.
    eventually("the end of a key is told", || {
        let log = std::fs::read_to_string(sidecar.data().join("audit.log")).unwrap();
        log.contains("\"key_dropped\"").then_some(())
    });
    assert_eq!(sealing_keys(&sidecar), "1");
    sidecar.restart();
    assert_eq!(assert_all_revealed(&sidecar, &shop, &provider), bought);
    audit_verified(&sidecar);
}

fn begun(sidecar: &Sidecar, options: &[&str]) -> Child {
    let arguments = [&["vault", "rotate"], options].concat();
    let mut command = tillgate(sidecar, &arguments);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Kills the command as soon as `half_done` says so, and tries again if it was too late.
fn kill_once(sidecar: &Sidecar, options: &[&str], half_done: impl Fn() -> bool) {
    eventually("a command is killed half-way", || {
        let mut command = begun(sidecar, options);
        while !half_done() && command.try_wait().unwrap().is_none() {
            thread::yield_now();
        }
        command.kill().unwrap();
        command.wait().unwrap();
        half_done().then_some(())
    });
}

#[test]
fn a_rotation_killed_many_times_loses_no_token_and_ends() {
    let (shop, provider) = (Upstream::ok(), provider());
    let mut sidecar = Setup::new(&shop).gateway("pay", &provider).start();
    let stop = Arc::new(AtomicBool::new(false));
    let buyers = [buy_until(&sidecar, &stop)];
    shop.wait(100);
    let [next, previous] =
        ["next", "previous"].map(|end| sidecar.data().join(format!("master.key.{end}")));
    kill_once(&sidecar, &["--master"], || next.exists());
    eventually("a replacement is killed while both keys open the vault's", || {
        kill_once(&sidecar, &["--master"], || previous.exists());
        if master_keys(&sidecar) == "2" {
            return Some(());
        }
        // The kill came after the old one was dropped: ended, it can be begun again.
        rotate(&sidecar, &["--master"]);
        None
    });
    // A data key that is made now would be wrapped by one of the two only.
    let refused = tillgate(&sidecar, &["vault", "rotate"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("finish that first"));
    rotate(&sidecar, &["--master"]);
    for _ in 0..3 {
        kill_once(&sidecar, &["--rate", "100"], || sealing_keys(&sidecar) == "2");
    }
    stop.store(true, Ordering::Relaxed);
    let bought: usize = buyers.into_iter().map(|buyer| buyer.join().unwrap()).sum();
    assert_eq!(assert_all_revealed(&sidecar, &shop, &provider), bought);
    sidecar.kill9();
    sidecar.restart();
    assert_eq!(assert_all_revealed(&sidecar, &shop, &provider), bought);
    let rotated = rotate(&sidecar, &[]);
    assert_eq!(rotated["resumed"], true, "{rotated}");
    rotate(&sidecar, &["--master"]);
    assert_eq!(sealing_keys(&sidecar), "1");
    assert_eq!(key_files(&sidecar), ["master.key"], "a key that was in force lies about");
    sidecar.restart();
    assert_eq!(assert_all_revealed(&sidecar, &shop, &provider), bought);
    audit_verified(&sidecar);
}

#[test]
fn what_a_killed_replacement_left_of_a_master_key_is_gone_after_a_start_or_the_next_replacement() {
    let mut sidecar = Sidecar::start(&Upstream::ok(), "");
    let key = sidecar.data().join("master.key");
    let kill = || {
        for draft in ["master.key.draft", "master.key.next.draft", "master.key.previous.draft"] {
            std::fs::copy(&key, sidecar.data().join(draft)).unwrap();
        }
    };
    kill();
    rotate(&sidecar, &["--master"]);
    assert_eq!(key_files(&sidecar), ["master.key"]);
    kill();
    sidecar.restart();
    assert_eq!(key_files(&sidecar), ["master.key"]);
}

#[test]
fn every_replacement_of_a_key_is_recorded_with_who_did_it_however_fast_they_follow() {
    let shop = Upstream::ok();
    let mut sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    assert_eq!(sidecar.http().form("/pay", &format!("number={card}")).status, 200);
    let replace = |sidecar: &Sidecar| {
        rotate(sidecar, &[]);
        rotate(sidecar, &["--master"]);
        rotate(sidecar, &["--master"]);
    };
    replace(&sidecar);
    sidecar.sigterm();
    sidecar.exit_status();
    replace(&sidecar);
    for (kind, purpose, times) in [("data", "seal", 2), ("master", "master", 4)] {
        assert_eq!(audited(&sidecar, "vault_rotated", kind), times);
        assert_eq!(audited(&sidecar, "key_added", purpose), times);
        assert_eq!(audited(&sidecar, "key_dropped", purpose), times);
    }
    for rotated in commands::audited(&sidecar, "vault_rotated") {
        assert!(rotated["operator"]["uid"].is_u64(), "{rotated}");
    }
    sidecar.restart();
    assert_eq!(sidecar.http().form("/pay", &format!("number={card}")).status, 200);
    let seen = shop.seen();
    assert_eq!(seen[0].form("number"), seen[1].form("number"));
    audit_verified(&sidecar);
}

#[test]
fn a_vault_that_is_not_there_is_not_made_by_a_command() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("tillgate.toml");
    let text = std::fs::read_to_string(sidecar.config()).unwrap();
    let text = text.replace("tls/", &format!("{}/tls/", sidecar.folder().display()));
    std::fs::write(&config, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .args(["vault", "rotate", "--config"])
        .arg(&config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no vault"));
    let left = std::fs::read_dir(folder.path().join("data")).map_or(0, Iterator::count);
    assert_eq!(left, 0);
}

#[test]
fn a_key_from_the_environment_is_replaced_by_the_one_configured_beside_it() {
    let shop = Upstream::ok();
    let mut sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    assert_eq!(sidecar.http().form("/pay", &format!("number={card}")).status, 200);
    let (new, both) = ("new.key", "master_key = { file = \"data/new.key\" }");
    let text = std::fs::read_to_string(sidecar.config()).unwrap();
    let previous = "previous_master_key = { env = \"TILLGATE_TEST_OLD_KEY\" }";
    sidecar.write_config(&format!("{text}\n[vault]\n{both}\n{previous}\n"));
    let old = std::fs::read(sidecar.data().join("master.key")).unwrap();
    let hex: String = old.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut command = tillgate(&sidecar, &["vault", "rotate", "--master", "--json"]);
    let output = command.env("TILLGATE_TEST_OLD_KEY", &hex).output().unwrap();
    let done: Value = serde_json::from_str(&succeed(&output)).unwrap();
    assert_eq!(done["steps"], serde_json::json!(["wrapped", "dropped"]));
    assert!(sidecar.data().join(new).exists(), "the new key was made");
    sidecar.write_config(&format!("{text}\n[vault]\n{both}\n"));
    sidecar.restart();
    assert_eq!(sidecar.http().form("/pay", &format!("number={card}")).status, 200);
    let seen = shop.seen();
    assert_eq!(seen[0].form("number"), seen[1].form("number"));
    audit_verified(&sidecar);
}

const MODULES: [&str; 2] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"];

/// A token in a folder, and a program that starts tillgate with it.
fn softhsm(folder: &Path) -> Option<String> {
    let util = program("softhsm2-util")?;
    let module = MODULES.into_iter().find(|path| Path::new(path).is_file()).unwrap();
    std::fs::create_dir(folder.join("tokens")).unwrap();
    let config = folder.join("softhsm2.conf");
    let tokens = folder.join("tokens");
    std::fs::write(&config, format!("directories.tokendir = {}\n", tokens.display())).unwrap();
    let made = Command::new(util)
        .args(["--init-token", "--free", "--label", "tillgate", "--so-pin", "71625348"])
        .args(["--pin", "26354819"])
        .env("SOFTHSM2_CONF", &config)
        .output()
        .unwrap();
    succeed(&made);
    Some(module.to_owned())
}

#[test]
fn a_master_key_in_a_device_serves_is_replaced_and_its_pin_is_never_shown() {
    let folder = tempfile::tempdir().unwrap();
    let Some(module) = softhsm(folder.path()) else { return };
    let device = |key: &str| {
        format!(
            "{{ pkcs11 = {{ module = \"{module}\", token_label = \"tillgate\", \
             key_label = \"{key}\", pin = {{ env = \"TILLGATE_TEST_PIN\" }} }} }}"
        )
    };
    let variables = [
        ("SOFTHSM2_CONF", folder.path().join("softhsm2.conf").display().to_string()),
        ("TILLGATE_TEST_PIN", "26354819".to_owned()),
    ];
    let (shop, provider) = (Upstream::ok(), provider());
    let first = format!("[vault]\nmaster_key = {}", device("first"));
    let setup = Setup::new(&shop).gateway("pay", &provider);
    let mut sidecar = variables
        .iter()
        .fold(setup, |setup, (name, value)| setup.variable(name, value))
        .tables(&first)
        .start();
    let card = cards::fresh("visa");
    assert_eq!(sidecar.http().form("/pay", &format!("number={card}")).status, 200);
    assert!(!sidecar.data().join("master.key").exists());
    sidecar.restart();
    assert_eq!(assert_all_revealed(&sidecar, &shop, &provider), 1);

    let text = std::fs::read_to_string(sidecar.config()).unwrap();
    let keys = |previous: &str| text.replace(&first, &format!("[vault]\n{previous}"));
    let second = format!("master_key = {}", device("second"));
    sidecar.write_config(&keys(&format!("{second}\nprevious_master_key = {}", device("first"))));
    let mut command = tillgate(&sidecar, &["vault", "rotate", "--master", "--json"]);
    let output = command.envs(variables.clone()).output().unwrap();
    let done: Value = serde_json::from_str(&succeed(&output)).unwrap();
    assert_eq!(done["steps"], serde_json::json!(["wrapped", "dropped"]));
    sidecar.write_config(&keys(&second));
    sidecar.restart();
    assert_eq!(assert_all_revealed(&sidecar, &shop, &provider), 1);

    // The old key opens nothing, and a wrong PIN is said without being shown.
    sidecar.sigterm();
    sidecar.exit_status();
    for (key, pin, word) in [("first", "26354819", "master key"), ("second", "90817263", "log in")]
    {
        sidecar.write_config(&keys(&format!("master_key = {}", device(key))));
        let mut command = tillgate(&sidecar, &["run"]);
        command.envs(variables.clone()).env("TILLGATE_TEST_PIN", pin);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(word) && !said.contains(pin), "{said}");
    }
    sidecar.write_config(&keys(&second));
}
