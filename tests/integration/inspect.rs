//! `tillgate scan`, run as an assessor runs it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::harness::gzip;

const CARD: &str = "4111111111111111";
const SHOWN: &str = "411111******1111";

/// What a run printed and how it ended.
struct Run {
    code: Option<i32>,
    found: String,
    said: String,
}

impl Run {
    fn lines(&self) -> Vec<&str> {
        let mut lines: Vec<_> = self.found.lines().collect();
        lines.sort_unstable();
        lines
    }
}

/// Runs `tillgate scan` in a folder; whatever it prints, no card number of these tests is in it.
fn scan(folder: &Path, arguments: &[&str], piped: &[u8]) -> Run {
    let mut process = Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .arg("scan")
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A run that does not read what is piped in closes the pipe.
    let _unread = process.stdin.take().unwrap().write_all(piped);
    let output = process.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (found, said) = (text(output.stdout), text(output.stderr));
    for number in [CARD, "5555555555554444", "378282246310005"] {
        assert!(!found.contains(number) && !said.contains(number), "a number was printed");
    }
    Run { code: output.status.code(), found, said }
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn gunzip(content: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(content).read_to_end(&mut text).unwrap();
    text
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_find_is_told_by_path_line_column_brand_and_mask() {
    let text = "first\r\nzweite Zeile: ä€ 4111 1111 1111 1111\r\n\r\n  5555-5555-5555-4444 and \
                378282246310005\n";
    let place = folder(&[("shop.log", text.as_bytes())]);
    let run = scan(place.path(), &["shop.log"], b"");
    let expected = format!(
        "shop.log:2:18 visa {SHOWN}\nshop.log:4:3 mastercard 555555******4444\n\
         shop.log:4:27 amex 378282*****0005\n"
    );
    assert_eq!(run.found, expected);
    assert_eq!(run.code, Some(1));
    assert!(run.said.starts_with("1 file, "), "{}", run.said);
    assert!(run.said.contains(", 3 findings, "), "{}", run.said);
}

#[test]
fn nothing_found_ends_with_0() {
    let place = folder(&[("a.log", b"order 4111111111111112\n"), ("empty", b"")]);
    let run = scan(place.path(), &["."], b"");
    assert_eq!((run.code, run.found.as_str()), (Some(0), ""));
    assert!(run.said.starts_with("2 files, 23 B, 0 findings, "), "{}", run.said);
}

#[test]
fn columns_hold_over_long_files_marks_and_utf16() {
    let mut long = "ä".repeat(200_000);
    long.push_str(&format!(" {CARD}\n{}", "line\n".repeat(100_000)));
    long.push_str(&format!("card {CARD}"));
    let place = folder(&[
        ("long.txt", long.as_bytes()),
        ("mark.txt", format!("\u{FEFF}{CARD}").as_bytes()),
        ("wide.txt", &utf16(&format!("\u{FEFF}ä\r\nno {CARD}\r\n"))),
    ]);
    let run = scan(place.path(), &["."], b"");
    let expected = [
        format!("long.txt:100002:6 visa {SHOWN}"),
        format!("long.txt:1:200002 visa {SHOWN}"),
        format!("mark.txt:1:1 visa {SHOWN}"),
        format!("wide.txt:2:4 visa {SHOWN}"),
    ];
    assert_eq!(run.lines(), expected);
}

#[test]
fn a_number_over_two_lines_is_told_where_it_begins_and_ends() {
    let place = folder(&[("page.html", b"<p>\n<b>4111</b>\n<b>111111111111</b>")]);
    let run = scan(place.path(), &["--json", "page.html"], b"");
    let row: Value = serde_json::from_str(&run.found).unwrap();
    let expected = serde_json::json!({
        "path": "page.html", "line": 2, "column": 4, "end_line": 3, "end_column": 16,
        "kind": "card", "brand": "visa", "number": SHOWN,
    });
    assert_eq!(row, expected);
}

#[test]
fn compressed_files_and_pipes_are_read_by_content() {
    let text = format!("a\nb {CARD}\n");
    let zstd = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let place = folder(&[("a.log.gz", &gzip(text.as_bytes())), ("b.sql", &zstd)]);
    let run = scan(place.path(), &["a.log.gz", "b.sql", "-"], &gzip(text.as_bytes()));
    let expected = ["a.log.gz", "b.sql", "stdin"].map(|name| format!("{name}:2:3 visa {SHOWN}"));
    assert_eq!(run.lines(), expected);
}

#[test]
fn a_broken_or_explosive_file_is_a_warning_and_the_rest_is_read() {
    let cut = gzip(format!("{CARD}\n{}", "abc".repeat(9000)).as_bytes());
    let place = folder(&[
        ("bomb.gz", &gzip(&vec![b' '; 8 << 20])),
        ("cut.gz", &cut[..cut.len() - 4]),
        ("good.log", format!("card {CARD}").as_bytes()),
    ]);
    let run = scan(place.path(), &[".", "missing.log"], b"");
    assert_eq!(run.code, Some(1));
    assert!(run.lines().contains(&format!("good.log:1:6 visa {SHOWN}").as_str()), "{}", run.found);
    for (name, why) in [("bomb.gz", "limits"), ("cut.gz", "gzip"), ("missing.log", "No such file")]
    {
        let told = run.said.lines().find(|line| line.contains(name));
        assert!(told.is_some_and(|line| line.contains(why)), "{name}: {}", run.said);
    }
    assert!(run.said.ends_with(", 3 failed\n"), "{}", run.said);
    let patient = scan(place.path(), &["--ratio", "2000", "bomb.gz"], b"");
    assert_eq!(patient.code, Some(0), "{}", patient.said);
}

#[test]
fn a_file_that_cannot_be_read_ends_a_clean_run_with_1() {
    let place = folder(&[("good.log", b"nothing here")]);
    // Read from its beginning, this one fails for everybody, root included.
    let run = scan(place.path(), &["good.log", "/proc/self/mem"], b"");
    assert_eq!((run.code, run.found.as_str()), (Some(1), ""));
    assert!(run.said.contains("/proc/self/mem: cannot be read: "), "{}", run.said);
    assert!(run.said.contains("1 file, "), "{}", run.said);
    assert!(run.said.ends_with(", 1 failed\n"), "{}", run.said);
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_run_without_a_complaint() {
    let lines = format!("{CARD}\n").repeat(20_000);
    let place = folder(&[("long.log", lines.as_bytes())]);
    let mut process = Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .args(["scan", "long.log"])
        .current_dir(place.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 9];
    process.stdout.take().unwrap().read_exact(&mut first).unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!((&first, output.status.code()), (b"long.log:", Some(1)));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn ignored_hidden_binary_and_linked_files_are_read_only_when_asked_for() {
    let text = CARD.as_bytes();
    let place = folder(&[
        (".gitignore", b"*.tmp\n"),
        ("a.tmp", text),
        (".hidden", text),
        ("image", &[b"\0\0 ", text].concat()),
        ("plain", text),
    ]);
    let elsewhere = folder(&[("linked", text)]);
    symlink(elsewhere.path().join("linked"), place.path().join("link")).unwrap();
    symlink(elsewhere.path(), place.path().join("links")).unwrap();
    let names = |arguments: &[&str]| {
        let run = scan(place.path(), arguments, b"");
        let name = |line: &str| line.split(':').next().unwrap().to_owned();
        run.lines().into_iter().map(name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names(&["."]), "plain");
    assert_eq!(names(&["--no-ignore", "."]), "a.tmp plain");
    assert_eq!(names(&["--hidden", "."]), ".hidden plain");
    assert_eq!(names(&["--binary", "."]), "image plain");
    assert_eq!(names(&["a.tmp", "link"]), "a.tmp link");
    assert_eq!(names(&["links"]), "links/linked");
    let skipped = scan(place.path(), &["."], b"");
    assert!(skipped.said.ends_with(", 1 binary file skipped\n"), "{}", skipped.said);
}

#[test]
fn the_carrier_follows_the_name() {
    let csv = format!("order_id,card\n{CARD},{CARD}\n");
    let place = folder(&[("orders.csv.gz", &gzip(csv.as_bytes()))]);
    let run = scan(place.path(), &["orders.csv.gz"], b"");
    assert_eq!(run.found, format!("orders.csv.gz:2:18 visa {SHOWN}\n"));
    let strict = scan(place.path(), &["--strict", "orders.csv.gz"], b"");
    assert_eq!(strict.lines().len(), 2);
}

#[test]
fn a_file_that_is_called_by_a_card_number_is_named_without_it() {
    let content = format!("pan {CARD}\n");
    let place = folder(&[(&format!("{CARD}/{CARD}.csv"), content.as_bytes())]);
    for format in [&["."][..], &["--json", "."], &["--sarif", "."]] {
        let run = scan(place.path(), format, b"");
        assert_eq!(run.code, Some(1));
        assert!(run.found.contains("******1111.csv"), "{}", run.found);
    }
    let shown = scan(place.path(), &["."], b"").found;
    assert_eq!(shown, format!("{SHOWN}/{SHOWN}.csv:1:5 visa {SHOWN}\n"));
}

#[test]
fn sarif_is_one_log_with_every_find() {
    let place = folder(&[
        ("a b.log", format!("{CARD}\n{CARD}\n").as_bytes()),
        ("track.log", b"%B4111111111111111^DOE/J^2512101000000?"),
    ]);
    let run = scan(place.path(), &["--sarif", "."], b"");
    let log: Value = serde_json::from_str(&run.found).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert_eq!(results.len(), 3);
    let of = |uri: &str| {
        let file = "/locations/0/physicalLocation/artifactLocation/uri";
        results.iter().filter(|it| it.pointer(file).unwrap() == uri).collect::<Vec<_>>()
    };
    let second = of("a%20b.log")[1];
    assert_eq!(second["ruleId"], "card-number");
    let region = second.pointer("/locations/0/physicalLocation/region").unwrap();
    let expected =
        serde_json::json!({ "startLine": 2, "startColumn": 1, "endLine": 2, "endColumn": 17 });
    assert_eq!(region, &expected);
    assert_eq!(of("track.log")[0]["ruleId"], "track-data");
    assert_eq!(log["runs"][0]["invocations"][0]["executionSuccessful"], true);
    let clean = scan(place.path(), &["--sarif", "-"], b"nothing");
    let log: Value = serde_json::from_str(&clean.found).unwrap();
    assert_eq!((clean.code, &log["runs"][0]["results"]), (Some(0), &serde_json::json!([])));
}

#[test]
fn copies_are_clean_and_keep_path_compression_and_mode() {
    let log = format!("no card\r\npan {CARD} ok\r\n");
    let rows = format!("{{\"card\":{CARD}}}\n").repeat(20_000);
    let place = folder(&[
        ("in/app/shop.log", log.as_bytes()),
        ("in/dump.json.gz", &gzip(rows.as_bytes())),
        ("in/rows.zst", &zstd::encode_all(rows.as_bytes(), 3).unwrap()),
        ("in/clean.txt", b"nothing"),
        ("in/image", b"\0\x01"),
    ]);
    let mode = fs::Permissions::from_mode(0o640);
    fs::set_permissions(place.path().join("in/app/shop.log"), mode).unwrap();
    let run = scan(place.path(), &["--redact", "in/out", "in"], b"");
    assert_eq!(run.code, Some(1), "{}", run.said);
    assert_eq!(run.lines().len(), 40_001);
    let copy = |name: &str| place.path().join("in/out").join(name);
    assert_eq!(fs::read_to_string(copy("app/shop.log")).unwrap(), log.replace(CARD, SHOWN));
    let kept = fs::metadata(copy("app/shop.log")).unwrap().permissions().mode();
    assert_eq!(kept & 0o7777, 0o640);
    assert_eq!(fs::read(copy("clean.txt")).unwrap(), b"nothing");
    let masked = rows.replace(CARD, "4111110000001111");
    assert_eq!(gunzip(&fs::read(copy("dump.json.gz")).unwrap()), masked.as_bytes());
    let rows = zstd::decode_all(fs::File::open(copy("rows.zst")).unwrap()).unwrap();
    assert_eq!(rows, masked.as_bytes());
    assert!(!copy("image").exists(), "what was not read was copied");
    assert_eq!(fs::read_to_string(place.path().join("in/app/shop.log")).unwrap(), log);

    let second = scan(place.path(), &["--no-ignore", "--hidden", "in/out"], b"");
    assert_eq!((second.code, second.found.as_str()), (Some(0), ""), "{}", second.said);
    assert!(second.said.starts_with("4 files, "), "{}", second.said);
}

#[test]
fn a_copy_never_takes_the_place_of_a_file() {
    let place = folder(&[
        ("in/a.log", CARD.as_bytes()),
        ("in/b.log", CARD.as_bytes()),
        ("out/a.log", b"mine"),
    ]);
    let run = scan(place.path(), &["--redact", "out", "in"], b"");
    assert_eq!(run.code, Some(1));
    assert!(run.said.contains("out/a.log already"), "{}", run.said);
    let names: Vec<_> = fs::read_dir(place.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(fs::read(place.path().join("out/a.log")).unwrap(), b"mine");
    assert_eq!(fs::read_to_string(place.path().join("out/b.log")).unwrap(), SHOWN);
    for (arguments, why) in [
        (&["--redact", "in", "in"][..], "its copies need another folder"),
        (&["--redact", "new", "in/a.log", "out/a.log"], "two paths would both be called a.log"),
    ] {
        let refused = scan(place.path(), arguments, b"");
        assert_eq!(refused.code, Some(1));
        assert!(refused.said.contains(why), "{}", refused.said);
    }
}

#[test]
fn a_file_given_up_leaves_no_copy() {
    let whole = gzip(CARD.repeat(9000).as_bytes());
    let place = folder(&[("in/cut.gz", &whole[..whole.len() - 4])]);
    assert_eq!(scan(place.path(), &["--redact", "out", "in"], b"").code, Some(1));
    assert_eq!(fs::read_dir(place.path().join("out")).unwrap().count(), 0);
}

#[test]
fn an_interrupted_run_leaves_no_copy_under_its_name() {
    let place = folder(&[]);
    let mut process = Command::new(env!("CARGO_BIN_EXE_tillgate"))
        .args(["scan", "--redact", "out", "-"])
        .current_dir(place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // More than a pipe holds: when it is written, most of it was read and the copy was begun.
    let text = format!("{CARD} is no more\n").repeat(100_000);
    process.stdin.as_mut().unwrap().write_all(text.as_bytes()).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    let out = place.path().join("out");
    assert!(!out.join("stdin").exists());
    for entry in fs::read_dir(out).unwrap() {
        let path = entry.unwrap().path();
        assert!(path.file_name().unwrap().to_str().unwrap().starts_with(".tillgate-partial-"));
        assert!(!fs::read_to_string(path).unwrap().contains(CARD));
    }
}

#[test]
fn several_paths_have_a_folder_each_among_the_copies() {
    let place = folder(&[("x/logs/a.log", CARD.as_bytes()), ("y/b.log", b"nothing")]);
    let run = scan(place.path(), &["--redact", "out", "x/logs", "y", "-"], CARD.as_bytes());
    assert_eq!(run.code, Some(1), "{}", run.said);
    for (name, content) in [("logs/a.log", SHOWN), ("y/b.log", "nothing"), ("stdin", SHOWN)] {
        assert_eq!(fs::read_to_string(place.path().join("out").join(name)).unwrap(), content);
    }
}

#[test]
fn the_help_says_what_a_column_is_and_gives_examples() {
    let place = folder(&[]);
    let run = scan(place.path(), &["--help"], b"");
    assert_eq!(run.code, Some(0));
    for part in ["a column is one", "Examples:", "tillgate scan --redact", "Exit code"] {
        assert!(run.found.contains(part), "no {part:?} in:\n{}", run.found);
    }
    assert_eq!(scan(place.path(), &[], b"").code, Some(2));
    assert_eq!(scan(place.path(), &["--json", "--sarif", "."], b"").code, Some(2));
}
