//! Upstreams by name, whose addresses change while the sidecar runs (issue item 5).

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::harness::{Setup, eventually, program};

/// Both servers listen on one port: a name has none of its own.
const PLACES: [&str; 2] = ["127.0.0.2", "127.0.0.3"];

/// Answers everything with the address it listens at.
fn serve(listener: TcpListener) {
    let place = listener.local_addr().unwrap().ip().to_string();
    thread::spawn(move || {
        while let Ok((tcp, _)) = listener.accept() {
            let place = place.clone();
            thread::spawn(move || {
                let mut lines = BufReader::new(tcp.try_clone().unwrap()).lines();
                let mut tcp = tcp;
                // No request has a body.
                while lines.by_ref().map_while(Result::ok).any(|line| line.is_empty()) {
                    let length = place.len();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
                    if tcp.write_all((head + &place).as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// Two listeners on the same port of two addresses.
fn listeners() -> [TcpListener; 2] {
    eventually("a port that is free at both addresses", || {
        let first = TcpListener::bind((PLACES[0], 0)).ok()?;
        let second = TcpListener::bind((PLACES[1], first.local_addr().ok()?.port())).ok()?;
        Some([first, second])
    })
}

/// A program that sees a file of the test's as `/etc/hosts`, which is what the system's resolver reads.
fn wrapper(folder: &Path, hosts: &Path) -> std::path::PathBuf {
    let path = folder.join("tillgate-with-hosts");
    let mount = format!("mount --bind '{}' /etc/hosts", hosts.display());
    let run = format!("{mount} && exec '{}' \"$@\"", env!("CARGO_BIN_EXE_tillgate"));
    let script =
        format!("#!/bin/sh\nexec unshare -rm sh -c '{}' sh \"$@\"\n", run.replace('\'', "'\\''"));
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Whether a process may have mounts of its own here: a container may forbid it.
fn may_mount(hosts: &Path) -> bool {
    let mut unshare = Command::new("unshare");
    unshare.args(["-rm", "mount", "--bind"]).arg(hosts).arg("/etc/hosts");
    unshare.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[test]
fn a_name_that_moves_is_followed_and_no_request_fails() {
    if program("unshare").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let hosts = folder.path().join("hosts");
    let point_to = |place: &str| fs::write(&hosts, format!("{place} shop.internal\n")).unwrap();
    point_to(PLACES[0]);
    if !may_mount(&hosts) {
        return;
    }
    let [first, second] = listeners();
    let port = first.local_addr().unwrap().port();
    serve(first);
    serve(second);
    let sidecar = Setup::to(&format!("http://shop.internal:{port}"))
        .site("[site.balance]\nresolve_every = \"1s\"")
        .program(&wrapper(folder.path(), &hosts))
        .start();
    let mut client = sidecar.http();
    let mut ask = || {
        let answer = client.get("/");
        assert_eq!(answer.status, 200);
        answer.text()
    };
    assert_eq!(ask(), PLACES[0]);
    for place in [PLACES[1], PLACES[0]] {
        point_to(place);
        eventually("the name is followed", || (ask() == place).then_some(()));
        assert!((0..20).all(|_| ask() == place), "nobody goes back to where the name led before");
    }
    // A name that nobody knows any more leads where it did.
    let mark = sidecar.mark();
    fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    sidecar.wait_for_log(mark, "upstream failed");
    assert_eq!(ask(), PLACES[0]);
}
