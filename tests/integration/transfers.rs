//! Cards that move between vaults, providers and backups (issue item 7).

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::commands::{
    audit_verified, audited, buy, done, file, json, list, mode, on_both_stores, run, text, told,
    vault,
};
use crate::harness::{Client, Sidecar, Upstream, cards, eventually};
use crate::postgres::Shared;

/// Fills the vault with so many cards.
fn fill(sidecar: &Sidecar, count: u64) {
    let numbers: Vec<_> = (0..count).map(|_| cards::fresh("visa")).collect();
    let path = list(sidecar, &format!("card\n{}\n", numbers.join("\n")));
    let mapping = file(sidecar, "filled.csv");
    let arguments = ["import", "--csv", text(&path), "--mapping", text(&mapping)];
    assert_eq!(json(sidecar, &arguments)["new"], count);
}

/// The same with two vaults of one kind.
fn on_two_of_both_stores(test: impl Fn(&str, &str)) {
    test("", "");
    let (Some(one), Some(other)) = (Shared::start(), Shared::start()) else { return };
    test(&one.tables(), &other.tables());
    one.look();
    other.look();
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
    refused(&[&whole[..], b"x"].concat(), "was changed");
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
fn an_erased_card_stays_erased_wherever_its_vault_is_exported_to() {
    on_two_of_both_stores(|tables, others| {
        let (shop, other_shop) = (Upstream::ok(), Upstream::ok());
        let sidecar = Sidecar::start(&shop, tables);
        let (stays, goes) = (cards::fresh("visa"), cards::fresh("amex"));
        let (kept, gone) = (buy(&sidecar, &shop, &stays), buy(&sidecar, &shop, &goes));
        let (old, new) = (file(&sidecar, "old.export"), file(&sidecar, "new.export"));
        json(&sidecar, &["export", "--to", text(&old)]);
        done(&run(&sidecar, &["erase", "--token", &gone, "--yes"]));
        let exported = json(&sidecar, &["export", "--to", text(&new)]);
        assert_eq!((&exported["rows"], &exported["erased"]), (&1.into(), &1.into()));
        let again = json(&sidecar, &["export", "--to", text(&new), "--resume"]);
        assert_eq!(again["erased"], 1);

        let other = Sidecar::start(&other_shop, others);
        let imported = json(&other, &["import", "--from", text(&new)]);
        assert_eq!((&imported["new"], &imported["erased"]), (&1.into(), &1.into()));
        let status = json(&other, &["status"]);
        assert_eq!((&status["rows"], &status["erased"]), (&1.into(), &1.into()));
        let imported = json(&other, &["import", "--from", text(&new)]);
        assert_eq!((&imported["known"], &imported["erased"]), (&1.into(), &0.into()));
        // No older export brings it back.
        let import = ["import", "--from", text(&old), "--json"];
        let output = run(&other, &import);
        told(&output, 1);
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            answer["refusals"],
            serde_json::json!([{ "token": gone, "why": "token_taken" }])
        );
        assert_eq!(buy(&other, &other_shop, &stays), kept);
        assert_ne!(buy(&other, &other_shop, &goes), gone);
    });
}

#[test]
fn a_card_erased_before_its_export_goes_on_does_not_come_back_by_it() {
    on_two_of_both_stores(|tables, others| {
        let (shop, other_shop) = (Upstream::ok(), Upstream::ok());
        let sidecar = Sidecar::start(&shop, tables);
        let tokens: Vec<_> = (0..12).map(|_| buy(&sidecar, &shop, &cards::fresh("visa"))).collect();
        // Wherever the tokens erased first stand in the order of tokens, some stand before and behind.
        let (first, (then, kept)) = (&tokens[..2], tokens[2..].split_at(8));
        let erase = |token: &String| {
            done(&run(&sidecar, &["erase", "--token", token, "--yes"]));
        };
        first.iter().for_each(erase);
        let export = file(&sidecar, "cards.export");
        let arguments = ["export", "--to", text(&export)];
        json(&sidecar, &arguments);
        // Killed before the last frame, when the erased tokens had been written.
        let (whole, last_frame) = (fs::read(&export).unwrap(), 5 + 12 + 16 + 16);
        fs::write(&export, &whole[..whole.len() - last_frame]).unwrap();
        then.iter().for_each(erase);
        let exported = json(&sidecar, &[&arguments[..], &["--resume"]].concat());
        assert_eq!((&exported["resumed"], &exported["erased"]), (&true.into(), &10.into()));

        let other = Sidecar::start(&other_shop, others);
        let imported = json(&other, &["import", "--from", text(&export)]);
        assert_eq!((&imported["new"], &imported["erased"]), (&2.into(), &10.into()));
        for token in then {
            let said = told(&run(&other, &["reveal", token, "--masked"]), 1);
            assert!(said.contains("was erased"), "{said}");
        }
        for token in kept {
            done(&run(&other, &["reveal", token, "--masked"]));
        }
    });
}

