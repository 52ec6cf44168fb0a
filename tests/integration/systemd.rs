//! What the service manager passes and is told (sd_listen_fds(3), sd_notify(3)).

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use crate::harness::{Client, DEADLINE, Setup, Upstream, eventually, program};

/// Hears what a process tells its manager.
struct Manager {
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(DEADLINE)).unwrap();
        Self { folder, socket }
    }

    fn path(&self) -> String {
        self.folder.path().join("notify").display().to_string()
    }

    /// The next word, without those that say "alive".
    fn next(&self) -> String {
        loop {
            let word = self.next_of_all();
            if word != "WATCHDOG=1" {
                return word;
            }
        }
    }

    fn next_of_all(&self) -> String {
        let mut heard = [0; 512];
        let length = self.socket.recv(&mut heard).unwrap();
        String::from_utf8(heard[..length].to_vec()).unwrap()
    }
}

#[test]
fn a_manager_is_told_of_the_start_of_reloads_and_of_the_end() {
    let (shop, manager) = (Upstream::ok(), Manager::new());
    let sidecar = Setup::new(&shop).variable("NOTIFY_SOCKET", &manager.path()).start();
    let mut word = manager.next();
    // The look for changes during the start is a reload too.
    while !word.starts_with("READY=1") {
        word = manager.next();
    }
    let mark = sidecar.mark();
    sidecar.write_config(&Setup::new(&shop).tables("[limits]\nbody = \"1KiB\"").text());
    sidecar.wait_for_log(mark, "reloaded");
    eventually("it says that it reloads", || {
        manager.next().starts_with("RELOADING=1\nMONOTONIC_USEC=").then_some(())
    });
    assert!(manager.next().starts_with("READY=1"));
    sidecar.sigterm();
    eventually("it says that it ends", || manager.next().starts_with("STOPPING=1").then_some(()));
    assert_eq!(sidecar.exit_status().code(), Some(0));
}

#[test]
fn a_watchdog_hears_of_workers_that_answer() {
    let (shop, manager) = (Upstream::ok(), Manager::new());
    let setup = Setup::new(&shop).variable("NOTIFY_SOCKET", &manager.path());
    let sidecar = setup.variable("WATCHDOG_USEC", "300000").start();
    for _ in 0..3 {
        eventually("a sign of life", || (manager.next_of_all() == "WATCHDOG=1").then_some(()));
    }
    assert_eq!(sidecar.http().get("/").status, 200);
}

#[test]
fn sockets_of_the_manager_are_served_and_one_that_nobody_names_is_refused() {
    let Some(activate) = program("systemd-socket-activate") else { return };
    let shop = Upstream::ok();
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (held, other) = (free(), free());
    let setup = Setup::new(&shop);
    let text = setup.text().replacen(
        "address = \"127.0.0.1:0\"\n\n",
        &format!("address = \"{held}\"\n\n"),
        1,
    );
    let sidecar = setup.start();
    let config = sidecar.folder().join("activated.toml");
    std::fs::write(&config, text.replace("\"data\"", "\"activated\"")).unwrap();
    let start = |address: SocketAddr| {
        let mut command = Command::new(&activate);
        command.arg(format!("--listen={address}")).arg(env!("CARGO_BIN_EXE_tillgate"));
        command.args(["run", "--config"]).arg(&config);
        command.stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    let process = start(held);
    let answer = eventually("somebody listens", || Client::try_plain(held).ok()).get("/");
    assert_eq!(answer.status, 200);
    end(process);

    let process = start(other);
    // The manager starts it with the first client.
    eventually("somebody listens", || Client::try_plain(other).ok());
    let said = process.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains(&other.to_string()) && said.contains("[[listen]]"), "{said}");
}

fn end(mut process: std::process::Child) {
    let pid = rustix::process::Pid::from_child(&process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(process.wait().unwrap().success());
}
