//! What the process has given up once it serves (issue item 7), as the kernel tells it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use crate::commands;
use crate::harness::{Client, Setup, Sidecar, Upstream, eventually};
use crate::upgrade::Binary;

/// The user of no rights that every system has.
pub(crate) const NOBODY: u32 = 65534;

/// Whether this can be tried: only root can become somebody else.
pub(crate) fn is_root(test: &str) -> bool {
    let root = fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        eprintln!("skipped: {test} needs root");
    }
    root
}

/// A line of the status of every thread of the process.
fn of_threads(sidecar: &Sidecar, name: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{}/task", sidecar.pid())).unwrap();
    let status = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("status")));
    let line = |status: String| {
        let found = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        found.unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    status.flatten().map(line).collect()
}

fn assert_all(sidecar: &Sidecar, name: &str, value: &str) {
    let lines = of_threads(sidecar, name);
    assert!(lines.len() > 2 && lines.iter().all(|line| line == value), "{name}: {lines:?}");
}

#[test]
fn root_becomes_the_configured_user_for_good_in_every_thread() {
    if !is_root("dropping privileges") {
        return;
    }
    let shop = Upstream::ok();
    let setup = Setup::new(&shop).top("user = \"nobody\"");
    let sidecar = setup.start();
    let four = [NOBODY.to_string(), NOBODY.to_string(), NOBODY.to_string(), NOBODY.to_string()];
    assert_all(&sidecar, "Uid", &four.join(" "));
    let groups = of_threads(&sidecar, "Groups");
    assert!(groups.iter().all(|groups| groups.split(' ').count() == 1), "{groups:?}");
    // CAP_NET_BIND_SERVICE alone, as far as the tests' own process has it.
    for set in ["CapEff", "CapPrm", "CapAmb"] {
        let held = of_threads(&sidecar, set);
        assert!(held.iter().all(|set| u64::from_str_radix(set, 16).unwrap() & !0x400 == 0));
    }
    assert_eq!(fs::metadata(sidecar.data()).unwrap().uid(), NOBODY);
    assert_eq!(sidecar.metric("tillgate_protection", &["unprivileged"]), 1.0);
    assert_eq!(sidecar.https().get("/").status, 200);
    // What was read as root can still be read as nobody: a reload is in force.
    sidecar.write_config(&setup.tables("[limits]\nbody = \"1B\"").text());
    eventually("the new limit is in force", || {
        let answer = sidecar.https().request("POST", "/", &[], b"two");
        (answer.status == 413).then_some(())
    });
}

#[test]
fn who_was_root_listens_below_port_1024_after_upgrades_and_reloads_too() {
    if !is_root("dropping privileges") {
        return;
    }
    let (shop, binary) = (Upstream::ok(), Binary::for_everybody());
    // An address of this test's own: others have the same ports.
    let process = std::process::id();
    let own = Ipv4Addr::from_bits(0x7f40_0001 | (process & 0x3fff) << 8);
    let listening = |ports: &[u16]| {
        let listen = ports.iter().map(|port| format!("[[listen]]\naddress = \"{own}:{port}\"\n"));
        let setup = Setup::new(&shop).top("user = \"nobody\"").program(&binary.path());
        setup.tables(&listen.collect::<String>())
    };
    let ask = |port| {
        let answer = Client::try_plain((own, port).into())?.try_request("GET", "/", &[], b"");
        answer.map(|answer| answer.status)
    };
    let mut sidecar = listening(&[80]).start();
    assert_eq!(ask(80).unwrap(), 200);
    for port in [443, 444] {
        let old = sidecar.upgrade();
        assert_eq!(old.exit_status().code(), Some(0));
        assert_eq!(ask(80).unwrap(), 200);
        assert_all(&sidecar, "Uid", &[NOBODY.to_string().as_str(); 4].join(" "));
        for set in ["CapEff", "CapPrm", "CapAmb"] {
            let held = of_threads(&sidecar, set);
            assert!(held.iter().all(|set| u64::from_str_radix(set, 16).unwrap() & !0x400 == 0));
        }
        assert_eq!(sidecar.metric("tillgate_protection", &["unprivileged"]), 1.0);
        sidecar.write_config(&listening(&[80, port]).text());
        eventually("a port that is new is listened on", || ask(port).ok());
    }
}

