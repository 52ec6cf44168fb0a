//! What may go wrong while one process takes another's place: whoever is told to end ends, and whoever
//! serves goes on.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit};

use crate::harness::{Purchases, Setup, Sidecar, Upstream, cards, eventually};
use crate::upgrade::{Binary, refused};

/// Asks for an upgrade; the process that is to take the place.
fn begin(sidecar: &Sidecar) -> Pid {
    let mark = sidecar.mark();
    sidecar.sigusr2();
    let told = sidecar.wait_for_log(mark, "upgrading");
    Pid::from_raw(i32::try_from(told["process"].as_i64().unwrap()).unwrap()).unwrap()
}

fn is_gone(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero()));
    status.map_or(true, |status| status.contains(") Z "))
}

fn assert_nobody_listens(address: SocketAddr) {
    eventually("nobody listens", || TcpStream::connect(address).err());
}

#[test]
fn who_hangs_instead_of_taking_over_ends_with_the_process_that_is_told_to_stop() {
    let (shop, binary) = (Upstream::ok(), Binary::new());
    let sidecar = Setup::new(&shop).program(&binary.path()).start();
    let address = sidecar.address("http");
    binary.put_script("exec sleep 600");
    let successor = begin(&sidecar);
    sidecar.sigterm();
    assert_eq!(sidecar.exit_status().code(), Some(0));
    assert!(is_gone(successor), "it holds the addresses of the next start");
    assert_nobody_listens(address);
}

#[test]
fn an_end_in_the_midst_of_an_upgrade_leaves_nobody_or_the_successor_alone() {
    let shop = Upstream::ok();
    for moment in ["upgrading", "confined", "connected", "listening", "listening"] {
        let mut sidecar = Setup::new(&shop).start();
        let (address, mark) = (sidecar.address("http"), sidecar.mark());
        let successor = begin(&sidecar);
        if moment != "connected" {
            sidecar.wait_for_log(mark, moment);
        }
        sidecar.sigterm();
        assert_eq!(sidecar.exit_status().code(), Some(0), "{moment}");
        if sidecar.log_count(mark, "upgraded") > 0 {
            // Too late for the one, and in time for the other.
            sidecar.adopt(mark);
            assert_eq!(sidecar.http().get("/").status, 200);
            continue;
        }
        eventually("the successor ends too", || is_gone(successor).then_some(()));
        assert_nobody_listens(address);
    }
}

#[test]
fn signals_for_the_one_do_not_end_the_one_that_takes_over() {
    // `pkill -HUP` of a log's rotation, and an operator who asks twice.
    let shop = Upstream::ok();
    let mut sidecar = Setup::new(&shop).start();
    let mark = sidecar.mark();
    let successor = begin(&sidecar);
    sidecar.wait_for_log(mark, "listening");
    sidecar.sigusr2();
    eventually("it is ready", || {
        for signal in [Signal::HUP, Signal::USR2] {
            kill_process(successor, signal).unwrap();
        }
        sidecar.sighup();
        assert!(!is_gone(successor), "{}", sidecar.written());
        (sidecar.log_count(mark, "ready") > 0).then_some(())
    });
    sidecar.adopt(mark);
    assert_eq!(sidecar.http().get("/").status, 200);
}

#[test]
fn an_access_log_that_is_moved_during_an_upgrade_is_begun_anew_by_the_successor() {
    let folder = tempfile::tempdir().unwrap();
    let access = folder.path().join("access.log");
    let tables = format!("[log]\naccess = \"{}\"", access.display());
    let mut sidecar = Setup::new(&Upstream::ok()).tables(&tables).start();
    let mark = sidecar.mark();
    begin(&sidecar);
    // It has the file open by then.
    sidecar.wait_for_log(mark, "listening");
    let moved = folder.path().join("access.log.1");
    fs::rename(&access, &moved).unwrap();
    sidecar.sighup();
    sidecar.adopt(mark);
    // It may hear of it from the process before it, a moment after it has begun to serve.
    eventually("the successor writes where the file was", || {
        assert_eq!(sidecar.http().get("/last").status, 200);
        fs::read_to_string(&access).unwrap_or_default().contains("/last").then_some(())
    });
}

#[test]
fn a_reload_during_an_upgrade_is_in_force_after_it() {
    let shop = Upstream::ok();
    let setup = Setup::new(&shop);
    let mut sidecar = setup.start();
    let mark = sidecar.mark();
    begin(&sidecar);
    sidecar.write_config(&setup.tables("[limits]\nbody = \"1B\"").text());
    sidecar.sighup();
    sidecar.adopt(mark);
    eventually("the new limit is in force", || {
        let answer = sidecar.http().request("POST", "/", &[], b"two");
        (answer.status == 413).then_some(())
    });
}

#[test]
fn a_successor_that_is_killed_at_any_point_of_its_start_changes_nothing() {
    let shop = Upstream::ok();
    let mut sidecar = Setup::new(&shop).start();
    let mut kept = sidecar.https();
    for moment in ["upgrading", "confined"] {
        let mark = sidecar.mark();
        let successor = begin(&sidecar);
        sidecar.wait_for_log(mark, moment);
        kill_process(successor, Signal::KILL).unwrap();
        let problem = sidecar.wait_for_log(mark, "upgrade refused")["problem"].to_string();
        assert!(problem.contains("signal: 9"), "{problem}");
        assert_eq!((kept.get("/").status, sidecar.http().get("/").status), (200, 200));
    }
    sidecar.upgrade();
    assert_eq!(sidecar.http().get("/").status, 200);
}

