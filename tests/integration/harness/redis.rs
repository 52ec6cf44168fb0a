//! A Redis server of a test's own, gone with the test.
//!
//! On its own feet, as the library's tests use this file too.

// Named, as the library includes this file from elsewhere.
#[path = "redis/cluster.rs"]
mod cluster;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

pub(crate) use self::cluster::Cluster;

/// What a server, or a sentinel, says once it can be used.
const READY: [&str; 2] = ["Ready to accept connections", "Sentinel ID is"];

/// How long that may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// How many ports are tried: one that was free a moment ago need not be free any more.
const PORTS_MAX: usize = 10;

/// A running server; ended when dropped.
pub(crate) struct Redis {
    program: PathBuf,
    folder: TempDir,
    port: u16,
    settings: String,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Redis {
    /// A new, empty server with these lines in its configuration, where `{port}` is its port and
    /// `{port+1}` and `{port+2}` are others that are free; it keeps nothing on its disk unless they say so. `None`, said loudly, where it is not installed.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        let program = program()?;
        let folder = tempfile::tempdir().unwrap();
        let log = Arc::default();
        for _ in 0..PORTS_MAX {
            let port = free_port();
            let mut settings = settings.replace("{port}", &port.to_string());
            for other in ["{port+1}", "{port+2}"] {
                settings = settings.replace(other, &free_port().to_string());
            }
            if let Some(child) = launch(&program, &folder, port, &settings, &log) {
                return Some(Self { program, folder, port, settings, child, log });
            }
        }
        panic!("Redis does not start:\n{}", log.lock().unwrap());
    }

    /// A server that follows this one.
    pub(crate) fn replica(&self) -> Self {
        Self::start(&format!("replicaof 127.0.0.1 {}\n", self.port)).unwrap()
    }

    /// A sentinel that watches this server, by the name of `shop`, and replaces it alone.
    pub(crate) fn sentinel(&self) -> Self {
        Self::start(&format!(
            "sentinel monitor shop 127.0.0.1 {} 1\nsentinel down-after-milliseconds shop 300\n\
             sentinel failover-timeout shop 2000\n",
            self.port
        ))
        .unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the server answers to one command, with an error as its text.
    pub(crate) fn cli(&self, command: &[&str]) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["-p", &self.port.to_string()]).args(command);
        let output = cli.stdin(Stdio::null()).output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Copies every command that the server carries out from now on.
    pub(crate) fn monitor(&self) -> Arc<Mutex<Vec<u8>>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"MONITOR\r\n").unwrap();
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, b"+OK\r\n");
        let seen: Arc<Mutex<Vec<u8>>> = Arc::default();
        let copy = Arc::clone(&seen);
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut piece) {
                copy.lock().unwrap().extend_from_slice(&piece[..length]);
            }
        });
        seen
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill9(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data and the same port.
    pub(crate) fn start_again(&mut self) {
        let Self { program, folder, port, settings, log, .. } = self;
        let started = launch(program, folder, *port, settings, log);
        self.child = started.unwrap_or_else(|| panic!("{}", self.log.lock().unwrap()));
    }

    /// Stops it in its tracks: connections stand, and nothing answers.
    pub(crate) fn freeze(&self) {
        kill_process(Pid::from_child(&self.child), Signal::STOP).unwrap();
    }

    pub(crate) fn thaw(&self) {
        kill_process(Pid::from_child(&self.child), Signal::CONT).unwrap();
    }

    /// Every byte of every file that it has written.
    pub(crate) fn disk(&self) -> Vec<u8> {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut bytes = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path => bytes.extend(fs::read(path).unwrap_or_default()),
                }
            }
        }
        bytes
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join("redis-server"));
    let found = places.find(|path| path.is_file());
    assert!(
        found.is_some() || std::env::var_os("TILLGATE_NO_SKIP").is_none(),
        "redis-server is not installed"
    );
    if found.is_none() {
        eprintln!("SKIPPED: redis-server is not installed");
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Starts the server and waits until it can be used; `None` if it ends instead.
fn launch(
    program: &PathBuf,
    folder: &TempDir,
    port: u16,
    settings: &str,
    log: &Arc<Mutex<String>>,
) -> Option<Child> {
    let place = folder.path().display();
    let mut common = format!("bind 127.0.0.1\nport {port}\ndir {place}\n");
    let file = folder.path().join("redis.conf");
    let mut command = Command::new(program);
    command.arg(&file);
    if settings.starts_with("sentinel") {
        command.arg("--sentinel");
    } else {
        common += "save \"\"\n";
    }
    fs::write(&file, common + settings).unwrap();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (notify, ready) = mpsc::channel();
    let (stdout, log) = (child.stdout.take().unwrap(), Arc::clone(log));
    thread::spawn(move || follow(stdout, &log, &notify));
    match ready.recv_timeout(DEADLINE) {
        Ok(()) => Some(child),
        Err(_) => {
            let _ = child.kill();
            child.wait().unwrap();
            None
        }
    }
}

/// Copies lines into the log and tells when the server is ready.
fn follow(stdout: ChildStdout, log: &Mutex<String>, ready: &mpsc::Sender<()>) {
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if READY.iter().any(|ready| line.contains(ready)) {
            let _ = ready.send(());
        }
        log.lock().unwrap().push_str(&(line + "\n"));
    }
}
