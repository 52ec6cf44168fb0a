//! A PostgreSQL server of a test's own: a fresh cluster, fsync on, gone with the test.
//!
//! On its own feet, as the library's tests use this file too.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The role that owns the cluster.
pub(crate) const USER: &str = "tillgate";

/// What the server says once it can be used.
const READY: &str = "database system is ready to accept";

/// How long that may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// How many ports are tried: one that was free a moment ago need not be free any more.
const PORTS_MAX: usize = 10;

/// A running server; ended when dropped.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    settings: Vec<String>,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Postgres {
    /// A new cluster with these further settings. `None`, said loudly, where the server is not
    /// installed.
    pub(crate) fn start(settings: &[&str]) -> Option<Self> {
        let programs = programs()?;
        let folder = private_folder();
        let mut initdb = as_server_user(&programs.join("initdb"));
        initdb.args(["--no-sync", "--no-locale", "--encoding=UTF8", "--auth=trust"]);
        initdb.arg("--username").arg(USER).arg("-D").arg(folder.path().join("data"));
        run(&mut initdb);
        Some(Self::serve(programs, folder, settings))
    }

    /// A standby of this server, which follows it.
    pub(crate) fn standby(&self, settings: &[&str]) -> Self {
        let folder = private_folder();
        let mut copy = as_server_user(&self.programs.join("pg_basebackup"));
        copy.arg("-h").arg(self.folder.path()).arg("-p").arg(self.port.to_string());
        copy.arg("-U").arg(USER).args(["-R", "-c", "fast", "-D"]).arg(folder.path().join("data"));
        run(&mut copy);
        Self::serve(self.programs.clone(), folder, settings)
    }

    fn serve(programs: PathBuf, folder: TempDir, settings: &[&str]) -> Self {
        let settings: Vec<_> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let log = Arc::default();
        for _ in 0..PORTS_MAX {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            if let Some(child) = launch(&programs, folder.path(), port, &settings, &log) {
                return Self { programs, folder, port, settings, child, log };
            }
        }
        panic!("PostgreSQL does not start:\n{}", log.lock().unwrap());
    }

    /// A new, empty database.
    pub(crate) fn database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
    }

    /// Its address, over TCP.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Its address, over a Unix socket.
    pub(crate) fn socket_url(&self, database: &str) -> String {
        let folder = self.folder.path().display();
        format!("postgres://{USER}@/{database}?host={folder}&port={}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What `psql` answers, columns split by `|`.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database, "-c", text]);
        psql.arg("-h").arg(self.folder.path()).arg("-p").arg(self.port.to_string());
        run(&mut psql).trim_end().to_owned()
    }

    /// Puts a file, readable for the server alone, into the cluster's folder.
    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.folder.path().join("data").join(name);
        fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        if let Some((user, group)) = server_user() {
            chown(&path, Some(user), Some(group)).unwrap();
        }
    }

    /// Adds settings that the next start takes up.
    pub(crate) fn set(&mut self, settings: &[&str]) {
        self.settings.extend(settings.iter().map(|setting| (*setting).to_owned()));
    }

    /// Ends it in order ("fast": who is connected is cut off).
    pub(crate) fn stop(&mut self) {
        self.signal(Signal::INT);
        self.child.wait().unwrap();
    }

    /// Ends it as a power cut would, with all it has started.
    pub(crate) fn kill9(&mut self) {
        for process in self.processes() {
            let _ = kill_process(process, Signal::KILL);
        }
        self.child.wait().unwrap();
    }

    /// Starts it again on the same data and the same port.
    pub(crate) fn start_again(&mut self) {
        let _ = fs::remove_file(self.folder.path().join("data/postmaster.pid"));
        let started =
            launch(&self.programs, self.folder.path(), self.port, &self.settings, &self.log);
        self.child = started.unwrap_or_else(|| panic!("{}", self.log.lock().unwrap()));
    }

    /// Stops every process of it in its tracks: connections stand, and nothing answers.
    pub(crate) fn freeze(&self) {
        for process in self.processes() {
            kill_process(process, Signal::STOP).unwrap();
        }
    }

    pub(crate) fn thaw(&self) {
        for process in self.processes() {
            kill_process(process, Signal::CONT).unwrap();
        }
    }

    /// All that the server has written to its log.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// The folder with all its files.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn signal(&self, signal: Signal) {
        // Not waited for yet, so its id is not another's.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }

    /// The server and its children, the server first so that it starts no more of them.
    fn processes(&self) -> Vec<Pid> {
        let server = Pid::from_child(&self.child);
        let parent = format!("PPid:\t{}", server.as_raw_nonzero());
        let mut processes = vec![server];
        for entry in fs::read_dir("/proc").unwrap().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            if status.lines().any(|line| line == parent) {
                processes.extend(Pid::from_raw(id));
            }
        }
        processes
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            for process in self.processes() {
                let _ = kill_process(process, Signal::KILL);
            }
            let _ = self.child.wait();
        }
    }
}

/// Where the server's programs are; Debian keeps them out of the path.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    found.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let found = found.into_iter().find(|folder| folder.join("initdb").is_file());
    assert!(
        found.is_some() || std::env::var_os("TILLGATE_NO_SKIP").is_none(),
        "PostgreSQL is not installed"
    );
    if found.is_none() {
        eprintln!("SKIPPED: PostgreSQL is not installed");
    }
    found
}

/// Starts the server and waits until it can be used; `None` if it ends instead.
fn launch(
    programs: &Path,
    folder: &Path,
    port: u16,
    settings: &[String],
    log: &Arc<Mutex<String>>,
) -> Option<Child> {
    let mut command = as_server_user(&programs.join("postgres"));
    command.arg("-D").arg(folder.join("data")).arg("-k").arg(folder);
    command.args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    for setting in settings {
        command.args(["-c", setting]);
    }
    let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let (notify, ready) = mpsc::channel();
    let (stderr, log) = (child.stderr.take().unwrap(), Arc::clone(log));
    thread::spawn(move || follow(stderr, &log, &notify));
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
fn follow(stderr: ChildStderr, log: &Mutex<String>, ready: &mpsc::Sender<()>) {
    let mut lines = BufReader::new(stderr);
    let mut bytes = Vec::new();
    while lines.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
        let line = String::from_utf8_lossy(&bytes);
        log.lock().unwrap().push_str(&line);
        if line.contains(READY) {
            let _ = ready.send(());
        }
        bytes.clear();
    }
}

/// PostgreSQL refuses to run as root; Debian's package brings a user for it.
fn as_server_user(program: &Path) -> Command {
    let Some((user, group)) = server_user() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
    command.arg("--clear-groups").arg(program);
    command
}

fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:")).unwrap();
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((fields.next().unwrap(), fields.next().unwrap()))
}

/// A folder that belongs to the server.
fn private_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    if let Some((user, group)) = server_user() {
        chown(folder.path(), Some(user), Some(group)).unwrap();
    }
    folder
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (said, cried) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}{cried}");
    said.into_owned()
}
