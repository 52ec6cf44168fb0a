//! What operators do to a vault, beside a process that serves (issue item 7).

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::Value;

use crate::harness::{Identity, Setup, Sidecar, Upstream, cards, eventually, program};
use crate::postgres::Shared;

fn provider() -> Upstream {
    Upstream::start_tls(&Identity::new(&["localhost"]), |exchange| {
        exchange.answer(200, &[("content-type", "application/json")], b"{\"ok\":true}")
    })
}

fn vault(sidecar: &Sidecar, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    command.arg("vault").args(arguments).arg("--config").arg(sidecar.config());
    command.stdin(Stdio::null());
    command
}

fn run(sidecar: &Sidecar, arguments: &[&str]) -> Output {
    vault(sidecar, arguments).output().unwrap()
}

fn done(output: &Output) -> String {
    let failed = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{failed}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn told(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

fn json(sidecar: &Sidecar, arguments: &[&str]) -> Value {
    let output = run(sidecar, &[arguments, &["--json"]].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// A file that the search for card numbers looks into.
fn file(sidecar: &Sidecar, name: &str) -> PathBuf {
    sidecar.data().join(name)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The commands' own audit records of one event.
fn audited(sidecar: &Sidecar, event: &str) -> Vec<Value> {
    let log = fs::read_to_string(sidecar.data().join("audit-commands.log")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["event"] == event).collect()
}

fn audit_verified(sidecar: &Sidecar) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
    let output = command.args(["audit", "verify", "--config"]).arg(sidecar.config()).output();
    assert_eq!(done(&output.unwrap()).matches("unbroken").count(), 2);
}

fn buy(sidecar: &Sidecar, shop: &Upstream, card: &str) -> String {
    assert_eq!(sidecar.http().form("/buy", &format!("number={card}")).status, 200);
    shop.last().form("number")
}

/// A list in a place that may hold card numbers.
fn list(sidecar: &Sidecar, lines: &str) -> PathBuf {
    let path = sidecar.folder().join("provider.csv");
    fs::write(&path, lines).unwrap();
    path
}

/// Fills the vault with so many cards.
fn fill(sidecar: &Sidecar, count: u64) {
    let numbers: Vec<_> = (0..count).map(|_| cards::fresh("visa")).collect();
    let path = list(sidecar, &format!("card\n{}\n", numbers.join("\n")));
    let mapping = file(sidecar, "filled.csv");
    let arguments = ["import", "--csv", text(&path), "--mapping", text(&mapping)];
    assert_eq!(json(sidecar, &arguments)["new"], count);
}

/// In SQLite and in PostgreSQL, with these further tables.
fn on_both_stores(test: impl Fn(&str)) {
    test("");
    let Some(shared) = Shared::start() else { return };
    test(&shared.tables());
    shared.look();
}

/// The same with two vaults of one kind.
fn on_two_of_both_stores(test: impl Fn(&str, &str)) {
    test("", "");
    let (Some(one), Some(other)) = (Shared::start(), Shared::start()) else { return };
    test(&one.tables(), &other.tables());
    one.look();
    other.look();
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
        assert!(told(&run(&sidecar, &["erase", "--card", &card, "--yes"]), 2).contains("--card"));
        audit_verified(&sidecar);
    });
}

/// Kills the command as soon as `half_done` says so, and tries again if it was too late.
fn kill_once(start: impl Fn() -> Command, half_done: impl Fn() -> bool, undo: impl Fn()) {
    eventually("a command is killed half-way", || {
        undo();
        let mut command = start();
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !half_done() && process.try_wait().unwrap().is_none() {
            thread::yield_now();
        }
        process.kill().unwrap();
        let ended = process.wait().unwrap();
        (half_done() && !ended.success()).then_some(())
    });
}

#[test]
fn an_export_killed_half_way_is_gone_on_with_and_so_is_its_import() {
    on_two_of_both_stores(|tables, others| {
        const ROWS: u64 = 4_000;
        let shop = Upstream::ok();
        let sidecar = Sidecar::start(&shop, tables);
        fill(&sidecar, ROWS);
        let bought = cards::fresh("amex");
        let token = buy(&sidecar, &shop, &bought);
        let export = file(&sidecar, "cards.export");
        let arguments = ["export", "--to", text(&export)];
        let length = || fs::metadata(&export).map_or(0, |facts| facts.len());
        kill_once(
            || vault(&sidecar, &arguments),
            || length() > 2_000,
            || {
                let _ = fs::remove_file(&export);
            },
        );
        // Of a line that was being written when the power went, some of it may be noise.
        let cut = length() - 7;
        let kept = fs::read(&export).unwrap();
        fs::write(&export, &kept[..usize::try_from(cut).unwrap()]).unwrap();
        assert!(told(&run(&sidecar, &arguments), 1).contains("--resume"));
        let exported = json(&sidecar, &[&arguments[..], &["--resume"]].concat());
        assert_eq!((&exported["rows"], &exported["since"]), (&(ROWS + 1).into(), &0.into()));
        assert_eq!(exported["resumed"], true);
        let key = file(&sidecar, "cards.export.key");
        assert_eq!((mode(&export), mode(&key)), (0o600, 0o600));
        assert_eq!(fs::metadata(&key).unwrap().len(), 32);
        assert_eq!(json(&sidecar, &[&arguments[..], &["--resume"]].concat())["rows"], ROWS + 1);

        let other_shop = Upstream::ok();
        let other = Sidecar::start(&other_shop, others);
        let import = ["import", "--from", text(&export), "--key", text(&key)];
        let rows = || json(&other, &["status"])["rows"].as_u64().unwrap();
        let mut process = vault(&other, &import).stdout(Stdio::null()).spawn().unwrap();
        eventually("some rows are taken in", || (rows() > 0).then_some(()));
        process.kill().unwrap();
        process.wait().unwrap();
        let before = rows();
        let imported = json(&other, &import);
        assert_eq!(imported["known"], before);
        assert_eq!(imported["new"], ROWS + 1 - before);
        assert_eq!(json(&other, &import)["known"], ROWS + 1);
        assert_eq!(rows(), ROWS + 1);
        // The same card has the same token in both.
        assert_eq!(buy(&other, &other_shop, &bought), token);
        let shown = run(&other, &["reveal", &token, "--reason", "x", "--yes"]);
        assert_eq!(done(&shown), format!("{bought}\n"));
        audit_verified(&sidecar);
        audit_verified(&other);
    });
}

#[test]
fn an_export_that_was_cut_or_changed_is_refused_before_anything_is_taken_in() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    fill(&sidecar, 2_500);
    let export = file(&sidecar, "cards.export");
    json(&sidecar, &["export", "--to", text(&export)]);
    let whole = fs::read(&export).unwrap();
    let other = Sidecar::start(&Upstream::ok(), "");
    let (bad, key) = (file(&other, "bad.export"), file(&sidecar, "cards.export.key"));
    let refused = |bytes: &[u8], word: &str| {
        fs::write(&bad, bytes).unwrap();
        let said = told(&run(&other, &["import", "--from", text(&bad), "--key", text(&key)]), 1);
        assert!(said.contains(word), "{said}");
        assert_eq!(json(&other, &["status"])["rows"], 0);
    };
    // Within the last frame, at its start, within the rows, and within the head.
    for length in [whole.len() - 1, whole.len() - 41, whole.len() / 2, 60] {
        refused(&whole[..length], "before its end");
    }
    for place in [whole.len() - 3, whole.len() / 2, 120] {
        let mut changed = whole.clone();
        changed[place] ^= 1;
        refused(&changed, "was changed");
    }
    let mut head = whole.clone();
    head[40] ^= 1;
    refused(&head, "its head was changed");
    refused(b"tillgate? no", "is no export");
    let second = file(&sidecar, "again.export");
    json(&sidecar, &["export", "--to", text(&second)]);
    refused(&fs::read(&second).unwrap(), "does not open with this key");
    fs::remove_file(&bad).unwrap();
}

#[test]
fn what_contradicts_a_vault_is_told_and_nothing_is_overwritten() {
    let (shop, other_shop) = (Upstream::ok(), Upstream::ok());
    let (sidecar, other) = (Sidecar::start(&shop, ""), Sidecar::start(&other_shop, ""));
    let (both, erased) = (cards::fresh("visa"), cards::fresh("visa"));
    let (here, there) = (buy(&sidecar, &shop, &both), buy(&other, &other_shop, &both));
    let gone = buy(&sidecar, &shop, &erased);
    let export = file(&sidecar, "cards.export");
    json(&sidecar, &["export", "--to", text(&export)]);
    let key = file(&sidecar, "cards.export.key");
    let import = ["import", "--from", text(&export), "--key", text(&key)];
    let imported = json(&other, &import);
    assert_eq!((&imported["new"], &imported["refused"]), (&1.into(), &1.into()));
    assert_eq!(
        imported["refusals"][0],
        serde_json::json!({ "token": here, "why": "card_has_token" })
    );
    assert_eq!(buy(&other, &other_shop, &both), there);
    // Who was erased does not come back by an old export.
    done(&run(&other, &["erase", "--token", &gone, "--yes"]));
    let imported = json(&other, &import);
    assert_eq!((&imported["new"], &imported["refused"]), (&0.into(), &2.into()));
    let said = told(&run(&other, &["reveal", &gone, "--masked"]), 1);
    assert!(said.contains("was erased"), "{said}");
}

#[test]
fn another_providers_list_is_taken_in_and_says_which_tokens_changed() {
    on_both_stores(|tables| {
        let shop = Upstream::ok();
        let sidecar = Sidecar::start(&shop, tables);
        let numbers: Vec<_> = (0..5).map(|_| cards::fresh("visa")).collect();
        let known = buy(&sidecar, &shop, &numbers[4]);
        // Brand, length, last four and check digit of the first card: it could be one of ours.
        let kept = cards::like(&numbers[0]);
        let broken = cards::broken(&numbers[2]);
        let lines = [
            "token,name,card".to_owned(),
            format!("{kept},a,{}", numbers[0]),
            format!("tok_foreign-2,\"b, c\",\"{}\"", cards::grouped(&numbers[1], " ")),
            format!("t3,d,{broken}"),
            format!("{},e,{}", numbers[3], numbers[3]),
            format!("t5,f,{}", numbers[4]),
            "t6,g,4111".to_owned(),
        ];
        let path = list(&sidecar, &lines.join("\r\n"));
        let mapping = file(&sidecar, "mapping.csv");
        let arguments = ["import", "--csv", text(&path), "--mapping", text(&mapping)];
        let strict = [&arguments[..], &["--strict"]].concat();
        assert!(told(&run(&sidecar, &strict), 1).contains("provider.csv:4: the check digit"));
        assert!(!mapping.exists());
        let output = run(&sidecar, &[&arguments[..], &["--json"]].concat());
        let said = told(&output, 1);
        for line in
            ["csv:4: the check digit", "csv:5: the column `token` holds", "csv:7: the column"]
        {
            assert!(said.contains(line), "{said}");
        }
        assert!(!said.contains(&broken[..12]), "{said}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let expected = serde_json::json!({
            "new": 0, "known": 3, "kept": 1, "mapped": 2, "bad": 3, "mapping": text(&mapping),
        });
        assert_eq!(told, expected, "the strict run had taken in what stood before");
        assert_eq!(mode(&mapping), 0o600);
        let changed = fs::read_to_string(&mapping).unwrap();
        let changed: Vec<_> = changed.lines().map(|line| line.split_once(',').unwrap()).collect();
        assert_eq!(changed[0], ("old", "new"));
        assert_eq!((changed[1].0, changed[2]), ("tok_foreign-2", ("t5", known.as_str())));
        cards::assert_brand_four(changed[1].1, &numbers[1]);
        assert_eq!(buy(&sidecar, &shop, &numbers[0]), kept);
        assert_eq!(buy(&sidecar, &shop, &numbers[1]), changed[1].1);
        assert!(self::told(&run(&sidecar, &arguments), 1).contains("move it away"));
    });
}