#[test]
fn a_command_of_root_leaves_nothing_of_its_own_among_the_servers_files() {
    if !is_root("dropping privileges") {
        return;
    }
    let shop = Upstream::ok();
    let mut sidecar = Setup::new(&shop).top("user = \"nobody\"").start();
    let elsewhere = tempfile::tempdir().unwrap();
    let copy = elsewhere.path().join("vault.db");
    let asked: [&[&str]; 4] = [
        &["status"],
        &["rotate"],
        &["rotate", "--master"],
        &["backup", "--to", commands::text(&copy)],
    ];
    for arguments in asked {
        commands::done(&commands::run(&sidecar, arguments));
    }
    let mut folders = vec![sidecar.data()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let facts = fs::symlink_metadata(&path).unwrap();
            assert_eq!(facts.uid(), NOBODY, "{}", path.display());
            folders.extend(facts.is_dir().then_some(path));
        }
    }
    assert!(copy.exists());
    sidecar.restart();
    assert_eq!(sidecar.https().get("/").status, 200);
}

#[test]
fn a_data_folder_and_an_access_log_outside_of_the_common_folders_are_written() {
    // Neither below /tmp, where every program may write.
    let folder = tempfile::tempdir_in("/dev/shm").unwrap();
    let log = folder.path().join("log");
    fs::create_dir(&log).unwrap();
    let access = log.join("access.log");
    let tables = format!("[log]\naccess = \"{}\"", access.display());
    let data = folder.path().join("made/by/itself");
    let sidecar = Setup::new(&Upstream::ok()).data(&data).tables(&tables).start();
    let lines = || fs::read_to_string(&access).unwrap_or_default().lines().count();
    assert_eq!(sidecar.https().get("/").status, 200);
    eventually("the line is written", || (lines() == 1).then_some(()));
    fs::rename(&access, log.join("access.log.1")).unwrap();
    sidecar.sighup();
    eventually("the log is made anew", || access.exists().then_some(()));
    assert!(data.join("audit.jsonl").exists() || data.join("vault.db").exists());
}

#[test]
fn every_thread_is_confined_and_the_metrics_say_so() {
    let sidecar = Sidecar::start(&Upstream::ok(), "");
    assert_all(&sidecar, "NoNewPrivs", "1");
    assert_all(&sidecar, "Seccomp", "2");
    for protection in ["no_new_privs", "seccomp"] {
        assert_eq!(sidecar.metric("tillgate_protection", &[protection]), 1.0);
    }
    let line = sidecar.wait_for_log(0, "confined");
    assert!(line["protections"].as_str().unwrap().contains("seccomp"), "{line}");
}

#[test]
fn what_the_operator_switches_off_is_said() {
    let sidecar = Sidecar::start(&Upstream::ok(), "[sandbox]\nenabled = false");
    assert_eq!(sidecar.metric("tillgate_protection", &["landlock"]), 0.0);
    let line = sidecar.wait_for_log(0, "not protected");
    assert!(line["remedy"].is_string(), "{line}");
}

#[test]
fn an_open_data_folder_is_closed_to_others() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let sidecar = Setup::new(&Upstream::ok()).data(folder.path()).start();
    assert_eq!(sidecar.wait_for_log(0, "data folder closed to others")["mode"], "755");
    assert_eq!(fs::metadata(folder.path()).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn who_is_not_root_serves_as_itself_and_cannot_become_another() {
    if !is_root("starting as another user") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(folder.path(), open).unwrap();
    let config = folder.path().join("tillgate.toml");
    let start = |top: &str| {
        let text = format!(
            "{top}\ndata_dir = \"data\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[[listen]]\n\
             address = \"127.0.0.1:0\"\n[[site]]\nupstreams = [\"http://127.0.0.1:1\"]\n"
        );
        fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tillgate"));
        command.args(["run", "--config"]).arg(&config).uid(NOBODY).gid(NOBODY);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut told =
            lines.skip_while(|line| !line.contains("confined") && !line.contains("root"));
        let told = told.next().unwrap_or_default();
        child.kill().unwrap();
        child.wait().unwrap();
        told
    };
    assert!(start("").contains("unprivileged"));
    assert!(start("user = \"nobody\"").contains("unprivileged"));
    assert!(start("user = \"root\"").contains("only root can become the user root"));
}
