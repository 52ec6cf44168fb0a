//! The order of things at the system's own door: a token leaves only after its row is on the disk
//! (promise P2). No kill shows that, as what a killed process has written stays in the system.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::harness::{Sidecar, Upstream, cards, program};

/// Calls that put data on a disk or on a wire.
const CALLS: &str = "trace=fdatasync,fsync,pwrite64,sendmsg,sendto,write,writev";

#[test]
fn p2_the_log_is_synced_before_a_byte_of_the_token_is_sent() {
    let Some(strace) = program("strace") else { return };
    let shop = Upstream::ok();
    let sidecar = Sidecar::start(&shop, "");
    // The connections stand before, so that the trace is short.
    assert_eq!(sidecar.http().get("/").status, 200);
    let record = sidecar.folder().join("calls");
    let mut tracer = Command::new(strace)
        .args(["-f", "-yy", "-s", "4096", "-e", CALLS, "-o"])
        .arg(&record)
        .args(["-p", &sidecar.pid().to_string()])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(tracer.stderr.take().unwrap()).lines().map_while(Result::ok);
    let first = said.next().unwrap_or_default();
    if !first.contains("attached") {
        eprintln!("SKIPPED: processes may not be traced here: {first}");
        tracer.wait().unwrap();
        return;
    }
    let card = cards::fresh("visa");
    assert_eq!(sidecar.http().form("/buy", &format!("number={card}")).status, 200);
    let token = shop.last().form("number");
    sidecar.sigterm();
    sidecar.exit_status();
    tracer.wait().unwrap();
    let calls = fs::read_to_string(&record).unwrap();
    // The record holds what the client sent: it may not outlive the test.
    fs::remove_file(&record).unwrap();

    let lines: Vec<_> = calls.lines().collect();
    let sent = lines.iter().position(|line| is_send(line) && line.contains(&token));
    let before = &lines[..sent.expect("the token is sent")];
    let written = before.iter().rposition(|line| line.contains("pwrite64") && in_log(line));
    let after = &before[written.expect("the row is written") + 1..];
    assert!(is_synced(after), "nothing is synced between\n{}\nand the token", after.join("\n"));
}

fn in_log(line: &str) -> bool {
    line.contains("vault.db-wal>")
}

fn is_send(line: &str) -> bool {
    ["sendto(", "sendmsg(", "write(", "writev("].iter().any(|call| line.contains(call))
        && line.contains("<TCP:")
}

/// Whether a sync of the log has begun and ended well; one that another thread interrupts in the
/// record stands there in two halves.
fn is_synced(calls: &[&str]) -> bool {
    let Some(begun) = calls.iter().position(|line| line.contains("sync(") && in_log(line)) else {
        return false;
    };
    let thread = calls[begun].split_whitespace().next();
    let ended = |line: &&&str| {
        line.split_whitespace().next() == thread && line.contains("sync") && line.ends_with("= 0")
    };
    calls[begun..].iter().find(ended).is_some()
}