#[test]
fn a_backup_made_under_load_opens_with_the_master_key_and_holds_what_was_there() {
    let shop = Upstream::ok();
    let mut sidecar = Sidecar::start(&shop, "");
    fill(&sidecar, 2_000);
    let card = cards::fresh("visa");
    let token = buy(&sidecar, &shop, &card);
    let copy = file(&sidecar, "copy.db");
    let address = sidecar.address("http");
    let backed_up = thread::scope(|scope| {
        let buyer = scope.spawn(move || {
            let mut client = crate::harness::Client::plain(address);
            for _ in 0..50 {
                let number = cards::quiet("mastercard");
                assert_eq!(client.form("/buy", &format!("number={number}")).status, 200);
            }
        });
        let backed_up = json(&sidecar, &["backup", "--to", text(&copy)]);
        buyer.join().unwrap();
        backed_up
    });
    assert!(backed_up["rows"].as_u64().unwrap() >= 2_001, "{backed_up}");
    assert_eq!(mode(&copy), 0o600);
    assert_eq!(audited(&sidecar, "vault_backed_up").len(), 1);
    assert!(told(&run(&sidecar, &["backup", "--to", text(&copy)]), 1).contains("exists"));
    let names = fs::read_dir(sidecar.data()).unwrap().map(|entry| entry.unwrap().file_name());
    let beside: Vec<_> =
        names.filter(|name| text(Path::new(name)).starts_with("copy.db")).collect();
    assert_eq!(beside, ["copy.db"]);
    // What came since is gone after it is put back; what was there is not.
    sidecar.sigterm();
    sidecar.exit_status();
    for end in ["-wal", "-shm"] {
        let _ = fs::remove_file(sidecar.data().join(format!("vault.db{end}")));
    }
    fs::rename(&copy, sidecar.data().join("vault.db")).unwrap();
    sidecar.restart();
    assert_eq!(buy(&sidecar, &shop, &card), token);
    audit_verified(&sidecar);
}

#[test]
fn a_backup_of_postgresql_is_left_to_its_own_tools() {
    let Some(shared) = Shared::start() else { return };
    let sidecar = Sidecar::start(&Upstream::ok(), &shared.tables());
    let copy = file(&sidecar, "copy.db");
    assert!(told(&run(&sidecar, &["backup", "--to", text(&copy)]), 2).contains("pg_dump"));
    assert!(!copy.exists());
}