#[test]
fn a_card_that_was_erased_elsewhere_and_is_still_here_is_told_and_left() {
    let (shop, other_shop) = (Upstream::ok(), Upstream::ok());
    let (sidecar, other) = (Sidecar::start(&shop, ""), Sidecar::start(&other_shop, ""));
    let card = cards::fresh("visa");
    let token = buy(&sidecar, &shop, &card);
    let (old, new) = (file(&sidecar, "old.export"), file(&sidecar, "new.export"));
    json(&sidecar, &["export", "--to", text(&old)]);
    json(&other, &["import", "--from", text(&old)]);
    done(&run(&sidecar, &["erase", "--token", &token, "--yes"]));
    json(&sidecar, &["export", "--to", text(&new)]);
    let said = run(&other, &["import", "--from", text(&new)]);
    told(&said, 1);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains(&token) && said.contains("`vault erase`"), "{said}");
    assert_eq!(buy(&other, &other_shop, &card), token);
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
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        let expected = serde_json::json!({
            "new": 0, "known": 3, "kept": 1, "mapped": 2, "bad": 3, "mapping": text(&mapping),
        });
        assert_eq!(answer, expected, "the strict run had taken in what stood before");
        assert_eq!(mode(&mapping), 0o600);
        let changed = fs::read_to_string(&mapping).unwrap();
        let changed: Vec<_> = changed.lines().map(|line| line.split_once(',').unwrap()).collect();
        assert_eq!(changed[0], ("old", "new"));
        assert_eq!((changed[1].0, changed[2]), ("tok_foreign-2", ("t5", known.as_str())));
        cards::assert_brand_four(changed[1].1, &numbers[1]);
        assert_eq!(buy(&sidecar, &shop, &numbers[0]), kept);
        assert_eq!(buy(&sidecar, &shop, &numbers[1]), changed[1].1);
        assert!(told(&run(&sidecar, &arguments), 1).contains("move it away"));
    });
}

#[test]
fn a_list_killed_half_way_gives_the_same_tokens_and_a_whole_mapping_when_taken_in_again() {
    on_both_stores(|tables| {
        const LINES: u64 = 3_000;
        let shop = Upstream::ok();
        let sidecar = Sidecar::start(&shop, tables);
        let numbers: Vec<_> = (0..LINES).map(|_| cards::fresh("mastercard")).collect();
        let lines = numbers.iter().enumerate().map(|(place, card)| format!("old-{place};{card}"));
        let lines: Vec<_> = ["TOKEN;CARD".to_owned()].into_iter().chain(lines).collect();
        let path = list(&sidecar, &lines.join("\n"));
        let mapping = file(&sidecar, "mapping.csv");
        let arguments = ["import", "--csv", text(&path), "--mapping", text(&mapping)];
        let rows = || json(&sidecar, &["status"])["rows"].as_u64().unwrap();
        let mut process = vault(&sidecar, &arguments).stdout(Stdio::null()).spawn().unwrap();
        eventually("some lines are taken in", || (rows() > 0).then_some(()));
        process.kill().unwrap();
        process.wait().unwrap();
        let before = rows();
        assert!(before < LINES && !mapping.exists(), "half a mapping has no name");
        let first = buy(&sidecar, &shop, &numbers[0]);
        let imported = json(&sidecar, &arguments);
        assert_eq!((&imported["known"], &imported["mapped"]), (&before.into(), &LINES.into()));
        assert_eq!(rows(), LINES);
        let written = fs::read_to_string(&mapping).unwrap();
        assert_eq!(written.lines().nth(1), Some(format!("old-0,{first}").as_str()));
        assert_eq!(u64::try_from(written.lines().count()).unwrap(), LINES + 1);
        let names = fs::read_dir(sidecar.data()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.filter(|name| text(Path::new(name)).ends_with(".part")).count(), 0);
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
            let mut client = Client::plain(address);
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
