//! What operators do to a vault, beside a process that serves (issue item 7).

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{Identity, Setup, Sidecar, Upstream, cards, program};
use crate::postgres::Shared;

fn provider() -> Upstream {
    Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(200, &[("content-type", "application/json")], b"{\"ok\":true}")
    })
}

pub(crate) fn vault(sidecar: &Sidecar, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    command.arg("vault").args(arguments).arg("--config").arg(sidecar.config());
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(sidecar: &Sidecar, arguments: &[&str]) -> Output {
    vault(sidecar, arguments).output().unwrap()
}

pub(crate) fn done(output: &Output) -> String {
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{failed}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn told(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

pub(crate) fn json(sidecar: &Sidecar, arguments: &[&str]) -> Value {
    let output = run(sidecar, &[arguments, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// A file that the search for card numbers looks into.
pub(crate) fn file(sidecar: &Sidecar, name: &str) -> PathBuf {
    sidecar.data().join(name)
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The commands' own audit records of one event.
pub(crate) fn audited(sidecar: &Sidecar, event: &str) -> Vec<Value> {
    let log = fs::read_to_string(sidecar.data().join("audit-commands.log")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["event"] == event).collect()
}

pub(crate) fn audit_verified(sidecar: &Sidecar) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    let output = command.args(["audit", "verify", "--config"]).arg(sidecar.config()).output();
    assert_eq!(done(&output.unwrap()).matches("unbroken").count(), 2);
}

pub(crate) fn buy(sidecar: &Sidecar, shop: &Upstream, card: &str) -> String {
    assert_eq!(sidecar.http().form("/buy", &format!("number={card}")).status, 200);
    shop.last().form("number")
}

/// A list in a place that may hold card numbers.
pub(crate) fn list(sidecar: &Sidecar, lines: &str) -> PathBuf {
    let path = sidecar.folder().join("provider.csv");
    fs::write(&path, lines).unwrap();
    path
}

/// In SQLite and in PostgreSQL, with these further tables.
pub(crate) fn on_both_stores(test: impl Fn(&str)) {
    test("");
    let Some(shared) = Shared::start() else { return };
    test(&shared.tables());
    shared.look();
}

#[test]
fn status_counts_tokens_and_keys_and_warns_of_an_old_one() {
    on_both_stores(|tables| {
        let shop = Upstream::ok();
        let sidecar = Sidecar::start(&shop, tables);
        for brand in ["visa", "visa", "amex"] {
            buy(&sidecar, &shop, &cards::fresh(brand));
        }
        let status = json(&sidecar, &["status"]);
        assert_eq!((&status["rows"], &status["erased"]), (&3.into(), &0.into()));
        assert_eq!(status["writable"], true);
        assert!(status["bytes"].as_u64().unwrap() > 0);
        assert!(status["oldest"].as_str() <= status["newest"].as_str());
        let kinds: Vec<_> = status["tokens"].as_array().unwrap().iter().collect();
        let kind = |place: usize| (&kinds[place]["brand"], kinds[place]["rows"].as_u64().unwrap());
        assert_eq!([kind(0), kind(1)], [(&"amex".into(), 1), (&"visa".into(), 2)]);
        let keys = status["keys"].as_array().unwrap();
        let seal = keys.iter().find(|key| key["purpose"] == "seal").unwrap();
        assert!(keys.len() == 4 && seal["rows"] == 3 && seal["age_days"] == 0);
        assert_eq!(status["warnings"], Value::Array(Vec::new()));
        let said = done(&run(&sidecar, &["status"]));
        assert!(said.contains("2 of brand-four for visa") && said.contains("master.key"), "{said}");
    });
}

#[test]
fn a_key_past_its_cryptoperiod_is_warned_of() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    let aged = Command::new("sqlite3")
        .arg(sidecar.data().join("vault.db"))
        .arg("UPDATE data_keys SET created_at = created_at - 40 * 86400")
        .output();
    done(&aged.unwrap());
    assert_eq!(json(&sidecar, &["status"])["warnings"], Value::Array(Vec::new()));
    let said = done(&run(&sidecar, &["status", "--max-key-age", "30"]));
    assert!(said.contains("40 days old, more than 30") && said.contains("vault rotate"), "{said}");
}

#[test]
fn a_card_is_shown_after_the_audit_log_says_why_and_never_into_a_file() {
    on_both_stores(|tables| {
        let shop = Upstream::ok();
        let sidecar = Sidecar::start(&shop, tables);
        let card = cards::fresh("visa");
        let token = buy(&sidecar, &shop, &card);
        let full = ["reveal", token.as_str(), "--reason", "refund 4711", "--yes"];
        assert_eq!(done(&run(&sidecar, &full)), format!("{card}\n"));
        let [record] = &audited(&sidecar, "card_shown")[..] else { panic!("one record") };
        assert_eq!((&record["extent"], &record["reason"]), (&"full".into(), &"refund 4711".into()));
        assert_eq!(
            (&record["token"], &record["last_four"]),
            (&token.clone().into(), &card[12..].into())
        );
        assert!(record["operator"]["uid"].is_u64());

        let masked = done(&run(&sidecar, &["reveal", &token, "--masked"]));
        assert_eq!(masked, format!("{}\n", cards::masked(&card)));
        assert_eq!(audited(&sidecar, "card_shown")[1]["extent"], "masked");

        let kept = file(&sidecar, "kept");
        let mut command = vault(&sidecar, &full);
        let output = command.stdout(fs::File::create(&kept).unwrap()).output().unwrap();
        assert!(told(&output, 2).contains("must not be in one"));
        assert_eq!(fs::read(&kept).unwrap(), b"");
        assert!(told(&run(&sidecar, &["reveal", &token, "--yes"]), 2).contains("--reason"));
        let alone = ["reveal", token.as_str(), "--reason", "x"];
        assert!(told(&run(&sidecar, &alone), 2).contains("--yes"));
        // A card in the place of a token is told to nobody.
        let other = cards::fresh("mastercard");
        let said = told(&run(&sidecar, &["reveal", &other, "--masked"]), 1);
        assert!(said.contains("no card is behind this token") && !said.contains(&other));
        assert_eq!(audited(&sidecar, "card_shown").len(), 2);
        audit_verified(&sidecar);
    });
}

#[test]
fn without_its_audit_record_no_card_is_shown() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let token = buy(&sidecar, &shop, &card);
    fs::create_dir(sidecar.data().join("audit-commands.log")).unwrap();
    let output = run(&sidecar, &["reveal", &token, "--reason", "x", "--yes"]);
    assert!(told(&output, 1).contains("audit") && output.stdout.is_empty());
    let output = run(&sidecar, &["erase", "--token", &token, "--yes"]);
    assert!(told(&output, 1).contains("audit"));
    assert_eq!(buy(&sidecar, &shop, &card), token);
}

#[test]
fn a_log_that_a_full_disk_kept_from_being_begun_is_no_fault() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let token = buy(&sidecar, &shop, &cards::fresh("visa"));
    // The file had room for its name, and its anchor had not.
    fs::write(sidecar.data().join("audit-commands.log"), "").unwrap();
    let verify = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
        command.args(["audit", "verify", "--config"]).arg(sidecar.config()).output().unwrap()
    };
    assert_eq!(done(&verify()).matches("unbroken").count(), 1);
    done(&run(&sidecar, &["reveal", &token, "--masked"]));
    assert_eq!(done(&verify()).matches("unbroken").count(), 2);
    // One that was begun, and emptied since, is.
    fs::write(sidecar.data().join("audit-commands.log"), "").unwrap();
    assert!(!verify().status.success());
}

/// A terminal with a command in it.
struct Terminal {
    process: Child,
    seen: String,
}

impl Terminal {
    fn start(sidecar: &Sidecar, arguments: &[&str]) -> Option<Self> {
        let script = program("script")?;
        let words: Vec<_> = arguments.iter().map(|word| format!("'{word}'")).collect();
        let (tillgate, config) = (env!("CARGO_BIN_EXE_tillgate"), sidecar.config());
        let line = format!("{tillgate} vault {} --config {}", words.join(" "), config.display());
        let mut command = Command::new(script);
        command.args(["-qefc", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        Some(Self { process: command.spawn().unwrap(), seen: String::new() })
    }

    /// Waits for a question and answers it.
    fn answer(&mut self, question: &str, answer: &str) {
        let output = self.process.stdout.as_mut().unwrap();
        let mut byte = [0];
        while !self.seen.ends_with(question) {
            assert_eq!(output.read(&mut byte).unwrap(), 1, "ended after: {}", self.seen);
            self.seen.push(char::from(byte[0]));
        }
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }

    /// Everything that was to be seen, and whether it went well.
    fn end(mut self) -> (String, bool) {
        self.process.stdout.take().unwrap().read_to_string(&mut self.seen).unwrap();
        (self.seen, self.process.wait().unwrap().success())
    }
}

#[test]
fn at_a_terminal_the_last_four_are_asked_for_and_a_number_is_typed_unseen() {
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    let card = cards::fresh("visa");
    let token = buy(&sidecar, &shop, &card);
    let reveal = ["reveal", token.as_str(), "--reason", "refund"];
    let Some(mut terminal) = Terminal::start(&sidecar, &reveal) else { return };
    terminal.answer("last four digits: ", "");
    let (seen, well) = terminal.end();
    assert!(!well && seen.contains("not shown") && !seen.contains(&card), "{seen}");
    assert!(!sidecar.data().join("audit-commands.log").exists());

    let mut terminal = Terminal::start(&sidecar, &reveal).unwrap();
    terminal.answer("last four digits: ", &card[12..]);
    let (seen, well) = terminal.end();
    assert!(well && seen.contains(&card), "{seen}");

    let mut terminal = Terminal::start(&sidecar, &["erase", "--card", "-"]).unwrap();
    terminal.answer("(not shown): ", &card);
    terminal.answer("last four digits: ", &card[12..]);
    let (seen, well) = terminal.end();
    assert!(well && seen.contains("erased the card") && !seen.contains(&card), "{seen}");
    assert_ne!(buy(&sidecar, &shop, &card), token);
}

fn erase_card(sidecar: &Sidecar, card: &str) -> Value {
    let mut command = vault(sidecar, &["erase", "--card", "-", "--yes", "--json"]);
    command.args(["--reason", "asked to be forgotten"]).stdin(Stdio::piped());
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(card.as_bytes()).unwrap();
    serde_json::from_str(&done(&process.wait_with_output().unwrap())).unwrap()
}

#[test]
fn an_erased_card_is_gone_under_all_its_tokens_for_who_serves_too() {
    on_both_stores(|tables| {
        let (shop, provider) = (Upstream::ok(), provider());
        let sidecar = Setup::new(&shop).gateway("pay", &provider).tables(tables).start();
        let (card, other) = (cards::fresh("visa"), cards::fresh("visa"));
        let (token, stays) = (buy(&sidecar, &shop, &card), buy(&sidecar, &shop, &other));
        let path = list(&sidecar, &format!("card\n{card}\n"));
        let mapping = file(&sidecar, "second.csv");
        let arguments = ["import", "--csv", text(&path), "--mapping", text(&mapping)];
        let second = [&arguments[..], &["--format", "six-four"]].concat();
        assert_eq!(json(&sidecar, &second)["new"], 1);
        let second = fs::read_to_string(&mapping).unwrap();
        let second = second.lines().nth(1).unwrap().strip_prefix("2,").unwrap();

        let charge = |token: &str| {
            sidecar.gateway("pay").json("/charge", &format!("{{\"card\":\"{token}\"}}")).status
        };
        let charged = || provider.last().json()["card"].as_str().unwrap().to_owned();
        for token in [token.as_str(), second] {
            assert_eq!((charge(token), charged()), (200, card.clone()));
        }
        let erased = erase_card(&sidecar, &card);
        let mut erased: Vec<_> =
            erased["erased"].as_array().unwrap().iter().map(|t| t.as_str().unwrap()).collect();
        let mut both = [token.as_str(), second];
        erased.sort_unstable();
        both.sort_unstable();
        assert_eq!(erased, both);
        for gone in both {
            assert_eq!(charge(gone), 422, "an erased card is not known any more");
        }
        assert_eq!((charge(&stays), charged()), (200, other.clone()));
        let [record] = &audited(&sidecar, "card_erased")[..] else { panic!("one record") };
        assert_eq!(record["tokens"].as_array().unwrap().len(), 2);

        // Again, by card and by token, there is nothing to do, and that is fine.
        assert_eq!(erase_card(&sidecar, &card)["erased"].as_array().unwrap().len(), 0);
        let again = done(&run(&sidecar, &["erase", "--token", &token, "--yes"]));
        assert!(again.contains("nothing to erase"), "{again}");
        assert_eq!(
            done(&run(&sidecar, &["erase", "--token", &stays, "--yes"])).matches(&stays).count(),
            1
        );
        let status = json(&sidecar, &["status"]);
        assert_eq!((&status["rows"], &status["erased"]), (&0.into(), &3.into()));
        let said = told(&run(&sidecar, &["erase", "--card", &card, "--yes"]), 2);
        assert!(said.contains("--card -") && !said.contains(&card), "{said}");
        audit_verified(&sidecar);
    });
}
