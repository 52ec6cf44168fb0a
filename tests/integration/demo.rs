//! `tillgate demo --once`, and the other commands a newcomer types first.

use std::process::{Command, Output, Stdio};

fn tillgate(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn the_demo_shows_the_four_sides_of_one_purchase_and_ends_with_0() {
    let output = tillgate(&["demo", "--once"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let cried = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{cried}");
    let lower = said.to_lowercase();
    for column in ["customer sent", "shop stored", "gateway received", "customer saw"] {
        assert!(lower.contains(column), "no column \"{column}\" in:\n{said}");
    }
    assert!(said.contains("429"), "no lock after wrong passwords:\n{said}");
    let old = said.lines().find(|line| line.starts_with("an old order")).unwrap_or_default();
    let old: Vec<&str> = old.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(old, ["an old order", "-", "5555 5555 5555 4444", "-", "5555 55** **** 4444"]);
    assert!(said.contains("\nkept     an old card number is masked on its way out\n"), "{said}");
    assert!(!said.contains("BROKEN"), "{said}");
    let widest = said.lines().map(|line| line.chars().count()).max();
    assert!(widest <= Some(100), "{widest:?} columns:\n{said}");
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    assert_eq!(tillgate(&["fly"]).status.code(), Some(2));
    assert_eq!(tillgate(&["run", "--config"]).status.code(), Some(2));
    for arguments in
        [&["--help"][..], &["run", "--help"], &["check", "--help"], &["demo", "--help"]]
    {
        assert_eq!(tillgate(arguments).status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_missing_configuration_is_said_by_name() {
    let output = tillgate(&["run", "--config", "nowhere.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.toml"));
}