#[test]
fn a_successor_that_crashes_at_its_first_customers_is_taken_back() {
    let shop = Upstream::ok();
    let setup = Setup::new(&shop).top("pid_file = \"tillgate.pid\"");
    let mut sidecar = setup.start();
    let (mut kept, file) = (sidecar.https(), sidecar.folder().join("tillgate.pid"));
    assert_eq!(kept.get("/").status, 200);
    for crashes in [1.0, 2.0] {
        let mark = sidecar.mark();
        let successor = begin(&sidecar);
        sidecar.wait_for_log(mark, "ready");
        sidecar.wait_for_log(mark, "upgraded");
        assert_eq!(sidecar.http().get("/").status, 200);
        kill_process(successor, Signal::ABORT).unwrap();
        eventually("it is gone", || is_gone(successor).then_some(()));
        // Whoever comes now waits until that is noticed.
        assert_eq!(sidecar.http().get("/").status, 200);
        let problem = sidecar.wait_for_log(mark, "upgrade refused")["problem"].to_string();
        assert!(problem.contains("signal: 6"), "{problem}");
        let answer = kept.get("/");
        assert_eq!((answer.status, answer.field("connection")), (200, None));
        assert_eq!((sidecar.http().get("/").status, sidecar.https().get("/").status), (200, 200));
        assert_eq!(sidecar.metric("tillgate_upgrades_total", &["crashed"]), crashes);
        assert_eq!(fs::read_to_string(&file).unwrap().trim(), sidecar.pid().to_string());
    }
    sidecar.upgrade();
    assert_eq!(sidecar.http().get("/").status, 200);
}

#[test]
fn a_successor_that_is_told_to_stop_at_once_takes_the_old_process_with_it() {
    let sidecar = Setup::new(&Upstream::ok()).start();
    let (address, mark) = (sidecar.address("http"), sidecar.mark());
    let successor = begin(&sidecar);
    sidecar.wait_for_log(mark, "ready");
    sidecar.wait_for_log(mark, "upgraded");
    kill_process(successor, Signal::TERM).unwrap();
    assert_eq!(sidecar.exit_status().code(), Some(0));
    assert!(is_gone(successor));
    assert_nobody_listens(address);
}

#[test]
fn where_files_are_wanting_the_old_process_stays_until_they_are_not() {
    let mut sidecar = Setup::new(&Upstream::ok()).start();
    let process = Pid::from_raw(i32::try_from(sidecar.pid()).unwrap());
    let mut kept = sidecar.https();
    assert_eq!(kept.get("/").status, 200);
    let open = fs::read_dir(format!("/proc/{}/fd", sidecar.pid())).unwrap().count();
    // The hard limit is the one we gave it: only some may raise it.
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let limit = |most: u64| {
        prlimit(process, Resource::Nofile, Rlimit { current: Some(most), maximum }).unwrap()
    };
    let before = limit(maximum.unwrap_or(20_000));
    let mut refusals = 0;
    for spare in 0..6 {
        limit(u64::try_from(open).unwrap() + spare);
        let mark = sidecar.mark();
        sidecar.sigusr2();
        let problem = sidecar.wait_for_log(mark, "upgrade refused")["problem"].to_string();
        assert!(problem.contains("os error 24"), "{problem}");
        refusals += 1;
        assert_eq!(kept.get("/").status, 200);
    }
    prlimit(process, Resource::Nofile, before).unwrap();
    assert_eq!(refusals, 6);
    sidecar.upgrade();
    assert_eq!(sidecar.http().get("/").status, 200);
}

/// The line between two processes holds some hundred words that nobody reads.
const MORE_THAN_THE_LINE_HOLDS: usize = 600;

#[test]
fn who_does_not_even_listen_is_given_up_in_time() {
    let (shop, binary) = (Upstream::ok(), Binary::new());
    let listen = "[[listen]]\naddress = \"127.0.0.1:0\"\n".repeat(MORE_THAN_THE_LINE_HOLDS);
    let tables = format!("[timeouts]\nupgrade = \"1s\"\n{listen}");
    let setup = Setup::new(&shop).top("workers = 1").program(&binary.path()).tables(&tables);
    let sidecar = setup.start();
    binary.put_script("exec sleep 600");
    let problem = refused(&sidecar);
    assert!(problem.contains("not ready within 1s"), "{problem}");
}

#[test]
fn who_is_ready_and_then_hangs_is_given_up_and_no_code_is_lost() {
    let (purchases, binary) = (Purchases::new(), Binary::new());
    let mut sidecar = purchases.setup("").program(&binary.path()).start();
    let card = cards::fresh("visa");
    let mut customer = sidecar.https();
    for _ in 0..MORE_THAN_THE_LINE_HOLDS {
        assert_eq!(customer.form("/buy", &format!("number={card}&cvv=834")).status, 200);
    }
    let (token, code) = (purchases.shop.last().form("number"), purchases.shop.last().form("cvv"));
    binary.put_script("printf '\\001\\000\\000\\000\\000' >&0\nexec sleep 600");
    let mark = sidecar.mark();
    sidecar.sigusr2();
    sidecar.wait_for_log(mark, "upgrading");
    // Until it is given up nobody knows whose the codes are; what needs none does not wait.
    eventually("given up", || {
        assert_eq!(sidecar.http().get("/").status, 200);
        assert_ne!(customer.form("/buy", &format!("number={card}&cvv=834")).status, 0);
        (sidecar.log_count(mark, "upgrade refused") > 0).then_some(())
    });
    let body = format!("number={token}&cvv={code}");
    assert_eq!(sidecar.gateway("pay").form("/charge", &body).status, 200);
    assert_eq!(purchases.provider.last().form("cvv"), "834");
    binary.put(Path::new(env!("CARGO_BIN_EXE_tillgate")));
    sidecar.upgrade();
    assert_eq!(sidecar.http().get("/").status, 200);
}
