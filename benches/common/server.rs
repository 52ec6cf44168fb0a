//! A server process, ended when dropped.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

const START: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// One process, and what it started.
pub(crate) struct Server {
    child: Child,
}

/// A port that was free a moment ago: these servers are told one, they do not choose.
pub(crate) fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) fn start(
        command: &mut Command,
        address: SocketAddr,
        log: &Path,
    ) -> io::Result<Self> {
        let out = File::create(log)?;
        let err = out.try_clone()?;
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn()?;
        let mut server = Self { child };
        let deadline = Instant::now() + START;
        while TcpStream::connect(address).is_err() {
            if server.ended() || Instant::now() > deadline {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                return Err(io::Error::other(format!("it does not listen; it said:\n{said}")));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(server)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Server {
    /// Politely first: a master that is killed leaves its workers behind.
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let deadline = Instant::now() + END;
        while !self.ended() {
            if Instant::now() > deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(PAUSE);
        }
    }
}
