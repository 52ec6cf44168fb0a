//! The service manager that started us, as far as it listens (sd_notify(3)): it is told when we are
//! ready, reloading, alive and ending.
//!
//! Nothing waits for it, and a manager that does not listen harms nobody. It is spoken to by the
//! process that is the service's main one; after an upgrade that is another.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::ClockId;
use tracing::warn;

/// Where the manager listens.
const SOCKET: &str = "NOTIFY_SOCKET";
/// How often it wants to hear that we are alive.
const WATCHDOG: &str = "WATCHDOG_USEC";
/// Of which process, where it says so.
const WATCHDOG_PROCESS: &str = "WATCHDOG_PID";

/// What is meant for one process alone: a successor must not take it for its own.
pub const PERSONAL_VARIABLES: [&str; 4] =
    ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", WATCHDOG_PROCESS];

/// The line to the manager, if there is one.
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// Finds the manager in the environment.
    #[must_use]
    pub fn from_environment() -> Self {
        let name = std::env::var_os(SOCKET);
        let socket = name.and_then(|name| match connect(name.as_bytes()) {
            Ok(socket) => Some(socket),
            Err(error) => {
                warn!(%error, "the service manager cannot be told anything");
                None
            }
        });
        let watchdog = socket.is_some().then(watchdog).flatten();
        Self { socket, watchdog }
    }

    /// How often it must hear that we are alive, if at all.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Customers are served.
    pub fn ready(&self) {
        self.tell("READY=1\nSTATUS=Serving");
    }

    /// The configuration is read again; `ready` ends it.
    pub fn reloading(&self) {
        // Nobody's time is not asked for: valgrind hides where rustix looks for it.
        if self.socket.is_none() {
            return;
        }
        let now = rustix::time::clock_gettime(ClockId::Monotonic);
        // The manager tells by it whether a later "ready" is this reload's (sd_notify(3)).
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// Nothing new is taken.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Draining");
    }

    /// Whoever must answer has answered.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// From now on another process is the service.
    pub fn succeeded_by(&self, process: u32) {
        self.tell(&format!("MAINPID={process}\nREADY=1\nSTATUS=Serving"));
    }

    fn tell(&self, words: &str) {
        if let Some(socket) = &self.socket {
            let _nobody_listens = socket.send(words.as_bytes());
        }
    }
}

/// A name that begins with `@` is none of the file system's.
fn connect(name: &[u8]) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn watchdog() -> Option<Duration> {
    let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
    let ours = number(WATCHDOG_PROCESS).is_none_or(|pid| pid == u64::from(std::process::id()));
    number(WATCHDOG).filter(|micros| ours && *micros > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_is_reached_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let abstract_name = format!("tillgate-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let managers =
            [UnixDatagram::bind(&path).unwrap(), UnixDatagram::bind_addr(&address).unwrap()];
        let names = [path.as_os_str().as_bytes().to_vec(), format!("@{abstract_name}").into()];
        for (manager, name) in managers.iter().zip(names) {
            let supervisor = Supervisor { socket: connect(&name).ok(), watchdog: None };
            supervisor.ready();
            supervisor.reloading();
            supervisor.succeeded_by(7);
            let mut heard = [0; 256];
            let mut next = || {
                let length = manager.recv(&mut heard).unwrap();
                String::from_utf8(heard[..length].to_vec()).unwrap()
            };
            assert_eq!(next(), "READY=1\nSTATUS=Serving");
            assert!(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
            assert!(next().starts_with("MAINPID=7\nREADY=1\n"));
        }
    }
}
